"""The search: workers, started anywhere and killed anywhere, that try the points of one space.

What a trial does is a function of the caller's. Imports no TensorFlow, so that a worker of a light function starts in a
second; Optuna is loaded when a search begins.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from tta_lite.search import claims
from tta_lite.search.goal import Goal
from tta_lite.search.hopeless import RULES, hopeless
from tta_lite.search.log import SharedLog
from tta_lite.search.samplers import Asking
from tta_lite.search.space import Point, Space
from tta_lite.search.trial import Evaluate, Hopeless, Interrupted, Lost, State, Trial, key_of
from tta_lite.search.worker import beating, is_alive, this_process
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Plan:
    """One search.

    Attributes:
      space: where it looks.
      goal: what it wants.
      trials: how many different points all workers try together.
      sampler: one of `tta_lite.search.samplers.SAMPLERS`.
      pruner: which trials are given up, one of `tta_lite.search.hopeless.RULES`.
      seed: of the choices.
      first: points that are tried before the sampler is asked.
      setting: what else must be the same for all workers, plain JSON values.
      notes: what workers elsewhere may read, see `tta_lite.search.log.notes_of`.
      beat_s: every so many seconds a worker says that it lives; one that was not heard of for `grace_s` is taken for
        dead, and its trial is taken up by another. On one machine it is known at once whether a worker's process lives.
      grace_s: see there; at least three beats.
      poll_s: between two looks at the others when there is nothing left but to wait for them.

    Raises:
      InputError: a setting that is not known, or a first point that is not of the space.
    """

    space: Space
    goal: Goal
    trials: int
    sampler: str = "tpe"
    pruner: str = "median"
    seed: int = 0
    first: tuple[Point, ...] = ()
    setting: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beat_s: float = 10.0
    grace_s: float = 120.0
    poll_s: float = 2.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", tuple(self.space.check(point) for point in self.first))
        if self.pruner not in RULES:
            raise InputError(f"A rule for hopeless trials is one of {', '.join(RULES)}. Received: {self.pruner!r}")
        if not 0 < 3 * self.beat_s <= self.grace_s:
            raise InputError(
                "A worker must be heard of three times before it is taken for dead: `grace_s` of 3 `beat_s` or more. "
                f"Received: {self.grace_s} and {self.beat_s}"
            )
        # It checks the sampler and the number of trials.
        _ = self.asking

    @property
    def asking(self) -> Asking:
        """How points are chosen."""
        return Asking(self.space, self.goal, self.sampler, self.trials, self.seed)


class Search:
    """One worker of a search.

    Args:
      plan: the same for all workers; `trials`, `first` and times may differ: a search can be made longer.
      evaluate: (point, report) -> `Measured`. It may raise `Hopeless` (``report`` does), `Interrupted` (it can go on
        later), or `InputError` (the point cannot be used); anything else ends the worker and gives the trial back.
      where: see `tta_lite.search.storages.open_storage`.
      study: name of the search in that storage.
      tell: gets a line for everything that happens.
      changed: is called after every trial of this worker, with the trials that have their points.

    Raises:
      InputError: see `SharedLog`.
    """

    def __init__(
        self,
        plan: Plan,
        evaluate: Evaluate,
        where: str,
        study: str,
        *,
        tell: Callable[[str], object] = lambda line: None,
        changed: Callable[[tuple[Trial, ...]], object] = lambda trials: None,
    ) -> None:
        self.plan = plan
        self.me = this_process()
        self._evaluate = evaluate
        self._tell = tell
        self._changed = changed
        setting = {"sampler": plan.sampler, "pruner": plan.pruner, "seed": plan.seed, **plan.setting}
        self._log = SharedLog(where, study, plan.space, plan.goal, setting, plan.notes)
        # Number of a try -> (the last beat that was heard, when).
        self._heard: dict[int, tuple[int, float]] = {}
        self._own: int | None = None
        # A space may hold fewer.
        self._points = min(plan.trials, plan.space.size())

    def work(self, *, seconds: float = math.inf, stop: threading.Event | None = None) -> bool:
        """Tries points until all are settled -> whether they are.

        A worker that has nothing left to try waits for the others, and takes up what they leave.

        Args:
          seconds: no trial is begun after so many.
          stop: the same, once it is set.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (stop and stop.is_set()):
            trials = self._log.trials()
            if self._bury(trials):
                continue
            found = claims.standing(trials, self.plan.trials)
            trial = self._claim(trials, found)
            if trial is not None:
                try:
                    self._run(trial)
                except Interrupted as stopped:
                    self._tell(f"trial {trial.number} can go on later: {stopped}")
                    return False
            elif claims.settled(found) and len(found) == self._points:
                return True
            else:
                (stop or threading.Event()).wait(min(self.plan.poll_s, max(0.0, end - time.monotonic())))
        return self.settled()

    def trials(self) -> tuple[Trial, ...]:
        """-> those that have their points, in the order of the points."""
        found = claims.standing(self._log.trials(), self.plan.trials)
        return tuple(trial for trial in found.values() if trial is not None)

    def settled(self) -> bool:
        """-> whether every point of the search is finished."""
        found = claims.standing(self._log.trials(), self.plan.trials)
        return claims.settled(found) and len(found) == self._points

    def tries(self) -> tuple[Trial, ...]:
        """-> all tries, dead ones too."""
        return tuple(self._log.trials())

    def _bury(self, trials: list[Trial]) -> bool:
        """Ends the tries whose workers have ended -> whether there was one."""
        buried = False
        for trial in trials:
            if trial.state is State.RUNNING and self._is_dead(trial) and self._log.bury(trial):
                self._tell(f"the worker {trial.owner.get('name')} of trial {trial.number} has ended")
                buried = True
        return buried

    def _is_dead(self, trial: Trial) -> bool:
        if trial.owner.get("name") == self.me["name"]:
            # Written twice, because an answer of the storage was lost.
            return trial.number != self._own
        if (alive := is_alive(trial.owner)) is not None:
            return not alive
        now = time.monotonic()
        beat, since = self._heard.get(trial.number, (None, now))
        if beat != trial.beat:
            self._heard[trial.number] = (trial.beat, now)
            return False
        return now - since > self.plan.grace_s

    def _claim(self, trials: list[Trial], found: dict[str, Trial | None]) -> Trial | None:
        """-> a try of this worker's, at a point that is its own; None: there is nothing to try now."""
        for key, holder in found.items():
            if holder is None:
                # The last one that came to something: others only asked for the point at the same moment.
                tries = [trial for trial in trials if trial.key == key]
                before = max(tries, key=lambda one: (bool(one.steps) or not one.paused, one.number))
                trial = self._take(before.point, before.number)
                if trial is not None and claims.deaths(trials, key) >= claims.MOST_DEATHS:
                    self._log.failed(trial.number, f"{claims.MOST_DEATHS} workers ended within it")
                    trial = self._own = None
                if trial is None:
                    return self._claim_anew()
                self._tell(f"trial {trial.number} takes up trial {before.number}")
                return trial
        if len(found) >= self._points:
            return None
        point = next((point for point in self.plan.first if key_of(point) not in found), None)
        if point is None:
            running = (one for one in found.values() if one is not None and one.state is State.RUNNING)
            alone = all(one.owner.get("name") == self.me["name"] for one in running)
            point, again = self.plan.asking.propose(found, 0 if alone else zlib.crc32(self.me["name"].encode()))
            for key in dict.fromkeys(again):
                if (known := found.get(key)) is not None:
                    self._tell(f"asked again for the point of trial {known.number}: {_result(known)}, which stands")
        trial = None if point is None else self._take(point)
        return self._claim_anew() if trial is None else trial

    def _claim_anew(self) -> Trial | None:
        trials = self._log.trials()
        return self._claim(trials, claims.standing(trials, self.plan.trials))

    def _take(self, point: Point, takes_up: int | None = None) -> Trial | None:
        """-> a new try at a point; None: another worker was first, or the search has its points."""
        trial, trials = self._log.add(point, self.me, takes_up)
        holder = claims.standing(trials, self.plan.trials).get(trial.key)
        if holder is not None and holder.number == trial.number:
            self._own = trial.number
            return trial
        self._log.give_back(trial.number)
        return None

    def _run(self, trial: Trial) -> None:
        number = trial.number
        reporter = Reporter(self._log, self.plan, number)
        self._tell(f"trial {number}: {', '.join(f'{name} {value}' for name, value in trial.point.items())}")
        try:
            with beating(lambda count: self._log.beat(number, count), self.plan.beat_s):
                self._try(trial, reporter)
        except Lost as lost:
            self._tell(f"trial {number} is given up: {lost}")
        finally:
            self._own = None
        done = self.trials()
        if found := [one for one in done if one.number == number]:
            self._tell(f"trial {number}: {_result(found[0])}")
        self._changed(done)

    def _try(self, trial: Trial, reporter: Reporter) -> None:
        number = trial.number
        try:
            measured = self._evaluate(trial.point, reporter)
        except Hopeless as reason:
            self._log.pruned(number, str(reason))
        except InputError as error:
            self._log.failed(number, " ".join(str(error).split()))
        except Lost:
            raise
        except (Interrupted, KeyboardInterrupt, SystemExit):
            self._log.give_back(number)
            raise
        except BaseException:
            # It counts as a death: a network that ends every worker must not end the search.
            self._log.bury(trial)
            raise
        else:
            self._log.done(number, measured)


class Reporter:
    """What a trial says while it runs.

    ``report(step, accuracy)`` notes how accurate it is after a step, and raises `Hopeless` if others at this step were
    better; `latency` comes before the training, if it can: without it no trial is given up.
    """

    def __init__(self, log: SharedLog, plan: Plan, number: int) -> None:
        self._log, self._plan, self._number = log, plan, number

    def __call__(self, step: int, accuracy: float) -> None:
        """Raises `Hopeless`, `Lost`, or an `InputError` if the accuracy is none."""
        if not 0 <= accuracy <= 100:
            raise InputError(f"The accuracy after a step must lie in 0..100. Received: {accuracy!r} at step {step}")
        self._log.step(self._number, step, accuracy)
        trials = self._log.trials()
        holders = [one for one in claims.standing(trials, self._plan.trials).values() if one is not None]
        if why := hopeless(trials[self._number], holders, self._plan.goal, self._plan.pruner):
            raise Hopeless(why)

    def latency(self, latency_ms: float, source: str) -> None:
        """Notes the latency, and raises `Hopeless` if no accuracy could make up for it, or `Lost`."""
        self._log.latency(self._number, latency_ms, source)
        goal = self._plan.goal
        found = claims.standing(self._log.trials(), self._plan.trials).values()
        done = [one.measured for one in found if one is not None and one.measured is not None]
        best = max((goal.values(one.accuracy, one.latency_ms)[0] for one in done), default=None)
        if why := goal.too_slow(latency_ms, None if goal.kind == "front" else best):
            raise Hopeless(why)


def _result(trial: Trial) -> str:
    if trial.measured is not None:
        return f"{trial.measured.accuracy:.4g} %, {trial.measured.latency_ms:.4g} ms"
    return f"{trial.state.value}{': ' if trial.why else ''}{trial.why}"
