"""TFLite Model Metadata in a ``.tflite`` file: put in front of the network, read back. Imports no TensorFlow.

The format (https://www.tensorflow.org/lite/convert/metadata) keeps the metadata as a buffer of the model, named
`TFLITE_METADATA`, and the files that belong to it as a ZIP archive behind the model. Here the network stays in the
file byte for byte: a new root table in front of it names the buffer and points at the old tables for the rest.

    new root table, metadata | the network, on a 16-byte boundary, with its own root | ZIP archive
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.metadata_tables import pack, unpack
from tta_lite.export.signature import BUFFER_ALIGNMENT, AlignedBuffer
from tta_lite.types import InputError

NAME = "TFLITE_METADATA"
_FILE_IDENTIFIER = b"TFL3"
# Places of the root table, as `schema.Model` has them: all but the version point at other tables.
_VERSION, _BUFFERS, _METADATA, _SLOTS = 0, 4, 6, 10
# The oldest date that a ZIP archive can hold: the same network gives the same file.
_NO_DATE = (1980, 1, 1, 0, 0, 0)


def with_metadata(network: bytes, record: Mapping[str, Any], files: Mapping[str, bytes]) -> tuple[bytes, int]:
    """-> the file with metadata, and where the network begins in it.

    Metadata that the network has is replaced: a reader finds the new one.

    Args:
      network: the flatbuffer; its bytes are in the result as they are, from the offset on.
      record: what to say, as `tta_lite.export.metadata_tables.pack` takes it.
      files: name -> content of the files that the record names.

    Raises:
      InputError: the network keeps weights behind the flatbuffer, whose places would change.
    """
    model = schema.Model.GetRootAs(network)
    count = model.BuffersLength()
    if any(model.Buffers(i).Offset() > 1 for i in range(count)):
        raise InputError(
            "A .tflite file must keep its weights inside the flatbuffer to be given metadata (one below 2 GB does). "
            f"Received: weights behind it, {len(network)} bytes"
        )
    assert model._tab.Offset(4 + 2 * _SLOTS) == 0, "a field that schema.Model does not know"
    # A builder writes from the end and aligns from there: the network is what was written first.
    tail = network + bytes(-len(network) % BUFFER_ALIGNMENT)
    builder = flatbuffers.Builder(len(tail) + 4096)
    builder.head = len(builder.Bytes) - len(tail)
    builder.Bytes[builder.head :] = tail

    buffer = AlignedBuffer()
    buffer.data = pack(record)
    added = buffer.Pack(builder)
    old_buffers = [len(tail) - model.Buffers(i)._tab.Pos for i in range(count)]
    buffers = _vector(builder, [*old_buffers, added])
    name = builder.CreateString(NAME)
    schema.MetadataStart(builder)
    schema.MetadataAddName(builder, name)
    schema.MetadataAddBuffer(builder, count)
    entry = schema.MetadataEnd(builder)
    others = (model.Metadata(i) for i in range(model.MetadataLength()))
    kept = [len(tail) - other._tab.Pos for other in others if (other.Name() or b"").decode() != NAME]
    metadata = _vector(builder, [*kept, entry])

    builder.StartObject(_SLOTS)
    builder.PrependUint32Slot(_VERSION, model.Version(), 0)
    for slot in range(1, _SLOTS):
        at = model._tab.Offset(4 + 2 * slot)
        old = len(tail) - model._tab.Indirect(model._tab.Pos + at) if at else 0
        builder.PrependUOffsetTRelativeSlot(slot, {_BUFFERS: buffers, _METADATA: metadata}.get(slot, old), 0)
    builder.Finish(builder.EndObject(), file_identifier=_FILE_IDENTIFIER)
    content = bytes(builder.Output())
    return _with_files(content, files), len(content) - len(tail)


def network_in(tflite: bytes, offset: int, size: int) -> bytes:
    """-> the network without the metadata, byte for byte.

    Args:
      tflite: what `with_metadata` gave.
      offset: where the network begins.
      size: its bytes.

    Raises:
      InputError: the file does not run the network that is there.
    """
    network = tflite[offset : offset + size]
    try:
        whole, part = _tables(tflite), [place + offset for place in _tables(network)]
    except (struct.error, TypeError, ValueError) as error:
        raise InputError(f"A network was expected at byte {offset} of the file. Received: {error}") from error
    # All but the last buffer, which is the metadata.
    if len(network) != size or [*part, *whole[len(part) :]] != whole or len(whole) != len(part) + 1:
        raise InputError(
            f"The graph and weights of the file were expected at bytes {offset} to {offset + size}. Received: others"
        )
    return network


def read_metadata(tflite: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """-> what the metadata of a file says, and name -> content of the files behind it.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    model = schema.Model.GetRootAs(tflite)
    entries = [model.Metadata(i) for i in range(model.MetadataLength())]
    indices = [entry.Buffer() for entry in entries if (entry.Name() or b"").decode() == NAME]
    if not indices or not model.Buffers(indices[0]).DataLength():
        names = ", ".join((entry.Name() or b"").decode() for entry in entries)
        raise InputError(f"A .tflite file must hold a buffer {NAME}. Received: {names or 'no metadata'}")
    record = unpack(model.Buffers(indices[0]).DataAsNumpy().tobytes())
    stream = io.BytesIO(tflite)
    if not zipfile.is_zipfile(stream):
        return record, {}
    try:
        with zipfile.ZipFile(stream) as archive:
            return record, {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise InputError(f"The files behind a .tflite file must be a ZIP archive. Received: {error}") from error


def _vector(builder: flatbuffers.Builder, places: list[int]) -> int:
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return builder.EndVector()


def _tables(tflite: bytes) -> list[int]:
    """-> where the main graph and the buffers are."""
    model = schema.Model.GetRootAs(tflite)
    return [model.Subgraphs(0)._tab.Pos, *(model.Buffers(i)._tab.Pos for i in range(model.BuffersLength()))]


def _with_files(content: bytes, files: Mapping[str, bytes]) -> bytes:
    if not files:
        return content
    stream = io.BytesIO()
    stream.write(content)
    # Places in the archive count from the beginning of the file, as the format's own tools write them; and they read
    # files that are not compressed only.
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _NO_DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return stream.getvalue()
