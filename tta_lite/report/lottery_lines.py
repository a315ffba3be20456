"""The lines between runs that part at a step: the table of their error barriers, and two plots as PNG, in English."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from tta_lite.report.language import ENGLISH
from tta_lite.report.lottery import Interval, interval
from tta_lite.report.lottery_plots import draw_line, new_figure, to_png
from tta_lite.report.plot_fonts import families
from tta_lite.report.plot_labels import Theme, mix
from tta_lite.report.plots import LIGHT, MARKS, PALETTE
from tta_lite.training.connectivity import Line

# Name of a network -> for each step at which two runs part, for each seed, name of a measure -> the line.
Lines = Mapping[str, Sequence[Sequence[Mapping[str, Line]]]]


def barrier_table(lines: Lines, steps: Sequence[int]) -> str:
    """-> Markdown: a row a step, a column a network and measure: the error barrier, mean and 95 % interval.

    Args:
      lines: of one network or more, all of the same steps, seeds and measures.
      steps: rising.
    """
    first = next(iter(lines.values()))
    measures = _measures(lines)
    count = len(first[0])
    head = [f"{name}: {measure}" for name in lines for measure in measures]
    text = [
        f"Error barrier between two runs that part at a step by the order of their examples ({count} seed"
        f"{'s' if count > 1 else ''}): mean" + (" and 95 % interval (Student's t)." if count > 1 else "."),
        "",
        "| step | " + " | ".join(head) + " |",
        "|---:|" + "---:|" * len(head),
    ]
    for place, step in enumerate(steps):
        cells = [
            _cell(interval([of_seed[measure].barrier for of_seed in of_network[place]]))
            for of_network in lines.values()
            for measure in measures
        ]
        text.append(f"| {step} | " + " | ".join(cells) + " |")
    return "\n".join(text) + "\n"


def barrier_plot(lines: Lines, steps: Sequence[int], theme: Theme = LIGHT) -> bytes:
    """-> PNG: the error barrier against the step at which two runs part, a panel a measure.

    Args:
      lines: as of `barrier_table`.
      steps: rising.
      theme: colours.
    """
    return to_png(barrier_figure(lines, steps, theme))


def barrier_figure(lines: Lines, steps: Sequence[int], theme: Theme = LIGHT) -> Figure:
    """-> the figure of `barrier_plot`."""
    measures = _measures(lines)

    def draw(axes: Axes, measure: str) -> None:
        for place, (name, of_network) in enumerate(lines.items()):
            found = [interval([of_seed[measure].barrier for of_seed in of_step]) for of_step in of_network]
            _draw(axes, np.asarray(steps), found, place, theme, name)
        # Step 0 has a place on it too.
        axes.set_xscale("symlog", linthresh=max(min((one for one in steps if one), default=1), 1), linscale=0.4)
        axes.xaxis.set_major_locator(FixedLocator([float(one) for one in steps]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(FixedLocator([]))
        axes.tick_params(axis="x", labelrotation=45 if len(steps) > 4 else 0)
        axes.axhline(0, color=theme.faint, linewidth=1)

    titles = {f"barrier, {one}": one for one in measures}
    return _figure(titles, "step at which two runs part", draw, theme, columns=len(lines))


def line_plot(lines: Lines, steps: Sequence[int], theme: Theme = LIGHT) -> bytes:
    """-> PNG: each measure along the straight line between the two runs, a panel a measure; the first and last step.

    Args:
      lines: as of `barrier_table`.
      steps: rising.
      theme: colours.
    """
    return to_png(line_figure(lines, steps, theme))


def line_figure(lines: Lines, steps: Sequence[int], theme: Theme = LIGHT) -> Figure:
    """-> the figure of `line_plot`."""
    shown = sorted({0, len(steps) - 1})

    def draw(axes: Axes, measure: str) -> None:
        for place, (name, of_network) in enumerate(lines.items()):
            for number, step in enumerate(shown):
                of_step = [of_seed[measure] for of_seed in of_network[step]]
                found = [interval(column) for column in np.asarray([one.losses for one in of_step]).T]
                label = f"{name}, step {steps[step]}"
                _draw(axes, of_step[0].shares, found, place * len(shown) + number, theme, label)
        axes.set_xlim(-0.04, 1.04)

    return _figure({one: one for one in _measures(lines)}, "from one run to the other", draw, theme, columns=2)


def _measures(lines: Lines) -> list[str]:
    return list(next(iter(lines.values()))[0][0])


def _figure(
    titles: Mapping[str, str], x_label: str, draw: Callable[[Axes, str], None], theme: Theme, *, columns: int
) -> Figure:
    """-> a panel for each title, drawn by its measure, and one legend below."""
    with mpl.rc_context({"font.family": families(ENGLISH), "font.size": 9.5}):
        figure, panels = new_figure(theme, list(titles), x_label)
        for measure, axes in zip(titles.values(), panels, strict=True):
            draw(axes, measure)
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=columns, frameon=False, labelcolor=theme.ink)
    return figure


def _draw(axes: Axes, x: np.ndarray, found: Sequence[Interval], kind: int, theme: Theme, label: str) -> None:
    colour = mix(PALETTE[kind % len(PALETTE)], "#ffffff", theme.lift)
    draw_line(axes, x, found, colour, MARKS[kind % len(MARKS)], theme, label)


def _cell(one: Interval) -> str:
    return f"{one.mean:.3f}" + (f" ({one.low:.3f} to {one.high:.3f})" if math.isfinite(one.low) else "")
