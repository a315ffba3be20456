"""What a run tells of where it is, and the time left by hand arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guideline.made_up import Figures, KilledError, Ledger, MadeUpBench, run, step
from tta_lite.guideline.progress import (
    TRUST_S,
    Cost,
    Forecast,
    RowBegan,
    RowFinished,
    Scoring,
    Timed,
    Trained,
    TrialBegan,
)
from tta_lite.types import Budget, LedgerEntry, Report, Verdict


def in_words(event) -> str:
    if isinstance(event, RowBegan):
        return f"{event.name} {event.place}/{event.count}"
    if isinstance(event, TrialBegan):
        return f"{'promising' if event.promising else 'trial'} {event.label} {event.number}/{event.count}"
    assert isinstance(event, RowFinished)
    return f"{event.entry.name} {event.entry.verdict.value}{' before' if event.before else ''}"


def told(trials, steps, *, ledger=None, bench=None, ms=50, promising=2) -> list[str]:
    events: list[str] = []
    bench = bench or MadeUpBench(Figures(ms=100), trials)
    try:
        run(bench, steps, Budget(max_latency_ms=ms), ledger, promising, lambda event: events.append(in_words(event)))
    except KilledError:
        events.append("killed")
    return events


def test_every_row_is_told_in_order():
    trials = {("G1", "a"): Figures(ms=60), ("G1", "b"): Figures(fault="no HARD_SWISH"), ("G1", "c"): Figures(ms=120)}
    trials |= {("G3", "d"): Figures(ms=30), ("G3", "e"): Figures(ms=40)}
    steps = [step("G1", "a", "b", "c"), step("G2", why="left_out"), step("G3", "d", "e"), step("G4", "f")]
    assert told(trials, steps) == [
        "none 1/5", "none taken",
        "G1 2/5", "trial a 1/3", "trial b 2/3", "trial c 3/3", "promising a 1/1", "G1 taken",
        "G2 skipped",
        "G3 4/5", "trial d 1/2", "trial e 2/2", "promising d 1/2", "promising e 2/2", "G3 taken",
        "G4 skipped",
    ]  # fmt: skip


def test_a_step_of_which_nothing_comes_is_told_too():
    steps = [step("G1", "a"), step("G2", fault="nothing to factorise"), step("G3", "b")]
    trials = {("G1", "a"): Figures(fault="no HARD_SWISH"), ("G3", "b"): Figures(ms=100)}
    assert told(trials, steps) == [
        "none 1/4", "none taken", "G1 2/4", "trial a 1/1", "G1 skipped", "G2 3/4", "G2 skipped", "G3 4/4",
        "trial b 1/1", "G3 no gain",
    ]  # fmt: skip


def test_what_was_finished_before_is_told_as_such():
    ledger = Ledger()
    steps = [step("G1", "a"), step("G2", why="left_out")]
    told({("G1", "a"): Figures(ms=60)}, steps, ledger=ledger)
    assert told({}, steps, ledger=ledger) == ["none taken before", "G1 taken before", "G2 skipped before"]


@given(kill_at=st.integers(1, 20))
def test_killed_and_resumed_it_tells_the_rest(kill_at):
    """What is told after a kill begins within the row that was killed, and ends like a run that was not."""
    steps = [step("G1", "a", "b"), step("G3", "c")]
    trials = {("G1", "a"): Figures(ms=60), ("G1", "b"): Figures(ms=70), ("G3", "c"): Figures(ms=30)}
    whole = told(trials, steps)
    bench, ledger = MadeUpBench(Figures(ms=100), trials, kill_at), Ledger()
    first = told(trials, steps, bench=bench, ledger=ledger)
    if first[-1] != "killed":
        assert first == whole
        return
    bench.kill_at = None
    again = told(trials, steps, bench=bench, ledger=ledger)
    done = [line for line in again if line.endswith(" before")]
    assert [line.removesuffix(" before") for line in done] == [line for line in first if line.endswith("taken")]
    rest = [line for line in again if line not in done]
    missing = [line for line in whole if line not in rest]
    # The sketches of the row are remembered; nothing else of a row that was begun is left out.
    row = next((line.split()[0] for line in rest if "/" in line), "")
    assert all(line.startswith("trial") or line in first for line in missing), row
    assert rest == [line for line in whole if line in rest]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def finished(name: str) -> RowFinished:
    return RowFinished(LedgerEntry(name, "", Verdict.TAKEN, "", Report(), 1.0))


# 5 s: score 4, timing 1. 1,000 s: 10 sketches of 2, timing 12, two of 14 and 460, timing 20. 40 s.
COSTS = {
    "none": Cost(finishes=1, finish_s=4, last_s=1),
    "G1": Cost(trials=10, sketch_s=2, finishes=2, finish_s=14, train_s=460, first_s=12, last_s=20),
    "G3": Cost(trials=2, sketch_s=2, finishes=2, finish_s=10, first_s=6, last_s=10),
}


def test_the_costs_are_what_the_comment_says():
    assert [cost.seconds for cost in COSTS.values()] == [5, 1000, 40]


def test_the_time_left_by_hand():
    clock = Clock()
    forecast = Forecast(COSTS, clock=clock)

    def after(seconds, event=None):
        clock.now += seconds
        if event is not None:
            forecast.tell(event)
        return forecast.left()

    assert after(0) == 1045
    assert after(0, RowBegan("none", 1, 3)) == 1045
    # What is not known to be planned work does not count down.
    assert after(100) == 1045
    assert after(0, Scoring()) == 1045
    assert after(3) == 1042
    # The score takes 7 s more than planned; after 4 it counts down no further.
    assert after(8) == 1041
    # 14 + 14 in G1, 10 + 10 in G3; and all that is neither a score nor a training.
    score = (TRUST_S + 11) / (TRUST_S + 4)
    train = 2 * 460
    assert after(0, Timed(0, 2)) == pytest.approx(train + score * 48 + 1 + 52 + 20)
    after(0.25, Timed(1, 2))
    after(0.25, Timed(2, 2))
    after(0, finished("none"))
    # Half of what was planned.
    timing = (TRUST_S + 0.5) / (TRUST_S + 1)
    assert after(0, RowBegan("G1", 2, 3)) == pytest.approx(train + score * 48 + timing * 48 + 24)
    # Eight settings of ten there are.
    assert after(0, TrialBegan("a", 1, 8, False)) == pytest.approx(train + score * 48 + timing * 48 + 20)
    for number in range(2, 9):
        after(3, TrialBegan("a", number, 8, False))
    after(3, Timed(0, 30))
    # 24 s for 16.
    sketch = (TRUST_S + 24) / (TRUST_S + 16)
    assert after(0) == pytest.approx(train + score * 48 + timing * 48 + sketch * 4)
    after(12, Timed(30, 30))
    # Only one is promising.
    rest = (TRUST_S + 12.5) / (TRUST_S + 13) * (20 + 16) + sketch * 4
    assert after(0, TrialBegan("a", 1, 1, True)) == pytest.approx(460 + score * 34 + rest)
    assert after(5, Trained(0, 10)) == pytest.approx(460 + score * 34 + rest)
    # Half of it in 115 s: twice as fast as planned.
    after(60, Trained(2.5, 10))
    train = (TRUST_S + 115) / (TRUST_S + 230)
    assert after(55, Trained(5, 10)) == pytest.approx(train * 230 + score * 34 + rest)
    after(115, Trained(10, 10))
    after(3, Scoring())
    after(11, Timed(0, 5))
    # The export, 3 s, counts to the score.
    score = (TRUST_S + 11 + 14) / (TRUST_S + 4 + 14)
    assert after(0) == pytest.approx(score * 20 + rest)
    # The budget is met.
    after(0, finished("G1"))
    assert after(0, finished("G3")) == 0


def test_a_resumed_run_counts_what_is_left():
    clock = Clock()
    forecast = Forecast(COSTS, clock=clock)
    forecast.tell(finished("none"))
    assert forecast.left() == 1040
    forecast.tell(RowBegan("G1", 2, 3))
    # The sketches are remembered; the first training is finished, the second is at epoch 7 of 10.
    forecast.tell(TrialBegan("a", 1, 2, True))
    assert forecast.left() == 2 * 474 + 20 + 40
    clock.now += 0.1
    forecast.tell(TrialBegan("b", 2, 2, True))
    assert forecast.left() == 474 + 20 + 40
    clock.now += 1
    forecast.tell(Trained(7, 10))
    assert forecast.left() == pytest.approx(138 + 14 + 20 + 40)


def test_what_was_not_planned_is_no_mistake():
    forecast = Forecast({}, clock=Clock())
    for event in (RowBegan("G1", 2, 3), TrialBegan("a", 1, 2, False), Timed(0, 4), TrialBegan("a", 1, 1, True)):
        forecast.tell(event)
    forecast.tell(Scoring())
    assert forecast.left() == 0


EVENTS = st.one_of(
    st.builds(RowBegan, st.sampled_from(sorted(COSTS)), st.just(1), st.just(3)),
    st.builds(TrialBegan, st.just("a"), st.integers(1, 3), st.just(3), st.booleans()),
    st.builds(Trained, st.floats(0, 5), st.just(5)),
    st.just(Scoring()),
    st.builds(Timed, st.integers(0, 4), st.just(4)),
    st.builds(finished, st.sampled_from(sorted(COSTS))),
)


@given(st.lists(st.tuples(st.floats(0, 1e5), EVENTS)))
def test_it_is_never_below_nothing(events):
    """Whatever is told, in whatever order."""
    clock = Clock()
    forecast = Forecast(COSTS, clock=clock)
    for seconds, event in events:
        clock.now += seconds
        assert forecast.left() >= 0
        forecast.tell(event)
        assert forecast.left() >= 0
