"""Does a score rank networks as their accuracies do? Rank correlations with an interval. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats

from tta_lite.types import InputError

# Resamples of a bootstrap that are computed at once: [these, points, points] numbers.
AT_ONCE = 200
# A bootstrap of fewer points has too short intervals: of three, each third resample or so is in the same order by luck.
FEWEST = 10


@dataclasses.dataclass(frozen=True)
class RankCorrelation:
    """How well one order agrees with another: 1 the same, 0 as by chance, -1 reversed.

    Attributes:
      value: of all points.
      low: the interval's lower end,
      high: and its upper end.
      points: how many.
    """

    value: float
    low: float
    high: float
    points: int

    @property
    def verdict(self) -> str:
        """What may be said of it.

        >>> RankCorrelation(0.3, -0.1, 0.6, 20).verdict
        'no better than chance'
        """
        if self.points < FEWEST:
            return "too few points to tell"
        if self.low > 0:
            return "better than chance"
        return "reversed" if self.high < 0 else "no better than chance"


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[R, N] ranks twice -> [R]: Pearson's correlation of them; NaN where one is constant."""
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (x * y).sum(1) / np.sqrt((x * x).sum(1) * (y * y).sum(1))


def _kendall(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[R, N] ranks twice -> [R]: tau-b, which allows for ties; NaN where one is constant."""
    signs = [np.sign(one[:, :, None] - one[:, None, :]) for one in (x, y)]
    with np.errstate(invalid="ignore", divide="ignore"):
        both = (signs[0] * signs[1]).sum((1, 2))
        return both / np.sqrt((signs[0] ** 2).sum((1, 2)) * (signs[1] ** 2).sum((1, 2)))


KINDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {"spearman": _spearman, "kendall": _kendall}


def rank_correlation(
    scores: Sequence[float],
    accuracies: Sequence[float],
    kind: str = "spearman",
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> RankCorrelation:
    """-> Spearman's rho or Kendall's tau-b, with the percentile interval of a bootstrap over the points.

    Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, section 13.3. Resamples in which all scores or all
    accuracies are the same say nothing and are left out.

    Args:
      scores: of each network; infinite ones are ranked too.
      accuracies: of the same.
      kind: of `KINDS`.
      confidence: of the interval, above 0 and below 1.
      resamples: of the bootstrap.
      seed: of the draws.

    Raises:
      InputError: fewer than 3 points, a NaN, all scores or all accuracies the same, or another argument out of range.

    Example:
      >>> rank_correlation([1, 2, 3, 4], [10, 20, 30, 25]).value
      0.8
    """
    if kind not in KINDS:
        raise InputError(f"Argument `kind` must be one of {', '.join(KINDS)}. Received: {kind!r}")
    if not 0 < confidence < 1 or resamples < 1:
        raise InputError(
            f"A bootstrap needs a confidence in 0..1 and a resample or more. Received: {confidence}, {resamples}"
        )
    values = np.array([scores, accuracies], np.float64) if len(scores) == len(accuracies) else np.zeros((2, 0))
    if values.shape[1] < 3 or np.isnan(values).any() or any(len(np.unique(row)) < 2 for row in values):
        raise InputError(
            "A rank correlation needs three points or more, with scores and accuracies that are numbers and differ. "
            f"Received: {len(scores)} scores and {len(accuracies)} accuracies"
        )
    rng, count = np.random.default_rng(seed), values.shape[1]
    value = float(_of(values[:, None], kind)[0])
    found = []
    for start in range(0, resamples, AT_ONCE):
        drawn = rng.integers(count, size=(min(AT_ONCE, resamples - start), count))
        found.append(_of(values[:, drawn], kind))
    all_of = np.concatenate(found)
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(all_of, [tail, 1 - tail]) if not np.isnan(all_of).all() else (-1.0, 1.0)
    return RankCorrelation(round(value, 12), float(low), float(high), count)


def _of(pairs: np.ndarray, kind: str) -> np.ndarray:
    """[2, R, N] -> [R]."""
    ranks = scipy.stats.rankdata(pairs, axis=-1)
    return KINDS[kind](ranks[0], ranks[1])
