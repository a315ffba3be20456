"""Accuracy against latency of all trials of a search, with its front, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.lottery_plots import new_figure, to_png
from tta_lite.report.plot_fonts import drawable, families
from tta_lite.report.plot_labels import Theme, mix
from tta_lite.report.plots import LIGHT, PALETTE
from tta_lite.search.finalists import Finalist
from tta_lite.search.goal import Goal
from tta_lite.search.reward import front
from tta_lite.types import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tta_lite.search.run import Found


def front_plot(found: Found, goal: Goal, metric: str, theme: Theme = LIGHT, *, say: Language = ENGLISH) -> bytes:
    """-> PNG: a mark a trial, the front as a line, the target, and the finalists.

    Args:
      found: one trial or more that was measured.
      goal: of the search.
      metric: what the accuracies are.
      theme: colours.
      say: the language of the labels.
    """
    return to_png(front_figure(found, goal, metric, theme, say=say))


def front_figure(found: Found, goal: Goal, metric: str, theme: Theme = LIGHT, *, say: Language = ENGLISH) -> Figure:
    """-> the figure of `front_plot`."""
    say = drawable(say)
    known = [
        Finalist(trial, trial.measured.accuracy, trial.measured.latency_ms) for trial in found.trials if trial.measured
    ]
    best = front(known)
    trained = [
        (result.latency_ms.p50, result.accuracy, result.accuracy_interval)
        for _, result in found.finalists
        if isinstance(result, Report) and result.latency_ms is not None and result.accuracy is not None
    ]
    colours = [mix(colour, "#ffffff", theme.lift) for colour in PALETTE]
    with mpl.rc_context({"font.family": families(say), "font.size": 9.5}):
        figure, (axes,) = new_figure(theme, [say.known(metric)], say("Latency (ms)"))
        axes.plot(
            [one.latency_ms for one in known], [one.accuracy for one in known], linestyle="", marker="o", markersize=4,
            color=theme.faint, alpha=0.6, markeredgewidth=0, label=say("short trainings ({count})", count=len(known)),
        )  # fmt: skip
        # A step: between two networks of the front the slower one is not yet to be had.
        axes.plot(
            [one.latency_ms for one in best], [one.accuracy for one in best], drawstyle="steps-post", marker="o",
            markersize=5, linewidth=1.4, color=colours[0], markeredgecolor=theme.page, markeredgewidth=0.6,
            label=say("their front"),
        )  # fmt: skip
        if trained:
            axes.plot(
                [one[0] for one in trained], [one[1] for one in trained], linestyle="", marker="*", markersize=11,
                color=colours[1], markeredgecolor=theme.page, markeredgewidth=0.6, zorder=4,
                label=say("trained in full"),
            )  # fmt: skip
            for at, _, ends in trained:
                if ends is not None:
                    axes.vlines(at, *ends, color=colours[1], linewidth=1.6, alpha=0.5)
        if goal.target_ms is not None:
            dashes = (0, (4, 3))
            axes.axvline(
                goal.target_ms, color=theme.ink, linewidth=1.2, linestyle=dashes, label=say("target latency")
            )  # fmt: skip
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, labelcolor=theme.ink)
    return figure
