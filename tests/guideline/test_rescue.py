"""What is tried when a setting loses too much, on made-up measurements."""

from __future__ import annotations

import pytest

from tests.guideline.made_up import Figures, KilledError, Ledger, MadeUpBench, run
from tta_lite.guideline.bench import Step, Trial
from tta_lite.guideline.rescues import int8_rescues
from tta_lite.types import Budget, Candidate, ExportSpec

BUDGET = Budget(max_latency_ms=50, max_accuracy_drop=1)


def trial(name: str, *rescues: str) -> Trial:
    return Trial(name, name, lambda: Candidate(None), rescues=tuple(map(trial, rescues)))  # type: ignore[arg-type]


def third(*trials: Trial) -> Step:
    return Step("G3", "6.2.1", lambda state: [], lambda state: list(trials))


def figures(**accuracies: float) -> dict[tuple[str, str], Figures]:
    return {("G3", name): Figures(ms=40, accuracy=accuracy) for name, accuracy in accuracies.items()}


def finished(bench: MadeUpBench) -> list[str]:
    return [line.split()[-1] for line in bench.log if line.startswith("finish")]


def test_they_are_tried_in_order_until_one_keeps_the_floor():
    bench = MadeUpBench(Figures(accuracy=80), figures(int8=50, cheap=78.9, dear=79.0, dearest=80))
    outcome = run(bench, [third(trial("int8", "cheap", "dear", "dearest"))], BUDGET)
    assert finished(bench) == ["int8", "cheap", "dear"]
    assert outcome.met and bench.kept["G3"] == "dear"
    entry = outcome.entries[-1]
    assert {one["name"]: one["status"] for one in entry.details["trials"]} == {
        "int8": "too lossy", "cheap": "too lossy", "dear": "taken"
    }  # fmt: skip
    assert entry.details["trial"] == "dear"


def test_none_is_tried_where_nothing_was_lost():
    bench = MadeUpBench(Figures(accuracy=80), figures(int8=79.5, cheap=80))
    run(bench, [third(trial("int8", "cheap"))], BUDGET)
    assert finished(bench) == ["int8"]


def test_none_is_tried_where_another_setting_meets_the_budget():
    bench = MadeUpBench(Figures(accuracy=80), figures(int8=50, dynamic=80, cheap=80))
    outcome = run(bench, [third(trial("int8", "cheap"), trial("dynamic"))], BUDGET)
    assert finished(bench) == ["int8", "dynamic"] and bench.kept["G3"] == "dynamic" and outcome.met


def test_they_are_tried_where_the_other_setting_is_not_enough():
    slow = {("G3", "dynamic"): Figures(ms=60, accuracy=80)}
    bench = MadeUpBench(Figures(accuracy=80), {**figures(int8=50, cheap=80), **slow})
    outcome = run(bench, [third(trial("int8", "cheap"), trial("dynamic"))], BUDGET)
    assert bench.kept["G3"] == "cheap" and outcome.met


def test_one_that_cannot_be_used_or_gains_nothing_is_passed_over():
    bad = {("G3", "bad"): Figures(fault="no such op"), ("G3", "slow"): Figures(ms=100, accuracy=80)}
    bench = MadeUpBench(Figures(accuracy=80), {**figures(int8=50, good=80), **bad})
    outcome = run(bench, [third(trial("int8", "bad", "slow", "good"))], BUDGET)
    assert finished(bench) == ["int8", "good"]
    statuses = {one["name"]: one["status"] for one in outcome.entries[-1].details["trials"]}
    assert statuses == {"int8": "too lossy", "bad": "cannot be used", "slow": "no gain", "good": "taken"}


@pytest.mark.parametrize("kill_at", range(3, 14))
def test_a_killed_run_goes_on_to_the_same_end(kill_at):
    ledger = Ledger()
    found = figures(int8=50, cheap=78, dear=80)
    bench = MadeUpBench(Figures(accuracy=80), found, kill_at=kill_at)
    steps = [third(trial("int8", "cheap", "dear"))]
    try:
        run(bench, steps, BUDGET, ledger)
    except KilledError:
        bench.kill_at = None
        run(bench, steps, BUDGET, ledger)
    assert bench.kept["G3"] == "dear"
    assert sorted(finished(bench)) == ["cheap", "dear", "int8"]
    statuses = [one["status"] for one in ledger.entries[-1].details["trials"]]
    assert statuses == ["too lossy", "too lossy", "taken"]


def test_the_repairs_of_int8_change_the_export_alone():
    start = Candidate(None, trail=("G2",))  # type: ignore[arg-type]
    # The last one must look at the network to know which layers are worst.
    made = [one.make() for one in int8_rescues(start, ExportSpec("int8", 7), lambda count: [])[:-1]]
    assert [one.export.calibration_images for one in made] == [7] * len(made)
    assert len({one.export for one in made}) == len(made)
    assert all(one.model is None and one.trail[0] == "G2" for one in made)
