"""A task by its name on the command line: of a data set that is known here, or of the user's own module."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

from tta_lite.compat import keras
from tta_lite.datasets.cifar10 import read_cifar10
from tta_lite.datasets.digits import read_digits
from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.datasets.mnist import read_mnist
from tta_lite.datasets.readers import READERS, read_train_and_test
from tta_lite.models.backbones import Normalisation
from tta_lite.models.outputs import ends_in_softmax
from tta_lite.tasks.arrays import ArrayTask
from tta_lite.tasks.classification import PIXELS, ClassificationTask
from tta_lite.tasks.pose import STRIDE, PoseTask
from tta_lite.types import InputError, Task

FORMS = "image_folder:PATH, pose:<data set>:PATH, digits[:N], mnist:PATH, cifar10:PATH, or <module>:<function>"
# Small pictures that lie in memory.
ARRAYS = ("digits", "mnist", "cifar10")
# Of a side of 32 pixels, by which a picture of CIFAR-10 is shifted.
CIFAR_SHIFT = 4 / 32
NEEDED = ("steps_per_epoch", "train_data", "validation_data", "loss", "calibration", "score")


@dataclasses.dataclass(frozen=True)
class Edges:
    """What a task must know of a network that is no Keras model, such as a ``.tflite`` file.

    Attributes:
      picture: [H, W, C] of what it takes.
      output: the shape of what it gives, without the batch.
      softmax: whether what it gives are probabilities.
    """

    picture: tuple[int, ...]
    output: tuple[int, ...]
    softmax: bool = False


def find_task(
    spec: str,
    model: keras.Model | Edges,
    *,
    pixels: str | None = None,
    batch_size: int = 32,
    mirror: bool = True,
    flip_test: bool = False,
) -> Task:
    """-> the task that a text names.

    ``image_folder:PATH`` is classification, see `tta_lite.datasets.image_folder.read_image_folder`;
    ``digits`` (of scikit-learn; ``digits:N``: N of them to learn from), ``mnist:PATH`` (IDX files) and
    ``cifar10:PATH`` are small pictures, see `tta_lite.tasks.arrays.ArrayTask`; ``pose:lspet:PATH`` (or lsp, mpii,
    coco) is pose estimation by heat maps;
    ``my_package.my_task:make_task`` calls the user's function with the model, which gives back a
    `tta_lite.types.Task`.

    Args:
      spec: one of these.
      model: the network that the task is for; it tells the size of its pictures. `Edges` will do for tasks that are
        known here.
      pixels: a key of `PIXELS`: what the network expects; data sets that are known here need it.
      batch_size: of the training.
      mirror: of ``image_folder``: whether a mirrored picture is of the same class.
      flip_test: of ``pose``: score the mean of a picture and its mirror image.

    Raises:
      InputError: there is no such task, its data cannot be read, or it does not fit the network.
    """
    kind, _, rest = spec.partition(":")
    if kind not in ("image_folder", "pose", *ARRAYS):
        return _own(spec, model)
    if kind == "digits" and ":" in spec and not rest.isdecimal():
        raise InputError(f"The task digits:N must have a whole number of digits to learn from. Received: {spec!r}")
    if not rest and kind != "digits":
        raise InputError(f"A task is one of {FORMS}. Received: {spec!r}")
    if pixels not in PIXELS:
        raise InputError(
            f"The task {kind} must know what the network expects of its pixels: one of {', '.join(PIXELS)}. "
            f"Received: {pixels!r}"
        )
    edges = model if isinstance(model, Edges) else _edges(model, (1, 3) if kind in ("digits", "mnist") else (3,))
    height, width = edges.picture[:2]
    normalisation = PIXELS[pixels]
    if kind in ARRAYS:
        return _arrays(kind, rest, edges, normalisation, batch_size)
    if kind == "image_folder":
        train, test = read_image_folder(rest)
        _check_classes(edges, rest, test.classes)
        batch_size = min(batch_size, len(train)) or batch_size
        return ClassificationTask(train, test, normalisation, (height, width), not edges.softmax, batch_size, mirror)
    return _pose(rest, edges, normalisation, batch_size, flip_test)


def normalisation_of(task: Task) -> Normalisation | None:
    """-> how a task normalises its pictures, if it says so: by an attribute ``normalisation``."""
    found = getattr(task, "normalisation", None)
    return found if isinstance(found, Normalisation) else None


def _arrays(kind: str, rest: str, edges: Edges, normalisation: Normalisation, batch_size: int) -> ArrayTask:
    if kind == "digits":
        train, test = read_digits(int(rest)) if rest else read_digits()
    else:
        train, test = read_mnist(rest) if kind == "mnist" else read_cifar10(rest)
    _check_classes(edges, kind, test.classes)
    height, width, channels = edges.picture
    grey = len(set(zip(normalisation.mean, normalisation.std, strict=True))) == 1
    if channels == 1 and not grey:
        raise InputError(
            "A network for grey pictures takes 0..255, 0..1 or -1..1, the same for every channel. Received: pixels "
            f"normalised by {normalisation.mean}"
        )
    return ArrayTask(
        train,
        test,
        normalisation,
        (height, width),
        not edges.softmax,
        min(batch_size, len(train)),
        mirror=kind == "cifar10",
        channels=channels,
        shift=round(CIFAR_SHIFT * height) if kind == "cifar10" else 0,
    )


def _check_classes(edges: Edges, name: str, classes: tuple[str, ...]) -> None:
    outputs = edges.output[-1] if len(edges.output) == 1 else None
    if outputs != len(classes):
        raise InputError(
            f"The network must give a score for each of the {len(classes)} classes of {name}: "
            f"[B, {len(classes)}]. Received: {[None, *edges.output]}"
        )


def _pose(rest: str, edges: Edges, normalisation: Normalisation, batch_size: int, flip_test: bool) -> PoseTask:
    name, _, folder = rest.partition(":")
    if name not in READERS or not folder:
        raise InputError(
            f"A pose task is pose:<data set>:PATH with a data set of {', '.join(READERS)}. Received: 'pose:{rest}'"
        )
    people, test = read_train_and_test(name, folder)
    height, width = edges.picture[:2]
    wanted = (height // STRIDE, width // STRIDE, len(test.joint_set))
    if height != width or edges.output != wanted:
        raise InputError(
            f"A pose network must take square pictures and give heat maps of a quarter of their side, one for each of "
            f"the {len(test.joint_set)} joints of {name}: {list(wanted)} here. "
            f"Received: {list(edges.output)} for pictures of {height} x {width}"
        )
    return PoseTask(
        people, test, normalisation, input_size=height, batch_size=min(batch_size, len(people)), flip_test=flip_test
    )


def _edges(model: keras.Model, channels: tuple[int, ...] = (3,)) -> Edges:
    shape = list(model.inputs[0].shape) if len(model.inputs) == 1 else []
    if len(shape) != 4 or None in shape[1:] or shape[-1] not in channels:
        raise InputError(
            "The network must take one "
            + (
                "colour picture of a fixed size, [B, H, W, 3]"
                if 1 not in channels
                else "picture of a fixed size, [B, H, W, 3 or 1]"
            )
            + ". Received: "
            f"{[list(tensor.shape) for tensor in model.inputs]}"
        )
    output = model.output_shape if isinstance(model.output_shape, tuple) else ()
    return Edges(tuple(shape[1:]), tuple(output[1:]), ends_in_softmax(model))


def _own(spec: str, model: keras.Model | Edges) -> Task:
    if isinstance(model, Edges):
        raise InputError(f"A task of your own is made for a Keras model. Received: {spec!r} for a file")
    module_name, _, name = spec.partition(":")
    if not module_name or not name.isidentifier():
        raise InputError(f"A task is one of {FORMS}. Received: {spec!r}")
    if str(Path.cwd()) not in sys.path:
        # The user's module lies where the command is typed.
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # A module of the user's may raise anything.
        raise InputError(
            f"The task's module must be importable from {Path.cwd()}. Received: {module_name!r}, "
            f"{type(error).__name__}: {error}"
        ) from error
    make: Callable[[keras.Model], Task] | None = getattr(module, name, None)
    if not callable(make):
        raise InputError(f"{module_name} must have a function {name}(model) that gives a task. Received: {make!r}")
    try:
        task = make(model)
    except InputError:
        raise
    except Exception as error:  # So may its function.
        raise InputError(f"{spec} must give a task. Received: {type(error).__name__}: {error}") from error
    missing = [needed for needed in NEEDED if not hasattr(task, needed)]
    if missing:
        raise InputError(
            f"{spec} must give a task with {', '.join(NEEDED)} (tta_lite.types.Task). Received: "
            f"{type(task).__name__} without {', '.join(missing)}"
        )
    return task
