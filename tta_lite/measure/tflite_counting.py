"""What does an exported file cost on paper? MACs, parameters and activation memory, per op and in all.

Read from the flatbuffer; imports no TensorFlow. What is counted is the same as for a Keras model (`counting`), but of
the graph that the converter has left: batch norm folded, activations fused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tta_lite.export.contents import Contents, Op, Tensor, read_contents
from tta_lite.measure.counts import Counts, LayerCount, summed
from tta_lite.types import InputError

DEFINITION = """\
One inference of the main graph of the file. A MAC is one multiply and one add.
  CONV_2D, CONV_3D       values of the output x taps x IC / groups; taps on the padding count
  DEPTHWISE_CONV_2D      values of the output x KH x KW
  TRANSPOSE_CONV         IH x IW x IC x KH x KW x OC: all taps of each input pixel
  FULLY_CONNECTED        rows x inputs x outputs
  BATCH_MATMUL           values of the output x the common size
  all else               0
Parameters: values of the constants that the ops above compute with, biases included, and of all others but integers of
32 and 64 bits (shapes, axes). A constant counts once, however many ops read it. In a file none is trainable.
Activation memory: an op's figure is its outputs in their own type. The total is the peak: the largest sum of tensors
that are alive at one op, its inputs and outputs included; no op writes over its input.
MACs a byte (arithmetic intensity): the op's MACs over the bytes of its inputs, weights and outputs, each once."""

MacFunction = Callable[[Sequence[Tensor], Tensor], int]


def _conv(inputs: Sequence[Tensor], output: Tensor) -> int:
    # The kernel is [OC, KH, KW, IC / groups].
    return math.prod(output.shape) * math.prod(inputs[1].shape[1:])


def _conv_3d(inputs: Sequence[Tensor], output: Tensor) -> int:
    # The kernel is [KD, KH, KW, IC / groups, OC].
    return math.prod(output.shape) * math.prod(inputs[1].shape[:-1])


def _depthwise(inputs: Sequence[Tensor], output: Tensor) -> int:
    # The kernel is [1, KH, KW, OC].
    return math.prod(output.shape) * math.prod(inputs[1].shape[1:3])


def _transposed(inputs: Sequence[Tensor], output: Tensor) -> int:
    # The output's shape, the kernel [OC, KH, KW, IC], the image.
    channels, height, width, _ = inputs[1].shape
    return math.prod(inputs[2].shape) * height * width * channels


def _dense(inputs: Sequence[Tensor], output: Tensor) -> int:
    # The kernel is [outputs, inputs].
    return math.prod(inputs[0].shape) * inputs[1].shape[0]


def _matmul(inputs: Sequence[Tensor], output: Tensor) -> int:
    left, rows = inputs[0].shape, output.shape[-2]
    return math.prod(output.shape) * (left[-1] if left[-2] == rows else left[-2])


MACS: Mapping[str, MacFunction] = {
    "BATCH_MATMUL": _matmul,
    "CONV_2D": _conv,
    "CONV_3D": _conv_3d,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "TRANSPOSE_CONV": _transposed,
}

# No multiply-accumulates by definition: they add, compare, move, scale, round.
FREE = frozenset({
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_TO_SPACE_ND", "BROADCAST_ARGS",
    "BROADCAST_TO", "CAST", "CEIL", "CONCATENATION", "COS", "DENSIFY", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU",
    "EQUAL", "EXP", "EXPAND_DIMS", "FILL", "FLOOR", "FLOOR_DIV", "GATHER", "GATHER_ND", "GELU", "GREATER",
    "GREATER_EQUAL", "HARD_SWISH", "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG",
    "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM",
    "MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL", "ONE_HOT", "PACK", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE", "RANGE",
    "RANK", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "ROUND", "RSQRT", "SELECT", "SELECT_V2", "SHAPE",
    "SIGN", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE",
    "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TOPK_V2", "TRANSPOSE", "UNPACK",
    "WHERE", "ZEROS_LIKE",
})  # fmt: skip


def count_tflite(tflite: bytes) -> Counts:
    """Count an exported file whose shapes are fixed.

    Args:
      tflite: the flatbuffer.

    Raises:
      InputError: no flatbuffer of a model, or a shape is open.

    Warns:
      NotCountedWarning: the table does not know an op; its row says so and the sum lacks its MACs.
    """
    if tflite[4:8] != b"TFL3":
        raise InputError(
            f"Expected the bytes of a .tflite file, with TFL3 at byte 4. Received: {len(tflite)} bytes, "
            f"{tflite[:8]!r} first"
        )
    contents = read_contents(tflite)
    counted: set[int] = set()
    layers = tuple(_op(contents, op, counted) for op in contents.ops)
    return summed(DEFINITION, layers, contents.memory().peak_live_bytes)


def _op(contents: Contents, op: Op, counted: set[int]) -> LayerCount:
    inputs, outputs = ([contents.tensors[index] for index in indices] for indices in (op.inputs, op.outputs))
    open_ones = [tensor for tensor in (*inputs, *outputs) if any(size < 0 for size in tensor.shape)]
    if open_ones:
        raise InputError(
            "Counting needs fixed shapes: export with a fixed batch and size. "
            f"Received: {open_ones[0].shape} of {open_ones[0].name!r}"
        )
    if op.name in MACS:
        macs: int | None = MACS[op.name](inputs, outputs[0])
    else:
        macs = 0 if op.name in FREE else None
    params = 0
    for place, tensor in enumerate(inputs):
        # The first input of TRANSPOSE_CONV is the shape of its output.
        computes = op.name in MACS and not (op.name == "TRANSPOSE_CONV" and place == 0)
        if tensor.is_constant and tensor.index not in counted and (computes or tensor.dtype not in ("int32", "int64")):
            counted.add(tensor.index)
            params += math.prod(tensor.shape)
    once = {tensor.index: tensor.bytes for tensor in (*inputs, *outputs)}
    return LayerCount(
        name=outputs[0].name if outputs else "",
        op=op.name,
        output_shape=outputs[0].shape if outputs else (),
        macs=macs,
        params=params,
        trainable_params=0,
        activation_bytes=sum(tensor.bytes for tensor in outputs),
        traffic_bytes=sum(once.values()),
    )
