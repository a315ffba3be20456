"""What a quantised tensor can hold against what it does hold: a histogram above, each code of the grid below."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from tta_lite.export.quantize.compare import Grid
from tta_lite.export.quantize.single_error import CODES, Weights
from tta_lite.export.quantize.statistics import TensorStatistics
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plot_fonts import drawable, families
from tta_lite.report.plot_labels import Theme
from tta_lite.report.plots import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 150
SIZE_INCHES = (5.4, 2.9)
# Codes in use, codes that nothing reaches, values that have no code: Paul Tol's "bright" scheme.
USED, IDLE, CLIPPED = "#4477AA", "#F4C9CE", "#AA3377"
MOST_BINS = 128
# Channels of a weight that are drawn; more are thinned out evenly.
MOST_CHANNELS = 96


def codes_reached(held: TensorStatistics, grid: Grid) -> int:
    """-> how many codes lie between the smallest and the largest value that a tensor held, both ends included.

    >>> counts = np.zeros(4, np.int64)
    >>> codes_reached(TensorStatistics(0.0, 1.0, 0.0, 1.0, counts, 2.0, 1), Grid(0.5, -128, -128, 127))
    3
    """
    low, high = (np.clip(np.rint(end / grid.scale) + grid.zero_point, grid.first, grid.last)
                 for end in (held.low, held.high))  # fmt: skip
    return int(high - low) + 1


def activation_plot(held: TensorStatistics, grid: Grid, theme: Theme = LIGHT, say: Language = ENGLISH) -> bytes:
    """-> PNG: how often a tensor held which value, and under it the codes, idle ones in another colour.

    Args:
      held: what the tensor held in the float file.
      grid: what it can hold in the quantised file.
      theme: colours.
      say: the language.
    """
    return _png(activation_figure(held, grid, theme, say))


def activation_figure(held: TensorStatistics, grid: Grid, theme: Theme = LIGHT, say: Language = ENGLISH) -> Figure:
    """-> the figure of `activation_plot`."""
    say, step = drawable(say), grid.scale
    low, high = grid.range
    seen = held.counts > 0
    values, counts = held.centres[seen], held.counts[seen]
    ends = min(low, held.low) - step, max(high, held.high) + step
    heights, edges = np.histogram(values, bins=MOST_BINS, range=ends, weights=counts)
    middles = (edges[:-1] + edges[1:]) / 2
    inside = (middles >= low - step / 2) & (middles <= high + step / 2)
    codes = np.arange(grid.first, grid.last + 1)
    reals = (codes - grid.zero_point) * step
    used = (reals >= held.low - step / 2) & (reals <= held.high + step / 2)
    with mpl.rc_context({"font.family": families(say), "font.size": 9}):
        figure, upper, lower = _two_axes(theme, strip=0.16)
        _bars(upper, edges, heights, [USED if one else CLIPPED for one in inside], theme)
        for end in (low, high):
            upper.axvline(end, color=theme.faint, linewidth=0.9, linestyle=(0, (4, 3)))
        lower.imshow(
            used[None, :], aspect="auto", interpolation="nearest", cmap=ListedColormap([IDLE, USED]), vmin=0, vmax=1,
            extent=(low - step / 2, high + step / 2, 0, 1),
        )  # fmt: skip
        lower.set_xlim(ends)
        lower.set_yticks([0.5], [say("codes")], color=theme.faint)
        lower.set_xlabel(say("value"), color=theme.ink)
    return figure


def weights_plot(weights: Weights, theme: Theme = LIGHT, say: Language = ENGLISH) -> bytes:
    """-> PNG: how often which code stands for a weight, and under it from where to where each channel reaches.

    Args:
      weights: of one op.
      theme: colours.
      say: the language.
    """
    return _png(weights_figure(weights, theme, say))


def weights_figure(weights: Weights, theme: Theme = LIGHT, say: Language = ENGLISH) -> Figure:
    """-> the figure of `weights_plot`: real values below where all channels share one scale, else codes."""
    say = drawable(say)
    codes = weights.per_channel().astype(np.int32)
    last = CODES // 2
    shared = len(weights.scales) == 1
    unit = float(weights.scales[0]) if shared else 1.0
    # By their reach, and no more rows than can be told apart.
    order = np.argsort(codes.max(axis=1) - codes.min(axis=1), kind="stable")
    shown = codes[order[np.linspace(0, len(order) - 1, min(MOST_CHANNELS, len(order))).round().astype(int)]]
    places = np.arange(-last, last + 1)
    used = (places >= shown.min(axis=1)[:, None]) & (places <= shown.max(axis=1)[:, None])
    heights, edges = np.histogram(codes, bins=CODES, range=(-last - 0.5, last + 0.5))
    with mpl.rc_context({"font.family": families(say), "font.size": 9}):
        figure, upper, lower = _two_axes(theme, strip=0.5 if len(shown) > 1 else 0.16)
        _bars(upper, edges * unit, heights, [USED] * len(heights), theme)
        lower.imshow(
            used, aspect="auto", interpolation="nearest", cmap=ListedColormap([IDLE, USED]), vmin=0, vmax=1,
            extent=((-last - 0.5) * unit, (last + 0.5) * unit, 0, len(shown)),
        )  # fmt: skip
        lower.set_xlim((-last - 1) * unit, (last + 1) * unit)
        lower.set_yticks([len(shown) / 2], [say("channels")], color=theme.faint, rotation=90, va="center")
        lower.set_xlabel(say("weight") if shared else say("code (each channel has a scale of its own)"),
                         color=theme.ink)  # fmt: skip
    return figure


def _two_axes(theme: Theme, strip: float) -> tuple[Figure, Axes, Axes]:
    # A Figure of its own canvas: pyplot keeps global state that a library must not touch.
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=theme.page, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1, strip), "hspace": 0.04})
    for axes in (upper, lower):
        axes.set_facecolor(theme.page)
        axes.tick_params(which="both", colors=theme.faint, length=0)
        for side in ("top", "right", "left", "bottom"):
            axes.spines[side].set_visible(False)
    upper.set_yscale("log")
    upper.grid(axis="y", color=theme.grid, linewidth=0.8)
    upper.set_axisbelow(True)
    return figure, upper, lower


def _bars(axes: Axes, edges: np.ndarray, heights: np.ndarray, colours: list[str], theme: Theme) -> None:
    axes.bar(edges[:-1], heights, width=np.diff(edges), align="edge", color=colours, linewidth=0)
    axes.set_ylim(0.5, max(2.0, float(heights.max())) * 2)
    axes.tick_params(labelbottom=False)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()
