"""Accuracy against latency and against size, as PNG. One colour and one mark a row, the same everywhere."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plot_fonts import drawable, families
from tta_lite.report.plot_labels import MARK_SIZE, Point, Theme, framed, mix, place_labels
from tta_lite.types import LedgerEntry, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tta_lite.report.run_folder import RunFolder

# Paul Tol's "bright" scheme (https://personal.sron.nl/~pault/), told apart with every common colour blindness; its
# yellow is darkened, being too pale for small marks on white, and a brown is added.
PALETTE = ("#4477AA", "#EE6677", "#228833", "#AA3377", "#CC8400", "#66CCEE", "#777777", "#8B5A2B")
MARKS = ("o", "s", "D", "^", "v", "P", "*", "p")
DPI = 200
SIZE_INCHES = (4.8, 3.5)


LIGHT = Theme(page="#ffffff", ink="#1d2126", faint="#5b636d", grid="#e4e7ea")
DARK = Theme(page="#1b1f24", ink="#e8eaed", faint="#a2abb5", grid="#333a42", lift=0.25)
THEMES = {"light": LIGHT, "dark": DARK}


def row_colours(entries: Sequence[LedgerEntry], theme: Theme = LIGHT) -> dict[str, str]:
    """-> the colour of each row, by its place in the table."""
    colours = [mix(colour, "#ffffff", theme.lift) for colour in PALETTE]
    return {entry.name: colours[i % len(colours)] for i, entry in enumerate(entries)}


@dataclasses.dataclass(frozen=True)
class Allowed:
    """What a budget allows, drawn as lines; None: no limit.

    Attributes:
      latency_ms: at most.
      size_mb: at most.
      accuracy: at least.
    """

    latency_ms: float | None = None
    size_mb: float | None = None
    accuracy: float | None = None


NO_LIMITS = Allowed()


@dataclasses.dataclass(frozen=True)
class Tried:
    """A setting that did not become a row.

    Attributes:
      x: its latency or size.
      y: its accuracy; None: it was not trained.
      rejected: whether it was finished and then not taken.
    """

    x: float
    y: float | None
    rejected: bool


def tried(entries: Sequence[LedgerEntry], x: Callable[[Mapping[str, Any]], float | None]) -> list[Tried]:
    """-> the settings of a guideline run's steps that are not themselves rows."""
    found = []
    for entry in entries:
        for one in entry.details.get("trials", ()):
            at = x(one) if one.get("report") and one["name"] != entry.details.get("trial") else None
            if at is not None and at > 0:
                y = cols.finite(one["report"].get("accuracy"))
                found.append(Tried(at, y, one["status"] != Verdict.TAKEN.value))
    return found


def points(entries: Sequence[LedgerEntry], x: Mapping[str, float | None], theme: Theme = LIGHT) -> list[Point]:
    """-> the rows that have both an accuracy and an `x` above 0."""
    found = []
    colours = row_colours(entries, theme)
    for i, entry in enumerate(entries):
        y, at = cols.finite(entry.report.accuracy), x.get(entry.name)
        if y is not None and at is not None and at > 0:
            found.append(Point(entry.name, at, y, cols.interval(entry), colours[entry.name], MARKS[i % len(MARKS)]))
    return found


def accuracy_latency(
    entries: Sequence[LedgerEntry], theme: Theme = LIGHT, allowed: Allowed = NO_LIMITS, say: Language = ENGLISH
) -> bytes:
    """-> PNG: accuracy with its interval against latency p50, milliseconds on a log scale."""
    return _png(figure_latency(entries, theme, allowed, say))


def accuracy_size(
    entries: Sequence[LedgerEntry], theme: Theme = LIGHT, allowed: Allowed = NO_LIMITS, say: Language = ENGLISH
) -> bytes:
    """-> PNG: accuracy with its interval against the file's size, MB on a log scale."""
    return _png(figure_size(entries, theme, allowed, say))


def write_plots(
    folder: RunFolder, entries: Sequence[LedgerEntry], allowed: Allowed = NO_LIMITS, say: Language = ENGLISH
) -> None:
    """Writes ``plots/accuracy_latency.png`` and ``plots/accuracy_size.png`` into the run folder."""
    folder.write_bytes("plots/accuracy_latency.png", accuracy_latency(entries, allowed=allowed, say=say))
    folder.write_bytes("plots/accuracy_size.png", accuracy_size(entries, allowed=allowed, say=say))


def figure_latency(
    entries: Sequence[LedgerEntry], theme: Theme = LIGHT, allowed: Allowed = NO_LIMITS, say: Language = ENGLISH
) -> Figure:
    """-> the figure of `accuracy_latency`."""
    say = drawable(say)
    x = {entry.name: cols.latency(entry, "p50") for entry in entries}
    first = next(iter(x.values()), None)

    def of_trial(one: Mapping[str, Any]) -> float | None:
        # It was timed beside the first row, in a comparison of its own.
        return cols.ratio(first, (one.get("speedup") or {}).get("median"))

    limits = (allowed.latency_ms, allowed.accuracy)
    trials, label = tried(entries, of_trial), say("Latency p50 (ms, log scale)")
    return _figure(points(entries, x, theme), trials, label, cols.metric_name(entries), limits, theme, say)


def figure_size(
    entries: Sequence[LedgerEntry], theme: Theme = LIGHT, allowed: Allowed = NO_LIMITS, say: Language = ENGLISH
) -> Figure:
    """-> the figure of `accuracy_size`."""
    say = drawable(say)
    x = {entry.name: cols.scaled(entry.report.size_bytes, 1e6) for entry in entries}
    trials = tried(entries, lambda one: cols.scaled(one["report"].get("size_bytes"), 1e6))
    limits, label = (allowed.size_mb, allowed.accuracy), say("File (MB, log scale)")
    return _figure(points(entries, x, theme), trials, label, cols.metric_name(entries), limits, theme, say)


def _figure(
    rows: Sequence[Point],
    trials: Sequence[Tried],
    x_label: str,
    metric: str,
    limits: tuple[float | None, float | None],
    theme: Theme,
    say: Language,
) -> Figure:
    # A Figure of its own canvas: pyplot keeps global state that a library must not touch.
    with mpl.rc_context({"font.family": families(say), "font.size": 9.5}):
        figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=theme.page, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        axes.set_xscale("log")
        framed(axes, say.known(metric), x_label, theme)
        if not rows:
            axes.text(0.5, 0.5, say("nothing measured yet"), transform=axes.transAxes, ha="center", color=theme.faint)
            axes.set_xticks([])
            axes.set_yticks([])
            return figure
        _set_limits(axes, rows, trials, limits[0])
        _draw_trials(axes, trials, theme)
        _draw_limits(axes, limits, theme)
        for row in rows:
            if row.interval is not None:
                axes.vlines(row.x, *row.interval, color=row.colour, linewidth=1.6, alpha=0.65)
            axes.plot(
                row.x, row.y, row.mark, color=row.colour, markersize=MARK_SIZE, markeredgecolor=theme.page,
                markeredgewidth=0.7, label=row.name, zorder=3,
            )  # fmt: skip
        place_labels(figure, axes, rows, theme)
    return figure


def _draw_trials(axes: Axes, trials: Sequence[Tried], theme: Theme) -> None:
    """Finished ones as small marks, a cross through those that were rejected; untrained ones as ticks at the bottom."""
    for one in trials:
        if one.y is None:
            axes.plot(one.x, 0, marker="|", color=theme.faint, markersize=9, transform=axes.get_xaxis_transform(),
                      clip_on=True, zorder=2)  # fmt: skip
        else:
            axes.plot(one.x, one.y, marker="x" if one.rejected else ".", color=theme.faint, markersize=6, zorder=2)


def _draw_limits(axes: Axes, limits: tuple[float | None, float | None], theme: Theme) -> None:
    x, y = limits
    style: dict[str, Any] = {"color": theme.faint, "linewidth": 1.0, "linestyle": (0, (4, 3)), "zorder": 1}
    if x is not None:
        axes.axvline(x, **style)
    if y is not None:
        axes.axhline(y, **style)


def _set_limits(axes: Axes, rows: Sequence[Point], trials: Sequence[Tried], limit: float | None) -> None:
    xs = [row.x for row in rows] + [one.x for one in trials if one.y is not None] + ([limit] if limit else [])
    # Room for the labels on both sides, and never less than a factor of 4 so that ticks can be read.
    low, high = min(xs), max(xs)
    spread = max(high / low, 4.0) ** 0.22
    middle = (low * high) ** 0.5
    half = max((high / low) ** 0.5, 2.0)
    axes.set_xlim(middle / half / spread, middle * half * spread)
    ends = [end for row in rows for end in (row.interval or (row.y, row.y))]
    ends += [one.y for one in trials if one.y is not None]
    pad = max(0.12 * (max(ends) - min(ends)), 0.8)
    axes.set_ylim(max(min(ends) - pad, -1.0), min(max(ends) + pad, 101.0))
    decades = np.log10(axes.get_xlim()[1] / axes.get_xlim()[0])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2.5 else (1, 3) if decades < 3.5 else (1,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()
