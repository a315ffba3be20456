"""Exchanges ops of a flatbuffer for others, without TensorFlow: what a runtime does not take becomes what it takes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.signature import AlignedBuffer
from tta_lite.types import InputError

_CODES = {name: value for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
_NAMES = {value: name for name, value in _CODES.items()}
_ACTIVATIONS = {value: name for name, value in vars(schema.ActivationFunctionType).items() if not name.startswith("_")}
_TYPES: dict[np.dtype[Any], int] = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int8): schema.TensorType.INT8,
}
_DTYPES = {value: key for key, value in _TYPES.items()}


class GraphEdit:
    """The main graph of a file, while it is edited.

    Tensors keep their places, so that signatures and names stay true; constants that nothing reads any more are
    emptied when the file is written.

    Raises:
      InputError: no such file, or one with more than one graph, whose ops could refer to each other.
    """

    def __init__(self, tflite: bytes) -> None:
        if tflite[4:8] != b"TFL3":
            raise InputError(f"A .tflite file has the letters TFL3 at its 5th byte. Received: {bytes(tflite[4:8])!r}")
        self.model = flatbuffer_utils.read_model_from_bytearray(tflite)
        if len(self.model.subgraphs) != 1:
            raise InputError(f"A file with one graph can be edited. Received: {len(self.model.subgraphs)} graphs")
        self.graph = self.model.subgraphs[0]

    @property
    def ops(self) -> list[schema.OperatorT]:
        """In the order in which they run."""
        return list(self.graph.operators)

    @property
    def outputs(self) -> list[int]:
        """The tensors that the graph gives out."""
        return [int(tensor) for tensor in self.graph.outputs]

    def name(self, op: schema.OperatorT) -> str:
        """-> as ``CONV_2D``; of a custom op, ``CUSTOM``."""
        return _NAMES[flatbuffer_utils.get_builtin_code_from_operator_code(self.model.operatorCodes[op.opcodeIndex])]

    def version(self, op: schema.OperatorT) -> int:
        """-> the op's version."""
        return int(self.model.operatorCodes[op.opcodeIndex].version)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """-> the tensor's shape."""
        return tuple(int(size) for size in self.graph.tensors[tensor].shape)

    def dtype(self, tensor: int) -> np.dtype[Any] | None:
        """-> float32, float16, int32 or int8; None for any other."""
        return _DTYPES.get(self.graph.tensors[tensor].type)

    def quantisation(self, tensor: int) -> tuple[np.ndarray, np.ndarray]:
        """-> scales and zero points, each [1] or [channels]; empty if the tensor is not quantised."""
        found = self.graph.tensors[tensor].quantization
        if found is None or found.scale is None:
            return np.zeros(0, np.float32), np.zeros(0, np.int64)
        return np.asarray(found.scale, np.float32), np.asarray(found.zeroPoint, np.int64)

    def value(self, tensor: int) -> np.ndarray | None:
        """-> a constant's values as they are stored; None if it is none, or of a type that `dtype` does not know."""
        data = self.model.buffers[self.graph.tensors[tensor].buffer].data
        dtype = self.dtype(tensor)
        if data is None or not len(data) or dtype is None:
            return None
        return np.frombuffer(bytes(data), dtype).reshape(self.shape(tensor))

    def set_value(self, tensor: int, value: np.ndarray) -> None:
        """Gives a constant other values, of the shape and type it has; tensors that shared its bytes keep theirs."""
        assert value.shape == self.shape(tensor) and value.dtype == self.dtype(tensor), (value.shape, value.dtype)
        self.store(tensor, value)

    def store(self, tensor: int, values: np.ndarray) -> None:
        """Makes these the bytes of a constant, however its shape and sparsity read them."""
        self.graph.tensors[tensor].buffer = self._buffer(values)

    def constant(self, name: str, value: np.ndarray, *, like: int | None = None) -> int:
        """-> a new tensor that holds `value`; quantised as the tensor `like` is, if one is given."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name.encode(), np.array(value.shape, np.int32)
        tensor.type, tensor.buffer = _TYPES[value.dtype], self._buffer(value)
        if like is not None:
            tensor.quantization = self.graph.tensors[like].quantization
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def tensor(self, name: str, shape: Sequence[int], *, like: int) -> int:
        """-> a new tensor that an op shall write; its type and quantisation are those of the tensor `like`."""
        tensor = copy.copy(self.graph.tensors[like])
        tensor.name, tensor.shape, tensor.shapeSignature = name.encode(), np.array(shape, np.int32), None
        tensor.buffer = 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def scale(self, tensor: int, scales: np.ndarray, *, axis: int = 0) -> None:
        """Makes a constant with zero point 0 of these scales: one, or one for each place along an axis."""
        found = schema.QuantizationParametersT()
        found.scale, found.zeroPoint = scales.astype(np.float32), np.zeros(len(scales), np.int64)
        found.quantizedDimension = axis
        self.graph.tensors[tensor].quantization = found

    def text(self, tensor: int) -> str:
        """-> the tensor's name."""
        return self.graph.tensors[tensor].name.decode()

    def given_out_as(self, tensor: int) -> str:
        """-> what the file's signature calls an output of the graph; empty if it does not name it."""
        for signature in self.model.signatureDefs or ():
            for entry in signature.outputs:
                if entry.tensorIndex == tensor:
                    return entry.name.decode() if isinstance(entry.name, bytes) else str(entry.name)
        return ""

    def op(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, *, version: int = 1
    ) -> schema.OperatorT:
        """-> a new op, in no graph yet.

        Args:
          name: as ``ADD``.
          inputs: tensors.
          outputs: tensors.
          options: as ``schema.AddOptionsT()``; None for an op without any.
          version: of the op.
        """
        op = schema.OperatorT()
        op.opcodeIndex = self._opcode(name, version)
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        op.builtinOptions = options
        if options is not None:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return op

    def replace(self, op: schema.OperatorT, others: Sequence[schema.OperatorT]) -> None:
        """Puts `others` where `op` is; none takes it away."""
        place = next(place for place, one in enumerate(self.graph.operators) if one is op)
        self.graph.operators[place : place + 1] = others

    def activation(self, op: schema.OperatorT) -> str:
        """-> the activation that an op does after its arithmetic, as ``RELU6``; ``NONE`` for none."""
        return _ACTIVATIONS[int(getattr(op.builtinOptions, "fusedActivationFunction", 0) or 0)]

    def read_by(self, tensor: int) -> list[schema.OperatorT]:
        """-> the ops that read a tensor."""
        return [op for op in self.graph.operators if tensor in list(op.inputs)]

    def to_bytes(self) -> bytes:
        """-> the file, every constant on a 16-byte boundary; metadata, which speaks of the file before, is left out."""
        used = {int(tensor) for op in self.graph.operators for tensor in (*op.inputs, *op.outputs) if tensor >= 0}
        used.update(int(tensor) for tensor in (*self.graph.inputs, *self.graph.outputs))
        held = {self.graph.tensors[tensor].buffer for tensor in used}
        buffers = []
        for place, old in enumerate(self.model.buffers):
            buffer = AlignedBuffer()
            buffer.data = old.data if place in held else None
            buffers.append(buffer)
        self.model.buffers = buffers
        self.model.metadata, self.model.metadataBuffer = [], []
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))

    def _buffer(self, value: np.ndarray) -> int:
        buffer = AlignedBuffer()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        return len(self.model.buffers) - 1

    def _opcode(self, name: str, version: int) -> int:
        for place, code in enumerate(self.model.operatorCodes):
            known = flatbuffer_utils.get_builtin_code_from_operator_code(code)
            if known == _CODES[name] and code.version == version:
                return place
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = _CODES[name], version
        # What readers of before 2020 look at has room for 127 ops.
        code.deprecatedBuiltinCode = min(_CODES[name], schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1
