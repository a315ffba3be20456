"""The simulation: small traces by hand, and what must hold of any."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.adaptive.made_up import one_stage_policy, policy
from tta_lite.adaptive.rules import Signal
from tta_lite.adaptive.simulate import DROPPED, IN_TIME, LATE, simulate
from tta_lite.adaptive.traces import GENERATED, Trace, make_trace, read_trace
from tta_lite.types import InputError

IDLE = Trace(np.zeros(1), np.zeros(1), np.ones(1))
# From 50 ms on, everything takes four times as long.
SLOW = Trace(np.array([0.0, 0.05]), np.array([0.0, 0.75]), np.ones(2))


def test_by_hand():
    found = simulate(one_stage_policy((2.0, 5.0, 10.0)), SLOW, duration_s=0.2, period_ms=10.0, dwell=1)
    adaptive, w0, w1, w2 = found.runs
    assert [run.name for run in found.runs] == ["adaptive", "w0", "w1", "w2"]
    # 2 ms become 8: all in time.
    assert set(w0.became) == {IN_TIME} and w0.accuracy_in_time == 80.0
    # 5 become 20: a frame late, the next dropped, and so on.
    assert w1.became.tolist() == 5 * [IN_TIME] + [LATE, DROPPED] * 7 + [LATE]
    assert w1.accuracy_in_time == pytest.approx(5 * 81 / 20) and w1.accuracy == 81.0
    # 10 are just in time, and become 40.
    assert w2.became.tolist() == 5 * [IN_TIME] + [LATE, DROPPED, DROPPED, DROPPED] * 3 + [LATE, DROPPED, DROPPED]
    assert w2.mean_ms == pytest.approx((5 * 10 + 4 * 40) / 9)
    # The policy takes 5 ms, not 10 (above 0.7 x 10); after two late frames its estimate, 5 x 4^(1 - 0.78^2) = 8.6, is
    # above 0.8 x 10.
    assert adaptive.became.tolist() == 5 * [IN_TIME] + [LATE, DROPPED] * 2 + 11 * [IN_TIME]
    assert adaptive.levels.tolist() == 9 * [1] + 11 * [0]
    assert adaptive.switches == 2
    assert adaptive.accuracy_in_time == pytest.approx((5 * 81 + 11 * 80) / 20)
    assert adaptive.accuracy == pytest.approx((7 * 81 + 11 * 80) / 18)
    assert adaptive.share(LATE) == adaptive.share(DROPPED) == 10.0
    assert found.best_fixed is w0


def test_stages_run_as_often_as_their_mode_says():
    found = simulate(policy(), IDLE, duration_s=400.0, period_ms=100.0)
    half = found.runs[2]
    assert half.name == "half" and half.mean_ms == pytest.approx(1 + 0.5 * 3 + 0.1 * 6, rel=0.03)
    # Nothing is slow: each way has the accuracy of its mode, the adaptive one that of the best.
    for run, mode in zip(found.runs[1:], found.policy.front(), strict=True):
        assert run.accuracy_in_time == pytest.approx(mode.accuracy, abs=0.1) and run.share(LATE, DROPPED) == 0
    assert found.runs[0].accuracy_in_time == pytest.approx(98.0)


def test_the_cut_at_a_deadline_by_hand():
    # All stages take 1, 3 and 6 ms, twice as long from the sixth frame on; 12 ms are allowed.
    twice = Trace(np.array([0.0, 0.06]), np.zeros(2), np.array([1.0, 0.5]))
    made = dataclasses.replace(policy(), modes=policy().modes[2:])
    stages = tuple(dataclasses.replace(stage, spread_ms=()) for stage in made.stages)
    made = dataclasses.replace(made, stages=stages)
    adaptive, fixed = simulate(made, twice, duration_s=0.12, period_ms=12.0, cut=True).runs
    # The first slow frame: 2 ms tell 15 % of it (0.22 x ln 2, of which 0.2 for all), 6 more as much: two stages have
    # taken 8 ms, and the third seems to take 6 x 2^(0.2 + 0.2 x 0.8) = 7.7, too long.
    assert adaptive.became.tolist() == 10 * [IN_TIME]
    np.testing.assert_allclose(adaptive.latency_ms, 5 * [10] + 5 * [8])
    assert adaptive.accuracy_in_time == pytest.approx((5 * 98 + 5 * 96) / 10)
    # Alone it takes 20 ms, and the next frame is dropped.
    assert fixed.became.tolist() == 5 * [IN_TIME] + [LATE, DROPPED] * 2 + [LATE]
    with pytest.raises(InputError, match="their accuracy `cut`"):
        lacking = dataclasses.replace(made, modes=[dataclasses.replace(made.modes[0], cut=())])
        simulate(lacking, twice, duration_s=0.12, period_ms=12.0, cut=True)


def test_the_spread_is_drawn():
    made = one_stage_policy((2.0,))
    spread = (1.0, 2.0, 3.0, 4.0)
    made = dataclasses.replace(made, stages=(dataclasses.replace(made.stages[0], spread_ms=spread),))
    latencies = simulate(made, IDLE, duration_s=4.0, period_ms=10.0).runs[1].latency_ms
    assert set(latencies) == set(spread)
    assert all(np.mean(latencies == one) == pytest.approx(0.25, abs=0.08) for one in spread)


def test_the_same_seed_gives_the_same(tmp_path):
    trace = make_trace("walk", 20.0, seed=3)
    runs = [simulate(policy(), trace, duration_s=20.0, period_ms=12.0, seed=seed).runs[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0].latency_ms, runs[1].latency_ms)
    assert not np.array_equal(runs[0].latency_ms, runs[2].latency_ms, equal_nan=True)


def test_a_rule_of_the_load_sees_that_of_the_trace():
    made = one_stage_policy((2.0, 5.0, 10.0))
    busy = Signal("load", (0.3, 0.9), falling=True)
    run = simulate(made, SLOW, duration_s=0.1, period_ms=10.0, rules=[busy], dwell=1).runs[0]
    # Idle: the best. A load of 0.75 leaves 0.25: the cheapest, at once.
    assert run.levels.tolist() == 5 * [2] + 5 * [0]


@pytest.mark.parametrize("name", GENERATED)
def test_generated_traces_are_traces_and_survive_their_file(name, tmp_path):
    trace = make_trace(name, 60.0, seed=1)
    assert trace.load.max() > 0.3 and trace.seconds[-1] < 60.0
    assert (trace.clock.min() < 1) == (name != "sinusoid")
    path = tmp_path / "trace.csv"
    path.write_text(trace.to_csv())
    at = np.arange(0, 60, 0.05)
    np.testing.assert_allclose(read_trace(path).slowdown(at + 1e-3), trace.slowdown(at + 1e-3), rtol=1e-4)
    assert make_trace(name, 60.0, seed=1).load.tolist() == trace.load.tolist()


def test_a_trace_may_have_load_or_clock_alone(tmp_path):
    path = tmp_path / "clock.csv"
    path.write_text("seconds,clock\n0,1\n2,0.5\n")
    assert read_trace(path).slowdown(np.array([1.9, 2.0, 99.0])).tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seconds\n0\n", "`load`, `clock` or both"),
        ("load\n0\n", "column `seconds`"),
        ("seconds,load\n", "and a row"),
        ("seconds,load\n0,a\n", "`load` must hold numbers"),
        ("seconds,load\n1,0\n", "rise from 0"),
        ("seconds,load\n0,0\n0,0\n", "rise from 0"),
        ("seconds,load\n0,1\n", "0 to below 1"),
        ("seconds,clock\n0,0\n", "above 0"),
    ],
)
def test_a_wrong_trace_is_refused(text, said, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_trace(path)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: make_trace("storm", 1.0),
        lambda: make_trace("walk", 0.0),
        lambda: read_trace("no such file"),
        lambda: simulate(policy(), IDLE, duration_s=1.0, period_ms=0.0),
        lambda: simulate(policy(), IDLE, duration_s=1.0, period_ms=5.0, hold="median"),
        lambda: simulate(
            dataclasses.replace(
                policy(), latency_source="",
                stages=[dataclasses.replace(one, latency_ms=None, spread_ms=()) for one in policy().stages],
            ),
            IDLE, duration_s=1.0, period_ms=5.0,
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match="Received: "):
        wrong()
