"""The ladder's decisions on made-up measurements: every order, verdict and stop of Figure 9."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guideline.made_up import Figures, KilledError, Ledger, MadeUpBench, run, step
from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import START
from tta_lite.types import Budget, InputError, Report, Verdict


def verdicts(outcome):
    return {entry.name: entry.verdict.value for entry in outcome.entries}


def whys(outcome):
    return {entry.name: entry.why for entry in outcome.entries}


def test_a_budget_that_the_first_row_meets_ends_at_once():
    bench = MadeUpBench(Figures(ms=40), {})
    outcome = run(bench, [step("G1", "a"), step("G3", "int8")], Budget(max_latency_ms=50))
    assert outcome.met and outcome.chosen == START
    assert verdicts(outcome) == {"none": "taken", "G1": "skipped", "G3": "skipped"}
    assert "The budget was met by none: latency 40 of 50 ms" in whys(outcome)["G3"]
    assert bench.log == ["start", "compare"]


def test_it_stops_as_soon_as_the_budget_is_met():
    bench = MadeUpBench(Figures(ms=100), {("G1", "a"): Figures(ms=60), ("G2", "b"): Figures(ms=30)})
    outcome = run(bench, [step("G1", "a"), step("G2", "b"), step("G3", "c")], Budget(max_latency_ms=50))
    assert outcome.met and outcome.chosen == "G2"
    assert verdicts(outcome) == {"none": "taken", "G1": "taken", "G2": "taken", "G3": "skipped"}
    assert outcome.state.candidate.trail == ("G2",)


def test_a_budget_that_nothing_meets_ends_with_the_nearest():
    bench = MadeUpBench(Figures(ms=100), {("G1", "a"): Figures(ms=60), ("G2", "b"): Figures(ms=70)})
    outcome = run(bench, [step("G1", "a"), step("G2", "b")], Budget(max_latency_ms=10))
    assert not outcome.met and outcome.chosen == "G1"
    assert verdicts(outcome)["G2"] == "no gain"


@pytest.mark.parametrize(("accuracy", "verdict"), [(77.0, "taken"), (76.9, "too lossy")])
def test_the_floor_is_the_first_row_less_what_may_be_lost(accuracy, verdict):
    bench = MadeUpBench(Figures(ms=100, accuracy=80), {("G1", "a"): Figures(ms=10, accuracy=accuracy)})
    outcome = run(bench, [step("G1", "a")], Budget(max_latency_ms=50, max_accuracy_drop=3))
    assert verdicts(outcome)["G1"] == verdict
    assert "77.0" in whys(outcome)["G1"]


def test_small_losses_do_not_creep():
    """Two steps that lose 2 points each: the second goes below what the first row allows."""
    trials = {("G1", "a"): Figures(ms=80, accuracy=78), ("G2", "b"): Figures(ms=60, accuracy=76)}
    outcome = run(MadeUpBench(Figures(), trials), [step("G1", "a"), step("G2", "b")], Budget(max_latency_ms=50))
    assert verdicts(outcome) == {"none": "taken", "G1": "taken", "G2": "too lossy"}


def test_what_lies_within_the_noise_is_no_gain():
    """3 % faster in the median, but 3 % slower in a round."""
    found = []
    for ms in (97, 80):
        bench = MadeUpBench(Figures(), {("G1", "a"): Figures(ms=ms, spread=0.12)})
        found.append(verdicts(run(bench, [step("G1", "a")], Budget(max_latency_ms=50)))["G1"])
    assert found == ["no gain", "taken"]


def test_a_gain_on_what_is_not_limited_or_already_met_counts_for_nothing():
    bench = MadeUpBench(Figures(ms=100, kib=100), {("G1", "a"): Figures(ms=100, kib=10)})
    outcome = run(bench, [step("G1", "a")], Budget(max_latency_ms=50, max_size_kib=200))
    assert verdicts(outcome)["G1"] == "no gain"


def test_a_step_may_not_win_on_one_limit_what_it_loses_on_another():
    bench = MadeUpBench(Figures(ms=100, kib=100), {("G1", "a"): Figures(ms=50, kib=1000)})
    outcome = run(bench, [step("G1", "a")], Budget(max_latency_ms=50, max_size_kib=200))
    assert verdicts(outcome)["G1"] == "no gain"


def test_of_those_that_hold_as_much_the_cheapest_is_tried_first():
    trials = {("G1", "a"): Figures(ms=40, macs=50), ("G1", "b"): Figures(ms=30, macs=50)}
    bench = MadeUpBench(Figures(), trials)
    run(bench, [step("G1", "a", "b")], Budget(max_latency_ms=50), promising=1)
    assert bench.kept["G1"] == "b"


def test_only_the_promising_are_finished_and_the_rest_is_told():
    trials = {("G1", name): Figures(ms=ms) for name, ms in {"a": 90, "b": 70, "c": 80, "d": 120}.items()}
    bench = MadeUpBench(Figures(), trials)
    outcome = run(bench, [step("G1", "a", "b", "c", "d")], Budget(max_latency_ms=10))
    assert [line for line in bench.log if line.startswith("finish")] == ["finish G1 b", "finish G1 c"]
    statuses = {one["name"]: one["status"] for one in outcome.entries[1].details["trials"]}
    assert statuses == {"a": "not tried further", "b": "taken", "c": "not chosen", "d": "no gain"}
    assert outcome.entries[1].details["trial"] == "b"


def test_among_those_that_meet_the_budget_the_largest_are_tried():
    trials = {("G1", "small"): Figures(ms=10, macs=1), ("G1", "large"): Figures(ms=40, macs=90)}
    bench = MadeUpBench(Figures(), trials)
    run(bench, [step("G1", "small", "large")], Budget(max_latency_ms=50), promising=1)
    assert "finish G1 large" in bench.log and "finish G1 small" not in bench.log


def test_what_later_steps_may_still_bring_counts_before_anything_is_trained():
    """The limit is 50 ms: 90 ms are out of reach if the rest divides by 1.5, and 70 ms are not; nor are 20."""
    trials = {("G1", name): Figures(ms=ms, macs=ms) for name, ms in {"a": 90, "b": 70, "c": 20}.items()}
    bench = MadeUpBench(Figures(), trials)
    first = dataclasses.replace(step("G1", "a", "b", "c"), later={"latency": 1.5})
    run(bench, [first], Budget(max_latency_ms=50), promising=1)
    assert [line for line in bench.log if line.startswith("finish")] == ["finish G1 b"]


@pytest.mark.parametrize(("pretrained", "first"), [(30, "pretrained"), (75, "pretrained"), (95, "large")])
def test_one_that_starts_ahead_is_tried_first_unless_it_is_twice_as_far(pretrained, first):
    """The other one meets the limit: 75 of 50 ms are 1.5 times as far, 95 of 45 ms are 2.1 times."""
    trials = {("G1", name): Figures(ms=ms, macs=ms) for name, ms in {"large": 45, "pretrained": pretrained}.items()}
    limit = 50 if pretrained < 90 else 45
    bench = MadeUpBench(Figures(), trials)
    made = [
        dataclasses.replace(trial, ahead=int(trial.name == "pretrained"))
        for trial in step("G1", "large", "pretrained").trials(None)
    ]
    run(bench, [dataclasses.replace(step("G1"), trials=lambda state: made)], Budget(max_latency_ms=limit), promising=1)
    assert [line for line in bench.log if line.startswith("finish")] == [f"finish G1 {first}"]


def test_accuracy_decides_between_two_that_later_steps_can_bring_to_the_budget():
    """Who is fast enough already and who will be are the same; who will not be is further."""
    trials = {("G1", "a"): Figures(ms=30, accuracy=78), ("G1", "b"): Figures(ms=70, accuracy=79)}
    trials |= {("G1", "c"): Figures(ms=90, accuracy=80)}
    first = dataclasses.replace(step("G1", "a", "b", "c"), later={"latency": 1.5})
    outcome = run(MadeUpBench(Figures(), trials), [first], Budget(max_latency_ms=50), promising=3)
    assert outcome.entries[1].details["trial"] == "b"


def test_of_two_that_are_as_accurate_the_cheaper_is_taken():
    """Half a point is nothing; what lies below its limit decides then."""
    trials = {("G3", "int8"): Figures(ms=20, accuracy=79), ("G3", "dynamic"): Figures(ms=40, accuracy=79.4)}
    outcome = run(MadeUpBench(Figures(), trials), [step("G3", "int8", "dynamic")], Budget(max_latency_ms=50))
    assert outcome.entries[1].details["trial"] == "int8"


def test_of_two_that_are_as_near_the_more_accurate_is_taken():
    trials = {("G1", "a"): Figures(ms=20, accuracy=78), ("G1", "b"): Figures(ms=30, accuracy=79)}
    outcome = run(MadeUpBench(Figures(), trials), [step("G1", "a", "b")], Budget(max_latency_ms=50))
    assert outcome.entries[1].details["trial"] == "b"


def test_one_that_is_too_lossy_does_not_hide_one_that_is_not():
    trials = {("G3", "int8"): Figures(ms=20, accuracy=50), ("G3", "dynamic"): Figures(ms=40, accuracy=79)}
    outcome = run(MadeUpBench(Figures(), trials), [step("G3", "int8", "dynamic")], Budget(max_latency_ms=50))
    assert verdicts(outcome)["G3"] == "taken"
    assert outcome.entries[1].details["trial"] == "dynamic"
    statuses = {one["name"]: one["status"] for one in outcome.entries[1].details["trials"]}
    assert statuses["int8"] == "too lossy"


def test_a_setting_that_cannot_be_used_is_named_and_the_others_go_on():
    trials = {("G1", "a"): Figures(fault="no HARD_SWISH"), ("G1", "b"): Figures(ms=20)}
    outcome = run(MadeUpBench(Figures(), trials), [step("G1", "a", "b")], Budget(max_latency_ms=50))
    assert verdicts(outcome)["G1"] == "taken"
    assert outcome.entries[1].details["trials"][0]["why"] == "no HARD_SWISH"


def test_a_step_of_which_nothing_can_be_used_is_skipped_with_the_reason():
    outcome = run(
        MadeUpBench(Figures(), {("G1", "a"): Figures(fault="no HARD_SWISH")}),
        [step("G1", "a"), step("G2", fault="nothing to factorise")],
        Budget(max_latency_ms=50),
    )
    assert verdicts(outcome) == {"none": "taken", "G1": "skipped", "G2": "skipped"}
    assert "no HARD_SWISH" in whys(outcome)["G1"] and "nothing to factorise" in whys(outcome)["G2"]


def test_a_file_that_is_not_the_same_function_is_too_lossy():
    outcome = run(
        MadeUpBench(Figures(), {("G3", "int8"): Figures(ms=10, lost="SQNR of 3 dB")}),
        [step("G3", "int8")],
        Budget(max_latency_ms=50),
    )
    assert verdicts(outcome)["G3"] == "too lossy" and "SQNR of 3 dB" in whys(outcome)["G3"]


def test_the_ladder_goes_on_after_a_file_that_is_not_the_same_function():
    """Such a row has no file that could be timed beside the later ones."""
    trials = {("G3", "int8"): Figures(ms=10, lost="SQNR of 3 dB"), ("G4", "fp16"): Figures(ms=40)}
    steps = [step("G3", "int8"), step("G4", "fp16")]
    outcome = run(MadeUpBench(Figures(), trials), steps, Budget(max_latency_ms=50))
    assert verdicts(outcome) == {"none": "taken", "G3": "too lossy", "G4": "taken"}


def test_what_is_limited_must_be_measured():
    with pytest.raises(InputError, match="peak memory must be measured"):
        budgets.ratios(Report(size_bytes=1), Budget(max_peak_memory_mib=1))


def test_all_rows_have_the_latencies_of_one_comparison():
    trials = {("G1", "a"): Figures(ms=60), ("G2", "b"): Figures(ms=55), ("G3", "c"): Figures(ms=70)}
    steps = [step("G1", "a"), step("G2", "b"), step("G3", "c")]
    outcome = run(MadeUpBench(Figures(), trials), steps, Budget(max_latency_ms=10))
    taken = [entry for entry in outcome.entries if entry.verdict is Verdict.TAKEN]
    assert [entry.name for entry in taken] == ["none", "G1", "G2"]
    # G3 gains nothing already as a sketch: the comparison of G2 is the last one.
    assert len({entry.details["timing"]["at"] for entry in taken}) == 1
    assert [entry.details["speedup"]["median"] for entry in taken] == pytest.approx([1, 100 / 60, 100 / 55])


def test_what_the_sentences_say_is_what_the_rows_show():
    """A later comparison gives every row new figures: the sentences follow."""
    trials = {("G1", "a"): Figures(ms=60), ("G1", "c"): Figures(ms=90), ("G2", "b"): Figures(ms=30)}
    bench = MadeUpBench(Figures(), trials)
    slower = [1.0]
    compare = bench.compare

    def drifting(files):
        slower[0] *= 1.25
        bench.figures = {key: dataclasses.replace(one, ms=one.ms * 1.25) for key, one in bench.figures.items()}
        return compare(files)

    bench.compare = drifting
    outcome = run(bench, [step("G1", "a", "c"), step("G2", "b")], Budget(max_latency_ms=10), promising=1)
    # The settings of a step stand in one table, the finished one too: all are of the comparison that held them all.
    tried = {one["name"]: one for one in outcome.entries[1].details["trials"]}
    assert tried["a"]["report"]["latency_ms"]["p50"] / tried["c"]["report"]["latency_ms"]["p50"] == pytest.approx(
        60 / 90
    )
    assert tried["a"]["report"]["accuracy"] == 80 and tried["c"]["report"]["accuracy"] is None
    for entry, ratio in zip(outcome.entries, (None, "1.67", "2.00"), strict=True):
        assert f"latency {budgets.figure(entry.report.latency_ms.p50)} of 10 ms" in entry.why
        assert ratio is None or f"latency divided by {ratio} ({ratio} to {ratio}" in entry.why
    assert outcome.entries[0].report.latency_ms.p50 == pytest.approx(100 * slower[0])


STEPS = [step("G1", "a", "b"), step("G2", why="left_out"), step("G5", "c"), step("G3", "d", "e"), step("G4", "f")]
TRIALS = {
    ("G1", "a"): Figures(ms=80), ("G1", "b"): Figures(ms=70, accuracy=60), ("G5", "c"): Figures(ms=79, accuracy=79),
    ("G3", "d"): Figures(ms=30, accuracy=79), ("G3", "e"): Figures(ms=50), ("G4", "f"): Figures(ms=20),
}  # fmt: skip


@given(kill_at=st.integers(1, 40))
def test_a_run_that_was_killed_anywhere_ends_like_one_that_was_not(kill_at):
    budget = Budget(max_latency_ms=25)
    whole = MadeUpBench(Figures(), TRIALS)
    expected = run(whole, STEPS, budget)
    bench, ledger = MadeUpBench(Figures(), TRIALS, kill_at), Ledger()
    try:
        outcome = run(bench, STEPS, budget, ledger)
    except KilledError:
        done = list(bench.log)
        bench.kill_at = None
        outcome = run(bench, STEPS, budget, ledger)
        again = [line for line in bench.log if line.startswith("finish")]
        assert len(again) == len(set(again)), "a finished training was done again"
        assert bench.log[: len(done)] == done
    assert verdicts(outcome) == verdicts(expected)
    assert whys(outcome) == whys(expected)
    assert outcome.chosen == expected.chosen
    assert [entry.report.accuracy for entry in outcome.entries] == [e.report.accuracy for e in expected.entries]


ratio = st.floats(0.01, 100)


@given(ratio, ratio, st.floats(0.1, 10))
def test_nearer_is_nearer_whatever_the_noise(before, after, speedup):
    """What is called nearer is nearer even if the slowest round is taken for all."""
    over = {"latency": before, "size": 1.0}
    if budgets.is_nearer(over, {"latency": after, "size": 1.0}, speedup):
        assert before > 1 and speedup > 1


def test_a_ledger_line_keeps_its_reason_as_a_code():
    outcome = run(MadeUpBench(Figures(ms=10), {}), [step("G1", "a")], Budget(max_latency_ms=50))
    assert outcome.entries[1].details["why"][0]["code"] == "met"
