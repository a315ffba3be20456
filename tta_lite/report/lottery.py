"""What lottery tickets reach over several seeds: means, paired intervals, the table and the sentences."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from tta_lite.types import InputError

DENSE = "dense"


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """One kind of sparse network at every share of weights.

    Attributes:
      name: what it is called.
      left: [R] share of weights left, 0..1, falling.
      scores: [S, R], a row a seed.
      dense: [S], the dense network of the same seeds.
    """

    name: str
    left: np.ndarray
    scores: np.ndarray
    dense: np.ndarray

    def __post_init__(self) -> None:
        if self.scores.shape != (len(self.dense), len(self.left)):
            raise InputError(
                f"The scores of {self.name} must be [seeds, rounds], {(len(self.dense), len(self.left))}. "
                f"Received: {self.scores.shape}"
            )

    def means(self) -> list[Interval]:
        """-> of each share, the mean over the seeds."""
        return [interval(column) for column in self.scores.T]

    def against_dense(self) -> list[Interval]:
        """-> of each share, by how much it is above the dense network of the same seed."""
        return [interval(column - self.dense) for column in self.scores.T]


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        # Of one seed there is no interval.
        return f"{self.mean:+.2f}" + (f" ({self.low:+.2f} to {self.high:+.2f})" if math.isfinite(self.low) else "")


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """-> mean and 95 % interval by Student's t; of one value the interval is not known.

    >>> str(interval([1.0, 2.0, 3.0]))
    '+2.00 (-0.48 to +4.48)'
    """
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(scipy.stats.t.ppf(0.975, count - 1) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half)


def table_csv(curves: Sequence[Curve], seeds: Sequence[int]) -> str:
    """-> a row for each curve, share and seed."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["curve", "left", "seed", "score", "dense"])
    for curve in curves:
        for place, left in enumerate(curve.left):
            for row, seed in enumerate(seeds):
                writer.writerow(
                    [curve.name, f"{left:.6f}", seed, f"{curve.scores[row, place]:.4f}", f"{curve.dense[row]:.4f}"]
                )
    return text.getvalue()


def table_markdown(curves: Sequence[Curve], metric: str) -> str:
    """-> a row a share, a column a curve: points above the dense network, with the paired 95 % interval."""
    dense = interval(curves[0].dense)
    lines = [
        f"Points of {metric} above the dense network of the same seed ({len(curves[0].dense)} seeds, dense "
        f"{dense.mean:.2f}), mean and 95 % interval (Student's t).",
        "",
        "| weights left | " + " | ".join(curve.name for curve in curves) + " |",
        "|---:|" + "---:|" * len(curves),
    ]
    for place, left in enumerate(curves[0].left):
        cells = [str(curve.against_dense()[place]) for curve in curves]
        lines.append(f"| {100 * left:.1f} % | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def smallest_winner(curve: Curve) -> int | None:
    """-> the place of the fewest weights with which the mean is not below the dense network's; None: there is none."""
    found = [place for place, one in enumerate(curve.against_dense()) if one.mean >= 0]
    return found[-1] if found else None


def sentences(curves: Mapping[str, Curve]) -> list[str]:
    """-> for each curve the smallest network that holds the dense one's mean, and what the others reach there."""
    lines = []
    for curve in curves.values():
        place = smallest_winner(curve)
        if place is None:
            lines.append(f"{curve.name}: at no share of weights is the mean that of the dense network.")
            continue
        others = [
            f"{other.name} {other.against_dense()[place]} ({curve.name} less {other.name}: "
            f"{interval((curve.scores - other.scores)[:, place])})"
            for other in curves.values()
            if other is not curve
        ]
        lines.append(
            f"{curve.name}: the dense network's mean is held down to {100 * curve.left[place]:.1f} % of the weights, "
            f"{curve.against_dense()[place]}" + (f"; there {'; '.join(others)}." if others else ".")
        )
    return lines


def untrained_markdown(found: Sequence[Sequence[tuple[str, float, float]]], metric: str) -> str:
    """-> a row for each kind of mask on a network that was never trained, at its best share of weights.

    Args:
      found: of each seed (name, share of weights left, score), the same names in the same order.
      metric: what the scores are.

    Example:
      >>> seeds = [[("a", 0.5, 60.0), ("a", 0.2, 70.0)], [("a", 0.5, 62.0), ("a", 0.2, 71.0)]]
      >>> print(untrained_markdown(seeds, "top-1"))
      Networks that were never trained, under masks: top-1 at the share of weights with the best mean (2 seeds).
      <BLANKLINE>
      | mask | weights left | score | 95 % interval (Student's t) |
      |---|---:|---:|---:|
      | a | 20.0 % | 70.5 | 64.1 to 76.9 |
      <BLANKLINE>
    """
    lines = [
        f"Networks that were never trained, under masks: {metric} at the share of weights with the best mean "
        f"({len(found)} seed{'s' if len(found) > 1 else ''}).",
        "",
        "| mask | weights left | score | 95 % interval (Student's t) |",
        "|---|---:|---:|---:|",
    ]
    for name in dict.fromkeys(name for name, _, _ in found[0]):
        of_name = [[one for one in of_seed if one[0] == name] for of_seed in found]
        options = [
            (float(np.mean([left for _, left, _ in option])), interval([score for _, _, score in option]))
            for option in zip(*of_name, strict=True)
        ]
        left, best = max(options, key=lambda option: option[1].mean)
        spread = f"{best.low:.1f} to {best.high:.1f}" if math.isfinite(best.low) else ""
        lines.append(f"| {name} | {100 * left:.1f} % | {best.mean:.1f} | {spread} |")
    return "\n".join(lines) + "\n"
