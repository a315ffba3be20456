"""How counts of an emulated processor are shown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tta_lite.measure.device.executed import GROUPS, Counts, Tally

WIDTH = 160
COLUMNS = ("total", *GROUPS, "rest", "kB loaded", "kB stored", "L1D misses", "L2 misses")


def cells(tally: Tally) -> list[str]:
    """-> what `COLUMNS` name: thousands of instructions, kilobytes, thousands of misses."""
    counts = (tally.total, *tally.grouped().values(), tally.bytes_loaded, tally.bytes_stored)
    return [f"{count / 1e3:,.1f}" for count in (*counts, tally.l1_misses, tally.l2_misses)]


def outputs_line(counts: Counts) -> str:
    """-> how the outputs compare with this machine's."""
    wrong = [golden for golden in counts.outputs if golden.different]
    if not wrong:
        return "outputs as on this machine, bit by bit"
    if any(golden.largest is None for golden in wrong):
        return "outputs DIFFER from this machine's: some are no numbers"
    parts = ", ".join(f"{golden.largest:.2g} (values up to {golden.scale:.2g})" for golden in wrong)
    if all(golden.agrees for golden in wrong):
        return f"outputs as on this machine but for rounding: largest difference {parts}"
    left = "" if counts.fully_delegated else "; kernels other than XNNPACK's round otherwise on other machines"
    return f"outputs DIFFER from this machine's: largest difference {parts}{left}"


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
