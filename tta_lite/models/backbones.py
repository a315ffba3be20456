"""Which backbones are there? One dictionary: how each is built, and how its images are normalised."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.adder import adder_resnet20
from tta_lite.models.blocks import pooled_head
from tta_lite.models.effnet import effnet, effnet_head
from tta_lite.models.mnasnet import MNASNETS, mnasnet
from tta_lite.models.mobilenet import MOBILENETS, mobilenet, mobilenet_v3_head
from tta_lite.models.resnet import RESNETS, resnet
from tta_lite.models.shufflenet import V1_FILTERS, V2_FILTERS, shufflenet_v1, shufflenet_v2
from tta_lite.models.squeezenet import SQUEEZENETS, squeezenet, squeezenet_head
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
      head: ``(features, classes) -> [B, classes]``, not normalised: the published classifier's end.
    """

    name: str
    build: Callable[[Any, str | Path | None], Any]
    normalisation: Normalisation
    stride: int = 32
    head: Callable[[Any, int], Any] = pooled_head


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


def _build_own(x: Any, weights: str | Path | None = None, *, family: Callable[[Any], Any]) -> Any:
    if weights == "imagenet":
        raise InputError(
            "ImageNet weights can be downloaded for the networks of keras.applications only. Expected: None, or the "
            ".npz or .h5 file of this backbone. Received: weights='imagenet'"
        )
    y = family(x)
    if weights is not None:
        load_layer_weights(layers_between(x, y), weights)
    return y


def _build_densenet(x: Any, weights: str | Path | None = None, *, depth: int) -> Any:
    build = getattr(keras.applications, f"DenseNet{depth}")
    y = build(include_top=False, input_tensor=x, weights="imagenet" if weights == "imagenet" else None).output
    if weights not in (None, "imagenet"):
        load_layer_weights(layers_between(x, y), weights)
    return y


def _own(
    name: str, family: Callable[..., Any], *, stride: int = 32, head: Any = pooled_head, **options: Any
) -> Backbone:
    return Backbone(
        name,
        functools.partial(_build_own, family=functools.partial(family, **options)),
        IMAGENET,
        stride,
        head,
    )


def _resnet_backbone(depth: int) -> Backbone:
    return Backbone(f"resnet{depth}", functools.partial(_build_resnet, depth=depth), IMAGENET)


def _mobilenet_backbone(name: str, family: str, width: float = 1.0) -> Backbone:
    head = functools.partial(mobilenet_v3_head, family=family, width=width) if "v3" in family else pooled_head
    build = functools.partial(_build_mobilenet, family=family, width=width)
    return Backbone(name, build, MINUS_ONE_TO_ONE, head=head)


@dataclasses.dataclass(frozen=True)
class Family:
    """Backbones that can be made wider, narrower, deeper or shallower.

    Attributes:
      build: name of the backbone, and ``width=`` and ``depth=`` as far as it takes them -> the backbone.
      takes: which of the two it takes.
    """

    build: Callable[..., Backbone]
    takes: tuple[str, ...]


BOTH = ("width", "depth")
FAMILIES: dict[str, Family] = {
    **{family: Family(functools.partial(_mobilenet_backbone, family=family), ("width",)) for family in MOBILENETS},
    **{
        f"mnasnet_{variant}": Family(functools.partial(_own, family=mnasnet, variant=variant), BOTH)
        for variant in MNASNETS
    },
    **{
        f"shufflenet_v1_g{groups}": Family(functools.partial(_own, family=shufflenet_v1, groups=groups), BOTH)
        for groups in V1_FILTERS
    },
    "shufflenet_v2": Family(functools.partial(_own, family=shufflenet_v2), BOTH),
    "effnet": Family(functools.partial(_own, family=effnet, stride=8, head=effnet_head), ("width",)),
    # For pictures of 32 x 32, as in the paper: at 224 x 224 it would compute for seconds.
    "adder_resnet20": Family(functools.partial(_own, family=adder_resnet20, stride=4), BOTH),
}

BACKBONES: dict[str, Backbone] = {
    **{f"resnet{depth}": _resnet_backbone(depth) for depth in RESNETS},
    **{name: family.build(name) for name, family in FAMILIES.items() if name != "shufflenet_v2"},
    **{
        f"shufflenet_v2_{width}": FAMILIES["shufflenet_v2"].build(f"shufflenet_v2_{width}", width=width)
        for width in V2_FILTERS
    },
    **{
        f"squeezenet_{version}": _own(
            f"squeezenet_{version}", squeezenet, version=version, stride=16, head=squeezenet_head
        )
        for version in SQUEEZENETS
    },
    **{
        f"densenet{depth}": Backbone(f"densenet{depth}", functools.partial(_build_densenet, depth=depth), IMAGENET)
        for depth in (121, 169, 201)
    },
}
# What "test several light networks" (clause 6.1.1) tries if nothing else is said.
LIGHT_BACKBONES = (
    "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v1_g3", "shufflenet_v2_1.0",
    "squeezenet_1.1", "mnasnet_a1", "mnasnet_b1",
)  # fmt: skip


def get_backbone(name: str, *, width: float | None = None, depth: float | None = None) -> Backbone:
    """-> the backbone of that name; that of a family of `FAMILIES` may end with its width.

    >>> get_backbone("mobilenet_v2_0.35").name
    'mobilenet_v2_0.35'
    >>> get_backbone("mnasnet_b1", width=0.5, depth=0.5).name
    'mnasnet_b1_0.5_d0.5'

    Args:
      name: a key of `BACKBONES`, or of `FAMILIES` with a width behind it.
      width: multiplies the channels; for a key of `FAMILIES` that takes it.
      depth: multiplies the blocks of each stage; for a key of `FAMILIES` that takes it.

    Raises:
      InputError: there is none of that name, or it cannot be scaled so.
    """
    wanted = {key: value for key, value in (("width", width), ("depth", depth)) if value is not None}
    match = re.fullmatch(rf"({'|'.join(FAMILIES)})_(\d+(?:\.\d+)?)", name)
    if not wanted and name in BACKBONES:
        return BACKBONES[name]
    if match:
        name, wanted = match.group(1), {**wanted, "width": float(match.group(2)) * wanted.get("width", 1.0)}
    if name in FAMILIES and wanted:
        family = FAMILIES[name]
        for key, value in wanted.items():
            if key not in family.takes:
                able = [other for other, one in FAMILIES.items() if key in one.takes]
                raise InputError(f"{name} cannot change its {key}; {', '.join(able)} can. Received: {key}={value!r}")
        label = name + (f"_{wanted['width']}" if "width" in wanted else "")
        return family.build(label + (f"_d{wanted['depth']}" if "depth" in wanted else ""), **wanted)
    if name in BACKBONES:
        raise InputError(
            f"Width and depth can be changed of {', '.join(FAMILIES)}. Received: {name!r} with "
            f"{', '.join(f'{key}={value}' for key, value in wanted.items())}"
        )
    raise InputError(
        f"Unknown backbone. Expected one of {', '.join(BACKBONES)}; a width may follow {', '.join(FAMILIES)}, as in "
        f"mobilenet_v2_0.35. Received: {name!r}"
    )
