"""The columns of the ladder table, once, for Markdown, CSV, the terminal and the page."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tta_lite.types import LedgerEntry

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
PUBLISHED_GROUP = "TTA report, RK3399, 2019"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
      key: its name in ``table.csv``, with the unit.
      head: what it is called elsewhere.
      unit: shown beside the head; empty: none.
      value: (entry, first entry) -> the figure in that unit; ``None``: not known.
      decimals: at least so many; small figures get more, unless `fixed`.
      group: ``""`` for what this run measured, or `PUBLISHED_GROUP`.
      rank: a narrow terminal drops the highest first.
    """

    key: str
    head: str
    unit: str
    value: Callable[[LedgerEntry, LedgerEntry], float | None]
    decimals: int = 1
    group: str = ""
    rank: int = 0
    fixed: bool = False


def finite(value: Any) -> float | None:
    """-> `value` as a float; ``None`` for what is missing, NaN or infinite.

    >>> finite(float("nan")) is None
    True
    """
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def scaled(value: Any, divisor: float) -> float | None:
    """-> `value` / `divisor`, or ``None``."""
    number = finite(value)
    return None if number is None else number / divisor


def ratio(numerator: Any, denominator: Any) -> float | None:
    """-> `numerator` / `denominator`, or ``None`` where either is missing or the divisor is not above 0."""
    top, bottom = finite(numerator), finite(denominator)
    return None if top is None or bottom is None or bottom <= 0 else top / bottom


def latency(entry: LedgerEntry, field: str) -> float | None:
    """-> one figure of the entry's latency, milliseconds."""
    return None if entry.report.latency_ms is None else finite(getattr(entry.report.latency_ms, field))


def published(entry: LedgerEntry, key: str) -> float | None:
    """-> the report's own figure ``pckh``, ``init_s`` or ``latency_s``."""
    record = entry.details.get("published")
    return finite(record.get(key)) if isinstance(record, Mapping) else None


def interval(entry: LedgerEntry) -> tuple[float, float] | None:
    """-> the accuracy's 95 % interval where both ends are numbers."""
    if entry.report.accuracy_interval is None:
        return None
    low, high = (finite(end) for end in entry.report.accuracy_interval)
    return None if low is None or high is None else (low, high)


def label(entry: LedgerEntry) -> str:
    """-> what the row is, e.g. its backbone."""
    return str(entry.details.get("label") or "")


def metric_name(entries: Sequence[LedgerEntry]) -> str:
    """-> the name of the accuracy; ``accuracy`` where the rows name none or several."""
    names = {entry.report.metric for entry in entries if entry.report.metric}
    return names.pop() if len(names) == 1 else "accuracy"


def columns(entries: Sequence[LedgerEntry]) -> list[Column]:
    """-> the columns with figures; the report's own only where some row has one."""
    metric = metric_name(entries)
    measured = [
        Column("accuracy", metric, "", lambda e, _: finite(e.report.accuracy), fixed=True),
        Column("init_s", "init", "s", lambda e, _: finite(e.report.init_s), 3, rank=3),
        Column("latency_p50_ms", "latency p50", "ms", lambda e, _: latency(e, "p50")),
        Column("latency_p90_ms", "latency p90", "ms", lambda e, _: latency(e, "p90"), rank=5),
        Column(
            "speed_up", "speed-up", "\N{MULTIPLICATION SIGN}",
            lambda e, f: ratio(latency(f, "p50"), latency(e, "p50")), fixed=True,
        ),
        Column("size_mb", "file", "MB", lambda e, _: scaled(e.report.size_bytes, 1e6), rank=1),
        Column("zip_mb", "zip", "MB", lambda e, _: scaled(e.report.zip_bytes, 1e6), rank=6),
        Column("peak_memory_mb", "peak memory", "MB", lambda e, _: scaled(e.report.peak_memory_bytes, 1e6), rank=4),
        Column("macs_g", "MACs", "G", lambda e, _: scaled(e.report.macs, 1e9), 2, rank=6),
        Column("params_m", "params", "M", lambda e, _: scaled(e.report.params, 1e6), 2, rank=6),
    ]  # fmt: skip
    theirs = [
        Column("report_pckh", "PCKh@0.5", "", lambda e, _: published(e, "pckh"), 1, PUBLISHED_GROUP, 7, True),
        Column("report_init_s", "init", "s", lambda e, _: published(e, "init_s"), 3, PUBLISHED_GROUP, 8),
        Column("report_latency_s", "per image", "s", lambda e, _: published(e, "latency_s"), 3, PUBLISHED_GROUP, 8),
        Column(
            "report_speed_up", "speed-up", "\N{MULTIPLICATION SIGN}",
            lambda e, f: ratio(published(f, "latency_s"), published(e, "latency_s")), 1, PUBLISHED_GROUP, 7, True,
        ),
    ]  # fmt: skip
    first = entries[0] if entries else None
    return measured + [c for c in theirs if first and any(c.value(entry, first) is not None for entry in entries)]


def decimals_for(values: Sequence[float | None], least: int) -> int:
    """-> enough decimals that the smallest figure keeps two digits, so that a column shares one precision.

    >>> decimals_for([136.2, 0.81], 1), decimals_for([136.2, 4.1], 1)
    (2, 1)
    """
    smallest = min((abs(value) for value in values if value), default=1.0)
    return max(least, min(4, 1 - math.floor(math.log10(smallest)))) if smallest < 1 else least


def number(value: float | None, decimals: int, *, sign: bool = False) -> str:
    """-> the figure as text; an en dash where it is missing.

    >>> number(1.25, 1, sign=True), number(1234.5, 1), number(None, 1) == DASH
    ('+1.2', '1,234.5', True)
    """
    if value is None:
        return DASH
    text = f"{value:+,.{decimals}f}" if sign else f"{value:,.{decimals}f}"
    return text.replace("-", MINUS)


def cells(entries: Sequence[LedgerEntry]) -> list[list[str]]:
    """-> one list of texts a row, in the order of `columns`; figures of a column share their decimals."""
    if not entries:
        return []
    texts = []
    for column in columns(entries):
        values = [column.value(entry, entries[0]) for entry in entries]
        decimals = column.decimals if column.fixed else decimals_for(values, column.decimals)
        texts.append([number(value, decimals) for value in values])
    return [list(row) for row in zip(*texts, strict=True)]


def interval_text(entry: LedgerEntry) -> str:
    """-> the ends of the accuracy's 95 % interval, or nothing.

    >>> from tta_lite.types import Report, Verdict
    >>> entry = LedgerEntry("none", "", Verdict.TAKEN, "", Report(accuracy_interval=(78.1, 82.0)), 0.0)
    >>> interval_text(entry).split(DASH)
    ['78.1', '82.0']
    """
    ends = interval(entry)
    return "" if ends is None else f"{ends[0]:.1f}{DASH}{ends[1]:.1f}"
