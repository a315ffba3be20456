"""What the tensors of a float flatbuffer hold when calibration images pass through: extremes and a histogram of each.

The images pass once; every range rule of `tta_lite.export.quantize.ranges` then works on what was kept. Imports no
TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.runner import load
from tta_lite.types import InputError

BINS = 4096
# Elements of a tensor that enter its histogram from one image; the extremes are of all.
SAMPLES = 8192
# Of the moving averages, as in Jacob et al. 2018, section 3.1, where a step of training is an image here.
MOMENTUM = 0.95


@dataclasses.dataclass(frozen=True)
class TensorStatistics:
    """What one tensor held.

    Attributes:
      low, high: the smallest and the largest value of all images.
      mean_low, mean_high: moving averages of the extremes of each image.
      counts: [BINS] how many sampled values fell between ``-reach`` and ``reach``, in bins of one width.
      reach: a power of two.
      images: how many were seen.
    """

    low: float
    high: float
    mean_low: float
    mean_high: float
    counts: np.ndarray
    reach: float
    images: int

    @property
    def centres(self) -> np.ndarray:
        """-> [BINS] the middle of each bin."""
        width = 2 * self.reach / len(self.counts)
        return -self.reach + width * (np.arange(len(self.counts)) + 0.5)


# Name of a tensor -> what it held.
Statistics = Mapping[str, TensorStatistics]


class _Histogram:
    """Grows as values come: when one lies outside, pairs of bins are made one and the reach doubles."""

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.reach = 0.0
        self.low, self.high = math.inf, -math.inf
        self.mean_low = self.mean_high = 0.0
        self.images = 0

    def add(self, values: np.ndarray) -> bool:
        """[N] float32, of one image -> whether all are numbers; if not, nothing is counted."""
        # A value that is none is the smallest to NumPy: the extremes tell of all, and they are needed anyway.
        low, high = float(values.min()), float(values.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            return False
        self.low, self.high = min(self.low, low), max(self.high, high)
        share = 1.0 if self.images == 0 else 1 - MOMENTUM
        self.mean_low += share * (low - self.mean_low)
        self.mean_high += share * (high - self.mean_high)
        self._reach(max(abs(low), abs(high)))
        # Each image starts at another element, so that no channel is always left out.
        step = max(1, values.size // SAMPLES)
        sampled = values[self.images % step :: step]
        # Even a largest value that rounds up to the reach belongs to the last bin.
        places = np.minimum((sampled * np.float32(BINS / 2 / self.reach) + BINS / 2).astype(np.int32), BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)
        self.images += 1
        return True

    def _reach(self, largest: float) -> None:
        if self.reach == 0.0:
            # Below the least one, its inverse is no number of float32.
            self.reach = max(_power_above(largest), 2.0**-100) if largest else 2.0**-20
        while self.reach <= largest:
            pairs = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : BINS // 4 + len(pairs)] = pairs
            self.reach *= 2

    def finish(self) -> TensorStatistics:
        return TensorStatistics(
            self.low, self.high, self.mean_low, self.mean_high, self.counts, self.reach, self.images
        )


def _power_above(value: float) -> float:
    """-> the smallest power of two above a value.

    >>> _power_above(3.0), _power_above(4.0), _power_above(0.3)
    (4.0, 8.0, 0.5)
    """
    return 2.0 ** (math.floor(math.log2(value)) + 1)


def collect(float_tflite: bytes, images: Sequence[np.ndarray], *, num_threads: int | None = None) -> Statistics:
    """-> what every float tensor between the ops held, the input included.

    Every tensor is made an output, for otherwise XNNPACK keeps most to itself; that is three times as fast as to go
    without it, and exact. TensorFlow's own calibrator reads a tensor after an addition has been written over it, and
    so finds wider ranges than there are.

    Args:
      float_tflite: one graph of fixed shapes; names of tensors that will be quantised must be different.
      images: each [1, H, W, C] float32, normalised as for the network.
      num_threads: of the interpreter; those of this machine, four at most, if None.

    Raises:
      InputError: no image, one of another shape or type, or a tensor that is no longer a number.
    """
    edit = GraphEdit(float_tflite)
    tensors = activations(edit)
    edit.graph.outputs = np.array(tensors, np.int32)
    edit.model.signatureDefs = []
    names = {tensor: edit.text(tensor) for tensor in tensors}
    interpreter = load(edit.to_bytes(), num_threads=num_threads or min(4, os.cpu_count() or 1))
    argument = interpreter.get_input_details()[0]
    kept = {tensor: _Histogram() for tensor in tensors}
    images = list(images)
    check_images(images, tuple(argument["shape"]))
    for number, image in enumerate(images):
        interpreter.set_tensor(argument["index"], image)
        interpreter.invoke()
        for tensor, histogram in kept.items():
            values = interpreter.get_tensor(tensor).ravel()
            if values.size and not histogram.add(values):
                raise InputError(
                    f"Calibration image {number}: the tensor `{names[tensor]}` must hold numbers. "
                    "Received: NaN or infinity; the weights or the image's range may be at fault"
                )
    return {names[tensor]: histogram.finish() for tensor, histogram in kept.items() if histogram.images}


def activations(edit: GraphEdit) -> list[int]:
    """-> the float32 tensors that are no constants: the inputs, and what ops write."""
    found = [int(tensor) for tensor in edit.graph.inputs]
    found += [int(tensor) for op in edit.ops for tensor in op.outputs]
    return [tensor for tensor in dict.fromkeys(found) if tensor >= 0 and edit.dtype(tensor) == np.float32]


def check_images(images: Sequence[np.ndarray], shape: tuple[int, ...]) -> None:
    """Raises an `InputError` if calibration images are not what the network takes.

    Args:
      images: to be looked at.
      shape: [1, H, W, C] of the network's input.
    """
    wanted = f"training images of shape {[int(size) for size in shape]}, float32 and finite, to fix the ranges"
    if not len(images):
        raise InputError(f"Argument `calibration`: integer presets need {wanted}. Received: no image")
    for number, image in enumerate(images):
        array = np.asarray(image)
        numbers = np.issubdtype(array.dtype, np.number)
        if array.shape != tuple(shape) or array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError(
                f"Argument `calibration`, image {number}: integer presets need {wanted}. "
                f"Received: {list(array.shape)} {array.dtype}"
                f"{'' if numbers and np.isfinite(array).all() else ', not finite'}"
            )
