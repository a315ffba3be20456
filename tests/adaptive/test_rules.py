"""The switch: by hand, and what must hold of any signal."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.adaptive.present import PresentLatency
from tta_lite.adaptive.rules import LatencyBudget, Signal, Switch
from tta_lite.types import InputError

BASE_MS = (2.0, 5.0, 10.0)
shares = st.floats(0, 1)
budgets = st.builds(
    lambda budget, down, up: LatencyBudget(budget, down, up * down),
    st.floats(0.5, 30), st.floats(0.5, 1.2), st.floats(0.3, 1),
)  # fmt: skip
signals = st.builds(
    lambda least, margin, falling: Signal("charge", tuple(sorted(least)), margin, falling),
    st.lists(shares, min_size=1, max_size=3), st.floats(0, 0.3), st.booleans(),
)  # fmt: skip


def test_by_hand():
    # 10 ms fit in 11 ms, but are not gone up to: 10 > 0.85 x 11.
    switch = Switch([LatencyBudget(11.0, down=1.0, up=0.85)], dwell=3)
    walk = [switch.step([factor * ms for ms in BASE_MS]) for factor in (1, 1, 1, 0.9, 0.9, 1, 1.2, 1.2, 3, 3, 3, 3)]
    # Up to 5 ms at once; 9 ms are within 9.35 after three frames; 10 stays; 12 does not; 15 waits for the dwell.
    assert walk == [1, 1, 1, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert switch.switches == 4


def test_a_battery_by_hand():
    rule = Signal("battery", (0.2, 0.5), margin=0.1)
    switch = Switch([rule], dwell=1, level=2)
    charges = (1.0, 0.5, 0.49, 0.55, 0.61, 0.3, 0.19, 0.25, 0.31)
    assert [switch.step(BASE_MS, {"battery": one}) for one in charges] == [2, 2, 1, 1, 2, 1, 0, 0, 1]
    busy = Signal("load", (0.2, 0.5), falling=True)
    assert busy.levels(BASE_MS, {"load": 0.9}) == (0, 0) and busy.levels(BASE_MS, {"load": 0.1}) == (2, 2)


def test_of_two_rules_the_lower_level_wins():
    rules = [LatencyBudget(100.0), Signal("battery", (0.5,))]
    assert Switch(rules).step(BASE_MS, {"battery": 0.1}) == 0
    assert Switch(rules).step(BASE_MS, {"battery": 0.9}) == 2


@given(
    st.lists(st.one_of(budgets, signals), min_size=1, max_size=3), st.integers(1, 6), st.integers(0, 2),
    st.lists(st.tuples(st.floats(0.1, 10), shares), min_size=1, max_size=40),
)  # fmt: skip
def test_never_more_often_than_the_dwell_allows(rules, dwell, level, moments):
    switch = Switch(rules, dwell=dwell, level=level)
    walk = [level]
    walk += [switch.step([factor * ms for ms in BASE_MS], {"charge": charge}) for factor, charge in moments]
    changed = [place for place, pair in enumerate(itertools.pairwise(walk)) if pair[0] != pair[1]]
    assert len(changed) == switch.switches
    assert all(b - a >= dwell for a, b in itertools.pairwise(changed))
    assert all(0 <= one < len(BASE_MS) for one in walk)


@given(
    st.lists(st.one_of(budgets, signals), min_size=1, max_size=3), st.integers(1, 6), st.integers(0, 2),
    st.floats(0.1, 10), shares,
)  # fmt: skip
def test_with_a_constant_signal_it_settles_at_once(rules, dwell, level, factor, charge):
    switch = Switch(rules, dwell=dwell, level=level)
    walk = [switch.step([factor * ms for ms in BASE_MS], {"charge": charge}) for _ in range(4 * dwell)]
    assert len(set(walk)) == 1


@given(budgets, st.lists(st.floats(0.1, 10), min_size=2, max_size=20))
def test_within_the_band_nothing_moves(rule, factors):
    """Signals that stay between up and down of the level that was reached do not move it."""
    switch = Switch([rule], dwell=1)
    level = switch.step([factors[0] * ms for ms in BASE_MS])
    for factor in factors[1:]:
        latencies = [factor * ms for ms in BASE_MS]
        stay, rise = rule.levels(latencies, {})
        assert rise <= stay
        before, level = level, switch.step(latencies)
        assert level == before or level == stay < before or level == rise > before


def test_one_stage_tells_of_the_others():
    present = PresentLatency({"a": 1.0, "b": 10.0}, weight=0.5, own_weight=0.0)
    present.add("a", 4.0)
    # Half the way in logarithms.
    assert present.factor == pytest.approx(2.0) and present.of(["b"]) == pytest.approx(20.0)
    assert present.of(["a", "b"], [1.0, 0.5]) == pytest.approx(2.0 + 10.0)


def test_a_stage_learns_its_own_proportion():
    present = PresentLatency({"a": 1.0, "b": 10.0}, weight=0.2, own_weight=0.05)
    for _ in range(2000):
        present.add("a", 2.0)
        present.add("b", 10.0)
    assert present.of(["a"]) == pytest.approx(2.0, rel=0.02) and present.of(["b"]) == pytest.approx(10.0, rel=0.02)
    present.add("a", 0.0)
    assert present.of(["a"]) == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: LatencyBudget(0.0),
        lambda: LatencyBudget(5.0, down=0.8, up=0.9),
        lambda: Signal("battery", ()),
        lambda: Signal("battery", (0.5, 0.2)),
        lambda: Signal("battery", (0.5,), margin=-0.1),
        lambda: Switch([]),
        lambda: Switch([LatencyBudget(1.0)], dwell=0),
        lambda: Switch([Signal("battery", (0.5,))]).step(BASE_MS, {"load": 0.5}),
        lambda: Switch([Signal("battery", (0.5,))]).step(BASE_MS, {"battery": float("nan")}),
        lambda: PresentLatency({}, weight=0.0),
        lambda: PresentLatency({}, weight=0.9, own_weight=0.2),
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match="Received: "):
        wrong()
