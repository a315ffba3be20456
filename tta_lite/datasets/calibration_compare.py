"""Calibration images beside those of the training and of the test. Imports no TensorFlow."""

from __future__ import annotations

import numpy as np

from tta_lite.datasets.calibration_findings import (
    ERROR,
    MANY,
    WARNING,
    Finding,
    channels,
    error,
    scale_of,
    these,
    warning,
)
from tta_lite.datasets.picture_marks import Marks, alike
from tta_lite.datasets.pixel_scales import looks_like

# From the training's mean, in its deviations; and of the deviations, as a ratio: further off is told, or refused.
FAR_MEAN, FAR_RATIO, TOO_FAR_RATIO = 0.5, 2.0, 10.0
# Errors of a mean of few pictures.
_DOUBTS = 3.0


def compare_with_training(marks: Marks, training: Marks) -> list[Finding]:
    """-> whether the images are on another scale than the training's, or have their channels in another order."""
    if not len(training) or training.low.shape[1] != marks.low.shape[1]:
        return []
    spread = np.maximum(training.deviation, 1e-12)
    mean, wanted = marks.mean.mean(0), training.mean.mean(0)
    share = 1 / len(marks) + 1 / len(training)
    doubt = _DOUBTS * np.sqrt(training.mean.var(0) * share)
    apart = np.maximum(np.abs(mean - wanted) - doubt, 0) / spread
    ratio = marks.deviation / spread
    if ratio.max() < FAR_RATIO and ratio.min() > 1 / FAR_RATIO and _reversed(marks, training, share):
        return [
            warning(
                "channels",
                "The channels of the calibration images look reversed (blue, green, red): their means are "
                f"{channels(mean)}, and those of the training {channels(wanted)}",
            )
        ]
    figures = f"{scale_of(marks)} instead of {scale_of(training)}"
    if apart.max() > FAR_MEAN or ratio.max() > FAR_RATIO or ratio.min() < 1 / FAR_RATIO:
        here, there = (looks_like(one.low.min(0), one.high.max(0)) for one in (marks, training))
        if here and there and here != there:
            like = f"look like {here}{' that were not normalised' * (here == 'pixels of 0..255')}"
            return [
                error(
                    "scale",
                    "Calibration images must be normalised as for the training, which takes "
                    f"{there}; these {like}. Received: {figures}",
                )
            ]
        severity = ERROR if ratio.max() > TOO_FAR_RATIO or ratio.min() < 1 / TOO_FAR_RATIO else WARNING
        text = f"Calibration images should be on the scale of the training's. Received: {figures}"
        return [Finding("range", severity, text)]
    return []


def _reversed(marks: Marks, training: Marks, share: float) -> bool:
    # The difference of two channels varies far less from picture to picture than each of them.
    if training.mean.shape[1] != 3:
        return False
    wanted = training.mean[:, 0] - training.mean[:, 2]
    here, there = float((marks.mean[:, 0] - marks.mean[:, 2]).mean()), float(wanted.mean())
    return (
        abs(here - there) > _DOUBTS * float(np.sqrt(wanted.var() * share)) and abs(here + there) < abs(here - there) / 3
    )


def compare_with_test(marks: Marks, test: Marks) -> list[Finding]:
    """-> which images will be scored too, or show what one of those shows."""
    scored = set(test.digests)
    exact = [place for place, digest in enumerate(marks.digests) if digest in scored]
    near = [int(place) for place in np.flatnonzero(alike(marks, test).any(1)) if place not in exact]
    found = []
    if exact:
        text = (
            f"{len(exact)} of {len(marks)} calibration images are in the test set too ({these(exact)}), so that the "
            "score would be of images that the ranges were fitted to; expected training images"
        )
        found.append(Finding("test_images", ERROR if len(exact) > MANY * len(marks) else WARNING, text))
    if near:
        found.append(
            warning(
                "like_test_images",
                f"{len(near)} of {len(marks)} calibration images show what a test image shows, scaled, mirrored, "
                f"brighter or compressed again ({these(near)})",
            )
        )
    return found
