"""One worker: what becomes of its trials, and what it refuses. Several workers: see test_workers.py."""

from __future__ import annotations

import sys

import pytest

from tta_lite.search import optional
from tta_lite.search.engine import Plan, Search
from tta_lite.search.goal import Goal
from tta_lite.search.samplers import all_points
from tta_lite.search.space import Choice, Space
from tta_lite.search.storages import open_storage, without_password
from tta_lite.search.trial import Hopeless, Interrupted, Measured, State, key_of
from tta_lite.types import InputError

pytest.importorskip("optuna")
SPACE = Space(
    "light",
    (
        Choice("width", (0.25, 0.5, 0.75, 1.0)),
        Choice("family", ("a", "b")),
        Choice("kernel", (3, 5, 7), (("family", ("b",)),)),
    ),
)


def measured(point) -> Measured:
    return Measured(40 * point["width"] + 5 * point.get("kernel", 1), 10 * point["width"] + 1, "made up")


def evaluate(point, report) -> Measured:
    return measured(point)


def plan(**changes) -> Plan:
    return Plan(**{"space": SPACE, "goal": Goal("front"), "trials": 6, "sampler": "random", **changes})


def journal(folder, name="search") -> str:
    return f"journal:{folder}/{name}.log"


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_that_was_stopped_goes_on_as_it_would_have(tmp_path, sampler):
    # Long enough for TPE and NSGA-II to choose by what they have seen.
    whole = Search(plan(sampler=sampler, trials=14), evaluate, journal(tmp_path), "s")
    assert whole.work()
    for stop in (3, 11):
        began = []

        def until(point, report, began=began, stop=stop):
            began.append(point)
            if len(began) == stop:
                raise Interrupted("the time is up")
            return measured(point)

        where = journal(tmp_path, f"stopped-{stop}")
        assert not Search(plan(sampler=sampler, trials=14), until, where, "s").work()
        again = Search(plan(sampler=sampler, trials=14), evaluate, where, "s")
        assert again.work()
        assert [trial.point for trial in again.trials()] == [trial.point for trial in whole.trials()]
        assert [trial.measured for trial in again.trials()] == [trial.measured for trial in whole.trials()]


def test_what_was_measured_is_not_measured_again(tmp_path):
    asked = []

    def once(point, report):
        asked.append(key_of(point))
        return measured(point)

    told = []
    assert Search(plan(sampler="tpe", trials=99), once, journal(tmp_path), "s", tell=told.append).work()
    # All of the space, each point once.
    assert sorted(asked) == sorted(key_of(point) for point in all_points(SPACE)) and len(asked) == SPACE.size() == 16
    assert any(line.startswith("asked again for the point of trial") and "which stands" in line for line in told)
    # A search that is done has nothing left, and a longer one keeps what is there.
    search = Search(plan(sampler="tpe", trials=99), once, journal(tmp_path), "s")
    assert search.work() and len(asked) == 16
    # What was measured survives the storage as it was.
    assert {trial.key: trial.measured for trial in search.trials()} == {
        key_of(point): measured(point) for point in all_points(SPACE)
    }


def test_a_search_can_be_made_longer(tmp_path):
    short = Search(plan(trials=3), evaluate, journal(tmp_path), "s")
    assert short.work() and len(short.trials()) == 3
    longer = Search(plan(trials=5), evaluate, journal(tmp_path), "s")
    assert longer.work()
    assert longer.trials()[:3] == short.trials() and len(longer.trials()) == 5


def test_failures_are_kept_and_end_nothing(tmp_path):
    def sometimes(point, report):
        if point["family"] == "b":
            raise InputError("It cannot be built.\nReceived: b")
        report.latency(5.0, "made up")
        report(1, 30.0)
        raise Hopeless("it is not enough")

    search = Search(plan(trials=16), sometimes, journal(tmp_path), "s")
    assert search.work()
    for trial in search.trials():
        if trial.point["family"] == "b":
            assert (trial.state, trial.why) == (State.FAILED, "It cannot be built. Received: b")
        else:
            assert (trial.state, trial.why) == (State.PRUNED, "it is not enough")
            assert trial.steps == {1: 30.0} and trial.latency == (5.0, "made up")


def test_a_point_that_ends_every_worker_ends_at_last(tmp_path):
    first = {"width": 1.0, "family": "a"}

    def breaks(point, report):
        if dict(point) == first:
            raise MemoryError("too large")
        return measured(point)

    for _ in range(3):
        with pytest.raises(MemoryError):
            Search(plan(trials=2, first=(first,)), breaks, journal(tmp_path), "s").work()
    search = Search(plan(trials=2, first=(first,)), breaks, journal(tmp_path), "s")
    assert search.work()
    failed, other = search.trials()
    assert (failed.state, failed.why) == (State.FAILED, "3 workers ended within it") and other.state is State.DONE


def test_ctrl_c_gives_the_trial_back(tmp_path):
    def stopped(point, report):
        raise KeyboardInterrupt

    for _ in range(5):
        with pytest.raises(KeyboardInterrupt):
            Search(plan(trials=1), stopped, journal(tmp_path), "s").work()
    search = Search(plan(trials=1), evaluate, journal(tmp_path), "s")
    assert search.work() and search.trials()[0].state is State.DONE
    assert search.trials()[0].takes_up is not None


def test_a_try_whose_end_was_not_written_keeps_what_was_measured(tmp_path, monkeypatch):
    # Killed between the figures and the state.
    search = Search(plan(trials=1), evaluate, journal(tmp_path), "s")
    monkeypatch.setattr(search._log, "_end", lambda *words: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        search.work()

    def never(point, report):
        raise AssertionError("it is measured again")

    later = Search(plan(trials=1), never, journal(tmp_path), "s")
    later._is_dead = lambda trial: True
    assert later.work() and later.trials()[0].measured == measured(later.trials()[0].point)


def test_a_worker_that_was_taken_for_dead_cannot_write_over_the_other(tmp_path):
    results = []

    def slow(point, report):
        # Meanwhile another one finds no life in it, and does its work.
        other = Search(plan(trials=1), evaluate, journal(tmp_path), "s")
        other._is_dead = lambda trial: trial.owner["name"] == search.me["name"]
        results.append(other.work())
        return Measured(1.0, 1.0, "too late")

    told = []
    search = Search(plan(trials=1), slow, journal(tmp_path), "s", tell=told.append)
    assert search.work() and results == [True]
    assert search.trials()[0].measured == measured(search.trials()[0].point)
    assert any("was ended by another worker" in line for line in told)


def test_too_slow_is_not_trained(tmp_path):
    def trained(point, report):
        found = measured(point)
        report.latency(found.latency_ms, found.source)
        assert found.latency_ms <= 6, "it was trained"
        return found

    search = Search(plan(trials=16, goal=Goal("hard", 3.0)), trained, journal(tmp_path), "s")
    assert search.work()
    slow = [trial for trial in search.trials() if trial.latency_ms > 6]
    assert slow and all("more than 2 times the target" in trial.why for trial in slow)


def test_first_points_come_first(tmp_path):
    points = ({"width": 1, "family": "b", "kernel": 7}, {"width": 0.25, "family": "a"})
    search = Search(plan(first=points, sampler="tpe"), evaluate, journal(tmp_path), "s")
    search.work()
    assert [dict(trial.point) for trial in search.trials()[:2]] == [{**points[0], "width": 1.0}, points[1]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": "luck"}, "A sampler is one of random, tpe, nsga2. Received: 'luck'"),
        ({"pruner": "luck"}, "one of median, halving, none. Received: 'luck'"),
        ({"trials": 0}, "one trial or more. Received: 0"),
        ({"grace_s": 10.0, "beat_s": 9.0}, "three times before it is taken for dead"),
        ({"first": ({"width": 3},)}, "The choice 'width' must be one of"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes, said):
    with pytest.raises(InputError, match=said):
        plan(**changes)


def test_another_search_of_this_name_is_refused(tmp_path):
    Search(plan(), evaluate, journal(tmp_path), "s")
    with pytest.raises(InputError, match=r"is another search.*Received: seed: 0 there, 1 here"):
        Search(plan(seed=1), evaluate, journal(tmp_path), "s")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("mysql://me:secret@host/db", r"A storage is .*Received: 'mysql://me:\*\*\*@host/db'"),
        ("journal:/nowhere/search.log", "a folder that exists"),
        ("/nowhere/search.db", "a folder that exists"),
        ("postgresql://me:secret@127.0.0.1:1/db", "must be reachable"),
    ],
)
def test_a_storage_that_cannot_be_reached_is_named_without_its_password(where, said):
    pytest.importorskip("psycopg")
    with pytest.raises(InputError, match=said) as caught:
        open_storage(where)
    assert "secret" not in str(caught.value)


def test_passwords_are_left_out():
    assert without_password("redis://:secret@host:6379/0") == "redis://:***@host:6379/0"
    assert without_password("search.db") == "search.db"


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match=r"pip install tta_lite\[search\]"):
        optional.optuna()
