"""Which mode can the moment bear? Rules with hysteresis, and a switch that keeps each mode for some frames.

Modes are the levels of `Policy.front`, 0 the cheapest. A rule says two levels of the moment: the highest that may stay,
and the highest that may be gone up to, which is never above the first. Between the two nothing is changed: that is the
hysteresis, and why a signal that stands still ends in one mode. Imports nothing but types.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from tta_lite.types import InputError

# Of a signal that is high when there is much to spend, such as a battery's charge.
BATTERY, LOAD = "battery", "load"
# Shares of a latency budget.
DOWN, UP = 0.8, 0.7


class Rule(Protocol):
    """Looks at the moment."""

    def levels(self, latencies_ms: Sequence[float], signals: Mapping[str, float]) -> tuple[int, int]:
        """-> (the highest level that may stay, the highest that may be gone up to).

        Args:
          latencies_ms: of each level at present, lowest first.
          signals: what the caller knows of the moment.
        """


@dataclasses.dataclass(frozen=True)
class LatencyBudget:
    """A frame may take so long: down when a mode comes near it, up when a better one takes clearly less.

    Attributes:
      budget_ms: of a frame.
      down: share of the budget above which a mode is left. Below 1, for the latencies of a mode scatter, and one that
        usually just fits is often late (docs/adaptive.md, benchmarks/bench_margin.py).
      up: share of it below which a mode is gone up to; at most `down`.

    >>> LatencyBudget(10.0).levels([4.0, 7.5, 20.0], {})
    (1, 0)
    """

    budget_ms: float
    down: float = DOWN
    up: float = UP

    def __post_init__(self) -> None:
        if not 0 < self.budget_ms < math.inf:
            raise InputError(f"Argument `budget_ms` must be a number above 0. Received: {self.budget_ms!r}")
        if not 0 < self.up <= self.down < math.inf:
            raise InputError(
                f"Arguments `up` and `down` must be shares with 0 < up <= down. Received: {self.up!r}, {self.down!r}"
            )

    def levels(self, latencies_ms: Sequence[float], signals: Mapping[str, float]) -> tuple[int, int]:
        """-> the highest level within `down` of the budget, and within `up` of it; 0 if none is."""
        return _last(latencies_ms, self.down * self.budget_ms), _last(latencies_ms, self.up * self.budget_ms)


@dataclasses.dataclass(frozen=True)
class Signal:
    """A figure from outside, as a battery's charge: each level has a least one.

    Attributes:
      name: what `AdaptiveRunner.run` is given it as.
      least: the least figure of level 1, 2, ...; rising. Levels above have the last one.
      margin: so far above its least figure must it be before a level is gone up to.
      falling: the figure is high when little can be spent, as load is: what counts is 1 - figure.

    A charge of 0.52 keeps level 2, and does not lead up to it:

    >>> Signal("battery", (0.2, 0.5), margin=0.05).levels([1.0, 2.0, 3.0], {"battery": 0.52})
    (2, 1)
    """

    name: str
    least: tuple[float, ...]
    margin: float = 0.05
    falling: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "least", tuple(self.least))
        if not self.least or list(self.least) != sorted(self.least) or not all(map(math.isfinite, self.least)):
            raise InputError(f"Argument `least` must be rising numbers, one or more. Received: {list(self.least)}")
        if not 0 <= self.margin < math.inf:
            raise InputError(f"Argument `margin` must be 0 or more. Received: {self.margin!r}")

    def levels(self, latencies_ms: Sequence[float], signals: Mapping[str, float]) -> tuple[int, int]:
        """-> the levels that the figure allows.

        Raises:
          InputError: the figure was not given, or is no number.
        """
        if self.name not in signals or not math.isfinite(signals[self.name]):
            raise InputError(
                f"The rule needs the signal {self.name!r} with each image. Received: {dict(signals) or 'none'}"
            )
        figure = 1 - signals[self.name] if self.falling else signals[self.name]
        highest = len(latencies_ms) - 1
        stay, rise = (
            highest if count == len(self.least) else min(count, highest)
            for count in (self._passed(figure), self._passed(figure - self.margin))
        )
        return stay, rise

    def _passed(self, figure: float) -> int:
        return sum(figure >= least for least in self.least)


class Switch:
    """Goes from level to level as the rules say, never twice within `dwell` frames.

    Several rules: the lowest level that one of them wants.

    Attributes:
      level: the present one.
      switches: how often it has changed.

    Args:
      rules: one or more.
      dwell: frames that a level is kept at least.
      level: to begin with.
    """

    def __init__(self, rules: Sequence[Rule], *, dwell: int = 10, level: int = 0) -> None:
        if not rules:
            raise InputError("Argument `rules` must hold one or more. Received: none")
        if type(dwell) is not int or dwell < 1:
            raise InputError(f"Argument `dwell` must be 1 frame or more. Received: {dwell!r}")
        self.rules, self.dwell, self.level = tuple(rules), dwell, level
        self.switches = 0
        # As if it were there for long.
        self._frames = dwell

    def step(self, latencies_ms: Sequence[float], signals: Mapping[str, float] | None = None) -> int:
        """-> the level of the next frame."""
        wanted = min(self._wanted(*rule.levels(latencies_ms, signals or {})) for rule in self.rules)
        if wanted != self.level and self._frames >= self.dwell:
            self.level, self._frames = wanted, 0
            self.switches += 1
        self._frames += 1
        return self.level

    def _wanted(self, stay: int, rise: int) -> int:
        return max(rise, min(stay, self.level))


def _last(latencies_ms: Sequence[float], limit_ms: float) -> int:
    return max((level for level, latency in enumerate(latencies_ms) if latency <= limit_ms), default=0)
