"""Names for the inputs and outputs of a flatbuffer. Imports no TensorFlow.

The fast route of the converter leaves tensors called ``Identity`` and no signature; whoever runs the file would have to
guess which output is which. A signature is a small table beside the graph, so it is written in afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import flatbuffers
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.types import InputError

SERVING_DEFAULT = "serving_default"
# What the schema asks of constant data (`force_align: 16`). Kernels read weights in vectors, and some
# microcontrollers fault on an unaligned bias.
BUFFER_ALIGNMENT = 16


class AlignedBuffer(schema.BufferT):
    """Constant data that lands on a 16-byte boundary of the file; the generated class keeps only 4."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802 (the generated name)
        """-> the place of the table, which is written with its data."""
        data = None
        if self.data is not None and len(self.data):
            content = bytes(self.data)
            builder.StartVector(1, len(content), BUFFER_ALIGNMENT)
            start = builder.head - len(content)
            builder.Bytes[start : builder.head] = content
            builder.head = start
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


def set_signature(tflite: bytes, inputs: Sequence[str], outputs: Sequence[str], key: str = SERVING_DEFAULT) -> bytes:
    """-> the same graph with one signature, and with every constant on a 16-byte boundary.

    Args:
      tflite: the flatbuffer; signatures that it has are replaced.
      inputs: a name for each input of the graph, in the graph's order.
      outputs: the same for the outputs.
      key: the signature's name.

    Raises:
      InputError: the number of names does not fit the graph, or a name occurs twice.
    """
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    graph = model.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey = key
    signature.subgraphIndex = 0
    signature.inputs = _tensor_map("inputs", inputs, graph.inputs)
    signature.outputs = _tensor_map("outputs", outputs, graph.outputs)
    model.signatureDefs = [signature]
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def with_signature_of(tflite: bytes, other: bytes) -> bytes:
    """-> a file with the signature of another one that has the same inputs and outputs in the same order."""
    model = flatbuffer_utils.read_model_from_bytearray(other)
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    key = signature.signatureKey.decode() if isinstance(signature.signatureKey, bytes) else signature.signatureKey
    return set_signature(tflite, _names(signature.inputs, graph.inputs), _names(signature.outputs, graph.outputs), key)


def _names(entries: Sequence[schema.TensorMapT], tensors: Sequence[int]) -> list[str]:
    named = {int(entry.tensorIndex): entry.name for entry in entries}
    found = [named[int(tensor)] for tensor in tensors]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in found]


def _tensor_map(argument: str, names: Sequence[str], tensors: Sequence[int]) -> list[schema.TensorMapT]:
    if len(names) != len(tensors) or len(set(names)) != len(names):
        raise InputError(
            f"Argument `{argument}` must hold {len(tensors)} different names, one a tensor of the graph. "
            f"Received: {list(names)}"
        )
    entries = []
    for name, tensor in zip(names, tensors, strict=True):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name, int(tensor)
        entries.append(entry)
    return entries


def _aligned(buffer: schema.BufferT) -> AlignedBuffer:
    aligned = AlignedBuffer()
    aligned.data = buffer.data
    return aligned
