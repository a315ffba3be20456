"""What of an op decides how long it takes? Kind, type, arithmetic and bytes, read from the file. Imports no TensorFlow.

The facts are those that decide the speed of XNNPACK's kernels: a convolution is `groups` products of matrices
[rows, inner] x [inner, columns], and small or odd sizes leave parts of a kernel's tile empty.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.contents import Contents, Op, Tensor, read_contents
from tta_lite.export.quantize.names import layer_names
from tta_lite.measure.stages import unpacked
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.types import InputError

# Up to this many input channels a convolution is a stem: its inner size is too small to fill the pipeline.
STEM_CHANNELS = 4
# Up to this many taps XNNPACK has depthwise kernels that keep a sum in registers.
DEPTHWISE_TAPS = 25
# The kind of an op that takes no time: weights that are unpacked when the file is loaded, paddings that XNNPACK puts
# into the convolution behind them, and new shapes of values that no other op needs in the old one.
NONE = "none"

_RESHAPES = ("EXPAND_DIMS", "RESHAPE", "SQUEEZE")
_COPIES = (
    "BATCH_TO_SPACE_ND", "BROADCAST_TO", "CONCATENATION", "GATHER", "MIRROR_PAD", "PACK", "PAD", "PADV2", "SLICE",
    "SPACE_TO_BATCH_ND", "SPLIT", "SPLIT_V", "STRIDED_SLICE", "TILE", "UNPACK", *_RESHAPES,
)  # fmt: skip
_UNARY = (
    "ABS", "CAST", "CEIL", "FLOOR", "NEG", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "SQUARE",
)  # fmt: skip
# The kind of an op that does no multiply-accumulates; what is not here is of a kind of its own name, as what XNNPACK
# runs in one type and leaves to LiteRT's slow kernels in another.
KINDS: Mapping[str, str] = {
    **dict.fromkeys(("ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"), "add_mul"),
    **dict.fromkeys(_COPIES, "copy"),
    **dict.fromkeys(_UNARY, "activation"),
    **dict.fromkeys(("EXP", "LOGISTIC", "LOG", "RSQRT", "SQRT", "TANH"), "exponential"),
    **dict.fromkeys(("DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "TRANSPOSE"), "transpose"),
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "REDUCE_MIN", "SUM"), "mean"),
    **dict.fromkeys(("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), "resize"),
    **dict.fromkeys(("DEQUANTIZE", "QUANTIZE"), "quantize"),
    "AVERAGE_POOL_2D": "average_pool",
    "HARD_SWISH": "hard_swish",
    "MAX_POOL_2D": "max_pool",
}
MATRIX_KINDS = ("conv_1x1", "conv", "stem", "grouped_conv", "deconv", "dense")
DEPTHWISE_KINDS = ("depthwise", "large_depthwise")


@dataclasses.dataclass(frozen=True)
class OpFeatures:
    """One op.

    Attributes:
      index: its place in the file.
      op: its name, as ``CONV_2D``.
      layer: the Keras layer that it comes from, as far as the file tells.
      kind: what decides its speed: one of `MATRIX_KINDS` or `DEPTHWISE_KINDS`, a value of `KINDS`, `NONE`, or its own
        name in small letters.
      dtype: ``fp32`` (weights in 16 bits too: they are unpacked when the file is loaded), ``int8``, ``dynamic``
        (float32 values, int8 weights), or the name of another type.
      macs: multiply-accumulates, as `tflite_counting` counts them.
      rows: of the left matrix: output pixels; 0 if it is no product of matrices.
      inner: the common size: taps x input channels of a group.
      columns: output channels of a group; of a depthwise convolution all channels; of a transposition what its input
        has side by side, or if that is less, what stands beneath.
      groups: products of this size.
      taps: pixels that go into one output value.
      values: in all its inputs, weights left out, or in all its outputs, whichever is more.
      outputs: values in all its outputs.
      read_bytes: of its inputs, weights left out.
      weight_bytes: of its constants, as the runtime keeps them.
      written_bytes: of its outputs.
      clamped: the runtime needs a second pass for the activation that is fused to it (additions and the like).
    """

    index: int
    op: str
    layer: str
    kind: str
    dtype: str
    macs: int = 0
    rows: int = 0
    inner: int = 0
    columns: int = 0
    groups: int = 1
    taps: int = 1
    values: int = 0
    outputs: int = 0
    read_bytes: int = 0
    weight_bytes: int = 0
    written_bytes: int = 0
    clamped: bool = False

    @property
    def bytes(self) -> int:
        """All that it reads and writes, each once; a second pass reads and writes its output again."""
        return self.read_bytes + self.weight_bytes + self.written_bytes * (3 if self.clamped else 1)


@dataclasses.dataclass(frozen=True)
class _Shape:
    rows: int = 0
    inner: int = 0
    columns: int = 0
    groups: int = 1
    taps: int = 1


def read_features(tflite: bytes) -> tuple[OpFeatures, ...]:
    """-> one record for each op of the file, in order.

    Raises:
      InputError: no flatbuffer of a model, or a shape is open.
    """
    # It checks the bytes and the shapes.
    macs = [layer.macs or 0 for layer in count_tflite(tflite).layers]
    contents = read_contents(tflite)
    names = layer_names(tflite, contents)
    graph = schema.Model.GetRootAs(tflite).Subgraphs(0)
    known = unpacked(contents)
    return tuple(
        _features(contents, op, graph.Operators(op.index), known, names[op.index], macs[op.index])
        for op in contents.ops
    )


def file_dtype(features: Sequence[OpFeatures]) -> str:
    """-> the type of a whole file: ``int8`` or ``dynamic`` if any of its ops is, else that of most of them.

    >>> file_dtype([OpFeatures(0, "ADD", "", "add_mul", "fp32"), OpFeatures(1, "CONV_2D", "", "conv", "dynamic")])
    'dynamic'
    """
    found = [op.dtype for op in features if op.kind != NONE]
    return next((dtype for dtype in ("int8", "dynamic") if dtype in found), max(found, key=found.count, default=""))


def _features(contents: Contents, op: Op, stored: Any, known: set[int], layer: str, macs: int) -> OpFeatures:
    inputs, outputs = ([contents.tensors[place] for place in places] for places in (op.inputs, op.outputs))
    fixed = [tensor for tensor in inputs if tensor.is_constant or tensor.index in known]
    moving = [tensor for tensor in inputs if tensor not in fixed]
    read, written = (sum(math.prod(tensor.shape) for tensor in tensors) for tensors in (moving, outputs))
    shape = _SHAPES[op.name](inputs, outputs, stored) if op.name in _SHAPES else _Shape()
    return OpFeatures(
        index=op.index,
        op=op.name,
        layer=layer,
        kind=_kind(contents, op, stored, shape, known),
        dtype=_dtype(moving, outputs, fixed, bool(macs)),
        macs=macs,
        **dataclasses.asdict(shape),
        values=max(read, written),
        outputs=written,
        read_bytes=sum({tensor.index: tensor.bytes for tensor in moving}.values()),
        # Integers of 32 bits with no MACs are shapes and axes; those with MACs are biases.
        weight_bytes=sum(tensor.bytes for tensor in fixed if macs or not tensor.dtype.startswith("int32")),
        written_bytes=sum(tensor.bytes for tensor in outputs),
        clamped=op.name in _OPTIONS
        and op.name in _CLAMPED
        and _options(op.name, stored).FusedActivationFunction() != 0,
    )


def _dtype(moving: Sequence[Tensor], outputs: Sequence[Tensor], fixed: Sequence[Tensor], computes: bool) -> str:
    types = {tensor.dtype for tensor in (*moving, *outputs)} - {"int32", "int64", "bool"}
    if not types:
        return "none" if not (moving or outputs) else "int32"
    if types == {"float32"}:
        return "dynamic" if computes and any(tensor.dtype in ("int8", "int4") for tensor in fixed) else "fp32"
    # Quantise and dequantise have a float at one end; they are part of the int8 net.
    types.discard("float32")
    return min(types)


def _kind(contents: Contents, op: Op, stored: Any, shape: _Shape, known: set[int]) -> str:
    if op.outputs and known.issuperset(op.outputs):
        return NONE
    if (op.name in ("PAD", "PADV2") and _goes_into_conv(contents, op)) or (
        op.name in _RESHAPES and _stays(contents, op)
    ):
        return NONE
    if op.name == "DEPTHWISE_CONV_2D":
        return "depthwise" if shape.taps <= DEPTHWISE_TAPS else "large_depthwise"
    if op.name == "TRANSPOSE_CONV":
        # Without a stride it is run as a convolution.
        return "deconv" if shape.groups > 1 else "conv"
    if op.name in ("CONV_2D", "FULLY_CONNECTED"):
        if shape.rows == 1:
            # A vector by a matrix: every weight is read for one MAC.
            return "dense"
        if op.name == "FULLY_CONNECTED":
            return "conv_1x1"
        if shape.groups > 1:
            return "grouped_conv"
        kernel, options = contents.tensors[op.inputs[1]].shape, _options(op.name, stored)
        if kernel[3] <= STEM_CHANNELS:
            return "stem"
        # With a stride the pixels are gathered first, as for larger kernels.
        plain = kernel[1:3] == (1, 1) and options.StrideH() == options.StrideW() == 1
        return "conv_1x1" if plain else "conv"
    return KINDS.get(op.name, op.name.lower())


def _goes_into_conv(contents: Contents, op: Op) -> bool:
    readers = [other for other in contents.ops if set(op.outputs) & set(other.inputs)]
    return not set(op.outputs) & set(contents.outputs) and all(
        other.name in ("CONV_2D", "DEPTHWISE_CONV_2D") for other in readers
    )


def _stays(contents: Contents, op: Op) -> bool:
    # Values that one op writes and one op reads need no copy to take another shape.
    before, after = (sum(tensor in other.inputs for other in contents.ops) for tensor in (op.inputs[0], op.outputs[0]))
    return before == 1 and after + (op.outputs[0] in contents.outputs) == 1 and op.inputs[0] not in contents.inputs


def _conv_shape(inputs: Sequence[Tensor], outputs: Sequence[Tensor], stored: Any) -> _Shape:
    # The kernel is [OC, KH, KW, IC / groups].
    channels, height, width, inner = inputs[1].shape
    groups = max(1, inputs[0].shape[-1] // inner)
    return _Shape(math.prod(outputs[0].shape[:-1]), height * width * inner, channels // groups, groups, height * width)


def _dense_shape(inputs: Sequence[Tensor], outputs: Sequence[Tensor], stored: Any) -> _Shape:
    columns, inner = inputs[1].shape
    return _Shape(max(1, math.prod(inputs[0].shape) // inner), inner, columns)


def _deconv_shape(inputs: Sequence[Tensor], outputs: Sequence[Tensor], stored: Any) -> _Shape:
    # XNNPACK computes one small convolution for each of the stride x stride places of an output pixel.
    channels, height, width, inner = inputs[1].shape
    strides = _options("TRANSPOSE_CONV", stored)
    places = max(1, strides.StrideH() * strides.StrideW())
    pixels = math.prod(inputs[2].shape[:-1])
    taps = max(1, height * width // places)
    return _Shape(pixels, taps * inner, channels, places, taps)


def _depthwise_shape(inputs: Sequence[Tensor], outputs: Sequence[Tensor], stored: Any) -> _Shape:
    return _Shape(columns=inputs[1].shape[3], taps=math.prod(inputs[1].shape[1:3]))


def _transpose_shape(inputs: Sequence[Tensor], outputs: Sequence[Tensor], stored: Any) -> _Shape:
    return _Shape(columns=max(1, min(inputs[0].shape[-2:], default=1)))


def _pool_shape(inputs: Sequence[Tensor], outputs: Sequence[Tensor], stored: Any) -> _Shape:
    options = _options("MAX_POOL_2D", stored)
    return _Shape(taps=options.FilterHeight() * options.FilterWidth())


_SHAPES: Mapping[str, Callable[[Sequence[Tensor], Sequence[Tensor], Any], _Shape]] = {
    "AVERAGE_POOL_2D": _pool_shape,
    "CONV_2D": _conv_shape,
    "DEPTHWISE_CONV_2D": _depthwise_shape,
    "FULLY_CONNECTED": _dense_shape,
    "MAX_POOL_2D": _pool_shape,
    "TRANSPOSE": _transpose_shape,
    "TRANSPOSE_CONV": _deconv_shape,
}
_OPTIONS: Mapping[str, Any] = {
    "ADD": schema.AddOptions,
    "AVERAGE_POOL_2D": schema.Pool2DOptions,
    "CONV_2D": schema.Conv2DOptions,
    "DIV": schema.DivOptions,
    "MAX_POOL_2D": schema.Pool2DOptions,
    "MUL": schema.MulOptions,
    "SUB": schema.SubOptions,
    "TRANSPOSE_CONV": schema.TransposeConvOptions,
}
_CLAMPED = ("ADD", "DIV", "MUL", "SUB")


def _options(name: str, stored: Any) -> Any:
    table = stored.BuiltinOptions()
    if table is None:
        raise InputError(f"{name} must say its strides and activation. Received: an op without options")
    options = _OPTIONS[name]()
    options.Init(table.Bytes, table.Pos)
    return options
