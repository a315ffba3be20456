"""COCO 2017 person keypoints. Imports no TensorFlow.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014. Which people are taken, and the crop, are those of
Microsoft's reference (Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from tta_lite.datasets.checks import Person, build_pose_set, check_choice
from tta_lite.datasets.pose_set import COCO17, PoseSet
from tta_lite.types import InputError

SPLITS = ("train", "val")

_WIDEN = 1.25
_NOSE, _SHOULDERS = 0, (5, 6)


def read_coco(folder: str | Path, split: str = "train", *, on_bad_example: str = "error") -> PoseSet:
    """COCO's people that are no crowd, have an area, and one marked keypoint or more.

    The crop is a square of 1.25 times the longer side of the person's box. COCO has no head size, and its own metric is
    OKS: PCKh is measured here in the distance from the nose to the middle of the shoulders, for people with all three
    marked. Such a score is comparable with neither MPII's nor COCO's.

    Args:
      folder: holds `annotations/person_keypoints_{train,val}2017.json`, `train2017/` and `val2017/`.
      split: ``train`` or ``val``.
      on_bad_example: ``error`` or ``skip``.

    Raises:
      InputError: something in the folder cannot be used.
    """
    folder = Path(folder)
    check_choice("split", split, SPLITS)
    source = folder / "annotations" / f"person_keypoints_{split}2017.json"
    content = _load(source)
    pictures = {entry["id"]: entry for entry in content["images"] if isinstance(entry, dict) and "id" in entry}

    people: list[Person] = []
    faults: dict[str, str] = {}
    without_joints = 0
    for place, entry in enumerate(content["annotations"]):
        item = f"{source} annotations[{place}] (id {entry.get('id') if isinstance(entry, dict) else None})"
        try:
            person = _person(item, entry, pictures, folder / f"{split}2017")
        except InputError as error:
            faults[item] = str(error)
            continue
        if person is None:
            without_joints += 1
        else:
            people.append(person)
    logging.info("%s: %d crowds and people without keypoints are no examples.", source, without_joints)
    return build_pose_set(
        f"coco {split}", COCO17, people, source=source, on_bad_example=on_bad_example, faults=faults
    )  # fmt: skip


def _load(source: Path) -> dict[str, Any]:
    if not source.is_file():
        raise InputError(f"The annotation file {source} is missing. Expected: a JSON file. Received: no file there")
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{source} is no JSON file. Expected: COCO keypoints. Received: {source.stat().st_size} bytes ({error})"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        found = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{source} must hold the lists `images` and `annotations`. Received: {found}")
    return content


def _person(item: str, entry: Any, pictures: dict[Any, dict[str, Any]], images: Path) -> Person | None:
    """-> the person; None: no example (a crowd, no area, or no keypoint)."""
    if not isinstance(entry, dict):
        raise InputError(f"an annotation must be an object. Received: {type(entry).__name__}")
    if entry.get("iscrowd", 0) or entry.get("category_id", 1) != 1:
        return None
    keypoints = _numbers(entry, "keypoints", 3 * len(COCO17)).reshape(-1, 3)
    marks = keypoints[:, 2]
    if not np.isin(marks, (0, 1, 2)).all():
        raise InputError(f"every third number of `keypoints` must be 0, 1 or 2. Received: {marks.tolist()}")
    annotated = marks > 0
    if not annotated.any() or _finite(entry, "area", 1)[0] <= 0:
        return None

    picture = pictures.get(entry.get("image_id"))
    if picture is None or not isinstance(picture.get("file_name"), str):
        raise InputError(f"`image_id` must be one of `images`, with a file_name. Received: {entry.get('image_id')}")
    width, height = (float(_finite(picture, side, 1)[0]) for side in ("width", "height"))
    x, y, w, h = _finite(entry, "bbox", 4).tolist()
    # As in the reference: the box is cut at the picture's edge, and reaches to the centre of its last pixel.
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(width - 1, left + max(0.0, w - 1)), min(height - 1, top + max(0.0, h - 1))
    if right < left or bottom < top:
        return None
    joints = keypoints[:, :2]
    return Person(
        item=f"{item} ({picture['file_name']})",
        image=images / picture["file_name"],
        joints=joints,
        annotated=annotated,
        center=np.array([left + right, top + bottom]) / 2,
        box=_WIDEN * max(right - left, bottom - top),
        head_size=_head_size(joints, annotated),
    )


def _head_size(joints: np.ndarray, annotated: np.ndarray) -> float:
    if not annotated[[_NOSE, *_SHOULDERS]].all():
        return float("nan")
    distance = float(np.linalg.norm(joints[_NOSE] - joints[list(_SHOULDERS)].mean(axis=0)))
    # All on one spot: nothing to measure in.
    return distance or float("nan")


def _finite(entry: dict[str, Any], field: str, count: int) -> np.ndarray:
    values = _numbers(entry, field, count)
    if not np.isfinite(values).all():
        raise InputError(f"`{field}` must be finite. Received: {values.tolist()}")
    return values


def _numbers(entry: dict[str, Any], field: str, count: int) -> np.ndarray:
    """-> [count] float64; NaN stays."""
    value = entry.get(field)
    try:
        values = np.atleast_1d(np.asarray(value, np.float64))
    except (TypeError, ValueError):
        values = np.zeros(0)
    if value is None or values.shape != (count,):
        raise InputError(f"`{field}` must hold {count} numbers. Received: {str(value)[:80]}")
    return values
