"""How many multiply-accumulates (MACs) does one call of a Keras layer take? A table: layer class -> function.

Each function takes the layer, the shape of its first input and that of its output (with a batch of 1) and gives MACs.
What is counted is defined in `counting.DEFINITION`. A new op is one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from tta_lite.compat import keras
from tta_lite.models.binary_layers import BinaryConv2D, BinaryDense, BinaryDepthwiseConv2D
from tta_lite.models.layers import ChannelShuffle, ChannelSplit, DepthToSpace

Shape = tuple[int, ...]
MacFunction = Callable[[keras.layers.Layer, Shape, Shape], int]

L = keras.layers


def _split(layer: keras.layers.Layer, shape: Shape) -> tuple[int, int]:
    """[B, ..., C], or [B, C, ...] if the layer says so -> (positions, channels)."""
    if layer.data_format == "channels_first":
        return math.prod(shape[2:]), shape[1]
    return math.prod(shape[1:-1]), shape[-1]


def conv(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int:
    """OH x OW x OC x KH x KW x IC / groups. Taps that fall on the padding count."""
    positions, out_channels = _split(layer, outputs)
    _, in_channels = _split(layer, inputs)
    return positions * out_channels * math.prod(layer.kernel_size) * (in_channels // layer.groups)


def depthwise(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int:
    """OH x OW x IC x multiplier x KH x KW."""
    positions, out_channels = _split(layer, outputs)
    return positions * out_channels * math.prod(layer.kernel_size)


def separable(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int:
    """The depthwise part, OH x OW x M x KH x KW with M = IC x multiplier, and the pointwise, OH x OW x M x OC."""
    positions, out_channels = _split(layer, outputs)
    middle = _split(layer, inputs)[1] * layer.depth_multiplier
    return positions * middle * (math.prod(layer.kernel_size) + out_channels)


def transposed(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int:
    """IH x IW x IC x KH x KW x OC: all taps of each input pixel, also those that the border cuts off."""
    positions, in_channels = _split(layer, inputs)
    return positions * in_channels * math.prod(layer.kernel_size) * layer.filters


def dense(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int:
    """Inputs x outputs, at each position."""
    return math.prod(outputs[1:]) * inputs[-1]


MACS: Mapping[type[keras.layers.Layer], MacFunction] = {
    L.Conv1D: conv,
    L.Conv2D: conv,
    L.Conv3D: conv,
    L.DepthwiseConv1D: depthwise,
    L.DepthwiseConv2D: depthwise,
    L.SeparableConv1D: separable,
    L.SeparableConv2D: separable,
    L.Conv1DTranspose: transposed,
    L.Conv2DTranspose: transposed,
    L.Conv3DTranspose: transposed,
    L.Dense: dense,
    # A product with -alpha or alpha is one still: TFLite has no kernels for bits.
    BinaryConv2D: conv,
    BinaryDepthwiseConv2D: depthwise,
    BinaryDense: dense,
}

# They write over their input if nothing else reads it later: converters fold them away or run them in place.
ELEMENTWISE: frozenset[type[keras.layers.Layer]] = frozenset(
    {
        L.Activation,
        L.ActivityRegularization,
        L.AlphaDropout,
        L.BatchNormalization,
        L.Dropout,
        L.ELU,
        L.Flatten,
        L.GaussianDropout,
        L.GaussianNoise,
        L.LeakyReLU,
        L.Normalization,
        L.PReLU,
        L.ReLU,
        L.Rescaling,
        L.Reshape,
        L.SpatialDropout1D,
        L.SpatialDropout2D,
        L.ThresholdedReLU,
    }
)

# No multiply-accumulates by definition: they fold into a neighbour, or add, compare, move and scale.
FREE: frozenset[type[keras.layers.Layer]] = ELEMENTWISE | {
    L.Add,
    L.Average,
    L.AveragePooling1D,
    L.AveragePooling2D,
    L.AveragePooling3D,
    L.Concatenate,
    L.Cropping1D,
    L.Cropping2D,
    L.Embedding,
    L.GlobalAveragePooling1D,
    L.GlobalAveragePooling2D,
    L.GlobalMaxPooling1D,
    L.GlobalMaxPooling2D,
    L.GroupNormalization,
    L.InputLayer,
    L.LayerNormalization,
    L.MaxPooling1D,
    L.MaxPooling2D,
    L.MaxPooling3D,
    L.Maximum,
    L.Minimum,
    L.Multiply,
    L.Permute,
    L.RepeatVector,
    L.Resizing,
    L.Softmax,
    L.Subtract,
    L.UpSampling1D,
    L.UpSampling2D,
    L.ZeroPadding1D,
    L.ZeroPadding2D,
    ChannelShuffle,
    ChannelSplit,
    DepthToSpace,
}

# Layers that keras.applications has for itself: a factor a channel, and branches that are dropped in training.
FREE_IN_APPLICATIONS = ("CustomScaleLayer", "LayerScale", "StochasticDepth")

# TensorFlow functions that may be called on Keras tensors, by the last part of their name: the same definition.
FREE_FUNCTIONS = frozenset({
    "__add__", "__getitem__", "__mul__", "__neg__", "__radd__", "__rmul__", "__rsub__", "__sub__",
    "__truediv__", "abs", "add", "add_n", "argmax", "avg_pool2d", "batch_to_space", "bias_add", "cast",
    "clip_by_value", "concat", "cos", "crop_to_bounding_box", "depth_to_space", "divide", "elu", "equal", "exp",
    "expand_dims", "flatten", "gather", "gelu", "getitem", "greater", "hard_sigmoid", "identity",
    "l2_normalize", "leaky_relu", "less", "log", "max_pool2d", "maximum", "minimum", "mirror_pad", "multiply",
    "negative", "one_hot", "ones_like", "pad", "pow", "realdiv", "reduce_max", "reduce_mean", "reduce_min",
    "reduce_sum", "relu", "relu6", "repeat", "reshape", "resize", "reverse", "roll", "rsqrt", "selu", "shape",
    "sigmoid", "silu", "sin", "softmax", "softplus", "space_to_batch", "space_to_depth", "split", "sqrt",
    "square", "squeeze", "stack", "stop_gradient", "subtract", "swish", "tanh", "tile", "transpose", "truediv",
    "unstack", "where", "zeros_like",
})  # fmt: skip


def matmul(left: Shape, outputs: Shape) -> int:
    """[..., M, K] or [..., K, M], and [..., M, N] -> values of the output x K."""
    common = left[-1] if left[-2] == outputs[-2] else left[-2]
    return math.prod(outputs) * common


def macs(layer: keras.layers.Layer, inputs: Sequence[Shape], outputs: Shape) -> int | None:
    """-> MACs of one call, or None if the table does not know the layer.

    Args:
      layer: what is called.
      inputs: the shapes of all tensors it is called on.
      outputs: the shape of its first output.
    """
    kind = type(layer)
    if kind in MACS:
        return MACS[kind](layer, inputs[0], outputs)
    if kind in FREE or kind.__name__ == "SlicingOpLambda":
        return 0
    if kind.__name__ in FREE_IN_APPLICATIONS and keras.applications.__name__.split(".")[0] in kind.__module__:
        return 0
    function = function_name(layer).rpartition(".")[2]
    if function == "matmul":
        return matmul(inputs[0], outputs)
    return 0 if function in FREE_FUNCTIONS else None


def op_name(layer: keras.layers.Layer) -> str:
    """-> the class of a layer, or the name of the TensorFlow function that it stands for."""
    function = function_name(layer)
    return f"tf.{function}" if function else type(layer).__name__


def function_name(layer: keras.layers.Layer) -> str:
    """-> the TensorFlow function that a ``tf.*`` call on a Keras tensor became, e.g. ``math.multiply``, or nothing."""
    if type(layer).__name__ not in ("TFOpLambda", "SlicingOpLambda"):
        return ""
    return str(layer.get_config()["function"])
