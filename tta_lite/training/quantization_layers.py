"""Which layers can be quantised, and how: tables that the rest of quantisation-aware training looks things up in."""

from __future__ import annotations

from typing import Any

from tta_lite.compat import keras
from tta_lite.models.layers import ChannelShuffle, ChannelSplit, DepthToSpace, HardSwish
from tta_lite.training.quantizers import KERNELS
from tta_lite.transforms.graph import Call, Graph

L = keras.layers

LINEAR = tuple(KERNELS)
# They only move or choose values: their codes are those of their input.
MOVES = (
    L.MaxPooling2D, L.AveragePooling2D, L.GlobalMaxPooling2D, L.UpSampling2D, L.Resizing, L.Reshape, L.Flatten,
    L.Permute, L.ZeroPadding2D, L.Cropping2D, L.Dropout, L.SpatialDropout2D, L.GaussianNoise, L.GaussianDropout,
    L.AlphaDropout, L.ActivityRegularization, ChannelShuffle, ChannelSplit, DepthToSpace,
)  # fmt: skip
# They compute, and their output has a range of its own.
COMPUTES = (
    L.Add, L.Subtract, L.Multiply, L.Concatenate, L.GlobalAveragePooling2D, L.Rescaling, L.LeakyReLU, HardSwish
)  # fmt: skip
# The converter gives these outputs one scale, 1/256 or 1/128, whatever they hold (TFLite's quantisation specification).
FIXED = {"sigmoid": (0.0, 255 / 256), "softmax": (0.0, 255 / 256), "tanh": (-1.0, 127 / 128)}
RELUS = ("relu", "relu6")
INPUT = "quantize_"


def is_relu(layer: keras.layers.Layer) -> bool:
    """-> whether it is a ReLU or ReLU6, which the converter fuses into what is before it."""
    if type(layer) is L.ReLU:
        return layer.max_value in (None, 6) and not layer.negative_slope and not layer.threshold
    return type(layer) is L.Activation and name_of(layer.activation) in RELUS


def name_of(activation: Any) -> str:
    """-> the name of an activation function."""
    return getattr(activation, "__name__", type(activation).__name__)


def follows_linear(call: Call, graph: Graph) -> bool:
    """-> whether a call reads what a layer of `LINEAR` gives, and nothing else reads it."""
    before = graph.producers.get(call.reads[0])
    return before is not None and type(before.layer) in LINEAR and graph.only_reader(call.reads[0]) is call
