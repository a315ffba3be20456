"""What can be searched, by its name on a command line."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.datasets.readers import READERS, read_train_and_test
from tta_lite.datasets.small_pictures import CLASSES, SHAPES
from tta_lite.models.files import load_network
from tta_lite.search.inherit import inherit
from tta_lite.search.mnasnet import BLOCKS, mnasnet_classifier, mnasnet_space
from tta_lite.search.pose_space import (
    case_study_point,
    deployed,
    pixels_of,
    pose_net,
    pose_space,
    trained_part,
)
from tta_lite.search.space import Choice, Point, Space, Value
from tta_lite.search.trainer import Subject
from tta_lite.transforms.channels.best_first import best_first
from tta_lite.types import InputError

FORMS = "pose, pose_by_stage, mnasnet, a .json file of one of their spaces, or <module>:<function>"
CASE_STUDY = "case_study"
# Below this side a classifier gets fewer blocks: the last ones would see a single pixel.
SMALL, BLOCKS_OF_SMALL = 64, 5


def find_subject(
    name: str,
    task: str,
    *,
    weights: str | None = None,
    input_size: int | None = None,
) -> Subject:
    """-> the space and the networks that a text names.

    Args:
      name: one of `FORMS`. ``my_package.my_space:make`` is called without arguments and gives (`Space`, function from a
        point to a network).
      task: for which the networks are, as `tta_lite.tasks.find.find_task` takes it; it tells how many joints or
        classes there are.
      weights: of ``pose``: what backbones start from, ``imagenet`` or a file of one; or, for ``pose`` and ``mnasnet``,
        a trained ``.keras`` network, from which each network inherits what fits.
      input_size: of ``mnasnet``: side of the pictures; what is usual if None.

    Raises:
      InputError: there is no such space, or it does not fit the task.
    """
    kind, space = _named(name)
    if kind == "own":
        if weights is not None or input_size is not None:
            raise InputError(f"Weights and the input size of {name!r} are its own matter. Received: another one")
        return _own(name)
    if kind == "pose":
        if input_size is not None:
            raise InputError(f"The resolution is a choice of the space of pose nets. Received: {input_size}")
        return _pose(space or pose_space(per_stage=name == "pose_by_stage"), task, weights)
    return _mnasnet(space or mnasnet_space(), task, weights, input_size)


def narrowed(subject: Subject, only: Mapping[str, Sequence[Value]]) -> Subject:
    """-> the same with fewer points, see `Space.narrowed`."""
    return dataclasses.replace(subject, space=subject.space.narrowed(only))


def first_points(text: str, space: Space) -> tuple[Point, ...]:
    """-> points that are tried first: ``case_study``, or a ``.json`` file with a list of points.

    Raises:
      InputError: the file cannot be read, or a point is not of the space.
    """
    if text == CASE_STUDY:
        return (case_study_point(space),)
    found = _read(text)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError(f"{text} must hold a list of points. Received: {str(found)[:80]}")
    return tuple(space.check(one) for one in found)


def only_of(texts: Sequence[str], space: Space) -> dict[str, tuple[Value, ...]]:
    """-> limits for `Space.narrowed`, from words as people type them.

    >>> space = Space("nets", (Choice("width", (0.5, 1.0)), Choice("family", ("a", "b", "c"))))
    >>> only_of(["family=a|c", "width=1"], space)
    {'family': ('a', 'c'), 'width': (1.0,)}
    """
    by_name = {choice.name: choice for choice in space.choices}
    found = {}
    for text in texts:
        name, _, words = text.partition("=")
        if name not in by_name or not words:
            raise InputError(f"--only takes NAME=VALUE|VALUE ... of {', '.join(by_name)}. Received: {text!r}")
        found[name] = tuple(_value(by_name[name], word) for word in words.split("|"))
    return found


def _value(choice: Choice, word: str) -> Value:
    for value in choice.values:
        is_number = not isinstance(value, (str, bool))
        if word == str(value) or (is_number and _is_number(word) and float(word) == value):
            return value
    raise InputError(
        f"The choice {choice.name!r} must be one of {', '.join(map(str, choice.values))}. Received: {word!r}"
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _named(name: str) -> tuple[str, Space | None]:
    """-> which builder, and the space if a file says it."""
    if name in ("pose", "pose_by_stage", "mnasnet"):
        return name.partition("_")[0], None
    if name.endswith(".json"):
        space = Space.from_json(_read(name))
        names = [choice.name for choice in space.choices]
        return ("mnasnet" if any(one.startswith("block") for one in names) else "pose"), space
    if ":" in name:
        return "own", None
    raise InputError(f"A space is {FORMS}. Received: {name!r}")


def _read(file: str) -> Any:
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"A .json file must be readable. Received: {file}, {error}") from error


def _own(name: str) -> Subject:
    module_name, _, function = name.partition(":")
    if str(Path.cwd()) not in sys.path:
        # The user's module lies where the command is typed.
        sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module_name), function)()
        space, build = made
    except InputError:
        raise
    except Exception as error:  # A module of the user's may raise anything.
        raise InputError(
            f"{name} must be a function of an importable module that gives (Space, function from a point to a network)."
            f" Received: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(space, Space) or not callable(build):
        raise InputError(f"{name} must give (Space, function). Received: {type(space).__name__}, {build!r}")
    return Subject(space, build)


def _donor(weights: str | None) -> keras.Model | None:
    """-> a trained network whose best channels come first: narrower ones inherit these."""
    return best_first(load_network(weights)) if weights and weights.endswith(".keras") else None


def _pose(space: Space, task: str, weights: str | None) -> Subject:
    kind, _, rest = task.partition(":")
    name, _, folder = rest.partition(":")
    if kind != "pose" or name not in READERS or not folder:
        raise InputError(f"Pose nets need the task pose:<data set>:PATH. Received: {task!r}")
    joints = len(read_train_and_test(name, folder)[1].joint_set)
    donor = _donor(weights)

    return Subject(
        space,
        lambda point: pose_net(point, joints=joints, weights=weights if donor is None else donor),
        deployed,
        pixels_of,
        trained_part,
    )


def _mnasnet(space: Space, task: str, weights: str | None, input_size: int | None) -> Subject:
    kind, _, rest = task.partition(":")
    if kind not in (*SHAPES, "image_folder"):
        raise InputError(f"Classifiers need the task image_folder:PATH, {', '.join(SHAPES)}. Received: {task!r}")
    side = input_size or (max(32, SHAPES[kind][0]) if kind in SHAPES else 224)
    classes = CLASSES if kind in SHAPES else len(read_image_folder(rest)[1].classes)
    blocks = len(BLOCKS) if side >= SMALL else BLOCKS_OF_SMALL
    # A choice of a block that is not there would make one network many points.
    kept = tuple(one for one in space.choices if int(one.name.removeprefix("block").partition(".")[0]) <= blocks)
    donor = _donor(weights)
    if weights is not None and donor is None:
        raise InputError(f"Weights of classifiers are a trained .keras network. Received: {weights!r}")

    def build(point: Point) -> keras.Model:
        model = mnasnet_classifier(point, num_classes=classes, input_size=side, blocks=blocks)
        if donor is not None:
            inherit(model, donor)
        return model

    return Subject(Space(space.name, kept, space.fixed), build, pixels=lambda point: "-1..1")
