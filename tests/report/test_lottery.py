"""Tables of lottery tickets against Student's t by hand; what is drawn in their plots."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.report.lottery import Curve, interval, sentences, smallest_winner, table_csv, table_markdown
from tta_lite.report.lottery_lines import barrier_figure, barrier_plot, barrier_table, line_figure
from tta_lite.report.lottery_plots import tickets_figure
from tta_lite.training.connectivity import Line
from tta_lite.types import InputError

DENSE = np.array([90.0, 92.0, 94.0])
CURVES = [
    Curve("weights", np.array([0.8, 0.2]), DENSE[:, None] + [[1, 0], [1, 1], [1, 2]], DENSE),
    Curve("reinit", np.array([0.8, 0.2]), DENSE[:, None] + [[0, -1], [-1, -2], [-2, -3]], DENSE),
]


def test_an_interval_by_hand():
    """Of 0, 1, 2: mean 1, deviation 1, t(0.975, 2) = 4.302653 of a table."""
    one = interval([0, 1, 2])
    half = 4.302653 / 3**0.5
    assert (one.mean, one.low, one.high) == pytest.approx((1, 1 - half, 1 + half), abs=1e-5)
    assert str(interval([2.0])) == "+2.00"


def test_tables_hold_paired_differences():
    rows = table_markdown(CURVES, "top-1").splitlines()
    assert rows[0].startswith("Points of top-1") and "dense 92.00" in rows[0]
    assert rows[4:] == [
        "| 80.0 % | +1.00 (+1.00 to +1.00) | -1.00 (-3.48 to +1.48) |",
        "| 20.0 % | +1.00 (-1.48 to +3.48) | -2.00 (-4.48 to +0.48) |",
    ]
    lines = table_csv(CURVES, [5, 6, 7]).splitlines()
    assert len(lines) == 13 and lines[1] == "weights,0.800000,5,91.0000,90.0000"


def test_the_smallest_winner():
    assert smallest_winner(CURVES[0]) == 1 and smallest_winner(CURVES[1]) is None
    first, second = sentences({one.name: one for one in CURVES})
    assert (
        "down to 20.0 % of the weights, +1.00" in first
        and "there reinit -2.00 (-4.48 to +0.48) (weights less reinit: +3.00 (" in first
    )
    assert second.startswith("reinit: at no share")
    with pytest.raises(InputError, match=r"\(3, 2\). Received: \(3, 1\)"):
        Curve("short", np.array([0.8, 0.2]), DENSE[:, None], DENSE)


def test_every_curve_is_drawn_and_named():
    axes = tickets_figure(CURVES, "top-1").axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() != "None"]
    assert [line.get_ydata().tolist() for line in drawn] == [[93, 93], [91, 90]]
    assert {text.get_text() for text in axes.texts} == {"dense", "weights", "reinit"}


def line(height):
    return Line(np.array([0.0, 0.5, 1.0]), np.array([1.0, 1.0 + height, 1.0]))


LINES = {
    name: [[{"train loss": line(a * seed), "test error": line(10 * a * seed)} for seed in (1, 2)] for a in (3, 1, 0)]
    for name, in (("dense",), ("ticket",))
}  # fmt: skip


def test_barriers_are_those_of_the_lines():
    rows = barrier_table(LINES, [0, 10, 100]).splitlines()
    assert rows[2] == "| step | dense: train loss | dense: test error | ticket: train loss | ticket: test error |"
    # Of 3 and 6: mean 4.5, half of the interval 12.706 x 1.5.
    assert rows[4].startswith("| 0 | 4.500 (-14.559 to 23.559) | 45.000")
    assert rows[6].startswith("| 100 | 0.000 (0.000 to 0.000) |")
    assert "(2 seeds)" in rows[0]


def test_a_panel_for_each_measure_and_a_mark_for_each_step():
    panels = barrier_figure(LINES, [0, 10, 100]).axes
    assert [axes.get_title(loc="left") for axes in panels] == ["barrier, train loss", "barrier, test error"]
    assert panels[1].lines[0].get_ydata().tolist() == [45, 15, 0]
    assert panels[0].get_xticks().tolist() == [0, 10, 100]
    names = [text.get_text() for text in line_figure(LINES, [0, 10, 100]).legends[0].get_texts()]
    assert names == ["dense, step 0", "dense, step 100", "ticket, step 0", "ticket, step 100"]
    assert barrier_plot(LINES, [0, 10, 100]).startswith(b"\x89PNG")
