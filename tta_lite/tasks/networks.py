"""An untrained network for a task that is known by its name: its outputs are counted in the data."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tta_lite.compat import keras
from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.datasets.readers import READERS, read_train_and_test
from tta_lite.datasets.small_pictures import CLASSES, SHAPES
from tta_lite.models.backbones import BACKBONES, get_backbone
from tta_lite.models.classifier import classifier
from tta_lite.models.lenet import LENETS
from tta_lite.models.pose import pose_resnet
from tta_lite.tasks.classification import PIXELS
from tta_lite.types import InputError

# Sides that are usual for each kind of task, in pixels.
SIDES = {"image_folder": 224, "pose": 256}


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which network.

    Attributes:
      name: of `LENETS`, for digits, MNIST and CIFAR-10; or of a backbone (`get_backbone`).
      input_size: side of the pictures; None: what is usual for the task.
      weights: what the backbone starts from: None for random ones, ``"imagenet"``, or a file.
      bottleneck: of a pose net: channels to which a PConv cuts the input of each Deconv (G2); None: no PConvs.
    """

    name: str
    input_size: int | None = None
    weights: str | Path | None = None
    bottleneck: int | None = None


def network_for(spec: str, wanted: Wanted) -> keras.Model:
    """-> the untrained network: [B, S, S, 3] to [B, classes], not normalised, or to heat maps [B, S/4, S/4, joints].

    Args:
      spec: of the task, as `tta_lite.tasks.find.find_task` takes it; not one of the user's own.
      wanted: which.

    Raises:
      InputError: the data cannot be read, or the network cannot be built for it.

    Example:
      >>> network_for("digits", Wanted("lenet_300_100")).output_shape
      (None, 10)
    """
    kind, _, rest = spec.partition(":")
    if kind not in (*SHAPES, *SIDES):
        raise InputError(
            f"A network is built for the tasks {', '.join((*SHAPES, *SIDES))}; give the network of any other one. "
            f"Received: {spec!r}"
        )
    if wanted.bottleneck is not None and kind != "pose":
        raise InputError(f"A bottleneck is for the Deconvs of a pose net. Received: {wanted.bottleneck} with {kind}")
    if wanted.name in LENETS:
        return _lenet(kind, wanted)
    if kind in SHAPES and SHAPES[kind][2] != 3:
        raise InputError(
            f"{kind} has grey pictures of {SHAPES[kind][0]} x {SHAPES[kind][1]}. Expected: one of {', '.join(LENETS)}. "
            f"Received: {wanted.name!r}"
        )
    if kind == "pose":
        return pose_resnet(
            wanted.name,
            joints=_joints(rest),
            input_size=wanted.input_size or SIDES[kind],
            weights=wanted.weights,
            bottleneck=wanted.bottleneck,
        )
    side = wanted.input_size or (SHAPES[kind][0] if kind in SHAPES else SIDES[kind])
    if kind in SHAPES and side != SHAPES[kind][0]:
        raise InputError(f"Pictures of {kind} have a side of {SHAPES[kind][0]}. Received: an input size of {side}")
    classes = CLASSES if kind in SHAPES else len(read_image_folder(rest)[1].classes)
    return classifier(wanted.name, classes=classes, input_size=side, weights=wanted.weights)


def pixels_for(name: str) -> str:
    """-> what a network expects of its pixels, a key of `PIXELS`.

    >>> pixels_for("lenet_300_100"), pixels_for("mobilenet_v2"), pixels_for("resnet50")
    ('-1..1', '-1..1', 'imagenet')
    """
    if name in LENETS:
        return "-1..1"
    wanted = get_backbone(name).normalisation
    return next(key for key, normalisation in PIXELS.items() if normalisation == wanted)


def _lenet(kind: str, wanted: Wanted) -> keras.Model:
    if kind not in SHAPES or wanted.weights is not None or wanted.input_size not in (None, SHAPES[kind][0]):
        raise InputError(
            f"{wanted.name} is for {', '.join(SHAPES)}, at their own size and from random weights; other tasks take "
            f"backbones, such as {next(iter(BACKBONES))}. Received: {kind}, input size {wanted.input_size}, "
            f"weights {wanted.weights}"
        )
    return LENETS[wanted.name](SHAPES[kind], CLASSES)


def _joints(rest: str) -> int:
    name, _, folder = rest.partition(":")
    if name not in READERS or not folder:
        raise InputError(
            f"A pose task is pose:<data set>:PATH with a data set of {', '.join(READERS)}. Received: 'pose:{rest}'"
        )
    return len(read_train_and_test(name, folder)[1].joint_set)
