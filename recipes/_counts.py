"""How counts of an emulated processor are shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tta_lite.measure.device.executed import GROUPS, Tally

WIDTH = 160
COLUMNS = ("total", *GROUPS, "rest", "kB loaded", "kB stored", "L1D misses", "L2 misses")


def cells(tally: Tally) -> list[str]:
    """-> what `COLUMNS` name: thousands of instructions, kilobytes, thousands of misses."""
    counts = (tally.total, *tally.grouped().values(), tally.bytes_loaded, tally.bytes_stored)
    return [f"{count / 1e3:,.1f}" for count in (*counts, tally.l1_misses, tally.l2_misses)]


def table_of(rows: Sequence[tuple[str, Tally]], first: str) -> Table:
    """-> a table with a line for each tally."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold", min_width=40)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, tally in rows:
        table.add_row(name, *cells(tally))
    return table


def console() -> Console:
    """-> standard output, wide enough: narrower, the figures would be cut."""
    return Console(width=max(Console().width, WIDTH))


def say(console: Console, line: str) -> None:
    """Print one line as it is: not coloured, not broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
