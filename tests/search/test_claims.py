"""Who has which point: workers that ask, are killed and come back in any order, against the rules of a search."""

from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
from hypothesis import given, settings

from tta_lite.search.claims import deaths, settled, standing
from tta_lite.search.trial import State, Trial

POINTS = [{"width": width} for width in range(6)]
TOTAL = 4


@dataclasses.dataclass
class Worker:
    """What one does between two looks at the list: it may be stopped, for good or for a while, before any of these."""

    name: str
    wants: int
    number: int | None = None
    checked: bool = False


def act(worker: Worker, log: list[Trial], finished: list[int]) -> None:
    """One step of a worker, as `Search` takes it."""
    if worker.number is None:
        found = standing(log, TOTAL)
        owed = [key for key, holder in found.items() if holder is None]
        if owed:
            point = next(trial.point for trial in log if trial.key == owed[0])
        elif len(found) < TOTAL:
            point = POINTS[worker.wants % len(POINTS)]
            worker.wants += 1
        else:
            return
        log.append(Trial(len(log), point, State.RUNNING, {"name": worker.name}))
        worker.number = len(log) - 1
        worker.checked = False
    elif log[worker.number].state is State.DEAD:
        # Others buried it.
        worker.number = None
    elif not worker.checked:
        mine = log[worker.number]
        holder = standing(log, TOTAL).get(mine.key)
        worker.checked = True
        if holder is None or holder.number != mine.number:
            log[worker.number] = dataclasses.replace(mine, state=State.DEAD, paused=True)
            worker.number = None
    else:
        log[worker.number] = dataclasses.replace(log[worker.number], state=State.DONE)
        finished.append(worker.number)
        worker.number = None


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=3, max_size=3),
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["act", "act", "act", "act", "kill"])), max_size=60),
)
def test_every_point_is_finished_once_however_workers_ask_and_die(wants, steps):
    log: list[Trial] = []
    finished: list[int] = []
    workers = [Worker(str(place), want) for place, want in enumerate(wants)]
    for who, what in steps:
        if what == "act":
            act(workers[who], log, finished)
            continue
        # Killed, and seen by another: what it had is dead, and a new worker comes in its place.
        if (number := workers[who].number) is not None and log[number].state is State.RUNNING:
            log[number] = dataclasses.replace(log[number], state=State.DEAD)
        workers[who] = Worker(f"{who} again", workers[who].wants)
    for _ in range(200):
        for worker in workers:
            act(worker, log, finished)
        found = standing(log, TOTAL)
        if len(found) == TOTAL and settled(found):
            break
    assert len(found) == TOTAL and settled(found)
    # No point twice, none that is not of the search, and nothing that was finished is anything else now.
    assert sorted(trial.key for trial in log if trial.state is State.DONE) == sorted(found)
    assert sorted(finished) == sorted(holder.number for holder in found.values())


def test_a_try_that_came_second_never_has_the_point():
    tries = [Trial(0, POINTS[0], State.RUNNING), Trial(1, POINTS[0], State.RUNNING)]
    assert standing(tries, 1)[tries[0].key] is tries[0]
    # Not even if it is finished by mistake while the first one runs.
    tries[1] = dataclasses.replace(tries[1], state=State.DONE)
    assert standing(tries, 1)[tries[0].key] is tries[0]


def test_deaths_count_workers_that_got_nowhere():
    dead = Trial(0, POINTS[0], State.DEAD)
    tries = [
        dead,
        dataclasses.replace(dead, number=1, steps={1: 3.0}),
        dataclasses.replace(dead, number=2, paused=True),
        dataclasses.replace(dead, number=3, point=POINTS[1]),
        dataclasses.replace(dead, number=4),
    ]
    assert deaths(tries, dead.key) == 2
