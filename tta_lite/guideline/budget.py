"""How does what was measured stand against the budget? Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

from tta_lite.guideline.reasons import Reason, reason, spoken
from tta_lite.types import Budget, InputError, Report

# Below this two readings of the resident set are the same reading.
MEMORY_NOISE = 0.05


@dataclasses.dataclass(frozen=True)
class Limit:
    """One kind of limit.

    Attributes:
      field: of `Budget`.
      what: it is on, as a sentence calls it.
      unit: of the limit.
      value: report -> the measured figure in that unit, None if it is not known.
      noise: share by which two measurements of the same file may differ; latency has its rounds instead.
    """

    field: str
    what: str
    unit: str
    value: Callable[[Report], float | None]
    noise: float = 0.0


def _scaled(value: float | None, unit: int) -> float | None:
    return None if value is None else value / unit


LIMITS: dict[str, Limit] = {
    "latency": Limit("max_latency_ms", "latency", "ms", lambda r: r.latency_ms.p50 if r.latency_ms else None),
    "size": Limit("max_size_kib", "file", "KiB", lambda r: _scaled(r.size_bytes, 1024)),
    "zip": Limit("max_zip_kib", "compressed file", "KiB", lambda r: _scaled(r.zip_bytes, 1024)),
    "memory": Limit(
        "max_peak_memory_mib", "peak memory", "MiB", lambda r: _scaled(r.peak_memory_bytes, 1 << 20), MEMORY_NOISE
    ),
}


def limits_of(budget: Budget) -> dict[str, float]:
    """-> the limits that a budget sets.

    >>> limits_of(Budget(max_latency_ms=350, max_size_kib=4096))
    {'latency': 350, 'size': 4096}
    """
    return {key: value for key, one in LIMITS.items() if (value := getattr(budget, one.field)) is not None}


def ratios(report: Report, budget: Budget) -> dict[str, float]:
    """-> limit -> what was measured over what is allowed: above 1 it is broken.

    >>> ratios(Report(size_bytes=2048), Budget(max_size_kib=4))
    {'size': 0.5}

    Raises:
      InputError: something that is limited was not measured.
    """
    found = {}
    for key, limit in limits_of(budget).items():
        value = LIMITS[key].value(report)
        if value is None or not math.isfinite(value):
            raise InputError(
                f"The {LIMITS[key].what} must be measured to be held against {LIMITS[key].field}. Received: {value!r}"
            )
        found[key] = value / limit
    return found


def broken(over: Mapping[str, float]) -> list[str]:
    """-> the limits that are not kept, the worst first.

    >>> broken({"latency": 1.2, "size": 2.0, "memory": 0.9})
    ['size', 'latency']
    """
    return sorted((key for key, ratio in over.items() if ratio > 1), key=lambda key: -over[key])


def distance(over: Mapping[str, float]) -> float:
    """-> how far a budget is, 0 if it is met: the sum of the logarithms of the ratios above 1.

    What lies below its limit counts for nothing: a file that is small enough gains nothing by being smaller.

    >>> distance({"latency": 0.5, "size": 1.0}), round(distance({"latency": 2.0, "size": 0.1}), 3)
    (0.0, 0.693)
    """
    return sum((math.log(ratio) for ratio in over.values() if ratio > 1), 0.0)


def cautious(before: Mapping[str, float], after: Mapping[str, float], speedup: float | None) -> dict[str, float]:
    """-> `after` as it would be if the noise of the measurement had all been in its favour.

    Args:
      before: the ratios of what it is compared with, of the same comparison.
      after: the ratios to judge.
      speedup: the least over the rounds of the comparison, of `after` over `before`; None if there is no such figure.
    """
    result = {}
    for key, ratio in after.items():
        if key == "latency" and speedup is not None:
            ratio = before[key] / speedup
        elif abs(ratio / before[key] - 1) <= LIMITS[key].noise:
            ratio = before[key]
        result[key] = ratio
    return result


def is_nearer(before: Mapping[str, float], after: Mapping[str, float], speedup: float | None) -> bool:
    """Does `after` come nearer to the budget by more than the noise? See `cautious`.

    >>> is_nearer({"latency": 2.0}, {"latency": 1.5}, speedup=1.2)
    True
    >>> is_nearer({"latency": 2.0}, {"latency": 1.9}, speedup=0.97)
    False
    """
    return distance(cautious(before, after, speedup)) < distance(before) - 1e-9


def name(key: str) -> Reason:
    """-> what a limit is on, as a sentence calls it.

    >>> str(name("zip"))
    'compressed file'
    """
    return reason(f"what_{key}")


def standings(report: Report, budget: Budget) -> tuple[Reason, ...]:
    """-> the figures beside their limits, for people: one reason a limit."""
    over, parts = ratios(report, budget), []
    for key, limit in limits_of(budget).items():
        one = LIMITS[key]
        value = one.value(report) or 0.0
        values = {"what": name(key), "figure": figure(value), "limit": figure(limit), "unit": one.unit}
        if over[key] > 1:
            # As many digits as it takes to see that it is over.
            decimals = next((n for n in range(2, 7) if round(over[key], n) > 1), 7)
            if values["figure"] == values["limit"]:
                values["figure"] = f"{value:,.{decimals}f}"
            parts.append(reason("standing_over", **values, times=f"{over[key]:.{decimals}f}"))
        else:
            parts.append(reason("standing_within", **values))
    return tuple(parts)


def standing(report: Report, budget: Budget) -> str:
    """-> the same in English, as one text.

    >>> standing(Report(size_bytes=6144), Budget(max_size_kib=4))
    'file 6 of 4 KiB (1.50 times the limit)'
    >>> standing(Report(size_bytes=153_700), Budget(max_size_kib=150))
    'file 150.098 of 150 KiB (1.001 times the limit)'
    """
    return spoken(standings(report, budget))


def figure(value: float) -> str:
    """-> three digits that matter, or all before the point.

    >>> figure(1234.5), figure(12.345), figure(0.01234), figure(350)
    ('1,234', '12.3', '0.0123', '350')
    """
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"
