"""The answer first: what the ladder gained, in one sentence and a few lines of before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tta_lite.report import columns as cols
from tta_lite.types import LedgerEntry, Verdict

TIMES = "\N{MULTIPLICATION SIGN}"
# Within this share two latencies are called equal: a repeated measurement differs by as much.
SAME = 0.05


@dataclasses.dataclass(frozen=True)
class Change:
    """One line of before and after."""

    what: str
    before: str
    after: str
    change: str


@dataclasses.dataclass(frozen=True)
class Headline:
    """The sentence, the lines under it, and what the sentence leaves open. `row` is the row it speaks of."""

    sentence: str
    changes: tuple[Change, ...] = ()
    caution: str = ""
    row: str = ""


def headline(entries: Sequence[LedgerEntry], chosen: str = "") -> Headline:
    """-> the headline of the row `chosen`, or else of the fastest row that was taken.

    Args:
      entries: the rows; the first is what the others are compared with.
      chosen: a row's name; empty: choose.
    """
    if not entries:
        return Headline("Nothing has been measured yet.")
    first, row = entries[0], _row(entries, chosen)
    base = "the unmodified net" if first.name == "none" else first.name
    if chosen == first.name:
        return Headline(f"No lighter row was chosen: {base} stays.", row=first.name)
    if row is None:
        return Headline("No lighter row has been taken and measured yet.")
    metric = cols.metric_name(entries)
    clauses = [_speed(first, row, base), _accuracy(first, row, metric)]
    sentence = " ".join(clause for clause in clauses if clause)
    smaller = cols.ratio(first.report.size_bytes, row.report.size_bytes)
    if smaller is not None:
        size = f"its file is {_times(smaller, 'smaller', 'larger')}" if _differs(smaller) else "its file is as large"
        sentence += f"; {size}"
    return Headline(f"{sentence}.", _changes(first, row, metric), _caution(first, row), row.name)


def _row(entries: Sequence[LedgerEntry], chosen: str) -> LedgerEntry | None:
    for entry in entries[1:]:
        if entry.name == chosen:
            return entry
    taken = [e for e in entries[1:] if e.verdict is Verdict.TAKEN and cols.latency(e, "p50") is not None]
    return min(taken, key=lambda e: cols.latency(e, "p50") or 0.0, default=None)


def _speed(first: LedgerEntry, row: LedgerEntry, base: str) -> str:
    ratio = cols.ratio(cols.latency(first, "p50"), cols.latency(row, "p50"))
    if ratio is None:
        return f"{row.name} against {base}"
    if not _differs(ratio):
        return f"{row.name} is as fast as {base}"
    return f"{row.name} is {_times(ratio, 'faster', 'slower')} than {base}"


def _accuracy(first: LedgerEntry, row: LedgerEntry, metric: str) -> str:
    before, after = cols.finite(first.report.accuracy), cols.finite(row.report.accuracy)
    if before is None or after is None:
        return ""
    gap = cols.number(after - before, 1, sign=True)
    return f"at equal {metric}" if gap[1:] == "0.0" else f"at {gap} {metric}"


def _changes(first: LedgerEntry, row: LedgerEntry, metric: str) -> tuple[Change, ...]:
    lines = []
    before, after = cols.finite(first.report.accuracy), cols.finite(row.report.accuracy)
    if before is not None and after is not None:
        gap = f"{cols.number(after - before, 1, sign=True)} points"
        lines.append(Change(metric, cols.number(before, 1), cols.number(after, 1), gap))
    mb = [(cols.scaled(e.report.size_bytes, 1e6), cols.scaled(e.report.peak_memory_bytes, 1e6)) for e in (first, row)]
    figures = (
        ("Latency p50, ms", cols.latency(first, "p50"), cols.latency(row, "p50"), 1, ("faster", "slower")),
        ("Initialisation, s", first.report.init_s, row.report.init_s, 2, ("faster", "slower")),
        ("File, MB", mb[0][0], mb[1][0], 1, ("smaller", "larger")),
        ("Peak memory, MB", mb[0][1], mb[1][1], 1, ("less", "more")),
    )
    for what, old, new, least, words in figures:
        ratio = cols.ratio(old, new)
        if ratio is not None:
            decimals = cols.decimals_for([cols.finite(old), cols.finite(new)], least)
            change = _times(ratio, *words) if _differs(ratio) else "the same"
            lines.append(
                Change(what, cols.number(cols.finite(old), decimals), cols.number(cols.finite(new), decimals), change)
            )
    return tuple(lines)


def _caution(first: LedgerEntry, row: LedgerEntry) -> str:
    one, two = cols.interval(first), cols.interval(row)
    if one is None or two is None:
        return ""
    if max(one[0], two[0]) <= min(one[1], two[1]):
        return "The 95 % intervals of the two accuracies overlap: with so few test examples the difference may be luck."
    return "The 95 % intervals of the two accuracies do not overlap."


def _differs(ratio: float) -> bool:
    return abs(ratio - 1) > SAME


def _times(ratio: float, more: str, less: str) -> str:
    """-> e.g. ``10.2x faster`` or ``1.3x slower``; two digits are all that a benchmark holds."""
    factor, word = (ratio, more) if ratio >= 1 else (1 / ratio, less)
    return f"{factor:.{0 if factor >= 20 else 1}f}{TIMES} {word}"
