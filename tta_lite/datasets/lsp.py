"""Leeds Sports Pose (LSP) and its extended training set (LSPET). Imports no TensorFlow.

Johnson and Everingham, "Clustered Pose and Nonlinear Appearance Models for Human Pose Estimation", BMVC 2010, and
"Learning Effective Human Pose Estimation from Inaccurate Annotation", CVPR 2011.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from tta_lite.datasets.checks import Person, build_pose_set, check_choice, load_mat, square_around
from tta_lite.datasets.pose_set import LSP14, PoseSet
from tta_lite.types import InputError

SPLITS = ("train", "test")

_IMAGE_NAME = re.compile(r"im(\d{4,5})\.(jpg|png)", re.IGNORECASE)
_NECK, _HEAD_TOP = LSP14.names.index("neck"), LSP14.names.index("head_top")


def read_lsp(folder: str | Path, split: str = "train", *, on_bad_example: str = "error") -> PoseSet:
    """LSP: the first half (1,000 people) is ``train``, the second half is ``test``, as published.

    Args:
      folder: holds `joints.mat` and `images/`.
      split: ``train`` or ``test``.
      on_bad_example: ``error`` or ``skip``.

    Raises:
      InputError: something in the folder cannot be used.
    """
    return _read(Path(folder), "lsp", split, False, on_bad_example)


def read_lspet(
    folder: str | Path, split: str = "train", *, upright: bool = False, on_bad_example: str = "error"
) -> PoseSet:
    """LSPET: all of it is ``train``, unless an `index.csv` (columns `image`, `split`, `upright`) lies in the folder.

    Args:
      folder: holds `joints.mat` and `images/`.
      split: ``train``, or with an `index.csv` ``test``.
      upright: take only the people that `index.csv` calls upright.
      on_bad_example: ``error`` or ``skip``.

    Raises:
      InputError: something in the folder cannot be used.
    """
    return _read(Path(folder), "lspet", split, upright, on_bad_example)


def _read(folder: Path, name: str, split: str, upright: bool, on_bad_example: str) -> PoseSet:
    check_choice("split", split, SPLITS)
    source = folder / "joints.mat"
    joints, annotated = parse_joints(load_mat(source, "joints"), source)
    chosen = _choose(folder, name, split, upright, len(joints))
    images = _find_images(folder / "images")
    people = [
        _person(f"{source} item {number}", images.get(number, _expected(folder, name, number)), xy, known)
        for number, xy, known in zip(chosen + 1, joints[chosen], annotated[chosen], strict=True)
    ]
    full_name = f"{name} {split}{' upright' if upright else ''}"
    return build_pose_set(full_name, LSP14, people, source=source, on_bad_example=on_bad_example)


def parse_joints(array: np.ndarray, source: Path) -> tuple[np.ndarray, np.ndarray]:
    """The `joints` array of either set -> joints [N, 14, 2], and annotated [N, 14] bool.

    LSPET is 14 x 3 x N and its third column is 1 for an annotated joint. LSP is 3 x 14 x N, annotates every joint, and
    its third row is 1 for a hidden one. Coordinates are kept as they are: neither set says that it counts from 1.

    Raises:
      InputError: the array has another shape, or a flag is neither 0 nor 1.
    """
    is_number = isinstance(array, np.ndarray) and array.dtype.kind in "iuf"
    shape = array.shape if is_number else None
    if shape is None or len(shape) not in (2, 3) or shape[:2] not in ((14, 3), (3, 14)):
        received = f"shape {getattr(array, 'shape', None)} of {getattr(array, 'dtype', type(array))}"
        raise InputError(
            f"`joints` of {source} must hold numbers, 14 x 3 x N (LSPET) or 3 x 14 x N (LSP). Received: {received}"
        )
    # MATLAB drops a last dimension of 1.
    values = array.reshape(*shape[:2], -1).astype(np.float64)
    is_lsp = shape[0] == 3
    values = values.transpose(2, 1, 0) if is_lsp else values.transpose(2, 0, 1)
    flags = values[..., 2]
    odd = ~np.isin(flags, (0, 1))
    if odd.any():
        item, joint = np.argwhere(odd)[0]
        raise InputError(
            f"{source} item {item + 1}: the flag of joint {LSP14.names[joint]} must be 0 or 1. "
            f"Received: {flags[item, joint]:g}"
        )
    return values[..., :2], np.ones_like(flags, bool) if is_lsp else flags == 1


def _person(item: str, image: Path, joints: np.ndarray, annotated: np.ndarray) -> Person:
    center, box = square_around(joints[annotated])
    head_size = float("nan")
    if annotated[_NECK] and annotated[_HEAD_TOP]:
        # Both on one spot: nothing to measure in.
        head_size = float(np.linalg.norm(joints[_HEAD_TOP] - joints[_NECK])) or head_size
    return Person(f"{item} ({image.name})", image, joints, annotated, center, box, head_size)


def _choose(folder: Path, name: str, split: str, upright: bool, count: int) -> np.ndarray:
    """-> the items of a split, from 0."""
    index = folder / "index.csv"
    if index.is_file():
        return _choose_by_index(index, split, upright, count)
    if upright:
        raise InputError(f"Argument `upright` needs {index}. Received: upright=True and no such file")
    if name == "lspet":
        if split == "test":
            raise InputError(
                f"LSPET has no official test split. Expected: split='train', or a file {index} with a column `split`. "
                "Received: split='test'"
            )
        return np.arange(count)
    half = count // 2
    return np.arange(half) if split == "train" else np.arange(half, count)


def _choose_by_index(index: Path, split: str, upright: bool, count: int) -> np.ndarray:
    with index.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        needed = {"image", "split"} | ({"upright"} if upright else set())
        if not needed <= set(reader.fieldnames or ()):
            raise InputError(f"{index} must have the columns {sorted(needed)}. Received: {reader.fieldnames}")
        rows = list(reader)
    numbers = [row["image"] for row in rows]
    if sorted(numbers) != sorted(str(number) for number in range(1, count + 1)):
        raise InputError(
            f"Column `image` of {index} must name each of the {count} items of joints.mat once. "
            f"Received: {len(numbers)} rows, {len(set(numbers))} different"
        )
    chosen = [
        int(row["image"]) - 1
        for row in rows
        if row["split"] == split and (not upright or row["upright"] == "1")
    ]  # fmt: skip
    if not chosen:
        found = sorted({row["split"] for row in rows})
        raise InputError(f"{index} has no row for split {split!r}, upright={upright}. Received: splits {found}")
    return np.sort(np.array(chosen))


def _find_images(folder: Path) -> dict[int, Path]:
    """-> picture number (from 1) -> file."""
    if not folder.is_dir():
        raise InputError(f"The folder {folder} is missing. Expected: im0001.jpg, im0002.jpg, ... Received: no folder")
    images: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _IMAGE_NAME.fullmatch(path.name)
        if not match:
            continue
        number = int(match[1])
        if number in images:
            raise InputError(
                f"{folder} must hold one picture a number. Received: {images[number].name} and {path.name}"
            )
        images[number] = path
    return images


def _expected(folder: Path, name: str, number: int) -> Path:
    """Where a picture would lie, for the error that says it is missing."""
    digits = 4 if name == "lsp" else 5
    return folder / "images" / f"im{number:0{digits}d}.jpg"
