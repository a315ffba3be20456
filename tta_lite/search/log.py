"""All tries of a search in one order, in a storage of Optuna's that workers share."""

from __future__ import annotations

import dataclasses
import json
import random
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tta_lite.files import to_json_text
from tta_lite.search.goal import Goal
from tta_lite.search.optional import optuna
from tta_lite.search.space import Point, Space
from tta_lite.search.storages import open_storage, without_password
from tta_lite.search.trial import Lost, Measured, State, Trial
from tta_lite.types import InputError

# What is kept of the search, and of a try.
SETTING, NOTES = "tta_lite:setting", "tta_lite:notes"
OWNER, TOKEN, TAKES_UP = "owner", "token", "takes_up"
BEAT, MEASURED, LATENCY, WHY, PAUSED = "beat", "measured", "latency", "why", "paused"
# A server that starts anew, or a file that another worker locks, is asked again so often: for a minute.
ATTEMPTS = 10
# Whose errors mean that; each driver has its own.
OF_STORAGES = ("sqlalchemy", "psycopg", "redis")

T = TypeVar("T")


class SharedLog:
    """The tries of one study.

    Args:
      where: see `tta_lite.search.storages.open_storage`.
      study: its name; made if there is none.
      space: of the search,
      goal: what it wants,
      setting: and what else must be the same for all its workers: plain JSON values.
      notes: what workers elsewhere may read, see `notes_of`; nothing is compared. Empty: those that are there stay.

    Raises:
      InputError: the storage cannot be reached, or holds another search of this name.
    """

    def __init__(
        self,
        where: str,
        study: str,
        space: Space,
        goal: Goal,
        setting: Mapping[str, Any],
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        opt = optuna()
        self._states = opt.trial.TrialState
        self._too_late = opt.exceptions.UpdateFinishedTrialError
        self._busy = opt.exceptions.StorageInternalError
        self._space = space
        self._goal = goal
        self._storage = open_storage(where)
        self._study = self._again(
            lambda: opt.create_study(
                storage=self._storage, study_name=study, directions=list(goal.directions), load_if_exists=True,
                sampler=opt.samplers.RandomSampler(),
            )
        )  # fmt: skip
        wanted = _plain({"space": space.to_json(), "goal": dataclasses.asdict(goal), **setting})
        kept = self._study.user_attrs.get(SETTING)
        if kept is None:
            self._again(lambda: self._study.set_user_attr(SETTING, wanted))
        elif differing := [name for name in sorted({*kept, *wanted}) if kept.get(name) != wanted.get(name)]:
            lines = "; ".join(f"{name}: {kept.get(name)} there, {wanted.get(name)} here" for name in differing)
            raise InputError(
                f"The study {study!r} in {without_password(where)} is another search. Expected: the same settings, or "
                f"another --study. Received: {lines[:600]}"
            )
        if notes:
            self._again(lambda: self._study.set_user_attr(NOTES, _plain(notes)))
        self._distributions = {
            choice.name: opt.distributions.CategoricalDistribution(choice.values) for choice in space.choices
        }
        self._create = opt.trial.create_trial
        # Number of a try -> what the storage calls it.
        self._ids: dict[int, int] = {}

    def trials(self) -> list[Trial]:
        """-> all tries, in order."""
        return [self._read(one) for one in self._frozen()]

    def add(self, point: Point, owner: Mapping[str, Any], takes_up: int | None = None) -> tuple[Trial, list[Trial]]:
        """Puts a new try behind all others -> it, and all tries. It comes into the log whole, or not at all."""
        token = uuid.uuid4().hex
        marks = {OWNER: dict(owner), TOKEN: token, **({} if takes_up is None else {TAKES_UP: takes_up})}
        template = self._create(
            state=self._states.RUNNING, params=dict(point), user_attrs=marks,
            distributions={name: self._distributions[name] for name in point},
        )  # fmt: skip
        self._again(lambda: self._study.add_trial(template))
        # Asked again after an answer that was lost it may be there twice: the first one counts.
        frozen = self._frozen()
        number = next(one.number for one in frozen if one.user_attrs.get(TOKEN) == token)
        trials = [self._read(one) for one in frozen]
        return trials[number], trials

    def beat(self, number: int, count: int) -> None:
        """Says that the worker of a try lives."""
        self._storage.set_trial_user_attr(self._id(number), BEAT, count)

    def step(self, number: int, step: int, accuracy: float) -> None:
        """Notes how accurate a trial is so far.

        Raises:
          Lost: another worker has taken it up.
        """
        self._write(lambda trial_id: self._storage.set_trial_intermediate_value(trial_id, step, accuracy), number)

    def latency(self, number: int, latency_ms: float, source: str) -> None:
        """Notes the latency of a trial; raises as `step`."""
        self._mark(number, LATENCY, [latency_ms, source])

    def done(self, number: int, measured: Measured) -> None:
        """A trial has been measured; raises as `step`."""
        # If the worker is killed between the two, the next one to look at the try ends it as measured.
        self._mark(number, MEASURED, dataclasses.asdict(measured))
        values = self._goal.values(measured.accuracy, measured.latency_ms)
        self._end(number, self._states.COMPLETE, values)

    def pruned(self, number: int, why: str) -> None:
        """A trial is given up; raises as `step`."""
        self._mark(number, WHY, why)
        self._end(number, self._states.PRUNED)

    def failed(self, number: int, why: str) -> None:
        """A point cannot be used; raises as `step`."""
        self._mark(number, WHY, why)
        self._end(number, self._states.FAIL)

    def give_back(self, number: int) -> None:
        """A worker leaves its try on purpose: the point is owed, or another's."""
        self._mark(number, PAUSED, True)
        self._end(number, self._states.FAIL)

    def bury(self, trial: Trial) -> bool:
        """Ends a try whose worker has ended -> whether it was this call that did; what was measured is kept."""
        try:
            if trial.measured is not None:
                self.done(trial.number, trial.measured)
            else:
                self._end(trial.number, self._states.FAIL)
        except Lost:
            # Its worker was alive after all, or another one buried it.
            return False
        return True

    def close(self) -> None:
        """Lets the connections go."""
        self._storage.remove_session()

    def _frozen(self) -> list[Any]:
        return list(self._again(lambda: self._study.get_trials(deepcopy=False)))

    def _id(self, number: int) -> int:
        if number not in self._ids:
            study_id = self._storage.get_study_id_from_name(self._study.study_name)
            self._ids[number] = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        return self._ids[number]

    def _mark(self, number: int, name: str, value: Any) -> None:
        self._write(lambda trial_id: self._storage.set_trial_user_attr(trial_id, name, _plain(value)), number)

    def _end(self, number: int, state: Any, values: tuple[float, ...] | None = None) -> None:
        self._write(lambda trial_id: self._storage.set_trial_state_values(trial_id, state, values), number)

    def _write(self, write: Callable[[int], Any], number: int) -> None:
        try:
            self._again(lambda: write(self._id(number)))
        except self._too_late:
            raise Lost(f"try {number} was ended by another worker") from None

    def _again(self, ask: Callable[[], T]) -> T:
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except Exception as error:
                known = isinstance(error, (self._busy, OSError)) or type(error).__module__.startswith(OF_STORAGES)
                if not known or attempt == ATTEMPTS - 1:
                    raise
                time.sleep(random.random() * 0.2 * 2**attempt)
        raise AssertionError

    def _read(self, frozen: Any) -> Trial:
        marks = frozen.user_attrs
        measured = Measured(**marks[MEASURED]) if MEASURED in marks else None
        latency = tuple(marks[LATENCY]) if LATENCY in marks else None
        if measured is not None:
            latency = measured.latency_ms, measured.source
        return Trial(
            frozen.number,
            self._space.check(frozen.params),
            self._state(frozen),
            marks.get(OWNER, {}),
            marks.get(BEAT, 0),
            measured,
            latency,
            marks.get(WHY, ""),
            dict(frozen.intermediate_values),
            marks.get(PAUSED, False),
            marks.get(TAKES_UP),
        )

    def _state(self, frozen: Any) -> State:
        names = self._states
        if frozen.state == names.FAIL:
            return State.FAILED if WHY in frozen.user_attrs else State.DEAD
        known = {names.COMPLETE: State.DONE, names.PRUNED: State.PRUNED}
        return known.get(frozen.state, State.RUNNING)


def notes_of(where: str, study: str) -> dict[str, Any]:
    """-> what the one who began a search noted for workers elsewhere.

    Raises:
      InputError: the storage cannot be reached, or holds no such search.
    """
    opt = optuna()
    storage = open_storage(where)
    try:
        found: dict[str, Any] | None = opt.load_study(storage=storage, study_name=study).user_attrs.get(NOTES)
    except KeyError:
        found = None
    finally:
        storage.remove_session()
    if found is None:
        raise InputError(
            f"A worker takes part in a search that has begun. Received: no search {study!r} in "
            f"{without_password(where)}"
        )
    return found


def _plain(value: Any) -> Any:
    return json.loads(to_json_text(value))
