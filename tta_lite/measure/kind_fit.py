"""The cost of one kind of op from the times of many: robust least squares of relative errors. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import least_squares

from tta_lite.measure.latency_model import KindCost, Sizes, amounts, formula, moved_bytes
from tta_lite.measure.op_features import DEPTHWISE_KINDS, MATRIX_KINDS, OpFeatures

# Below this long an op's error counts less than its share: there the clock's whole microseconds rule.
SMALL_US = 0.3
# How strongly a coefficient that few ops speak of is drawn to its first guess.
PULL = 0.03
# Errors up to here count by their square, larger ones by their size: one interrupted run does not bend the fit.
OUTLIER = 0.1
_DEPTHWISE_FIRST = (5e-5, 1e-4, 1e-3, 1e-3, 3e-5)
_LEAST, _MOST = 1e-9, 50.0


@dataclasses.dataclass(frozen=True)
class Sample:
    """One op that was timed.

    Attributes:
      op: what it is.
      time_us: microseconds.
      share: of its network's time, 0..1.
    """

    op: OpFeatures
    time_us: float
    share: float


def fit_kind(
    kind: str, samples: Sequence[Sample], sizes: Sizes, near: KindCost | None = None
) -> tuple[KindCost, float]:
    """-> the cost of a kind of op, and how badly it fits.

    Relative errors are made small, of each op weighed by the root of its share of its network's time.

    Args:
      kind: of all samples, or `OTHER`.
      samples: of that kind and one type.
      sizes: of the machine.
      near: where the search begins, if a good place is known.
    """
    work = np.array([amounts(one.op, sizes, kind) for one in samples], float)
    moved = np.array([moved_bytes(one.op, sizes) for one in samples], float)
    times = np.log(np.array([one.time_us for one in samples]) + SMALL_US)
    shares = np.array([one.share for one in samples])
    weights = np.clip(np.sqrt(shares / max(shares.mean(), 1e-12)), 0.2, 3.0)
    first = np.log([0.3, *_first_work(kind, work.shape[1]), 3e-5, 2e-5, 5e-5, 1.0])
    low = np.log([1e-2, *[_LEAST] * work.shape[1], _LEAST, _LEAST, _LEAST, 0.05])
    high = np.log([_MOST, *[_MOST] * work.shape[1], _MOST, _MOST, _MOST, 8.0])

    def residuals(logs: np.ndarray) -> np.ndarray:
        wrong = np.log(formula(_coefficients(logs), work, moved) + SMALL_US) - times
        return np.concatenate([wrong * weights, PULL * (logs - first)])

    best = None
    for start in _starts(first, near, low, high):
        found = least_squares(residuals, start, bounds=(low, high), loss="soft_l1", f_scale=OUTLIER)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    values = [float(value) for value in _coefficients(best.x)]
    cost = KindCost(
        overhead_us=values[0],
        work_us=tuple(values[1:-4]),
        byte_us=values[-4],
        far_byte_us=values[-3],
        weight_byte_us=values[-2],
        power=values[-1],
        ops=len(samples),
        most_work=float(work[:, 0].max()),
    )
    return cost, float(best.cost)


def _starts(first: np.ndarray, near: KindCost | None, low: np.ndarray, high: np.ndarray) -> list[np.ndarray]:
    if near is not None:
        values = np.array([*near.coefficients[:-1], near.power - 1])
        return [np.clip(np.log(np.maximum(values, _LEAST)), low, high)]
    starts = [first.copy() for _ in range(2)]
    starts[1][1] += math.log(10.0)
    return starts


def _coefficients(logs: np.ndarray) -> np.ndarray:
    values = np.exp(logs)
    # The logarithm is that of what the power has above 1.
    values[-1] += 1.0
    return values


def _first_work(kind: str, count: int) -> tuple[float, ...]:
    if kind in MATRIX_KINDS:
        return (2.5e-5, 1e-4, 1e-5)
    return _DEPTHWISE_FIRST if kind in DEPTHWISE_KINDS else (1e-4,) * count
