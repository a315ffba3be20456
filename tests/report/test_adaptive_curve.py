"""The plot of modes and of networks alone: what is drawn where."""

from __future__ import annotations

import dataclasses

import pytest

from tests.adaptive.made_up import one_stage_policy, policy
from tta_lite.report import adaptive_curve
from tta_lite.report.language import KOREAN


@pytest.fixture
def drawn(monkeypatch):
    """-> the axes of the last plot."""
    figures = []
    png = adaptive_curve.to_png
    monkeypatch.setattr(adaptive_curve, "to_png", lambda figure: figures.append(figure) or png(figure))
    return lambda: figures[-1].axes[0]


def test_modes_their_front_and_networks_alone(drawn):
    modes, alone = policy(), one_stage_policy((2.5, 4.0))
    assert adaptive_curve.modes_plot(modes, alone).startswith(b"\x89PNG")
    front, mine, others = drawn().get_lines()
    # 1 + 0.5 x 3 + 0.1 x 6, and all three stages.
    assert list(mine.get_xdata()) == pytest.approx([1.0, 3.1, 10.0]) and list(mine.get_ydata()) == [90.0, 96.0, 98.0]
    assert list(front.get_xdata()) == list(mine.get_xdata())
    assert list(others.get_xdata()) == [2.5, 4.0] and list(others.get_ydata()) == [80.0, 81.0]
    assert drawn().get_xlabel() == "mean latency (ms)"


def test_without_latencies_costs_are_macs(drawn):
    stages = tuple(dataclasses.replace(one, latency_ms=None, spread_ms=()) for one in policy().stages)
    known = dataclasses.replace(policy(), stages=stages, latency_source="")
    adaptive_curve.modes_plot(known, say=KOREAN)
    assert list(drawn().get_lines()[-1].get_xdata()) == pytest.approx([100, 310, 1000])
    assert len(drawn().get_lines()) == 2
