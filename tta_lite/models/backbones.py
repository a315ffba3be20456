"""Which backbones are there? One dictionary: how each is built, and how its images are normalised."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.models.mobilenet import MOBILENETS, mobilenet
from tta_lite.models.resnet import RESNETS, resnet
from tta_lite.models.weights import layers_between, load_layer_weights
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """``(pixel - mean) / std`` per channel, in the order red, green, blue and in pixel units (0..255)."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError(
                "A normalisation needs three means and three positive standard deviations. "
                f"Received: mean={self.mean}, std={self.std}"
            )

    def apply(self, images: np.ndarray) -> np.ndarray:
        """RGB images [..., 3] with values 0..255 -> float32 of the same shape.

        >>> Normalisation((127.5,) * 3, (127.5,) * 3).apply(np.array([[0, 255, 255]], np.uint8)).tolist()
        [[-1.0, 1.0, 1.0]]
        """
        if images.shape[-1:] != (3,):
            raise InputError(f"Images must have 3 channels, last. Received: shape {images.shape}")
        return (images.astype(np.float32) - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)


# Means and deviations of ImageNet in RGB order, as torchvision's ResNets are trained with. The PoseResNet reference
# applies these figures, in this order, to images that OpenCV has read as BGR; here images are RGB throughout.
IMAGENET = Normalisation(mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), std=(0.229 * 255, 0.224 * 255, 0.225 * 255))
MINUS_ONE_TO_ONE = Normalisation(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5))


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A feature extractor.

    Attributes:
      name: what `get_backbone` calls it.
      build: ``(x [B, H, W, 3], weights) -> [B, H / stride, W / stride, C]``; `weights` is None, ``"imagenet"`` or a
        file.
      normalisation: what its images must go through first.
      stride: how many input pixels one output pixel stands for.
    """

    name: str
    build: Callable[[Any, str | Path | None], Any]
    normalisation: Normalisation
    stride: int = 32


def _build_resnet(x: Any, weights: str | Path | None = None, *, depth: int) -> Any:
    if weights == "imagenet":
        raise InputError(
            f"There are no ImageNet weights to download for resnet{depth}: those of keras.applications have the stride "
            "on another convolution and do not fit. Train from `weights=None`, give the .npz or .h5 file of this "
            "backbone, or read a PyTorch checkpoint with `load_torch_pose_resnet`. Received: weights='imagenet'"
        )
    y = resnet(x, depth)
    if weights is not None:
        load_layer_weights(layers_between(x, y), weights)
    return y


def _build_mobilenet(x: Any, weights: str | Path | None = None, *, family: str, width: float) -> Any:
    return mobilenet(x, family, width=width, weights=weights)


def _resnet_backbone(depth: int) -> Backbone:
    return Backbone(f"resnet{depth}", functools.partial(_build_resnet, depth=depth), IMAGENET)


def _mobilenet_backbone(name: str, family: str, width: float) -> Backbone:
    return Backbone(name, functools.partial(_build_mobilenet, family=family, width=width), MINUS_ONE_TO_ONE)


BACKBONES: dict[str, Backbone] = {
    **{f"resnet{depth}": _resnet_backbone(depth) for depth in RESNETS},
    **{family: _mobilenet_backbone(family, family, 1.0) for family in MOBILENETS},
}


def get_backbone(name: str) -> Backbone:
    """-> the backbone of that name; a MobileNet's may end with its width.

    >>> get_backbone("mobilenet_v2_0.35").name
    'mobilenet_v2_0.35'

    Raises:
      InputError: there is none of that name.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    match = re.fullmatch(rf"({'|'.join(MOBILENETS)})_(\d+(?:\.\d+)?)", name)
    if match:
        return _mobilenet_backbone(name, match.group(1), float(match.group(2)))
    raise InputError(
        f"Unknown backbone. Expected one of {', '.join(BACKBONES)}; a MobileNet's width may follow, as in "
        f"mobilenet_v2_0.35. Received: {name!r}"
    )
