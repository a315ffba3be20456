"""What would FP8 cost this network? Answered by scores; there is no file, for no kernel computes in FP8 (6.2.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.fp8 import FORMATS, fp8_predictor
from tta_lite.export.quantize.ranges import choose_ranges
from tta_lite.export.quantize.statistics import collect
from tta_lite.guideline.case_study import say
from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.types import Accuracy, Task


@dataclasses.dataclass(frozen=True)
class Fp8Score:
    """One format.

    Attributes:
      format: ``fp32``, ``e4m3`` or ``e5m2``.
      accuracy: on the task's test part.
      saturated: values that lay outside the format.
      total: values that were rounded.
    """

    format: str
    accuracy: Accuracy
    saturated: int = 0
    total: int = 0

    def __str__(self) -> str:
        low, high = self.accuracy.interval
        lost = f", {self.saturated:,} of {self.total:,} values saturated" if self.total else ""
        return f"{self.format}: {self.accuracy.metric} {self.accuracy.value:.1f} ({low:.1f} to {high:.1f}){lost}"


def fp8_scores(
    source: FloatFile,
    images: Sequence[np.ndarray],
    task: Task,
    *,
    ranges: str = "min_max",
    write: Callable[[str], Any] = say,
) -> list[Fp8Score]:
    """-> the score in float32, and with weights and activations rounded to E4M3 and to E5M2.

    Args:
      source: the float file.
      images: that fix the ranges, each [1, H, W, C] float32.
      task: scores.
      ranges: the rule, a key of `tta_lite.export.quantize.ranges.RANGES`.
      write: where progress goes.

    Raises:
      InputError: images or a network that cannot be taken.
    """
    chosen = choose_ranges(collect(source.tflite, images), ranges, source.outputs)
    write("fp32: scoring")
    found = [Fp8Score("fp32", task.score(TFLitePredictor(source.tflite)))]
    for name in FORMATS:
        write(f"{name}: scoring, op by op")
        predict = fp8_predictor(source.tflite, ranges=chosen, format=name)
        accuracy = task.score(predict)
        found.append(Fp8Score(name, accuracy, sum(predict.saturated.values()), predict.total))
    return found
