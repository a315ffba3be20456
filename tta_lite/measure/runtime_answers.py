"""What a runtime says of a file: whether it takes each op, and whether it computes what LiteRT does."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

# Of the largest expected value.
FLOAT_TOLERANCE = 1e-4
TAKEN, FALLBACK, REFUSED, DIFFERS, CRASHED, TOO_SLOW = "taken", "fallback", "refused", "differs", "crashed", "too slow"
CODES, PARTS = "codes of 8 bits", "of the largest value"
# The runtime stopped before it came to that op.
UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the runtime made of a file of one op, or of the whole one.

    Attributes:
      answer: ``taken``, ``fallback`` (only slow kernels run it), ``refused``, ``differs`` (it runs and gives something
        else than LiteRT), ``crashed``, ``too slow`` or ``unknown`` (the runtime did not come to it).
      words: the runtime's own, or what is to be said of the difference; empty if there is none to give.
      difference: the largest from LiteRT's outputs, in `unit`; None: not compared.
      unit: `CODES` or `PARTS`; empty if not compared.
    """

    answer: str
    words: str = ""
    difference: float | None = None
    unit: str = ""


@dataclasses.dataclass(frozen=True)
class OpAnswer:
    """An `Answer` for one op.

    Attributes:
      index: its place in the file's list of ops.
      op: as ``TRANSPOSE_CONV``.
      layer: that it comes from.
      answer: for it, or for the first one that is like it.
    """

    index: int
    op: str
    layer: str
    answer: Answer


@dataclasses.dataclass(frozen=True)
class RuntimeAnswer:
    """What a runtime says of a file.

    Attributes:
      runtime: with its version.
      device: where it was asked.
      ops: all, in the order in which they run.
      whole: the whole file; None: not run, because an op is refused.
    """

    runtime: str
    device: str
    ops: tuple[OpAnswer, ...]
    whole: Answer | None

    @property
    def runs(self) -> bool:
        """Whether it runs wholly on the fast kernels and gives what LiteRT gives."""
        answers = [op.answer for op in self.ops] + ([self.whole] if self.whole else [])
        return self.whole is not None and all(one.answer == TAKEN for one in answers)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return {**dataclasses.asdict(self), "runs": self.runs}


def compare(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], steps: int) -> tuple[float, str, str]:
    """-> the largest difference, its unit, and what is wrong with it; empty if nothing is.

    Args:
      expected: outputs, as LiteRT stores them.
      found: the same of another runtime.
      steps: codes by which integers may differ; floats may by `FLOAT_TOLERANCE`.

    >>> compare([np.array([1.0, -2.0])], [np.array([1.0, -1.5])], 1)
    (0.25, 'of the largest value', 'It gives something else than LiteRT: up to 0.25 of the largest value, in 50 %...')
    """
    if [one.shape for one in expected] != [one.shape for one in found]:
        shapes = [[list(one.shape) for one in side] for side in (expected, found)]
        return math.inf, "", f"LiteRT gives outputs of {shapes[0]}, and here they are {shapes[1]}."
    worst = (0.0, CODES if not expected or expected[0].dtype.kind in "iu" else PARTS, "")
    for a, b in zip(expected, found, strict=True):
        in_codes = a.dtype.kind in "iu"
        limit, unit = (float(steps), CODES) if in_codes else (FLOAT_TOLERANCE, PARTS)
        apart = _apart(a.astype(np.float64), b.astype(np.float64), in_codes)
        largest = float(apart.max(initial=0))
        if largest < worst[0] or (largest == 0 and worst[0] == 0):
            continue
        wrong = worst[2]
        if not largest <= limit:
            share = 100 * float((apart > limit).mean())
            wrong = f"It gives something else than LiteRT: up to {largest:.3g} {unit}, in {share:.3g} % of the outputs."
        worst = (largest, unit, wrong)
    return worst


def _apart(a: np.ndarray, b: np.ndarray, in_codes: bool) -> np.ndarray:
    """-> how far each value of `b` is from that of `a`.

    No number on both sides is no difference, on one side it is an infinite one.
    """
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    apart = np.where(a == b, 0.0, apart)
    apart = np.where(np.isnan(apart), np.where(np.isnan(a) & np.isnan(b), 0.0, np.inf), apart)
    scale = float(np.max(np.abs(a), initial=0, where=np.isfinite(a)))
    return apart if in_codes or not scale else apart / scale
