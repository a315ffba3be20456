"""Layers that Keras lacks: they only move values, and have no weights."""

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
        if shape[-1] % self.block**2:
            raise InputError(
                f"Layer {self.name!r} needs a multiple of {self.block**2} channels. Received: shape {tuple(shape)}"
            )
        super().build(shape)

    def call(self, x: Any) -> Any:
        """See the class."""
        return tf.nn.depth_to_space(x, self.block)

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {**super().get_config(), "block": self.block}
