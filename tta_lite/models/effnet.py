"""EffNet, whose 3 x 3 depthwise convolutions are 1 x 3 and 3 x 1 with a pooling between, as a function of tensors.

Freeman, Roese-Koerner, Kummert, *EffNet: An Efficient Structure for Convolutional Neural Networks*, ICIP 2018, figure 1
and table 2, https://arxiv.org/abs/1801.06434. It is made for pictures of 32 x 32.
"""

from __future__ import annotations

from typing import Any

from tta_lite.compat import keras
from tta_lite.models.blocks import conv_bn, depthwise_bn
from tta_lite.types import InputError

L = keras.layers
BLOCKS = ((32, 64), (64, 128), (128, 256))


def effnet(x: Any, *, width: float = 1.0) -> Any:
    """[B, H, W, 3] -> [B, H / 8, W / 8, 256]: the convolutions of EffNet.

    Args:
      x: images, height and width multiples of 8.
      width: multiplies all channels.

    Raises:
      InputError: a width of 0 or less.
    """
    if not width > 0:
        raise InputError(f"Argument `width` must be above 0. Received: {width!r}")
    for place, (narrow, wide) in enumerate(BLOCKS, start=1):
        x = effnet_block(x, max(1, round(narrow * width)), max(1, round(wide * width)), name=f"block{place}")
    return x


def effnet_block(x: Any, narrow: int, wide: int, *, name: str) -> Any:
    """[B, H, W, C] -> [B, H / 2, W / 2, wide]: PConv, 1 x 3, pool the rows, 3 x 1, a 2 x 1 that halves the columns."""
    x = conv_bn(x, narrow, 1, act=L.LeakyReLU, name=f"{name}_pconv")
    x = depthwise_bn(x, (1, 3), act=L.LeakyReLU, name=f"{name}_row")
    # Half of the pooling here, before the second half of the work, and half of it in the last convolution.
    x = L.MaxPooling2D((2, 1), name=f"{name}_pool")(x)
    x = depthwise_bn(x, (3, 1), act=L.LeakyReLU, name=f"{name}_column")
    return conv_bn(x, wide, (2, 1), strides=(1, 2), act=L.LeakyReLU, name=f"{name}_widen")


def effnet_head(x: Any, classes: int) -> Any:
    """[B, H, W, C] -> [B, classes]: all values into one dense layer."""
    return L.Dense(classes, name="head_dense")(L.Flatten(name="head_flatten")(x))
