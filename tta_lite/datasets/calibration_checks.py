"""Is a set of calibration images fit to fix the ranges of an integer network? Found before it does harm (6.2.1).

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from tta_lite.datasets.calibration_compare import compare_with_test, compare_with_training
from tta_lite.datasets.calibration_findings import ERROR, MANY, SHOWN, WARNING, Finding, error, these, warning
from tta_lite.datasets.picture_marks import Marks, alike, digest_of, marks_of
from tta_lite.types import InputError

# Below this many, ranges hang on which pictures were drawn; LiteRT's guide asks for 100 to 500.
FEW = 50
# A picture whose largest number is so many times that of most others is on another scale.
OUTLIER = 20.0
# With these, all else that could be found would only say the same again.
_FINAL = ("not_finite", "refilled_array", "same_array", "same_picture")


@dataclasses.dataclass(frozen=True)
class Labels:
    """What is to be seen on N calibration images.

    Attributes:
      kind: ``class`` or ``joint``.
      names: of the K classes or joints.
      seen: [N, K] bool.
    """

    kind: str
    names: tuple[str, ...]
    seen: np.ndarray

    @classmethod
    def of_classes(cls, labels: np.ndarray, classes: Sequence[str]) -> Labels:
        """-> from one label a picture, places in `classes`.

        >>> Labels.of_classes(np.array([1, 0, 1]), ["cat", "dog"]).seen.sum(0).tolist()
        [1, 2]
        """
        return cls("class", tuple(classes), np.asarray(labels)[:, None] == np.arange(len(classes)))


def check_calibration(
    images: Iterable[np.ndarray],
    *,
    shape: Sequence[int] | None = None,
    training: Iterable[np.ndarray] = (),
    test: Iterable[np.ndarray] = (),
    labels: Labels | None = None,
) -> list[Finding]:
    """-> what is wrong with a set of calibration images, errors first; empty: nothing was found.

    Args:
      images: each [1, H, W, C] or [H, W, C] float32, as the network gets them. They are looked at one by one, so that a
        generator that fills one array again and again is found.
      shape: [H, W, C] of the network's input; None: that of the first image.
      training: some images of the training pipeline, of the same form; their scale is compared.
      test: those that will be scored; none may be among the calibration images.
      labels: what is to be seen on each of `images`.

    Raises:
      InputError: `labels` are not of these images.

    Example:
      >>> same = [np.zeros((1, 8, 8, 3), np.float32)] * 60
      >>> [finding.code for finding in check_calibration(same)]
      ['same_array']
    """
    pictures, marks, findings = _take(images, shape)
    if findings:
        return findings
    findings = _finite(marks) or _sameness(pictures, marks)
    if any(finding.code in _FINAL for finding in findings):
        return findings
    wanted = pictures[0].shape
    findings += [*_constant(marks), *_outliers(marks), *_count(marks)]
    if not any(finding.severity == ERROR for finding in findings):
        findings += compare_with_training(marks, marks_of(_pictures(training, wanted)))
    findings += compare_with_test(marks, marks_of(_pictures(test, wanted)))
    findings += _coverage(len(marks), labels)
    return sorted(findings, key=lambda finding: finding.severity != ERROR)


def _take(images: Iterable[np.ndarray], shape: Sequence[int] | None) -> tuple[list[np.ndarray], Marks, list[Finding]]:
    """-> the pictures [H, W, C], their marks when they came, and what is wrong with their form."""
    pictures: list[np.ndarray] = []
    nothing = marks_of(())
    wanted = tuple(shape) if shape is not None else None
    marks: list[Marks] = []
    for place, image in enumerate(images):
        array = np.asarray(image)
        picture = array[0] if array.ndim == 4 and len(array) == 1 else array
        wanted = wanted or picture.shape
        form = f"Calibration images must be [1, {', '.join(map(str, wanted))}] float32"
        if picture.ndim != 3 or picture.shape != wanted or not picture.size:
            received = f"image {place} with {list(array.shape)} {array.dtype}"
            return [], nothing, [error("shape", f"{form}. Received: {received}")]
        if array.dtype != np.float32:
            pixels = ", which looks like pixels of 0..255 that were not normalised" * (array.dtype == np.uint8)
            return [], nothing, [error("dtype", f"{form}. Received: image {place} with {array.dtype}{pixels}")]
        pictures.append(picture)
        marks.append(marks_of([picture]))
    if not pictures:
        return [], nothing, [error("none", "Calibration needs training images to fix the ranges. Received: no image")]
    return pictures, Marks.joined(marks), []


def _pictures(images: Iterable[np.ndarray], shape: tuple[int, ...]) -> Iterable[np.ndarray]:
    for image in images:
        array = np.asarray(image, np.float32)
        picture = array[0] if array.ndim == 4 and len(array) == 1 else array
        # A test picture of another size is not to be compared with; that the sizes differ is said elsewhere.
        if picture.shape == shape:
            yield picture


def _finite(marks: Marks) -> list[Finding]:
    bad = np.flatnonzero(~np.isfinite(marks.mean).all(1))
    if not len(bad):
        return []
    text = f"Calibration images must hold finite numbers. Received: NaN or infinite ones in {these(bad)}"
    return [error("not_finite", text)]


def _sameness(pictures: list[np.ndarray], marks: Marks) -> list[Finding]:
    count, different = len(pictures), len(set(marks.digests))
    places = [picture.__array_interface__["data"][0] for picture in pictures]
    shared = len(set(places)) < count
    if shared and any(digest_of(picture) != digest for picture, digest in zip(pictures, marks.digests, strict=True)):
        text = (
            "The calibration generator fills one array again and again and hands it out each time, so that whoever "
            "keeps the images keeps the last one only; expected a new array each (`yield image.copy()`). Received: "
            f"{count} images in {len(set(places))} array{'s' * (len(set(places)) > 1)}"
        )
        return [error("refilled_array", text)]
    if different == 1 and count > 1:
        asked = (
            "the same array (does the generator hand out what it fills, without a copy?)"
            if shared
            else "the same picture (does the generator start anew at each call, or never step on?)"
        )
        text = (
            f"Calibration images must differ, or the ranges are those of one picture. Received: {count} times {asked}"
        )
        return [error("same_array" if shared else "same_picture", text)]
    first: dict[bytes, int] = {}
    exact = [place for place, digest in enumerate(marks.digests) if first.setdefault(digest, place) != place]
    found = []
    if exact:
        text = f"{len(exact)} of {count} calibration images are there already ({these(exact)}); {different} differ"
        found.append(warning("duplicates", text))
    near = np.tril(alike(marks, marks), -1)
    near[exact] = False
    near[:, exact] = False
    again = np.flatnonzero(near.any(1))
    if len(again):
        pairs = ", ".join(f"{int(np.argmax(near[place]))} and {int(place)}" for place in again[:SHOWN])
        text = (
            f"{len(again)} of {count} calibration images show what another one shows, scaled, mirrored, brighter or "
            f"compressed again: {pairs}{', ...' if len(again) > SHOWN else ''}"
        )
        found.append(warning("near_duplicates", text))
    return found


def _constant(marks: Marks) -> list[Finding]:
    flat = np.flatnonzero((marks.high == marks.low).all(1))
    if not len(flat):
        return []
    text = f"{len(flat)} of {len(marks)} calibration images are of one colour and fix no range ({these(flat)})"
    return [Finding("constant", ERROR if len(flat) > MANY * len(marks) else WARNING, text)]


def _outliers(marks: Marks) -> list[Finding]:
    largest = np.maximum(np.abs(marks.low), np.abs(marks.high)).max(1)
    usual = float(np.median(largest))
    odd = np.flatnonzero(largest > OUTLIER * usual)
    if not usual or not len(odd):
        return []
    text = (
        f"Calibration images must all be on one scale, and the numbers of most reach {usual:.3g}. Received: up to "
        f"{largest[odd].max():.4g} in {these(odd)}; are they normalised?"
    )
    return [error("mixed_scales", text)]


def _count(marks: Marks) -> list[Finding]:
    if (count := len(marks)) >= FEW:
        return []
    text = f"The ranges hang on which images were drawn; expected {FEW} or more, better 100 to 500. Received: {count}"
    return [warning("few", text)]


def _coverage(count: int, labels: Labels | None) -> list[Finding]:
    if labels is None:
        return []
    if labels.seen.shape != (count, len(labels.names)):
        raise InputError(
            f"Labels must be [{count}, {len(labels.names)}], images and names. Received: {list(labels.seen.shape)}"
        )
    lacking = [labels.names[place] for place in np.flatnonzero(~np.any(labels.seen, axis=0))]
    if not lacking:
        return []
    shown = ", ".join(lacking[:SHOWN]) + ", ..." * (len(lacking) > SHOWN)
    kinds = "classes" if labels.kind == "class" else f"{labels.kind}s"
    text = (
        f"{len(lacking)} of {len(labels.names)} {kinds} are on no calibration image ({shown}), so that what the "
        "network computes for these alone is not in the ranges; take more images"
    )
    return [warning("coverage", text)]
