"""MnasNet, found by search with the latency of a phone in its reward, as a function from tensor to tensor.

Tan et al., CVPR 2019, figure 7, https://arxiv.org/abs/1807.11626: A1 with squeeze-and-excite, and B1 without it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tta_lite.compat import keras
from tta_lite.models.blocks import conv_bn, depthwise_bn
from tta_lite.types import InputError

L = keras.layers


class Stage(NamedTuple):
    """A row of figure 7: inverted residuals in a row, of which the first has the stride."""

    kernel: int
    stride: int
    expand: int
    filters: int
    repeats: int
    excite: bool = False


MNASNETS = {
    "a1": (
        Stage(3, 2, 6, 24, 2), Stage(5, 2, 3, 40, 3, True), Stage(3, 2, 6, 80, 4), Stage(3, 1, 6, 112, 2, True),
        Stage(5, 2, 6, 160, 3, True), Stage(3, 1, 6, 320, 1),
    ),
    "b1": (
        Stage(3, 2, 3, 24, 3), Stage(5, 2, 3, 40, 3), Stage(5, 2, 6, 80, 3), Stage(3, 1, 6, 96, 2),
        Stage(5, 2, 6, 192, 4), Stage(3, 1, 6, 320, 1),
    ),
}  # fmt: skip
STEM, FIRST, LAST = 32, 16, 1280


def mnasnet(x: Any, variant: str = "b1", *, width: float = 1.0, depth: float = 1.0) -> Any:
    """[B, H, W, 3] -> [B, H / 32, W / 32, 1280]: the convolutions of MnasNet.

    Args:
      x: images, height and width multiples of 32.
      variant: a key of `MNASNETS`.
      width: multiplies all channels but the last convolution's; each becomes a multiple of 8.
      depth: multiplies the blocks of each stage, rounded up (Tan and Le, *EfficientNet*, 2019).

    Raises:
      InputError: an unknown variant, or a width or depth of 0 or less.
    """
    if variant not in MNASNETS:
        raise InputError(f"Argument `variant` must be one of {', '.join(MNASNETS)}. Received: {variant!r}")
    if not width > 0:
        raise InputError(f"Argument `width` must be above 0. Received: {width!r}")
    if not depth > 0:
        raise InputError(f"Argument `depth` must be above 0. Received: {depth!r}")
    x = conv_bn(x, rounded(STEM * width), 3, strides=2, name="stem")
    # A separable convolution without expansion.
    x = depthwise_bn(x, 3, name="sep_dwconv")
    x = conv_bn(x, rounded(FIRST * width), 1, act=None, name="sep_project")
    for place, stage in enumerate(MNASNETS[variant], start=2):
        for block in range(1, math.ceil(stage.repeats * depth) + 1):
            stride = stage.stride if block == 1 else 1
            x = _inverted_residual(x, stage, rounded(stage.filters * width), stride, f"stage{place}_block{block}")
    return conv_bn(x, LAST, 1, name="last")


def rounded(channels: float) -> int:
    """-> the nearest multiple of 8, one more where that would take off more than a tenth.

    >>> [rounded(channels) for channels in (12, 16, 20, 28)]
    [16, 16, 24, 32]
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def _inverted_residual(x: Any, stage: Stage, filters: int, stride: int, name: str) -> Any:
    channels = x.shape[-1]
    y = conv_bn(x, channels * stage.expand, 1, name=f"{name}_expand")
    y = depthwise_bn(y, stage.kernel, strides=stride, name=f"{name}_dwconv")
    if stage.excite:
        y = squeeze_excite(y, max(1, channels // 4), name=f"{name}_se")
    # The projection stays linear: a ReLU here would destroy information.
    y = conv_bn(y, filters, 1, act=None, name=f"{name}_project")
    return L.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == filters else y


def squeeze_excite(x: Any, filters: int, *, name: str) -> Any:
    """[B, H, W, C] -> each channel times a factor in 0..1 that all channels' means decide.

    Hu et al., *Squeeze-and-Excitation Networks*, CVPR 2018, https://arxiv.org/abs/1709.01507.
    """
    y = L.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    y = L.Conv2D(filters, 1, activation="relu", name=f"{name}_reduce")(y)
    y = L.Conv2D(x.shape[-1], 1, activation="sigmoid", name=f"{name}_expand")(y)
    return L.Multiply(name=f"{name}_scale")([x, y])
