"""Pictures in folders that are named after their class. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tta_lite.datasets.images import CachedLoader
from tta_lite.types import InputError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")
TRAIN, TEST = ("train", "training"), ("test", "val", "validation")
# One of so many goes to the test part where the folder has none.
TEST_ONE_OF = 5


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Pictures with one label each.

    Attributes:
      name: of the set, for reports.
      files: [N] paths.
      labels: [N] int, places in `classes`.
      classes: names, in the order of the network's outputs.
    """

    name: str
    files: tuple[Path, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    load: CachedLoader = dataclasses.field(repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.files)

    def subset(self, places: np.ndarray | Sequence[int]) -> ImageSet:
        """-> the pictures at `places` ([M] int), in that order."""
        files = tuple(self.files[int(place)] for place in places)
        labels = self.labels[np.asarray(places, np.int64)]
        return dataclasses.replace(self, files=files, labels=labels, load=CachedLoader(files))


def read_image_folder(folder: str | Path) -> tuple[ImageSet, ImageSet]:
    """-> the pictures to learn from (there may be none) and those to score.

    Either ``<folder>/train/<class>/*.jpg`` and ``<folder>/test/<class>/*.jpg`` (``val`` does too), or
    ``<folder>/test`` alone: nothing can be trained then; or ``<folder>/<class>/*.jpg``: about every fifth picture goes
    to the test part, by its name, so that the parts stay the same when pictures are added. Classes are in the order of
    their names.

    Raises:
      InputError: no such folder, no classes, a class of the test part that the other lacks, or no pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"An image folder must exist. Received: {str(folder)!r}")
    train, test = (_part(folder, names) for names in (TRAIN, TEST))
    if train is None and test is None:
        return _split(folder)
    if test is None:
        raise InputError(
            f"{folder} must have a part to score, {' or '.join(TEST)}, beside its {TRAIN[0]}. Received: none of them"
        )
    classes = _classes(train or test)
    if train is not None and (missing := sorted(set(_folders(test)) - set(classes))):
        raise InputError(f"{test}: every class must be in {train} too. Received: {', '.join(missing[:3])}")
    scored = _images(test, classes)
    if not len(scored):
        raise InputError(f"{test} must hold pictures ({', '.join(SUFFIXES)}) in folders by class. Received: none")
    return (_images(train, classes) if train is not None else _set(folder, [], [], classes)), scored


def _part(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))


def _classes(folder: Path) -> tuple[str, ...]:
    classes = _folders(folder)
    if len(classes) < 2:
        raise InputError(
            f"{folder} must hold two folders or more, one a class. Received: {', '.join(classes) or 'none'}"
        )
    return classes


def _pictures(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []


def _images(folder: Path, classes: tuple[str, ...]) -> ImageSet:
    files, labels = [], []
    for label, name in enumerate(classes):
        found = _pictures(folder / name)
        files += found
        labels += [label] * len(found)
    return _set(folder, files, labels, classes)


def _set(folder: Path, files: list[Path], labels: list[int], classes: tuple[str, ...]) -> ImageSet:
    return ImageSet(folder.name, tuple(files), np.asarray(labels, int), classes, CachedLoader(files))


def _split(folder: Path) -> tuple[ImageSet, ImageSet]:
    whole = _images(folder, _classes(folder))
    scored = [int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % TEST_ONE_OF == 0 for path in whole.files]
    parts = []
    for wanted in (False, True):
        kept = [place for place, test in enumerate(scored) if test is wanted]
        files = [whole.files[place] for place in kept]
        parts.append(_set(folder, files, [int(whole.labels[place]) for place in kept], whole.classes))
    if not all(len(part) for part in parts):
        raise InputError(f"{folder} must hold pictures in folders by class, ten or more. Received: {len(whole)}")
    return parts[0], parts[1]
