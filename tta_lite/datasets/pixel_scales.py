"""On which scale are the numbers of a picture? Guessed from their range, to say what a mistake looks like.

Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# What it looks like -> mean and deviation of each channel in pixel units: value = (pixel - mean) / deviation.
SCALES: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "pixels of 0..255": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "pixels of 0..1": ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "pixels of -1..1": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    "pixels normalised with ImageNet's means and deviations": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "pixels of 0..255 less ImageNet's means (as Caffe's networks want them)": (
        (103.939, 116.779, 123.68),
        (1.0, 1.0, 1.0),
    ),
}  # fmt: skip
# Room for resizing with overshoot, in pixels.
_ROOM = 3.0
# Of the 255 steps that a set of photos has, at least so many must be used for a guess.
_LEAST_SPAN = 100.0


def looks_like(low: np.ndarray, high: np.ndarray) -> str:
    """-> which of `SCALES` the numbers are on; empty if none fits.

    Of all scales on which no pixel would lie outside 0..255, the one that leaves the least of 0..255 unused.

    Args:
      low: [C], the smallest number of each channel.
      high: [C], the largest.

    >>> looks_like(np.zeros(3), np.full(3, 255.0))
    'pixels of 0..255'
    >>> looks_like(np.full(3, -1.0), np.full(3, 0.9))
    'pixels of -1..1'
    """
    best, widest = "", _LEAST_SPAN
    for name, (mean, deviation) in SCALES.items():
        # A grey picture's one channel is compared with the middle one.
        means, deviations = (np.asarray(v) if len(low) == 3 else np.full(len(low), v[1]) for v in (mean, deviation))
        lowest, highest = low * deviations + means, high * deviations + means
        if lowest.min() < -_ROOM or highest.max() > 255 + _ROOM:
            continue
        span = float(highest.max() - lowest.min())
        if span > widest:
            best, widest = name, span
    return best
