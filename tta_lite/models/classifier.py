"""Any backbone as the classifier that was published."""

from __future__ import annotations

from pathlib import Path

from tta_lite.compat import keras
from tta_lite.models.backbones import Backbone, get_backbone
from tta_lite.types import InputError


def classifier(
    backbone: str | Backbone, *, classes: int = 1000, input_size: int = 224, weights: str | Path | None = None
) -> keras.Model:
    """-> a model from ``image`` [B, S, S, 3] to [B, classes], not normalised: train with ``from_logits=True``.

    Args:
      backbone: a name that `tta_lite.models.backbones.get_backbone` knows, or a `Backbone`.
      classes: how many.
      input_size: S in pixels, a multiple of the backbone's stride.
      weights: of the backbone, not of the head: None for random ones, ``"imagenet"``, or a file.

    Raises:
      InputError: an argument out of its range, or weights that do not fit.

    Example:
      >>> classifier("squeezenet_1.1", classes=10, input_size=64).output_shape
      (None, 10)
    """
    source = get_backbone(backbone) if isinstance(backbone, str) else backbone
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise InputError(f"Argument `classes` must be a whole number, 1 or more. Received: {classes!r}")
    if type(input_size) is not int or input_size < 1 or input_size % source.stride:
        raise InputError(
            f"Argument `input_size` must be a multiple of {source.stride} pixels. Received: {input_size!r}"
        )
    image = keras.Input((input_size, input_size, 3), name="image")
    return keras.Model(image, source.head(source.build(image, weights), classes), name=source.name)
