"""The tables of TFLite Model Metadata: plain records become a flatbuffer, and come back. Imports no TensorFlow.

The names and places of the fields are those of the published schema, version 1.5.0:
https://github.com/tensorflow/tflite-support/blob/master/tensorflow_lite_support/metadata/metadata_schema.fbs
Only what a network with an image and a list of labels needs is listed; what else a file holds is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flatbuffers
from flatbuffers import number_types

from tta_lite.types import InputError

IDENTIFIER = b"M001"
ROOT = "ModelMetadata"
# `ColorSpaceType` and `AssociatedFileType`.
RGB = 1
TENSOR_AXIS_LABELS = 2


class Field(NamedTuple):
    """Where a table keeps a field, and what is there; brackets stand for a vector. A union takes two places."""

    slot: int
    kind: str


TABLES: Mapping[str, Mapping[str, Field]] = {
    "ModelMetadata": {
        "name": Field(0, "string"),
        "description": Field(1, "string"),
        "version": Field(2, "string"),
        "subgraph_metadata": Field(3, "[SubGraphMetadata]"),
        "author": Field(4, "string"),
        "license": Field(5, "string"),
        "associated_files": Field(6, "[AssociatedFile]"),
        "min_parser_version": Field(7, "string"),
    },
    "SubGraphMetadata": {
        "name": Field(0, "string"),
        "description": Field(1, "string"),
        "input_tensor_metadata": Field(2, "[TensorMetadata]"),
        "output_tensor_metadata": Field(3, "[TensorMetadata]"),
        "associated_files": Field(4, "[AssociatedFile]"),
    },
    "TensorMetadata": {
        "name": Field(0, "string"),
        "description": Field(1, "string"),
        "content": Field(3, "Content"),
        "process_units": Field(4, "[ProcessUnit]"),
        "stats": Field(5, "Stats"),
        "associated_files": Field(6, "[AssociatedFile]"),
    },
    "Content": {"content_properties": Field(0, "ContentProperties"), "range": Field(2, "ValueRange")},
    "ImageProperties": {"color_space": Field(0, "byte")},
    "FeatureProperties": {},
    "ValueRange": {"min": Field(0, "int"), "max": Field(1, "int")},
    "ProcessUnit": {"options": Field(0, "ProcessUnitOptions")},
    "NormalizationOptions": {"mean": Field(0, "[float]"), "std": Field(1, "[float]")},
    "Stats": {"max": Field(0, "[float]"), "min": Field(1, "[float]")},
    "AssociatedFile": {
        "name": Field(0, "string"),
        "description": Field(1, "string"),
        "type": Field(2, "byte"),
        "locale": Field(3, "string"),
        "version": Field(4, "string"),
    },
}
# The number of a member is the first of the two places, the table itself the second.
UNIONS: Mapping[str, Mapping[str, int]] = {
    "ContentProperties": {"FeatureProperties": 1, "ImageProperties": 2},
    "ProcessUnitOptions": {"NormalizationOptions": 1},
}
_SCALARS = {"byte": number_types.Int8Flags, "int": number_types.Int32Flags}


def pack(record: Mapping[str, Any]) -> bytes:
    """-> the flatbuffer of a `ModelMetadata`, with its identifier.

    Args:
      record: field -> text, number, list of floats, record or list of records; a union is a record of one entry, its
        member's name -> record. Fields that are not there are left out.

    >>> unpack(pack({"name": "net", "subgraph_metadata": [{"name": "main"}]}))
    {'name': 'net', 'subgraph_metadata': [{'name': 'main'}]}
    """
    builder = flatbuffers.Builder(1024)
    builder.Finish(_write(builder, ROOT, record), file_identifier=IDENTIFIER)
    return bytes(builder.Output())


def unpack(data: bytes) -> dict[str, Any]:
    """-> the record of a flatbuffer, as `pack` takes it.

    Raises:
      InputError: these bytes are none.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise InputError(
            f"TFLite Model Metadata must have the identifier {IDENTIFIER.decode()}. Received: {bytes(data[4:8])!r}"
        )
    try:
        (root,) = struct.unpack_from("<I", data)
        return _read(bytes(data), root, ROOT)
    except (struct.error, TypeError, ValueError, IndexError, OverflowError) as error:
        raise InputError(f"TFLite Model Metadata cannot be read: {error}. Received: {len(data)} bytes") from error


def _write(builder: flatbuffers.Builder, table: str, record: Mapping[str, Any]) -> int:
    fields = TABLES[table]
    # A flatbuffer is written from its end: what a table points at comes before the table.
    values = {name: _write_value(builder, fields[name].kind, value) for name, value in record.items()}
    builder.StartObject(2 + max((field.slot for field in fields.values()), default=-2))
    for name, value in values.items():
        slot, kind = fields[name]
        if kind in UNIONS:
            (member,) = record[name]
            builder.PrependUint8Slot(slot, UNIONS[kind][member], 0)
            builder.PrependUOffsetTRelativeSlot(slot + 1, value, 0)
        elif kind in _SCALARS:
            builder.PrependSlot(_SCALARS[kind], slot, value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
    return builder.EndObject()


def _write_value(builder: flatbuffers.Builder, kind: str, value: Any) -> int:
    """-> a number as it is, anything else as its place."""
    if kind in _SCALARS:
        return int(value)
    if kind == "string":
        return builder.CreateString(value)
    if kind in UNIONS:
        ((member, record),) = value.items()
        return _write(builder, member, record)
    if not kind.startswith("["):
        return _write(builder, kind, value)
    is_float = kind == "[float]"
    items: Sequence[Any] = value if is_float else [_write(builder, kind[1:-1], item) for item in value]
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        builder.PrependFloat32(item) if is_float else builder.PrependUOffsetTRelative(item)
    return builder.EndVector()


def _read(data: bytes, position: int, table: str) -> dict[str, Any]:
    tab = flatbuffers.table.Table(data, position)
    record: dict[str, Any] = {}
    for name, (slot, kind) in TABLES[table].items():
        # The first two entries of a vtable are sizes; 0 stands for a field that is not there.
        at, value_at = (tab.Offset(4 + 2 * one) for one in (slot, slot + 1))
        if kind in UNIONS:
            member = tab.Get(number_types.Uint8Flags, position + at) if at else 0
            found = [one for one, number in UNIONS[kind].items() if number == member]
            if found and value_at:
                record[name] = {found[0]: _read(data, tab.Indirect(position + value_at), found[0])}
        elif at:
            record[name] = _read_value(tab, at, kind)
    return record


def _read_value(tab: flatbuffers.table.Table, at: int, kind: str) -> Any:
    place = tab.Pos + at
    if kind in _SCALARS:
        return tab.Get(_SCALARS[kind], place)
    if kind == "string":
        return tab.String(place).decode("utf-8")
    if not kind.startswith("["):
        return _read(tab.Bytes, tab.Indirect(place), kind)
    start, count = tab.Vector(at), tab.VectorLen(at)
    if start + 4 * count > len(tab.Bytes):
        raise ValueError(f"a vector of {count} goes beyond the end")
    places = range(start, start + 4 * count, 4)
    if kind == "[float]":
        return [tab.Get(number_types.Float32Flags, one) for one in places]
    return [_read(tab.Bytes, tab.Indirect(one), kind[1:-1]) for one in places]
