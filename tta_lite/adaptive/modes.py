"""What an adaptive network can run, and the ways to an answer: records that check themselves. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tta_lite.types import InputError

# What a stage takes if it does not take another stage's output.
IMAGE = "image"
# A sum of shares may be rounded.
CLOSE = 1e-6


@dataclasses.dataclass(frozen=True)
class Stage:
    """One signature of one file, and what it costs.

    Attributes:
      name: within the policy.
      file: beside policy.json.
      signature: of the file.
      inputs: argument of the signature -> ``image``, or ``stage/output`` of one that ran before.
      scores: the output of the signature that is the answer.
      image_shape: (H, W, C) of the image that it takes; None: it takes features alone.
      macs: of one run.
      latency_ms: median of one run; None: not measured.
      spread_ms: quantiles of the runs, rising and evenly spaced in probability, e.g. at 5, 15 .. 95 %; may be empty.
    """

    name: str
    file: str
    signature: str
    inputs: Mapping[str, str]
    scores: str
    image_shape: tuple[int, int, int] | None
    macs: int
    latency_ms: float | None = None
    spread_ms: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for key in ("name", "file", "signature", "scores"):
            check_text(f"Stage {self.name!r}: `{key}`", getattr(self, key))
        where = f"Stage {self.name!r}"
        if "/" in self.name:
            raise InputError(
                f"{where}: a name holds no '/', which parts a stage from its output. Received: {self.name}"
            )
        if PurePosixPath(self.file).name != self.file or "\\" in self.file:
            raise InputError(f"{where}: `file` must be a file beside the policy. Received: {self.file!r}")
        if not isinstance(self.inputs, Mapping) or not self.inputs:
            raise InputError(f"{where}: `inputs` must say what each argument takes. Received: {self.inputs!r}")
        for argument, taken in self.inputs.items():
            check_text(f"{where}: an argument of `inputs`", argument)
            check_text(f"{where}: what `{argument}` takes", taken)
        takes_image = IMAGE in self.inputs.values()
        if self.image_shape is not None:
            object.__setattr__(self, "image_shape", tuple(self.image_shape))
        shape = self.image_shape
        if takes_image != (shape is not None):
            raise InputError(f"{where}: an `image_shape` belongs to a stage that takes the image. Received: {shape}")
        if shape is not None and (len(shape) != 3 or not all(type(size) is int and size > 0 for size in shape)):
            raise InputError(f"{where}: `image_shape` must be height, width and channels. Received: {shape}")
        if type(self.macs) is not int or self.macs < 0:
            raise InputError(f"{where}: `macs` must be a whole number of 0 or more. Received: {self.macs!r}")
        if self.latency_ms is not None:
            _check_positive(f"{where}: `latency_ms`", self.latency_ms)
        object.__setattr__(self, "spread_ms", tuple(self.spread_ms))
        for value in self.spread_ms:
            _check_positive(f"{where}: `spread_ms`", value)
        if list(self.spread_ms) != sorted(self.spread_ms) or (self.spread_ms and self.latency_ms is None):
            raise InputError(
                f"{where}: `spread_ms` must rise and stand beside a `latency_ms`. Received: {list(self.spread_ms)}"
            )


@dataclasses.dataclass(frozen=True)
class Mode:
    """A way to an answer.

    Attributes:
      name: within the policy.
      stages: names of what runs, in this order.
      accuracy: 0..100.
      interval: its 95 % interval, low and high.
      examples: how many were scored.
      thresholds: after each stage but the last, how sure its answer must be; None: it never answers there.
      shares: share of the examples that each stage answers, 0..1; of one stage, all.
      answered: accuracy of what each stage answers, 0..100; None: it answers nothing. Empty: not known.
      cut: after each stage but the last, the accuracy of its answers where it is unsure, for want of time to go on;
        None: it is always sure. Empty: not known.
    """

    name: str
    stages: tuple[str, ...]
    accuracy: float
    interval: tuple[float, float]
    examples: int
    thresholds: tuple[float | None, ...] = ()
    shares: tuple[float, ...] = (1.0,)
    answered: tuple[float | None, ...] = ()
    cut: tuple[float | None, ...] = ()

    def __post_init__(self) -> None:
        check_text("A mode's `name`", self.name)
        where = f"Mode {self.name!r}"
        for key in ("stages", "interval", "thresholds", "shares", "answered", "cut"):
            if isinstance(getattr(self, key), str) or not isinstance(getattr(self, key), Sequence):
                raise InputError(f"{where}: `{key}` must be a list. Received: {getattr(self, key)!r}")
            object.__setattr__(self, key, tuple(getattr(self, key)))
        if not self.stages or len(set(self.stages)) != len(self.stages):
            raise InputError(f"{where}: `stages` must name one or more, each once. Received: {list(self.stages)}")
        if len(self.thresholds) != len(self.stages) - 1 or not all(
            one is None or is_number(one) for one in self.thresholds
        ):
            raise InputError(
                f"{where}: `thresholds` must be {len(self.stages) - 1} numbers, one after each stage but the last, or "
                f"null. Received: {list(self.thresholds)}"
            )
        if (
            len(self.shares) != len(self.stages)
            or not all(is_number(one) and 0 <= one <= 1 for one in self.shares)
            or abs(sum(self.shares) - 1) > CLOSE
        ):
            raise InputError(
                f"{where}: `shares` must be {len(self.stages)} shares, one a stage, with the sum 1. "
                f"Received: {list(self.shares)}"
            )
        figures = (self.accuracy, *self.interval)
        if len(figures) != 3 or not all(is_number(one) and 0 <= one <= 100 for one in figures):
            raise InputError(f"{where}: accuracy and interval must lie in 0..100. Received: {list(figures)}")
        if not figures[1] <= figures[0] <= figures[2]:
            raise InputError(f"{where}: the interval must hold the accuracy. Received: {list(figures)}")
        for key, count in (("answered", len(self.stages)), ("cut", len(self.stages) - 1)):
            told = getattr(self, key)
            right = all(one is None or (is_number(one) and 0 <= one <= 100) for one in told)
            if (told and len(told) != count) or not right:
                raise InputError(f"{where}: `{key}` must be {count} accuracies or null. Received: {list(told)}")
        if self.answered:
            mean = sum(share * (one or 0.0) for share, one in zip(self.shares, self.answered, strict=True))
            if abs(mean - self.accuracy) > 100 * CLOSE:
                raise InputError(
                    f"{where}: shares and `answered` must give the accuracy, {self.accuracy}. Received: {mean}"
                )
        if type(self.examples) is not int or self.examples < 1:
            raise InputError(f"{where}: `examples` must be 1 or more. Received: {self.examples!r}")

    @property
    def reached(self) -> tuple[float, ...]:
        """The share of the examples that each stage runs for.

        >>> Mode("half", ("a", "b"), 90.0, (80.0, 95.0), 100, (0.9,), (0.75, 0.25)).reached
        (1.0, 0.25)
        """
        return tuple(1.0 - sum(self.shares[:place]) for place in range(len(self.stages)))


def check_text(what: str, value: Any) -> None:
    """Raises an `InputError` for what is no text, or an empty one."""
    if not isinstance(value, str) or not value:
        raise InputError(f"{what} must be a text. Received: {value!r}")


def is_number(value: Any) -> bool:
    """-> whether it is a finite number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_positive(what: str, value: Any) -> None:
    if not is_number(value) or not value > 0:
        raise InputError(f"{what} must be a number above 0. Received: {value!r}")
