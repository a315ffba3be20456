from __future__ import annotations

import dataclasses
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from tta_lite.search.reward import front, hypervolume, reward
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Net:
    accuracy: float
    latency_ms: float
    name: int = 0


# Whole numbers: equal figures must occur.
NETS = st.lists(st.tuples(st.integers(0, 12), st.integers(1, 12)), max_size=12).map(
    lambda pairs: [Net(accuracy, latency, place) for place, (accuracy, latency) in enumerate(pairs)]
)


def dominates(one: Net, other: Net) -> bool:
    as_good = one.accuracy >= other.accuracy and one.latency_ms <= other.latency_ms
    return as_good and (one.accuracy, one.latency_ms) != (other.accuracy, other.latency_ms)


@given(NETS)
def test_the_front_is_what_nobody_dominates(nets):
    free = [net for net in nets if not any(dominates(other, net) for other in nets)]
    firsts = {(net.accuracy, net.latency_ms): net for net in reversed(free)}
    assert front(nets) == tuple(sorted(firsts.values(), key=lambda net: net.latency_ms))


@given(NETS, st.integers(-1, 13), st.integers(0, 13))
def test_the_hypervolume_is_the_number_of_dominated_squares(nets, worst_accuracy, worst_ms):
    # Each square of the grid, by its corner: everything is a whole number.
    squares = sum(
        any(net.accuracy >= accuracy + 1 and net.latency_ms <= latency for net in nets)
        for accuracy in range(worst_accuracy, 13)
        for latency in range(0, worst_ms)
    )
    assert hypervolume(nets, worst_accuracy=worst_accuracy, worst_ms=worst_ms) == squares


@given(st.floats(0.1, 100), st.floats(0.01, 100), st.floats(0.01, 100), st.booleans())
def test_the_reward_by_logarithms(accuracy, latency, target, hard):
    power = -0.07 if not hard else (0.0 if latency <= target else -1.0)
    expected = math.log(accuracy) + power * math.log(latency / target)
    assert math.log(reward(accuracy, latency, target, hard=hard)) == pytest.approx(expected, abs=1e-9)


def test_twice_the_latency_is_worth_five_percent():
    # Section 3.1: the soft powers were chosen so.
    assert reward(70.0 * 1.05, 80.0, 40.0) == pytest.approx(reward(70.0, 40.0, 40.0), rel=1e-3)


@pytest.mark.parametrize(
    "figures", [(-1.0, 1.0, 1.0), (math.nan, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, math.inf), (1.0, math.nan, 1.0)]
)
def test_wrong_figures_are_refused(figures):
    with pytest.raises(InputError, match="Received"):
        reward(*figures)


def test_a_front_of_no_numbers_is_refused():
    with pytest.raises(InputError, match="A front is of numbers"):
        front([Net(np.nan, 1.0)])
    with pytest.raises(InputError, match="worst_ms"):
        hypervolume([], worst_ms=math.inf)
