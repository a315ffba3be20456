"""Flatbuffers of one op, made by hand in milliseconds and without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.runner import load
from tta_lite.export.signature import AlignedBuffer

TYPES = {"float32": 0, "float16": 1, "int32": 2, "int8": 9}
Scales = tuple[Sequence[float], int]


class File:
    """A graph that grows: tensors first, then ops on them."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [AlignedBuffer()], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, shape: Sequence[int], dtype: str = "float32", scales: Scales | None = None) -> int:
        tensor = schema.TensorT()
        tensor.shape, tensor.type, tensor.buffer = np.array(shape, np.int32), TYPES[dtype], 0
        tensor.name = f"net/layer{len(self.graph.tensors)}/op".encode()
        if scales:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array(scales[0], np.float32)
            tensor.quantization.zeroPoint = np.full(len(scales[0]), scales[1], np.int64)
            tensor.quantization.quantizedDimension = 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, value: Any, scales: Scales | None = None) -> int:
        array = np.asarray(value)
        place = self.tensor(array.shape, str(array.dtype), scales)
        buffer = AlignedBuffer()
        buffer.data = np.frombuffer(array.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        self.graph.tensors[place].buffer = len(self.model.buffers) - 1
        return place

    def op(self, name: str, inputs: Sequence[int], outputs: Sequence[int], version: int = 1, **options: Any) -> None:
        codes, builtin = self.model.operatorCodes, getattr(schema.BuiltinOperator, name)
        known = [place for place, code in enumerate(codes) if (code.builtinCode, code.version) == (builtin, version)]
        if not known:
            code = schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = builtin
            code.version = version
            codes.append(code)
        op = schema.OperatorT()
        op.opcodeIndex = known[0] if known else len(codes) - 1
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        kind = options.pop("kind", None)
        if kind:
            op.builtinOptions = getattr(schema, f"{kind}T")()
            op.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            for key, value in options.items():
                assert hasattr(op.builtinOptions, key)
                setattr(op.builtinOptions, key, value)
        self.graph.operators.append(op)

    def to_bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = list(inputs), list(outputs)
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))


def deconv(
    *,
    size: tuple[int, int] = (4, 3),
    channels: tuple[int, int] = (3, 2),
    kernel: tuple[int, int] = (4, 4),
    stride: int = 2,
    same: bool = True,
    activation: int = 1,
    bias: bool = True,
    int8: bool = False,
    per_channel: bool = True,
    seed: int = 0,
) -> bytes:
    """-> TRANSPOSE_CONV as the converter writes it, on [1, *size, channels[0]]."""
    rng, file = np.random.default_rng(seed), File()
    out = [n * stride if same else (n - 1) * stride + max(k, stride) for n, k in zip(size, kernel, strict=True)]
    weights = rng.normal(0, 0.5, (channels[1], *kernel, channels[0])).astype(np.float32)
    biases = rng.normal(0, 1, channels[1]).astype(np.float32)
    wanted = file.constant(np.array([1, *out, channels[1]], np.int32))
    if int8:
        count = channels[1] if per_channel else 1
        scales = rng.uniform(0.005, 0.02, count)
        x = file.tensor((1, *size, channels[0]), "int8", ([0.03], int(rng.integers(-100, 100))))
        w = file.constant(rng.integers(-127, 128, weights.shape).astype(np.int8), (scales, 0))
        b = file.constant(np.round(biases / (0.03 * scales)).astype(np.int32), (0.03 * scales, 0))
        y = file.tensor((1, *out, channels[1]), "int8", ([0.15], int(rng.integers(-100, 100))))
    else:
        x, y = file.tensor((1, *size, channels[0])), file.tensor((1, *out, channels[1]))
        w, b = file.constant(weights), file.constant(biases)
    settings = {"padding": 0 if same else 1, "strideH": stride, "strideW": stride}
    file.op(
        "TRANSPOSE_CONV",
        [wanted, w, x, b] if bias else [wanted, w, x],
        [y],
        version=4,
        kind="TransposeConvOptions",
        fusedActivationFunction=activation,
        **settings,
    )
    return file.to_bytes([x], [y])


def depth_to_space(batch: int, height: int, width: int, channels: int, block: int, *, int8: bool = False) -> bytes:
    """-> DEPTH_TO_SPACE on [batch, height, width, block x block x channels]."""
    file, dtype, scales = File(), "int8" if int8 else "float32", ([0.1], 3) if int8 else None
    x = file.tensor((batch, height, width, block * block * channels), dtype, scales)
    y = file.tensor((batch, height * block, width * block, channels), dtype, scales)
    file.op("DEPTH_TO_SPACE", [x], [y], version=2 if int8 else 1, kind="DepthToSpaceOptions", blockSize=block)
    return file.to_bytes([x], [y])


def pad(shape: Sequence[int], pads: Sequence[tuple[int, int]], *, zero_point: int | None) -> bytes:
    """-> PAD, in int8 with that zero point or in float32."""
    file, dtype = File(), "float32" if zero_point is None else "int8"
    scales = None if zero_point is None else ([0.1], zero_point)
    x = file.tensor(shape, dtype, scales)
    y = file.tensor([n + a + b for n, (a, b) in zip(shape, pads, strict=True)], dtype, scales)
    version = 1 if zero_point is None else 2
    file.op("PAD", [x, file.constant(np.array(pads, np.int32))], [y], version=version, kind="PadOptions")
    return file.to_bytes([x], [y])


def split(axis: int) -> bytes:
    """-> SPLIT of [1, 2, 4, 6] in two."""
    file, shape = File(), [1, 2, 4, 6]
    shape[axis] //= 2
    x, place = file.tensor((1, 2, 4, 6)), file.constant(np.array(axis, np.int32))
    parts = [file.tensor(shape), file.tensor(shape)]
    file.op("SPLIT", [place, x], parts, kind="SplitOptions", numSplits=2)
    return file.to_bytes([x], parts)


def run(tflite: bytes, seed: int = 0, kernels: str = "xnnpack") -> np.ndarray:
    """-> what LiteRT computes of inputs by chance."""
    interpreter, rng = load(tflite, kernels=kernels), np.random.default_rng(seed)
    for one in interpreter.get_input_details():
        is_float = one["dtype"] == np.float32
        value = rng.normal(size=one["shape"]) if is_float else rng.integers(-128, 128, one["shape"])
        interpreter.set_tensor(one["index"], value.astype(one["dtype"]))
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
