"""MobileNetV2 whose stages have a kernel, an expansion, a depth and squeeze-and-excite of their own.

Sandler et al., CVPR 2018, table 2, https://arxiv.org/abs/1801.04381. Layers that `keras.applications` has too are named
as there: weights of that network fit by name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

from tta_lite.compat import keras
from tta_lite.models.mnasnet import rounded, squeeze_excite
from tta_lite.models.mobilenet import BATCH_NORM_MOMENTUM
from tta_lite.types import InputError

L = keras.layers


class Row(NamedTuple):
    """A row of table 2: channels, blocks, stride of the first block."""

    filters: int
    depth: int
    stride: int


# Stage number -> its row. The blocks of the first one do not expand.
ROWS = {
    1: Row(16, 1, 1), 2: Row(24, 2, 2), 3: Row(32, 3, 2), 4: Row(64, 4, 2), 5: Row(96, 3, 1), 6: Row(160, 3, 2),
    7: Row(320, 1, 1),
}  # fmt: skip
STEM, LAST = 32, 1280
# The last stage before the size is halved the fifth time.
LAST_OF_STRIDE_16 = 5


@dataclasses.dataclass(frozen=True)
class StageForm:
    """What a stage looks like; by default as in the paper.

    Attributes:
      kernel: side of the depthwise kernels, odd.
      expand: channels inside a block over those that it gets.
      depth: blocks; None: as many as the paper has.
      excite: channels of the squeeze over those that the block gets; 0: no squeeze-and-excite.

    Raises:
      InputError: a figure out of its range.
    """

    kernel: int = 3
    expand: int = 6
    depth: int | None = None
    excite: float = 0.0

    def __post_init__(self) -> None:
        if type(self.kernel) is not int or self.kernel < 1 or not self.kernel % 2:
            raise InputError(f"Argument `kernel` must be an odd number above 0. Received: {self.kernel!r}")
        if type(self.expand) is not int or self.expand < 1:
            raise InputError(f"Argument `expand` must be a whole number, 1 or more. Received: {self.expand!r}")
        if self.depth is not None and (type(self.depth) is not int or self.depth < 1):
            raise InputError(f"Argument `depth` must be a whole number, 1 or more. Received: {self.depth!r}")
        if not 0 <= self.excite <= 1:
            raise InputError(f"Argument `excite` must lie in 0..1. Received: {self.excite!r}")


PAPER = tuple(StageForm() for _ in range(2, 8))


def mobilenet_stages(
    x: Any, forms: Sequence[StageForm] = PAPER, *, width: float = 1.0, last: bool = True, stages: int = 7
) -> Any:
    """[B, H, W, 3] -> [B, H / 32, W / 32, C], or [B, H / 16, W / 16, C] for 5 stages or fewer than 6.

    A stage with fewer blocks than the paper's has its first ones, under their names; further ones are called
    ``stage<number>_extra<count>``.

    Args:
      x: images scaled to -1..1.
      forms: of the stages 2 to 7; those beyond `stages` do not matter.
      width: multiplies all channels, each of which becomes a multiple of 8; the last convolution's only above 1.
      last: end with the 1 x 1 convolution to 1280 channels.
      stages: how many there are, 5 or 7.

    Raises:
      InputError: an argument out of its range.
    """
    if len(forms) != len(PAPER):
        raise InputError(f"Argument `forms` must hold {len(PAPER)}, of the stages 2 to 7. Received: {len(forms)}")
    if stages not in (LAST_OF_STRIDE_16, len(ROWS)):
        raise InputError(f"Argument `stages` must be {LAST_OF_STRIDE_16} or {len(ROWS)}. Received: {stages!r}")
    if not width > 0:
        raise InputError(f"Argument `width` must be above 0. Received: {width!r}")
    x = L.Conv2D(rounded(STEM * width), 3, strides=2, padding="same", use_bias=False, name="Conv1")(x)
    x = _normed(x, "bn_Conv1", "Conv1_relu")
    x = _block(x, StageForm(expand=1), rounded(int(ROWS[1].filters * width)), 1, "expanded_conv")
    number = 1
    for stage, form in zip(range(2, stages + 1), forms, strict=False):
        row = ROWS[stage]
        for place in range(form.depth or row.depth):
            extra = place - row.depth
            name = f"block_{number + place}" if extra < 0 else f"stage{stage}_extra{extra + 1}"
            x = _block(x, form, rounded(int(row.filters * width)), row.stride if place == 0 else 1, name)
        number += row.depth
    if last:
        x = L.Conv2D(LAST if width <= 1 else rounded(LAST * width), 1, use_bias=False, name="Conv_1")(x)
        x = _normed(x, "Conv_1_bn", "out_relu")
    return x


def _block(x: Any, form: StageForm, filters: int, stride: int, name: str) -> Any:
    channels, y = x.shape[-1], x
    if form.expand > 1:
        y = L.Conv2D(form.expand * channels, 1, padding="same", use_bias=False, name=f"{name}_expand")(y)
        y = _normed(y, f"{name}_expand_BN", f"{name}_expand_relu")
    if stride == 2:
        # As Keras pads: on an even side one less in front than behind.
        half = form.kernel // 2
        edges = tuple((half - 1 + side % 2, half) for side in y.shape[1:3])
        y = L.ZeroPadding2D(edges, name=f"{name}_pad")(y)
    y = L.DepthwiseConv2D(
        form.kernel, strides=stride, padding="same" if stride == 1 else "valid", use_bias=False,
        name=f"{name}_depthwise",
    )(y)  # fmt: skip
    y = _normed(y, f"{name}_depthwise_BN", f"{name}_depthwise_relu")
    if form.excite:
        y = squeeze_excite(y, max(1, int(channels * form.excite)), name=f"{name}_se")
    y = L.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}_project")(y)
    # The projection stays linear: a ReLU here would destroy information.
    y = _normed(y, f"{name}_project_BN", None)
    return L.Add(name=f"{name}_add")([x, y]) if stride == 1 and channels == filters else y


def _normed(x: Any, name: str, act: str | None) -> Any:
    x = L.BatchNormalization(epsilon=1e-3, momentum=BATCH_NORM_MOMENTUM, name=name)(x)
    return x if act is None else L.ReLU(6.0, name=act)(x)
