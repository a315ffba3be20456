"""ShuffleNet V1 and V2, as functions from tensor to tensor.

V1: Zhang et al., CVPR 2018, table 1, https://arxiv.org/abs/1707.01083.
V2: Ma et al., ECCV 2018, table 5, https://arxiv.org/abs/1807.11164.
"""

from __future__ import annotations

import math
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.blocks import conv_bn, depthwise_bn
from tta_lite.models.layers import ChannelShuffle, ChannelSplit
from tta_lite.types import InputError

L = keras.layers

REPEATS = (4, 8, 4)
STEM = 24
# V1: channels of the three stages for each number of groups. A width multiplies them.
V1_FILTERS = {1: (144, 288, 576), 2: (200, 400, 800), 3: (240, 480, 960), 4: (272, 544, 1088), 8: (384, 768, 1536)}
# V2: channels of the three stages and of the last convolution for each width.
V2_FILTERS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


def shufflenet_v1(x: Any, *, groups: int = 3, width: float = 1.0, depth: float = 1.0) -> Any:
    """[B, H, W, 3] -> [B, H / 32, W / 32, C]: the convolutions of ShuffleNet V1.

    Args:
      x: images, height and width multiples of 32.
      groups: of the 1 x 1 convolutions, a key of `V1_FILTERS`.
      width: multiplies the channels of all stages, as "ShuffleNet s x" in the paper.
      depth: multiplies the blocks of each stage, rounded up.

    Raises:
      InputError: groups or a width that the paper's table does not give, or a depth of 0 or less.
    """
    if groups not in V1_FILTERS:
        raise InputError(f"Argument `groups` must be one of {', '.join(map(str, V1_FILTERS))}. Received: {groups!r}")
    stem = round(STEM * width)
    filters = [round(count * width) for count in V1_FILTERS[groups]]
    if any(count % (4 * groups) for count in filters) or stem < 1:
        raise InputError(
            f"Argument `width` must leave multiples of {4 * groups} channels, not {filters}. Received: {width!r}"
        )
    x = conv_bn(x, stem, 3, strides=2, name="stem")
    x = L.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (count, repeats) in enumerate(zip(filters, _repeats(depth), strict=True), start=2):
        for block in range(1, repeats + 1):
            # The very first 1 x 1 convolution has few input channels, and no groups (section 3.2).
            first_groups = 1 if stage == 2 and block == 1 else groups
            x = _unit_v1(x, count, groups, first_groups, down=block == 1, name=f"stage{stage}_block{block}")
    return x


def _repeats(depth: float) -> list[int]:
    if not depth > 0:
        raise InputError(f"Argument `depth` must be above 0. Received: {depth!r}")
    return [math.ceil(count * depth) for count in REPEATS]


def _unit_v1(x: Any, filters: int, groups: int, first_groups: int, *, down: bool, name: str) -> Any:
    """Figure 2 b, and c where it halves the size."""
    shortcut, out = x, filters
    if down:
        # The two branches are concatenated and together have all channels.
        shortcut = L.AveragePooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
        out -= x.shape[-1]
    y = conv_bn(x, filters // 4, 1, groups=first_groups, name=f"{name}_reduce")
    y = ChannelShuffle(groups, name=f"{name}_shuffle")(y)
    y = depthwise_bn(y, 3, strides=2 if down else 1, act=None, name=f"{name}_dwconv")
    y = conv_bn(y, out, 1, groups=groups, act=None, name=f"{name}_expand")
    if down:
        # The shortcut is a mean of values that have gone through a ReLU, so that one before the concatenation is the
        # same as the paper's behind it; there the converter fuses it into the convolution.
        return L.Concatenate(name=f"{name}_cat")([shortcut, L.ReLU(name=f"{name}_act")(y)])
    return L.ReLU(name=f"{name}_act")(L.Add(name=f"{name}_add")([shortcut, y]))


def shufflenet_v2(x: Any, *, width: float = 1.0, depth: float = 1.0) -> Any:
    """[B, H, W, 3] -> [B, H / 32, W / 32, 1024 or 2048]: the convolutions of ShuffleNet V2.

    Args:
      x: images, height and width multiples of 32.
      width: a key of `V2_FILTERS`.
      depth: multiplies the blocks of each stage, rounded up.

    Raises:
      InputError: a width that the paper's table does not give, or a depth of 0 or less.
    """
    if width not in V2_FILTERS:
        raise InputError(f"Argument `width` must be one of {', '.join(map(str, V2_FILTERS))}. Received: {width!r}")
    *filters, last = V2_FILTERS[width]
    x = conv_bn(x, STEM, 3, strides=2, name="stem")
    x = L.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (count, repeats) in enumerate(zip(filters, _repeats(depth), strict=True), start=2):
        for block in range(1, repeats + 1):
            x = _unit_v2(x, count // 2, down=block == 1, name=f"stage{stage}_block{block}")
    return conv_bn(x, last, 1, name="last")


def _unit_v2(x: Any, half: int, *, down: bool, name: str) -> Any:
    """Figure 3 c, and d where it halves the size."""
    if down:
        shortcut = depthwise_bn(x, 3, strides=2, act=None, name=f"{name}_short_dwconv")
        shortcut = conv_bn(shortcut, half, 1, name=f"{name}_short_pconv")
        y = x
    else:
        shortcut, y = ChannelSplit(2, name=f"{name}_split")(x)
    y = conv_bn(y, half, 1, name=f"{name}_pconv1")
    y = depthwise_bn(y, 3, strides=2 if down else 1, act=None, name=f"{name}_dwconv")
    y = conv_bn(y, half, 1, name=f"{name}_pconv2")
    return ChannelShuffle(2, name=f"{name}_shuffle")(L.Concatenate(name=f"{name}_cat")([shortcut, y]))
