"""How many multiply-accumulates (MACs) does one call of a Keras layer take? A table: layer class -> function.

Each function takes the layer, the shape of its input and the shape of its output (with a batch of 1) and gives MACs.
What is counted is defined in `counting.DEFINITION`. A new op is one entry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tta_lite.compat import keras
from tta_lite.types import InputError

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
}

# They multiply and accumulate without weights of their own, so that they would pass for free.
REFUSED: frozenset[type[keras.layers.Layer]] = frozenset({L.AdditiveAttention, L.Attention, L.Dot})
REFUSED_FUNCTIONS = ("conv", "dot", "einsum", "matmul", "matrix")


def macs(layer: keras.layers.Layer, inputs: Shape, outputs: Shape) -> int | None:
    """-> MACs of one call, or None for a layer without weights that the table does not know.

    Raises:
      InputError: the layer has weights and is not in the table, or is known to multiply and accumulate.
    """
    kind = type(layer)
    if kind in MACS:
        return MACS[kind](layer, inputs, outputs)
    if kind in FREE:
        return 0
    function = function_name(layer)
    if layer.weights or kind in REFUSED or any(word in function.lower() for word in REFUSED_FUNCTIONS):
        raise InputError(
            f"The MACs of layer `{layer.name}` cannot be counted: its type must be one of "
            f"{', '.join(sorted(known.__name__ for known in MACS))}, or a type without multiply-accumulates. Wrappers "
            "for training (pruning, quantisation) are taken off first. "
            f"Received: {kind.__name__}{f' of {function}' if function else ''}"
        )
    return None


def function_name(layer: keras.layers.Layer) -> str:
    """-> the TensorFlow function that a ``tf.*`` call on a Keras tensor became, e.g. ``math.multiply``, or nothing."""
    if type(layer).__name__ != "TFOpLambda":
        return ""
    return str(layer.get_config()["function"])
