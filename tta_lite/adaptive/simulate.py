"""What would a changing load do? Frames of a trace, answered by the adaptive policy and by each mode alone.

A frame comes every period. If the one before is still being answered it is dropped, as a camera's is; else it takes the
latencies of its stages, drawn from the measured ones, times the slow-down of the trace at its moment, and is late if
that is more than the deadline. The policy knows nothing of the trace: it sees, as `AdaptiveRunner` does, how long its
own stages took. All ways get the same draws. NumPy alone.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tta_lite.adaptive.modes import Mode
from tta_lite.adaptive.policy import Policy
from tta_lite.adaptive.present import PresentLatency
from tta_lite.adaptive.rules import LatencyBudget, Rule, Switch
from tta_lite.adaptive.runner import MEAN, WORST
from tta_lite.adaptive.traces import Trace
from tta_lite.types import InputError

ADAPTIVE = "adaptive"
# What became of a frame.
IN_TIME, LATE, DROPPED = 0, 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One way to answer the frames of a trace.

    Attributes:
      name: ``adaptive``, or the mode that was kept.
      levels: [frames] int, the mode of each frame by its place in `Policy.front`.
      latency_ms: [frames]; NaN where a frame was dropped.
      became: [frames] `IN_TIME`, `LATE` or `DROPPED`.
      accuracy: of the frames that were answered, late ones too: the mean of their modes' accuracies, 0..100.
      accuracy_in_time: the same over all frames, those late or dropped counted as wrong.
      switches: how often the mode was changed.
    """

    name: str
    levels: np.ndarray
    latency_ms: np.ndarray
    became: np.ndarray
    accuracy: float
    accuracy_in_time: float
    switches: int = 0

    def share(self, *what: int) -> float:
        """-> percent of the frames that became one of these."""
        return 100.0 * float(np.isin(self.became, what).mean())

    @property
    def mean_ms(self) -> float:
        """Mean latency of the frames that were answered."""
        return float(np.nanmean(self.latency_ms))


@dataclasses.dataclass(frozen=True, eq=False)
class Simulation:
    """The adaptive policy, and each mode of its front alone, on one trace.

    Attributes:
      policy: whose modes they are.
      seconds: [frames] when each comes.
      slowdown: [frames] of the trace.
      deadline_ms: of a frame.
      runs: the adaptive one first, then the modes by rising cost.
    """

    policy: Policy
    seconds: np.ndarray
    slowdown: np.ndarray
    deadline_ms: float
    runs: tuple[Run, ...]

    @property
    def best_fixed(self) -> Run:
        """The mode that alone has the best accuracy in time."""
        return max(self.runs[1:], key=lambda run: run.accuracy_in_time)


def simulate(
    policy: Policy,
    trace: Trace,
    *,
    duration_s: float,
    period_ms: float,
    deadline_ms: float | None = None,
    rules: Sequence[Rule] | None = None,
    dwell: int = 10,
    hold: str = WORST,
    cut: bool = False,
    seed: int = 0,
) -> Simulation:
    """Answers the frames of a trace in every way.

    Args:
      policy: with latencies.
      trace: load and clock.
      duration_s: how long.
      period_ms: between two frames.
      deadline_ms: of a frame; the period, if not given.
      rules: of the adaptive way; `LatencyBudget` of the deadline, if not given. Rules of the signals ``load`` and
        ``clock`` see those of the trace.
      dwell, hold: as of `AdaptiveRunner`.
      cut: the adaptive way begins no stage that would end after the deadline, as ``AdaptiveRunner.run(deadline_ms=)``.
      seed: of the draws.

    Raises:
      InputError: a policy without latencies, or a time that is none.
    """
    if not policy.latency_source:
        raise InputError(f"A simulation needs a policy with latencies. Received: {policy.name!r} with MACs alone")
    deadline_ms = period_ms if deadline_ms is None else deadline_ms
    for name, value in (("duration_s", duration_s), ("period_ms", period_ms), ("deadline_ms", deadline_ms)):
        if not 0 < value < math.inf:
            raise InputError(f"Argument `{name}` must be a number above 0. Received: {value!r}")
    if hold not in (MEAN, WORST):
        raise InputError(f"Argument `hold` must be {MEAN} or {WORST}. Received: {hold!r}")
    count = max(1, math.floor(1000 * duration_s / period_ms))
    frames = _Frames(policy, trace, period_ms, deadline_ms, _Draws(policy, count, np.random.default_rng(seed)))
    front = policy.front()
    if cut and (lacking := [mode.name for mode in front if len(mode.stages) > 1 and not mode.cut]):
        raise InputError(
            f"To cut at the deadline, modes must say their accuracy `cut`. Received: none in {lacking[0]!r}"
        )
    chooser = _Chooser(policy, list(rules or [LatencyBudget(deadline_ms)]), dwell, hold, deadline_ms if cut else None)
    runs = [frames.answered(ADAPTIVE, chooser)]
    runs += [frames.answered(mode.name, _Kept(level)) for level, mode in enumerate(front)]
    return Simulation(policy, frames.seconds, frames.slowdown, deadline_ms, tuple(runs))


class _Kept:
    """One mode for all frames."""

    switches = 0

    def __init__(self, level: int) -> None:
        self.level = level

    def choose(self, load: float, clock: float) -> int:
        return self.level

    def has_time(self, stage: str, spent_ms: float) -> bool:
        return True

    def learn(self, stage: str, spent_ms: float) -> None:
        pass


class _Chooser:
    """The adaptive way: what `AdaptiveRunner` knows and does."""

    def __init__(self, policy: Policy, rules: Sequence[Rule], dwell: int, hold: str, deadline_ms: float | None) -> None:
        self.front, self.hold, self.deadline_ms = policy.front(), hold, deadline_ms
        self.switch = Switch(rules, dwell=dwell)
        self.present = PresentLatency({stage.name: stage.latency_ms or 0.0 for stage in policy.stages})

    @property
    def switches(self) -> int:
        return self.switch.switches

    def choose(self, load: float, clock: float) -> int:
        latencies = [self.present.of(one.stages, one.reached if self.hold == MEAN else None) for one in self.front]
        return self.switch.step(latencies, {"load": load, "clock": clock})

    def has_time(self, stage: str, spent_ms: float) -> bool:
        return self.deadline_ms is None or spent_ms + self.present.of([stage]) <= self.deadline_ms

    def learn(self, stage: str, spent_ms: float) -> None:
        self.present.add(stage, spent_ms)


class _Draws:
    """Chance, the same for every way: of each frame how long each stage would take, and how hard its image is."""

    def __init__(self, policy: Policy, count: int, rng: np.random.Generator) -> None:
        self.count = count
        self.hardness = rng.random(count)
        self.stage_ms: dict[str, np.ndarray] = {}
        for stage in policy.stages:
            at = rng.random(count)
            spread = np.array(stage.spread_ms or (stage.latency_ms,), np.float64)
            self.stage_ms[stage.name] = spread[(at * len(spread)).astype(int)]

    def stages_of(self, mode: Mode, frame: int) -> tuple[str, ...]:
        """-> what runs in a mode for a frame: an image is as hard in one mode as in another."""
        total = 0.0
        for place, share in enumerate(mode.shares):
            total += share
            if self.hardness[frame] < total:
                return mode.stages[: place + 1]
        return mode.stages


class _Frames:
    def __init__(self, policy: Policy, trace: Trace, period_ms: float, deadline_ms: float, draws: _Draws) -> None:
        self.front, self.draws = policy.front(), draws
        self.period_ms, self.deadline_ms = period_ms, deadline_ms
        self.seconds = np.arange(draws.count) * period_ms / 1000
        self.slowdown = trace.slowdown(self.seconds)
        at = trace.at(self.seconds)
        self.load, self.clock = trace.load[at], trace.clock[at]

    def answered(self, name: str, chooser: _Kept | _Chooser) -> Run:
        count = self.draws.count
        levels, became = np.zeros(count, int), np.full(count, DROPPED)
        latency_ms, accuracies = np.full(count, np.nan), np.zeros(count)
        free_ms, level = 0.0, 0
        for frame in range(count):
            # In whole periods: sums of many periods would drift.
            now_ms = frame * self.period_ms
            if free_ms > now_ms:
                levels[frame] = level
                continue
            level = levels[frame] = chooser.choose(self.load[frame], self.clock[frame])
            latency_ms[frame], accuracies[frame] = self._answer(self.front[level], frame, chooser)
            free_ms = now_ms + latency_ms[frame]
            became[frame] = LATE if latency_ms[frame] > self.deadline_ms else IN_TIME
        return Run(
            name, levels, latency_ms, became,
            accuracy=float(accuracies[became != DROPPED].mean()),
            accuracy_in_time=float(np.where(became == IN_TIME, accuracies, 0.0).mean()),
            switches=chooser.switches,
        )  # fmt: skip

    def _answer(self, mode: Mode, frame: int, chooser: _Kept | _Chooser) -> tuple[float, float]:
        """-> milliseconds, and how accurate answers are that end where this one does."""
        spent_ms, stages = 0.0, self.draws.stages_of(mode, frame)
        for place, stage in enumerate(stages):
            if place and not chooser.has_time(stage, spent_ms):
                return spent_ms, mode.cut[place - 1] or 0.0
            took_ms = float(self.draws.stage_ms[stage][frame] * self.slowdown[frame])
            chooser.learn(stage, took_ms)
            spent_ms += took_ms
        return spent_ms, (mode.answered[len(stages) - 1] or 0.0) if mode.answered else mode.accuracy
