"""Accuracy against cost of the modes of an adaptive network, beside networks that were trained alone, as PNG."""

from __future__ import annotations

import matplotlib as mpl

from tta_lite.adaptive.beside import ALONE
from tta_lite.adaptive.policy import Policy
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.lottery_plots import new_figure, to_png
from tta_lite.report.plot_fonts import drawable, families
from tta_lite.report.plot_labels import Theme, mix
from tta_lite.report.plots import LIGHT, PALETTE


def modes_plot(policy: Policy, alone: Policy | None = None, say: Language = ENGLISH, theme: Theme = LIGHT) -> bytes:
    """-> PNG: a mark a mode with its 95 % interval, the front as a line, and networks alone as squares.

    Args:
      policy: with or without latencies; without, costs are mean MACs.
      alone: networks to compare with, of `tta_lite.adaptive.beside`; their costs are of the same kind.
      say: the language of the labels.
      theme: colours.
    """
    say = drawable(say)
    ink, other = (mix(colour, "#ffffff", theme.lift) for colour in PALETTE[:2])
    cost = say("mean latency (ms)") if policy.latency_source else say("MACs, mean")
    with mpl.rc_context({"font.family": families(say), "font.size": 9.5}):
        figure, (axes,) = new_figure(theme, [f"{say.known(policy.metric)} (%)"], cost)
        front = policy.front()
        # A step: between two modes the dearer one is not yet to be had.
        axes.plot(
            [policy.cost(mode) for mode in front], [mode.accuracy for mode in front], drawstyle="steps-post",
            linewidth=1.2, color=ink, alpha=0.6,
        )  # fmt: skip
        for known, colour, shape, label in (
            (policy, ink, "o", say("modes of one network")), (alone, other, "s", say("trained alone")),
        ):  # fmt: skip
            if known is None:
                continue
            costs, accuracies = [known.cost(mode) for mode in known.modes], [mode.accuracy for mode in known.modes]
            low, high = zip(*(mode.interval for mode in known.modes), strict=True)
            axes.vlines(costs, low, high, color=colour, linewidth=1.4, alpha=0.45)
            axes.plot(
                costs, accuracies, linestyle="", marker=shape, markersize=6, color=colour, label=label,
                markeredgecolor=theme.page, markeredgewidth=0.6, zorder=3,
            )  # fmt: skip
            for mode, x, y in zip(known.modes, costs, accuracies, strict=True):
                # On both sides, for a mode and a network of its cost lie close together.
                axes.annotate(
                    mode.name.removeprefix(ALONE), (x, y), xytext=(6 if known is policy else -6, 4),
                    textcoords="offset points", ha="left" if known is policy else "right",
                    color=mix(colour, theme.ink, 0.4), parse_math=False,
                )  # fmt: skip
        axes.margins(x=0.15)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, labelcolor=theme.ink)
        return to_png(figure)
