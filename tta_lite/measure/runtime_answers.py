"""What a runtime says of a file: whether it takes each op, and whether it computes what LiteRT does."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

# Of the largest expected value.
FLOAT_TOLERANCE = 1e-4
TAKEN, FALLBACK, REFUSED, DIFFERS, CRASHED, TOO_SLOW = "taken", "fallback", "refused", "differs", "crashed", "too slow"
# The runtime stopped before it came to that op.
UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the runtime made of a file of one op, or of the whole one.

    Attributes:
      answer: ``taken``, ``fallback`` (only slow kernels run it), ``refused``, ``differs`` (it runs and gives something
        else than LiteRT), ``crashed``, ``too slow`` or ``unknown`` (the runtime did not come to it).
      words: the runtime's own, or what is to be said of the difference; empty if there is none to give.
      difference: the largest from LiteRT's outputs: in codes for 8 bits, else in parts of the largest value; None: not
        compared.
    """

    answer: str
    words: str = ""
    difference: float | None = None


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


def compare(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], steps: int) -> tuple[float, str]:
    """-> the largest difference, and what is wrong with it; empty if nothing is."""
    if [one.shape for one in expected] != [one.shape for one in found]:
        shapes = [[list(one.shape) for one in side] for side in (expected, found)]
        return float("inf"), f"LiteRT gives outputs of {shapes[0]}, and here they are {shapes[1]}."
    largest, wrong = 0.0, ""
    for a, b in zip(expected, found, strict=True):
        is_float = a.dtype.kind == "f"
        apart = np.abs(a.astype(np.float64) - b.astype(np.float64))
        # What is no number here and there is no difference; on one side alone, it is the largest.
        apart = np.where(np.isnan(apart), np.where(np.isnan(a) & np.isnan(b), 0, np.inf), apart)
        scale = float(np.nanmax(np.abs(a.astype(np.float64)), initial=0)) if is_float else 1.0
        difference = float(apart.max(initial=0)) / (scale or 1.0)
        largest = max(largest, difference)
        limit = FLOAT_TOLERANCE if is_float else steps
        if difference > limit:
            unit = "of the largest value" if is_float else "codes of 8 bits"
            wrong = (
                f"It runs and gives something else than LiteRT: up to {difference:.3g} {unit}, in "
                f"{100 * float((apart > limit * scale).mean()):.3g} % of the outputs."
            )
    return largest, wrong
