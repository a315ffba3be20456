"""How the range of a tensor is chosen from what it held: the rules that share 256 codes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from tta_lite.export.quantize.statistics import Statistics, TensorStatistics
from tta_lite.types import InputError

# Name of a tensor -> the smallest and the largest value that gets a code of its own.
Ranges = Mapping[str, tuple[float, float]]

CODES = 256
# Shares of the full range that are tried: fine near the full one, where most tensors end.
SHRINKS = np.concatenate([np.linspace(0.02, 0.5, 25), np.linspace(0.51, 1.0, 50)])


def min_max(held: TensorStatistics) -> tuple[float, float]:
    """-> the extremes: nothing is clipped, and one stray value makes every step coarser."""
    return held.low, held.high


def moving_average(held: TensorStatistics) -> tuple[float, float]:
    """-> the average of the extremes of each image, later images counting more (Jacob et al. 2018, section 3.1)."""
    return held.mean_low, held.mean_high


def percentile(held: TensorStatistics, share: float = 0.9999) -> tuple[float, float]:
    """-> the range that leaves out the same share of values at each end, 0.005 % by default.

    Args:
      held: of one tensor.
      share: of the values that stay inside, above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise InputError(f"Argument `share` must be above 0 and at most 1. Received: {share}")
    edges = np.linspace(-held.reach, held.reach, len(held.counts) + 1)
    below = np.concatenate([[0], np.cumsum(held.counts)]) / max(1, held.counts.sum())
    tail = (1 - share) / 2
    first = int(np.searchsorted(below, tail, side="right")) - 1
    last = int(np.searchsorted(below, 1 - tail, side="left"))
    return max(held.low, float(edges[first])), min(held.high, float(edges[last]))


def mse(held: TensorStatistics) -> tuple[float, float]:
    """-> the range with the smallest mean squared error of the values that were seen (Nagel et al. 2021, section 2.3).

    Both ends are drawn in together, then each by itself: what is clipped loses more, all the rest less.
    """
    values, weights = _seen(held)
    if len(values) < 2:
        return min_max(held)
    low, high = _ends(held)
    best = _best(values, weights, [(low * share, high * share) for share in SHRINKS])
    best = _best(values, weights, [best, *((low * share, best[1]) for share in SHRINKS)])
    return _best(values, weights, [best, *((best[0], high * share) for share in SHRINKS)])


def _best(values: np.ndarray, weights: np.ndarray, candidates: list[tuple[float, float]]) -> tuple[float, float]:
    """-> the candidate with the least error; of equal ones the first."""
    errors = [_squared_error(values, weights, *candidate) for candidate in candidates]
    return candidates[int(np.argmin(errors))]


def _squared_error(values: np.ndarray, weights: np.ndarray, low: float, high: float) -> float:
    scale = (high - low) / (CODES - 1)
    if not scale > 0:
        return float("inf")
    zero = np.rint(-low / scale)
    stored = np.clip(np.rint(values / scale) + zero, 0, CODES - 1)
    return float(np.dot(weights, ((stored - zero) * scale - values) ** 2))


def entropy(held: TensorStatistics, levels: int = CODES) -> tuple[float, float]:
    """-> the range whose quantised distribution lies nearest to the one that was seen, by the divergence of Kullback
    and Leibler: Migacz, *8-bit Inference with TensorRT*, GTC 2017.

    What lies outside a range is counted at its ends, and each level shares its count among the bins it covers that
    hold something. One bound is tried for both signs, so that a stray value at one end costs the other end nothing.

    Args:
      held: of one tensor.
      levels: that the range is divided in.
    """
    low, high = _ends(held)
    if high - low <= 0 or not held.counts.sum():
        return min_max(held)
    width = 2 * held.reach / len(held.counts)
    middle = len(held.counts) // 2
    counts = held.counts.astype(np.float64)
    # A ReLU leaves heaps of zeros, which have a code of their own in any range; left in, they would decide alone.
    counts[middle] = min(counts[middle], counts[middle + 1])
    best, least = (low, high), float("inf")
    for bound in SHRINKS * max(-low, high):
        inner = (max(low, -bound), min(high, bound))
        first, last = middle + int(np.floor(inner[0] / width)), middle + int(np.ceil(inner[1] / width))
        first, last = max(0, first), min(len(held.counts), last)
        if last - first < levels:
            continue
        divergence = _divergence(counts, first, last, levels)
        # The wider range of two that are equal: nothing speaks for clipping.
        if divergence <= least:
            best, least = inner, divergence
    return best


def _divergence(counts: np.ndarray, first: int, last: int, levels: int) -> float:
    seen = counts[first:last].copy()
    filled = seen > 0
    inside = seen.copy()
    seen[0] += counts[:first].sum()
    seen[-1] += counts[last:].sum()
    level = (np.arange(len(seen)) * levels) // len(seen)
    total = np.bincount(level, weights=inside, minlength=levels)
    places = np.bincount(level, weights=filled, minlength=levels)
    share = np.divide(total, places, out=np.zeros(levels), where=places > 0)[level] * filled
    if not seen.sum() or not share.sum():
        return float("inf")
    p, q = seen / seen.sum(), share / share.sum()
    # Values were moved to an end where the quantised distribution has none.
    q = np.maximum(q, 1e-10)
    kept = p > 0
    return float(np.sum(p[kept] * np.log(p[kept] / q[kept])))


def _seen(held: TensorStatistics) -> tuple[np.ndarray, np.ndarray]:
    """-> the middles of the bins that hold something, and the share of each."""
    kept = held.counts > 0
    return held.centres[kept], held.counts[kept] / max(1, held.counts.sum())


def _ends(held: TensorStatistics) -> tuple[float, float]:
    """-> the extremes, with zero between them, for zero must have a code."""
    return min(0.0, held.low), max(0.0, held.high)


Rule = Callable[[TensorStatistics], tuple[float, float]]

RANGES: dict[str, Rule] = {
    "min_max": min_max,
    "percentile": percentile,
    "mse": mse,
    "entropy": entropy,
    "moving_average": moving_average,
}


def choose_ranges(statistics: Statistics, rule: str = "min_max", whole: Collection[str] = ()) -> Ranges:
    """-> the range of every tensor, with zero in it.

    Args:
      statistics: of `tta_lite.export.quantize.statistics.collect`.
      rule: a key of `RANGES`.
      whole: tensors whose extremes are kept, whatever the rule: the outputs, for the few largest values of a heat map
        are what it says.

    Raises:
      InputError: an unknown rule.
    """
    if rule not in RANGES:
        raise InputError(f"Argument `ranges` must be one of {', '.join(RANGES)}. Received: {rule!r}")
    found = {}
    for name, held in statistics.items():
        low, high = RANGES["min_max" if name in whole else rule](held)
        low, high = min(0.0, float(low)), max(0.0, float(high))
        # A scale of zero ends the interpreter; of a tensor that was always zero nothing is known.
        found[name] = (low, high) if high > low else (0.0, 1.0)
    return found
