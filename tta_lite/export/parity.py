"""Is the exported file still the same function? The file against the Keras model, on real inputs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import PRESETS, InputError

BATCH = 8
# Measured on PoseResNets (MobileNetV2, ResNet-18 and -50, 96 x 96 photos, 40 to 400 training steps), the worst of them:
# fp32 116, fp16 44, dynamic 28, int8 19 dB. int8 files of the same nets whose calibration images were normalised twice,
# not at all, or all black: 23 dB or less, falling with training to 1, 4 and 9 dB after 400 steps. (A net that does not
# yet look at its input loses nothing by either.) A limit lies nearer to the damage, for no honest export may be
# refused: at 10 dB the noise has a tenth of the power of the heat maps. A deep network of random weights multiplies
# every rounding error and can fall below: ResNet-50 with random scales gave fp32 85, fp16 27, dynamic 6, int8 4 dB.
SQNR_LIMITS_DB: dict[str, float] = {
    "fp32": 80, "fp16": 30, "dynamic": 15, "weight_only_int8": 15, "weight_only_int4": 3, "int8": 10, "int16x8": 15,
}  # fmt: skip


class TooLossyError(InputError):
    """The file differs from its model by more than its preset allows."""


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far the file's outputs lie from the model's. None of the figures depends on the layers between.

    Attributes:
      max_error: the largest absolute difference.
      mean_error: the mean absolute difference.
      sqnr_db: signal to quantisation noise, ``10 log10(sum(model^2) / sum((file - model)^2))``; infinite if equal.
      relative_rmse: root mean square of the difference over the standard deviation of the model's outputs.
      images: how many inputs were compared.
    """

    max_error: float
    mean_error: float
    sqnr_db: float
    relative_rmse: float
    images: int

    def __str__(self) -> str:
        return (
            f"max {self.max_error:.3g}, mean {self.mean_error:.3g}, SQNR {self.sqnr_db:.1f} dB, "
            f"rmse {self.relative_rmse:.2%} of the standard deviation, on {self.images} images"
        )


def compare(model: keras.Model, tflite: bytes, images: np.ndarray | Sequence[np.ndarray]) -> Parity:
    """-> the difference between the file and the model on the same inputs.

    Args:
      model: what was exported.
      tflite: what came of it.
      images: [N, H, W, C] float32 or a list of [1, H, W, C]; real ones, for noise says little about a network's ranges.

    Raises:
      InputError: no images, images of another shape, or shapes of the two outputs that differ.
    """
    batch = _as_batch(images)
    # A few at a time: an eager call costs more than its arithmetic, and a large network must not fill the memory.
    groups = (batch[start : start + BATCH] for start in range(0, len(batch), BATCH))
    expected = np.concatenate([np.asarray(model(group, training=False), np.float32) for group in groups])
    return measure(expected, TFLitePredictor(tflite)(batch))


def measure(expected: np.ndarray, received: np.ndarray) -> Parity:
    """-> the difference between two arrays [N, ...] of the same shape.

    >>> str(measure(np.array([[3.0, -4.0]]), np.array([[3.0, -3.5]])))
    'max 0.5, mean 0.25, SQNR 20.0 dB, rmse 10.10% of the standard deviation, on 1 images'

    Raises:
      InputError: the shapes differ.
    """
    if expected.shape != received.shape:
        raise InputError(
            f"The file must give what the model gives, {list(expected.shape)}. Received: {list(received.shape)}"
        )
    signal = np.asarray(expected, np.float64)
    error = np.asarray(received, np.float64) - signal
    spread = float(signal.std())
    rmse = float(np.sqrt(np.mean(error**2)))
    return Parity(
        max_error=float(np.abs(error).max()),
        mean_error=float(np.abs(error).mean()),
        sqnr_db=_decibels(float(np.sum(signal**2)), float(np.sum(error**2))),
        relative_rmse=rmse / spread if spread else (math.inf if rmse else 0.0),
        images=len(signal),
    )


def check_parity(parity: Parity, preset: str) -> None:
    """Refuses a file that differs from its model by more than its preset allows (`SQNR_LIMITS_DB`).

    Raises:
      TooLossyError: it does, or its outputs are not finite.
      InputError: there is no such preset.
    """
    if preset not in SQNR_LIMITS_DB:
        raise InputError(f"Argument `preset` must be one of {', '.join(PRESETS)}. Received: {preset!r}")
    limit = SQNR_LIMITS_DB[preset]
    # Written so that NaN is refused.
    if not parity.sqnr_db >= limit:
        raise TooLossyError(
            f"The {preset} file is not the same function as the model: it needs an SQNR of {limit:g} dB or more. "
            "Look at the calibration images (training images, normalised as for the model) and at layers whose "
            f"outputs have a few very large values. Received: {parity}"
        )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    if signal == 0:
        return -math.inf
    return 10 * math.log10(signal / noise)


def _as_batch(images: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
    parts = list(images)
    if not parts:
        raise InputError("Argument `images` must hold one real input or more. Received: none")
    shapes = {np.shape(part) for part in parts}
    if len(shapes) != 1:
        raise InputError(f"Argument `images` must hold inputs of one shape. Received: {sorted(shapes)}")
    batch = np.asarray(parts, dtype=np.float32)
    # A list of [1, H, W, C].
    return batch[:, 0] if not isinstance(images, np.ndarray) and batch.shape[1] == 1 else batch
