"""Which trials are worth a full training? Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tta_lite.search.goal import Goal
from tta_lite.search.reward import front, hypervolume
from tta_lite.search.trial import Trial


@dataclasses.dataclass(frozen=True)
class Finalist:
    """A trial with both figures at hand, as `front` takes them."""

    trial: Trial
    accuracy: float
    latency_ms: float


def finalists(trials: Sequence[Trial], goal: Goal, count: int) -> tuple[Trial, ...]:
    """-> the trials with the best rewards, the best first; of two objectives those of the front, the fastest first.

    Of a front that is longer, those stay without which it would cover the least: one after another the trial goes
    whose own part of the area is the smallest.

    Args:
      trials: of the search; those that were not measured are left out.
      goal: of the search. If it has two objectives and a target, trials above the target are left out where one is not.
      count: at most.

    Example:
      >>> from tta_lite.search.trial import Measured, State
      >>> found = [(40, 1.0), (60, 2.0), (61, 3.0), (80, 4.0), (70, 5.0)]
      >>> trials = [Trial(n, {}, State.DONE, measured=Measured(*one, "made up")) for n, one in enumerate(found)]
      >>> [trial.number for trial in finalists(trials, Goal("front"), 3)]
      [0, 1, 3]
      >>> [trial.number for trial in finalists(trials, Goal("hard", 3.0), 2)]
      [2, 1]
    """
    known = [
        Finalist(trial, trial.measured.accuracy, trial.measured.latency_ms)
        for trial in trials
        if trial.measured is not None
    ]
    if goal.kind != "front":
        ranked = sorted(known, key=lambda one: goal.values(one.accuracy, one.latency_ms)[0], reverse=True)
        return tuple(one.trial for one in ranked[:count])
    if goal.target_ms is not None:
        target = goal.target_ms
        known = [one for one in known if one.latency_ms <= target] or known
    found = list(front(known))
    if len(found) <= count:
        return tuple(one.trial for one in found)
    # A tenth beyond both ends, so that these have an area too.
    slowest, fastest = found[-1], found[0]
    worst_ms = slowest.latency_ms + 0.1 * (slowest.latency_ms - fastest.latency_ms)
    worst_accuracy = fastest.accuracy - 0.1 * (slowest.accuracy - fastest.accuracy)

    def area_without(one: Finalist) -> float:
        rest = [other for other in found if other is not one]
        return hypervolume(rest, worst_accuracy=worst_accuracy, worst_ms=worst_ms)

    while len(found) > count:
        found.remove(max(found, key=area_without))
    return tuple(one.trial for one in found)
