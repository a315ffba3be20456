"""Accuracy against the share of weights left, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from tta_lite.report.language import ENGLISH
from tta_lite.report.lottery import Curve, Interval, interval
from tta_lite.report.plot_fonts import families
from tta_lite.report.plot_labels import Theme, framed, mix
from tta_lite.report.plots import LIGHT, MARKS, PALETTE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
SIZE_INCHES = (6.4, 3.7)
# Of the height of the axes, between two names at the right.
NAME_GAP = 0.065


def tickets_plot(curves: Sequence[Curve], metric: str, theme: Theme = LIGHT) -> bytes:
    """-> PNG: the mean of every curve with its 95 % interval, against the weights left, from many to few.

    Args:
      curves: one or more, of the same seeds.
      metric: what the scores are.
      theme: colours.
    """
    return to_png(tickets_figure(curves, metric, theme))


def tickets_figure(curves: Sequence[Curve], metric: str, theme: Theme = LIGHT) -> Figure:
    """-> the figure of `tickets_plot`."""
    with mpl.rc_context({"font.family": families(ENGLISH), "font.size": 9.5}):
        figure, (axes,) = new_figure(theme, [metric], "weights left (%, log scale)")
        axes.set_xscale("log")
        lefts = np.concatenate([100 * curve.left for curve in curves])
        low = float(lefts.min())
        # From many to few, with room for the names.
        axes.set_xlim(110, low / (110 / low) ** 0.04)
        axes.xaxis.set_major_locator(
            FixedLocator([one for one in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1) if one >= low * 0.99])
        )
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        dense = interval(curves[0].dense)
        axes.axhline(dense.mean, color=theme.ink, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)
        if np.isfinite(dense.low):
            axes.axhspan(dense.low, dense.high, color=theme.faint, alpha=0.13, linewidth=0)
        ends = [(dense.mean, "dense", theme.ink)]
        for place, curve in enumerate(curves):
            colour = mix(PALETTE[place % len(PALETTE)], "#ffffff", theme.lift)
            found = curve.means()
            draw_line(axes, 100 * curve.left, found, colour, MARKS[place % len(MARKS)], theme)
            ends.append((found[-1].mean, curve.name, colour))
        values = [one for curve in curves for found in curve.means() for one in (found.low, found.high, found.mean)]
        values = [one for one in (*values, dense.low, dense.high, dense.mean) if np.isfinite(one)]
        bottom, top = min(values), max(values)
        pad = max(0.05 * (top - bottom), 0.2)
        axes.set_ylim(bottom - pad, top + pad)
        _names(axes, ends, theme)
    return figure


def draw_line(
    axes: Axes, x: np.ndarray, found: Sequence[Interval], colour: str, mark: str, theme: Theme, name: str = ""
) -> None:
    """Draws means with their intervals; `name` is for a legend."""
    if all(np.isfinite(one.low) for one in found):
        axes.fill_between(
            x, [one.low for one in found], [one.high for one in found], color=colour, alpha=0.14, linewidth=0
        )
    axes.plot(
        x, [one.mean for one in found], color=colour, linewidth=1.5, marker=mark, markersize=4.5,
        markeredgecolor=theme.page, markeredgewidth=0.5, zorder=3, label=name,
    )  # fmt: skip


def new_figure(theme: Theme, titles: Sequence[str], x_label: str) -> tuple[Figure, list[Axes]]:
    """-> a figure with an empty panel for each title, side by side."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=theme.page, layout="constrained")
    FigureCanvasAgg(figure)
    panels = [figure.add_subplot(1, len(titles), place) for place in range(1, len(titles) + 1)]
    for axes, title in zip(panels, titles, strict=True):
        framed(axes, title, x_label, theme)
    return figure, panels


def _names(axes: Axes, ends: Sequence[tuple[float, str, str]], theme: Theme) -> None:
    """Each name at the right end of its line, moved up or down until it covers no other."""
    low, high = axes.get_ylim()
    order = sorted(range(len(ends)), key=lambda place: ends[place][0])
    at = [min(max((ends[place][0] - low) / (high - low), 0.0), 1.0) for place in order]
    for place in range(1, len(at)):
        at[place] = max(at[place], at[place - 1] + NAME_GAP)
    # What was pushed out at the top comes back, and pushes down what is in its way.
    top = 1.0
    for place in reversed(range(len(at))):
        at[place] = min(at[place], top)
        top = at[place] - NAME_GAP
    for place, height in zip(order, at, strict=True):
        _, name, colour = ends[place]
        axes.annotate(
            name, (1.0, height), xycoords="axes fraction", xytext=(6, 0), textcoords="offset points", va="center",
            color=mix(colour, theme.ink, 0.5), fontsize=9, parse_math=False, annotation_clip=False,
        )  # fmt: skip


def to_png(figure: Figure) -> bytes:
    """-> the figure as the bytes of a PNG file."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()
