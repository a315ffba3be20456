"""Accuracy against the share of zeros and against the size after zip, a line for each preset, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.plot_fonts import drawable, families
from tta_lite.report.plot_labels import MARK_SIZE, Theme, framed
from tta_lite.report.plots import DPI, LIGHT, MARKS, PALETTE, SIZE_INCHES
from tta_lite.types import LedgerEntry

if TYPE_CHECKING:
    from tta_lite.report.run_folder import RunFolder


def write_sparsity_plots(folder: RunFolder, entries: Sequence[LedgerEntry], say: Language = ENGLISH) -> None:
    """Writes ``plots/accuracy_sparsity.png`` and ``plots/accuracy_zip.png`` into the run folder.

    Args:
      folder: of the run.
      entries: rows of `tta_lite.guideline.sparsities.take_sparsities`; those without an accuracy are left out.
      say: the language of the axes.
    """
    by_zeros = figure(entries, lambda e: 100 * e.details["sparsity"], say("Zeros (% of the pruned weights)"), say=say)
    by_zip = figure(entries, lambda e: cols.scaled(e.report.zip_bytes, 1e6), say("File after zip (MB)"), say=say)
    folder.write_bytes("plots/accuracy_sparsity.png", _png(by_zeros))
    folder.write_bytes("plots/accuracy_zip.png", _png(by_zip))


def figure(
    entries: Sequence[LedgerEntry],
    x: Callable[[LedgerEntry], float | None],
    x_label: str,
    *,
    theme: Theme = LIGHT,
    say: Language = ENGLISH,
) -> Figure:
    """-> the accuracies with their 95 % intervals, joined preset by preset."""
    say = drawable(say)
    with mpl.rc_context({"font.family": families(say), "font.size": 9.5}):
        drawn = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=theme.page, layout="constrained")
        FigureCanvasAgg(drawn)
        axes = drawn.add_subplot()
        framed(axes, say.known(cols.metric_name(entries)), x_label, theme)
        presets = list(dict.fromkeys(entry.details["preset"] for entry in entries))
        for place, preset in enumerate(presets):
            colour, mark = PALETTE[place % len(PALETTE)], MARKS[place % len(MARKS)]
            points = [
                (at, y, cols.interval(entry))
                for entry in entries
                if entry.details["preset"] == preset
                and (at := x(entry)) is not None
                and (y := cols.finite(entry.report.accuracy)) is not None
            ]
            points.sort(key=lambda point: point[0])
            axes.plot(
                [point[0] for point in points], [point[1] for point in points], color=colour, linewidth=1.2,
                marker=mark, markersize=MARK_SIZE, markeredgecolor=theme.page, markeredgewidth=0.7, label=preset,
            )  # fmt: skip
            for at, _, ends in points:
                if ends is not None:
                    axes.vlines(at, *ends, color=colour, linewidth=1.6, alpha=0.5)
        axes.legend(frameon=False, labelcolor=theme.ink)
    return drawn


def _png(drawn: Figure) -> bytes:
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=DPI, facecolor=drawn.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()
