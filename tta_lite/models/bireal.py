"""A small residual classifier that stays accurate when its weights and inputs become bits.

Liu et al., *Bi-Real Net*, ECCV 2018, https://arxiv.org/abs/1808.00278: a shortcut around every convolution (section
3.2), so that real numbers flow past each sign. Here without weights in the shortcuts, and for pictures of 8 x 8 pixels
or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.blocks import pooled_head
from tta_lite.models.resnet import batch_norm
from tta_lite.types import InputError

L = keras.layers


def bireal_classifier(
    input_shape: Sequence[int], classes: int, *, width: int = 32, stages: Sequence[int] = (2, 2, 2)
) -> keras.Model:
    """[B, H, W, C] -> [B, classes], not normalised: the float twin of a binary network.

    ``tta_lite.training.binary.binarize(model, inputs="approx_sign")`` makes it binary.

    Args:
      input_shape: [H, W, C]; H and W must be multiples of 2 to the number of stages less one.
      classes: how many.
      width: channels of the first stage; each further one has twice as many and half the height and width.
      stages: convolutions in each, an even number or not.

    Raises:
      InputError: sizes that cannot be halved so often, or an empty stage.

    Example:
      >>> bireal_classifier((8, 8, 1), 10, width=8).output_shape
      (None, 10)
    """
    halvings = len(stages) - 1
    if not stages or min(stages) < 1 or any(size % 2**halvings for size in input_shape[:2]):
        raise InputError(
            "A classifier must have one convolution or more in each stage, and sides that can be halved between them. "
            f"Received: stages {list(stages)}, input shape {list(input_shape)}"
        )
    image = keras.Input(tuple(input_shape), name="image")
    x = L.Conv2D(width, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="stem")(image)
    x = batch_norm(x, "stem_bn")
    for stage, convolutions in enumerate(stages):
        for place in range(convolutions):
            down = stage > 0 and place == 0
            x = _block(x, width * 2**stage, halve=down, name=f"stage{stage + 1}_conv{place + 1}")
    return keras.Model(image, pooled_head(x, classes), name="bireal")


def _block(x: Any, filters: int, *, halve: bool, name: str) -> Any:
    """[B, H, W, C] -> [B, H, W, C], or [B, H / 2, W / 2, 2 C]: ReLU, convolution, batch norm, and the shortcut."""
    shortcut = x
    if halve:
        shortcut = L.AveragePooling2D(2, name=f"{name}_pool")(x)
        shortcut = L.Concatenate(name=f"{name}_double")([shortcut, shortcut])
    # The ReLU comes first: in the binary network the sign stands in its place.
    y = L.ReLU(name=f"{name}_relu")(x)
    y = L.Conv2D(
        filters, 3, strides=2 if halve else 1, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(y)
    y = batch_norm(y, f"{name}_bn")
    return L.Add(name=f"{name}_add")([y, shortcut])
