"""MPII Human Pose, from its official MATLAB file. Imports no TensorFlow.

Andriluka et al., "2D Human Pose Estimation: New Benchmark and State of the Art Analysis", CVPR 2014. The crop is that
of Microsoft's reference (Xiao et al., "Simple Baselines for Human Pose Estimation and Tracking", ECCV 2018).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from tta_lite.datasets.checks import Person, build_pose_set, check_choice, load_mat
from tta_lite.datasets.pose_set import MPII16, PoseSet
from tta_lite.types import InputError

SPLITS = ("train", "valid")
ANNOTATIONS = "mpii_human_pose_v1_u12_1.mat"

# The official PCKh takes this share of the head box's diagonal as the head size.
HEAD_BOX_SHARE = 0.6
# `scale` is the person's height in units of 200 pixels; the reference moves the crop down and widens it, so that no
# limb is cut off.
_PIXELS_A_SCALE = 200
_SHIFT_DOWN = 15
_WIDEN = 1.25
_VALID_JSON = Path("annot", "valid.json")
# Out of a hundred pictures, when nothing says which are held out.
_HELD_OUT = 12

# (picture's name, objpos in the file's own coordinates) -> is this person in the split?
Chooser = Callable[[str, np.ndarray], bool]


def read_mpii(folder: str | Path, split: str = "train", *, on_bad_example: str = "error") -> PoseSet:
    """The people of MPII's training pictures that have joints, a scale and an objpos; the test pictures have no joints.

    Which people are ``valid`` is taken from the first of these that is there, and ``train`` is every person on a
    picture that holds none of them:

    1. `annot/valid.json` of the reference (2,958 people): the people it lists.
    2. `valid_images.txt`, one picture's name a line: everyone on these pictures.
    3. neither: everyone on the pictures with `int(sha256(name)[:8], 16) % 100 < 12`. Such a score is not comparable
       with published ones.

    Coordinates in the file count from 1; they count from 0 here. A person without a head box is not scored.

    Args:
      folder: holds `mpii_human_pose_v1_u12_1.mat` and `images/`.
      split: ``train`` or ``valid``.
      on_bad_example: ``error`` or ``skip``.

    Raises:
      InputError: something in the folder cannot be used.
    """
    folder = Path(folder)
    check_choice("split", split, SPLITS)
    source = folder / ANNOTATIONS
    pictures, is_train = _open_release(source)
    chooser, listed = _chooser(folder, split)

    people: list[Person] = []
    faults: dict[str, str] = {}
    chosen = without_joints = without_crop = 0
    for number, picture in enumerate(pictures, start=1):
        if not is_train[number - 1]:
            continue
        image = _text(_structs(picture, "image"), "name")
        for place, rect in enumerate(_structs(picture, "annorect"), start=1):
            item = f"{source} annolist({number}).annorect({place}) ({image or 'no picture'})"
            points = [point for holder in _structs(rect, "annopoints") for point in _structs(holder, "point")]
            if not points:
                without_joints += 1
                continue
            if not _has(rect, "scale") or not _has(rect, "objpos"):
                without_crop += 1
                continue
            objpos = _objpos(rect)
            if not chooser(image, objpos):
                continue
            chosen += 1
            try:
                people.append(_person(item, folder / "images" / image, rect, points, objpos))
            except InputError as error:
                faults[item] = str(error)
    if split == "valid" and listed is not None and chosen != listed:
        logging.warning("%s lists %d people; %s holds %d of them.", folder / _VALID_JSON, listed, source, chosen)
    logging.info("%s: %d people have no joints and are no examples.", source, without_joints)
    if without_crop:
        logging.warning("%s: %d people have no scale or no objpos and are no examples.", source, without_crop)
    if not people and not faults:
        raise InputError(
            f"{source} holds no person for {split}. Expected: one or more with joints, scale and objpos. Received: "
            f"{len(pictures)} pictures, {without_joints} people without joints, {without_crop} without scale or objpos"
        )
    return build_pose_set(
        f"mpii {split}", MPII16, people, source=source, on_bad_example=on_bad_example, faults=faults
    )  # fmt: skip


def _open_release(source: Path) -> tuple[list[Any], np.ndarray]:
    """-> the structs of `annolist`, and which of them are training pictures ([N] bool)."""
    release = load_mat(source, "RELEASE")
    structs = [entry for entry in np.ravel(release) if hasattr(entry, "_fieldnames")]
    if len(structs) != 1 or not {"annolist", "img_train"} <= set(structs[0]._fieldnames):
        found = getattr(structs[0], "_fieldnames", None) if structs else f"shape {np.shape(release)}"
        raise InputError(f"`RELEASE` of {source} must be a struct with annolist and img_train. Received: {found}")
    pictures = _structs(structs[0], "annolist")
    is_train = np.ravel(structs[0].img_train)
    if len(pictures) == 0 or is_train.shape != (len(pictures),) or is_train.dtype.kind not in "biuf":
        raise InputError(
            f"`RELEASE` of {source} must hold one picture or more and one number in img_train for each. "
            f"Received: {len(pictures)} pictures and img_train of shape {np.shape(structs[0].img_train)}"
        )
    return pictures, is_train == 1


def _objpos(rect: Any) -> np.ndarray:
    """-> (x, y) as in the file; NaN where it is not given."""
    places = _structs(rect, "objpos")
    return np.array([_number(places[0], "x"), _number(places[0], "y")] if len(places) == 1 else [np.nan, np.nan])


def _person(item: str, image: Path, rect: Any, points: list[Any], objpos: np.ndarray) -> Person:
    joints = np.zeros((len(MPII16), 2))
    annotated = np.zeros(len(MPII16), bool)
    for point in points:
        joint = _number(point, "id")
        if joint not in range(len(MPII16)):
            raise InputError(f"the id of a point must be 0 to {len(MPII16) - 1}. Received: {joint:g}")
        # A hidden joint is marked all the same, so it is a label.
        joints[int(joint)] = _number(point, "x") - 1, _number(point, "y") - 1
        annotated[int(joint)] = True

    scale = _number(rect, "scale")
    if not (np.isfinite(objpos).all() and np.isfinite(scale)):
        raise InputError(
            f"it needs a scale and an objpos (x, y). Received: scale {scale:g} and objpos {objpos.tolist()}"
        )
    center = objpos + np.array([0, _SHIFT_DOWN * scale]) - 1
    corners = np.array([_number(rect, name) for name in ("x1", "y1", "x2", "y2")])
    head_size = HEAD_BOX_SHARE * float(np.linalg.norm(corners[2:] - corners[:2]))
    box = _PIXELS_A_SCALE * _WIDEN * scale
    return Person(item, image, joints, annotated, center, box, head_size)


def _chooser(folder: Path, split: str) -> tuple[Chooser, int | None]:
    """-> who is in the split, and how many `valid.json` lists (None: it is not there)."""
    by_person = folder / _VALID_JSON
    by_image = folder / "valid_images.txt"
    if by_person.is_file():
        listed = _read_valid_json(by_person)
        if split == "train":
            return lambda image, objpos: image not in listed, None
        count = sum(len(centers) for centers in listed.values())
        return lambda image, objpos: any(np.abs(objpos - c).max() < 1 for c in listed.get(image, ())), count
    if by_image.is_file():
        names = set(by_image.read_text(encoding="utf-8").split())
        return lambda image, objpos: (image in names) == (split == "valid"), None
    logging.warning("%s holds neither annot/valid.json nor valid_images.txt: the split is by a hash.", folder)
    return lambda image, objpos: is_held_out(image) == (split == "valid"), None


def is_held_out(image: str) -> bool:
    """Is a picture in ``valid`` when no list says so? Depends on its name only.

    >>> is_held_out("015601864.jpg"), is_held_out("005808361.jpg")
    (False, False)
    """
    return int(hashlib.sha256(image.encode()).hexdigest()[:8], 16) % 100 < _HELD_OUT


def _read_valid_json(path: Path) -> dict[str, list[np.ndarray]]:
    """-> picture's name -> `objpos` of the people that are listed."""
    listed: dict[str, list[np.ndarray]] = defaultdict(list)
    try:
        for entry in json.loads(path.read_text(encoding="utf-8")):
            x, y = entry["center"]
            listed[entry["image"]].append(np.array([float(x), float(y)]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must be a JSON list of people with `image` and `center` (x, y). "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return listed


def _structs(holder: Any, field: str) -> list[Any]:
    """The structs in a field; MATLAB leaves a field out, or empty, where there is nothing."""
    return [entry for entry in np.ravel(getattr(holder, field, ())) if hasattr(entry, "_fieldnames")]


def _has(struct: Any, field: str) -> bool:
    return np.size(getattr(struct, field, ())) > 0


def _number(struct: Any, field: str) -> float:
    """-> the number in a field, NaN where there is none."""
    values = np.ravel(getattr(struct, field, ()))
    return float(values[0]) if values.size == 1 and values.dtype.kind in "biuf" else float("nan")


def _text(structs: list[Any], field: str) -> str:
    values = np.ravel(getattr(structs[0], field, ())) if structs else np.zeros(0)
    return str(values[0]) if values.size == 1 else ""
