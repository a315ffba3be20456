"""Layers that Keras lacks: they have no weights, and all but the last only move values."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.types import InputError


@keras.utils.register_keras_serializable(package="tta_lite")
class DepthToSpace(keras.layers.Layer):
    """[B, H, W, b^2 C] -> [B, b H, b W, C]: each pixel's channels become a square of b x b pixels.

    Channel ``(row * b + column) * C + c`` goes to row `row`, column `column` of the square. Shi et al., *Real-Time
    Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network*, CVPR 2016,
    section 3.2, https://arxiv.org/abs/1609.05158. In TFLite: DEPTH_TO_SPACE.

    Args:
      block: b, 2 or more.

    Example:
      >>> DepthToSpace(2)(tf.reshape(tf.range(4), (1, 1, 1, 4)))[0, :, :, 0].numpy().tolist()
      [[0, 1], [2, 3]]
    """

    def __init__(self, block: int, **options: Any):
        super().__init__(**options)
        if block < 2:
            raise InputError(f"Argument `block` must be 2 or more. Received: {block!r}")
        self.block = block

    def build(self, shape: Any) -> None:
        """Checks the number of channels."""
        _check_divides(self, self.block**2, shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        """See the class."""
        return tf.nn.depth_to_space(x, self.block)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {**super().get_config(), "block": self.block}


@keras.utils.register_keras_serializable(package="tta_lite")
class ChannelShuffle(keras.layers.Layer):
    """[B, H, W, C] -> the same channels in another order: the first of each group, then the second of each, and so on.

    Zhang et al., *ShuffleNet*, CVPR 2018, section 3.1, https://arxiv.org/abs/1707.01083. In TFLite: RESHAPE, TRANSPOSE,
    RESHAPE.

    Args:
      groups: must divide the channels.

    Example:
      >>> ChannelShuffle(2)(tf.reshape(tf.range(6), (1, 1, 1, 6)))[0, 0, 0].numpy().tolist()
      [0, 3, 1, 4, 2, 5]
    """

    def __init__(self, groups: int, **options: Any):
        super().__init__(**options)
        if groups < 1:
            raise InputError(f"Argument `groups` must be 1 or more. Received: {groups!r}")
        self.groups = groups

    def build(self, shape: Any) -> None:
        """Checks the number of channels."""
        _check_divides(self, self.groups, shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        """See the class."""
        _, height, width, channels = x.shape
        # One axis for all pixels: a transposition of three axes is cheaper than one of five.
        if None in (height, width):
            size = tf.shape(x)
            height, width = size[1], size[2]
        y = tf.reshape(x, (-1, height * width, self.groups, channels // self.groups))
        return tf.reshape(tf.transpose(y, (0, 1, 3, 2)), (-1, height, width, channels))

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {**super().get_config(), "groups": self.groups}


@keras.utils.register_keras_serializable(package="tta_lite")
class ChannelSplit(keras.layers.Layer):
    """[B, H, W, C] -> `parts` tensors [B, H, W, C / parts]. Ma et al., *ShuffleNet V2*, ECCV 2018, section 3.2.

    https://arxiv.org/abs/1807.11164. In TFLite: SPLIT.

    Args:
      parts: must divide the channels.
    """

    def __init__(self, parts: int = 2, **options: Any):
        super().__init__(**options)
        if parts < 2:
            raise InputError(f"Argument `parts` must be 2 or more. Received: {parts!r}")
        self.parts = parts

    def build(self, shape: Any) -> None:
        """Checks the number of channels."""
        _check_divides(self, self.parts, shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        """See the class."""
        return tf.split(x, self.parts, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {**super().get_config(), "parts": self.parts}


@keras.utils.register_keras_serializable(package="tta_lite")
class HardSwish(keras.layers.Layer):
    """x * min(max(x + 3, 0), 6) / 6, as one layer. Howard et al., *Searching for MobileNetV3*, ICCV 2019, section 5.2.

    https://arxiv.org/abs/1905.02244. In TFLite: HARD_SWISH.

    Example:
      >>> HardSwish()(tf.constant([-4.0, 0.0, 1.0, 4.0])).numpy().round(3)
      array([-0.   ,  0.   ,  0.667,  4.   ], dtype=float32)
    """

    def call(self, x: Any) -> Any:
        """See the class."""
        return x * tf.nn.relu6(x + 3.0) * (1 / 6)


def _check_divides(layer: keras.layers.Layer, number: int, shape: Any) -> None:
    if shape[-1] is None or shape[-1] % number:
        raise InputError(f"Layer {layer.name!r} needs a multiple of {number} channels. Received: shape {tuple(shape)}")
