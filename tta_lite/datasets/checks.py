"""From people as a reader found them to a `PoseSet`: every example is checked first. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from absl import logging
from rich.console import Console
from rich.progress import track

from tta_lite.datasets.images import CACHE_BYTES, CachedLoader
from tta_lite.datasets.pose_set import JointSet, PoseSet
from tta_lite.types import InputError

ON_BAD_EXAMPLE = ("error", "skip")

# A crop that is this much wider than the extent of the joints shows the whole person.
EXTENT_MARGIN = 1.5

# Room for rounding, and for coordinates that count from 1.
_EDGE_PIXELS = 1.0
# An annotator marks a limb that leaves the picture a little outside. What lies further out is no label of this picture.
_OUTSIDE_SHARE = 0.1
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Person:
    """One example before its checks.

    Attributes:
      item: where it was read from: file and place in it.
      image: its picture.
      joints: [J, 2], (x, y) in pixels from 0.
      annotated: [J] bool; the coordinates of the others are not looked at.
      center: (x, y), the middle of the crop.
      box: side of the square crop in pixels.
      head_size: in pixels; NaN: not scored.
    """

    item: str
    image: Path
    joints: np.ndarray
    annotated: np.ndarray
    center: np.ndarray
    box: float
    head_size: float


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """`InputError` unless `value` is one of `choices`."""
    if value not in (choices := tuple(choices)):
        raise InputError(f"Argument `{name}` must be one of {', '.join(choices)}. Received: {value!r}")


def load_mat(path: Path, key: str) -> Any:
    """-> the variable `key` of a MATLAB file (version 7 or older), structs as objects.

    Raises:
      InputError: the file is missing or damaged, or does not hold `key`.
    """
    if not path.is_file():
        raise InputError(
            f"The annotation file {path} is missing. Expected: a .mat file. Received: no file at that path"
        )
    try:
        content = scipy.io.loadmat(path, squeeze_me=False, struct_as_record=False)
    except Exception as error:  # The parser raises a dozen kinds on a damaged file.
        raise InputError(
            f"{path} cannot be read. Expected: a MATLAB file of version 7 or older. "
            f"Received: {path.stat().st_size} bytes ({type(error).__name__}: {error})"
        ) from error
    if key not in content:
        found = sorted(name for name in content if not name.startswith("__"))
        raise InputError(f"{path} must hold a variable `{key}`. Received: {found}")
    return content[key]


def square_around(points: np.ndarray) -> tuple[np.ndarray, float]:
    """-> the middle of the points' extent [2], and the side of a square crop of `EXTENT_MARGIN` times that extent.

    Args:
      points: [M, 2], the annotated joints.

    >>> square_around(np.array([[10.0, 20.0], [30.0, 60.0]]))
    (array([20., 40.]), 60.0)
    """
    if len(points) == 0:
        return np.zeros(2), 0.0
    low, high = points.min(axis=0), points.max(axis=0)
    return (low + high) / 2, EXTENT_MARGIN * float((high - low).max())


def build_pose_set(
    name: str,
    joint_set: JointSet,
    people: Sequence[Person],
    *,
    source: Path,
    on_bad_example: str,
    faults: Mapping[str, str] | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> PoseSet:
    """Check every example, its picture included, and put the good ones into a `PoseSet`.

    A joint up to 1 pixel outside the picture is kept (rounding, coordinates from 1). One that is further out, by up to
    a tenth of the picture's longer side, is taken as not annotated, and how many there are is logged. Beyond that the
    example is bad: such a label belongs to another picture or is in other units.

    Args:
      name: what a report calls the set.
      joint_set: its joints.
      people: as the reader found them.
      source: the annotation file, for errors.
      on_bad_example: ``error`` or ``skip``.
      faults: item -> what is wrong with it, for examples that could not even become a `Person`.
      cache_bytes: how much memory decoded pictures may take.

    Raises:
      InputError: there is no example, no good one, or, unless they are skipped, a bad one.
    """
    check_choice("on_bad_example", on_bad_example, ON_BAD_EXAMPLE)
    wrong = dict(faults or {})
    if not people and not wrong:
        raise InputError(f"{source} holds no person for {name}. Expected: one or more. Received: an empty list")

    paths = list(dict.fromkeys(person.image for person in people))
    loader = CachedLoader(paths, cache_bytes)
    sizes = _check_images(loader, name)
    place = {path: index for index, path in enumerate(paths)}

    kept: list[Person] = []
    dropped = 0
    first_dropped = ""
    for person in people:
        fault, outside = _examine(person, joint_set, sizes[person.image])
        if fault:
            wrong[person.item] = fault
            continue
        if outside.any():
            dropped += int(outside.sum())
            first_dropped = first_dropped or person.item
            person = dataclasses.replace(person, annotated=person.annotated & ~outside)
        kept.append(person)

    if dropped:
        logging.warning(
            "%s: %d joints just outside their picture are taken as not annotated, the first of %s.",
            source, dropped, first_dropped,
        )  # fmt: skip
    skipped = tuple(f"{item}: {fault}" for item, fault in wrong.items())
    if skipped and (on_bad_example == "error" or not kept):
        raise InputError(_summary(name, source, skipped, len(people) + len(faults or {}), on_bad_example))
    if skipped:
        logging.warning("%s: %d bad examples are left out, the first: %s", source, len(skipped), skipped[0])

    annotated = np.stack([person.annotated for person in kept])
    joints = np.stack([person.joints for person in kept])
    picture = [place[person.image] for person in kept]
    return PoseSet(
        name=name,
        joint_set=joint_set,
        joints=np.where(annotated[..., None], joints, 0).astype(np.float32),
        annotated=annotated,
        center=np.stack([person.center for person in kept]).astype(np.float32),
        box=np.array([person.box for person in kept], np.float32),
        head_size=np.array([person.head_size for person in kept], np.float32),
        items=tuple(person.item for person in kept),
        load=lambda index: loader(picture[index]),
        skipped=skipped,
    )


def _check_images(loader: CachedLoader, name: str) -> dict[str | Path, tuple[int, int] | str]:
    """Decode every picture once. -> its (width, height), or what is wrong with it."""

    def check(index: int) -> tuple[int, int] | str:
        try:
            return loader.check(index)
        except InputError as error:
            return str(error)

    # Two threads: Pillow decodes outside Python's lock, and more would only compete with training.
    with ThreadPoolExecutor(2) as pool:
        results = track(
            pool.map(check, range(len(loader.paths))),
            description=f"Checking the pictures of {name}",
            total=len(loader.paths),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        return dict(zip(loader.paths, results, strict=True))


def _examine(person: Person, joint_set: JointSet, size: tuple[int, int] | str) -> tuple[str, np.ndarray]:
    """-> what is wrong with an example ("": nothing), and [J] bool, the joints to take as not annotated."""
    nothing = np.zeros(len(joint_set), bool)
    if person.joints.shape != (len(joint_set), 2) or person.annotated.shape != (len(joint_set),):
        return f"expected {len(joint_set)} joints of (x, y). Received: shape {person.joints.shape}", nothing
    bad = person.annotated & ~np.isfinite(person.joints).all(axis=1)
    if bad.any():
        joint = int(np.argmax(bad))
        return f"joint {joint_set.names[joint]} needs finite numbers. Received: {_xy(person.joints[joint])}", nothing
    if not person.annotated.any():
        return "expected one annotated joint or more. Received: 0", nothing
    if not (np.isfinite(person.center).all() and np.isfinite(person.box) and person.box > 0):
        return f"its crop needs a middle and a side above 0. Received: {_xy(person.center)} and {person.box:g}", nothing
    if np.isinf(person.head_size) or person.head_size <= 0:
        return f"its head size must be above 0 pixels. Received: {person.head_size:g}", nothing
    if isinstance(size, str):
        return size, nothing

    width, height = size
    # The picture's pixels cover -0.5 .. W - 0.5, because (0, 0) is the centre of the first one.
    beyond = np.maximum(-0.5 - person.joints, person.joints - (np.array([width, height]) - 0.5)).max(axis=1)
    beyond = np.where(person.annotated, beyond, -np.inf)
    joint = int(np.argmax(beyond))
    if beyond[joint] > max(_EDGE_PIXELS, _OUTSIDE_SHARE * max(width, height)):
        return (
            f"joint {joint_set.names[joint]} lies outside its picture {person.image.name}. "
            f"Expected: inside {width} x {height} pixels. Received: {_xy(person.joints[joint])}",
            nothing,
        )
    outside = beyond > _EDGE_PIXELS
    if (person.annotated & ~outside).any():
        return "", outside
    return (
        f"all its joints lie outside its picture of {width} x {height} pixels. Received: {_xy(person.joints[joint])}",
        nothing,
    )


def _xy(point: np.ndarray) -> str:
    return f"({point[0]:g}, {point[1]:g})"


def _summary(name: str, source: Path, skipped: Sequence[str], total: int, on_bad_example: str) -> str:
    shown = "\n".join(f"  {text}" for text in skipped[:_SHOWN])
    more = f"\n  ... and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    expected = (
        "one good example or more"
        if on_bad_example == "skip"
        else "every example good, or on_bad_example='skip' to leave the bad ones out"
    )
    return (
        f"{name}: {len(skipped)} of {total} examples of {source} are bad:\n{shown}{more}\n"
        f"Expected: {expected}. Received: {len(skipped)} bad examples"
    )
