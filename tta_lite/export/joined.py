"""Several flatbuffers as one: a signature each, and every constant only once. Imports no TensorFlow.

Graphs that were converted one by one hold the same weights in the same bytes. Here each becomes a subgraph of one file,
and tensors with the same bytes share one buffer, whatever they are called and in whichever graph they are. Nothing else
is changed, so that each signature computes what its own file did.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.signature import AlignedBuffer
from tta_lite.types import InputError


def join_files(files: Mapping[str, bytes]) -> bytes:
    """-> one file with a signature for each of the given files, in their order; the first is the main graph.

    Args:
      files: signature -> a flatbuffer with one graph and one signature, whose names of inputs and outputs stay.

    Raises:
      InputError: no files, or one with several graphs or none or several signatures.
    """
    if not files:
        raise InputError("Argument `files` must hold one file or more. Received: none")
    joined = _Joined()
    for key, tflite in files.items():
        joined.add(key, tflite)
    return joined.to_bytes()


def shared_bytes(tflite: bytes) -> int:
    """-> bytes of constants that more than one graph of a file reads."""
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    readers: dict[int, set[int]] = {}
    for place, graph in enumerate(model.subgraphs):
        for tensor in graph.tensors:
            readers.setdefault(int(tensor.buffer), set()).add(place)
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    return sum(sizes[buffer] for buffer, graphs in readers.items() if len(graphs) > 1)


class _Joined:
    """The file that grows."""

    def __init__(self) -> None:
        self.model: Any = None
        self.codes: dict[tuple[Any, ...], int] = {}
        # By format, buffer 0 is the empty one.
        self.places: dict[bytes, int] = {b"": 0}

    def add(self, key: str, tflite: bytes) -> None:
        other = flatbuffer_utils.read_model_from_bytearray(tflite)
        signatures = other.signatureDefs or []
        if len(other.subgraphs) != 1 or len(signatures) != 1:
            # The ops of loops name other graphs by their number.
            raise InputError(
                f"A file to be joined must have one graph and one signature. Received: {len(other.subgraphs)} and "
                f"{len(signatures)} for {key!r}"
            )
        if self.model is None:
            self.model = copy.copy(other)
            self.model.subgraphs, self.model.operatorCodes, self.model.signatureDefs = [], [], []
            self.model.metadata, self.model.metadataBuffer = [], []
            self.model.buffers = [AlignedBuffer()]
        graph, signature = other.subgraphs[0], signatures[0]
        for op in graph.operators:
            op.opcodeIndex = self._code(other.operatorCodes[op.opcodeIndex])
        for tensor in graph.tensors:
            tensor.buffer = self._buffer(other.buffers[tensor.buffer])
        graph.name = key.encode()
        signature.signatureKey, signature.subgraphIndex = key.encode(), len(self.model.subgraphs)
        self.model.subgraphs.append(graph)
        self.model.signatureDefs.append(signature)

    def _code(self, code: schema.OperatorCodeT) -> int:
        known = (code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version)
        if known not in self.codes:
            self.codes[known] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        return self.codes[known]

    def _buffer(self, buffer: schema.BufferT) -> int:
        content = b"" if buffer.data is None else bytes(buffer.data)
        if content not in self.places:
            self.places[content] = len(self.model.buffers)
            own = AlignedBuffer()
            own.data = buffer.data
            self.model.buffers.append(own)
        return self.places[content]

    def to_bytes(self) -> bytes:
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))
