"""The answer first: what the ladder gained, in one sentence and a few lines of before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.types import LedgerEntry, Verdict

# Within this share two latencies are called equal: a repeated measurement differs by as much.
SAME = 0.05
# More and less of each kind, as texts of the page.
SPEED = ("{factor}\N{MULTIPLICATION SIGN} faster", "{factor}\N{MULTIPLICATION SIGN} slower")
SIZE = ("{factor}\N{MULTIPLICATION SIGN} smaller", "{factor}\N{MULTIPLICATION SIGN} larger")
AMOUNT = ("{factor}\N{MULTIPLICATION SIGN} less", "{factor}\N{MULTIPLICATION SIGN} more")


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


def headline(entries: Sequence[LedgerEntry], chosen: str = "", say: Language = ENGLISH) -> Headline:
    """-> the headline of the row `chosen`, or else of the fastest row that was taken.

    Args:
      entries: the rows; the first is what the others are compared with.
      chosen: a row's name; empty: choose.
      say: the language.
    """
    if not entries:
        return Headline(say("Nothing has been measured yet."))
    first, row = entries[0], _row(entries, chosen)
    base = say("the unmodified net") if first.name == "none" else first.name
    if chosen == first.name:
        return Headline(say("No lighter row was chosen: {base} stays.", base=base), row=first.name)
    if row is None:
        return Headline(say("No lighter row has been taken and measured yet."))
    metric = say.known(cols.metric_name(entries))
    sentence, accuracy = _speed(first, row, base, say), _accuracy(first, row, metric, say)
    if accuracy:
        sentence = say("{speed} {accuracy}", speed=sentence, accuracy=accuracy)
    smaller = cols.ratio(first.report.size_bytes, row.report.size_bytes)
    if smaller is not None and _differs(smaller):
        sentence = say("{sentence}; its file is {times}", sentence=sentence, times=_times(smaller, SIZE, say))
    elif smaller is not None:
        sentence = say("{sentence}; its file is as large", sentence=sentence)
    sentence = say("{sentence}.", sentence=sentence)
    cautions = [_caution(first, row, say)]
    if row.details.get("predicted"):
        cautions.append(say("The latencies are predicted, not measured."))
    return Headline(sentence, _changes(first, row, metric, say), " ".join(filter(None, cautions)), row.name)


def _row(entries: Sequence[LedgerEntry], chosen: str) -> LedgerEntry | None:
    for entry in entries[1:]:
        if entry.name == chosen:
            return entry
    taken = [e for e in entries[1:] if e.verdict is Verdict.TAKEN and cols.latency(e, "p50") is not None]
    return min(taken, key=lambda e: cols.latency(e, "p50") or 0.0, default=None)


def _speed(first: LedgerEntry, row: LedgerEntry, base: str, say: Language) -> str:
    ratio = cols.ratio(cols.latency(first, "p50"), cols.latency(row, "p50"))
    if ratio is None:
        return say("{row} against {base}", row=row.name, base=base)
    if not _differs(ratio):
        return say("{row} is as fast as {base}", row=row.name, base=base)
    return say("{row} is {times} than {base}", row=row.name, base=base, times=_times(ratio, SPEED, say))


def _accuracy(first: LedgerEntry, row: LedgerEntry, metric: str, say: Language) -> str:
    before, after = cols.finite(first.report.accuracy), cols.finite(row.report.accuracy)
    if before is None or after is None:
        return ""
    gap = cols.number(after - before, 1, sign=True)
    if gap[1:] == "0.0":
        return say("at equal {metric}", metric=metric)
    return say("at {gap} {metric}", gap=gap, metric=metric)


def _changes(first: LedgerEntry, row: LedgerEntry, metric: str, say: Language) -> tuple[Change, ...]:
    lines = []
    before, after = cols.finite(first.report.accuracy), cols.finite(row.report.accuracy)
    if before is not None and after is not None:
        gap = say("{gap} points", gap=cols.number(after - before, 1, sign=True))
        lines.append(Change(metric, cols.number(before, 1), cols.number(after, 1), gap))
    mb = [(cols.scaled(e.report.size_bytes, 1e6), cols.scaled(e.report.peak_memory_bytes, 1e6)) for e in (first, row)]
    figures = (
        (say("Latency p50, ms"), cols.latency(first, "p50"), cols.latency(row, "p50"), 1, SPEED),
        (say("Initialisation, s"), first.report.init_s, row.report.init_s, 2, SPEED),
        (say("File, MB"), mb[0][0], mb[1][0], 1, SIZE),
        (say("Peak memory, MB"), mb[0][1], mb[1][1], 1, AMOUNT),
    )
    for what, old, new, least, words in figures:
        ratio = cols.ratio(old, new)
        if ratio is not None:
            decimals = cols.decimals_for([cols.finite(old), cols.finite(new)], least)
            change = _times(ratio, words, say) if _differs(ratio) else say("the same")
            lines.append(
                Change(what, cols.number(cols.finite(old), decimals), cols.number(cols.finite(new), decimals), change)
            )
    return tuple(lines)


def _caution(first: LedgerEntry, row: LedgerEntry, say: Language) -> str:
    one, two = cols.interval(first), cols.interval(row)
    if one is None or two is None:
        return ""
    if max(one[0], two[0]) <= min(one[1], two[1]):
        return say(
            "The 95 % intervals of the two accuracies overlap: with so few test examples the difference may be luck."
        )
    return say("The 95 % intervals of the two accuracies do not overlap.")


def _differs(ratio: float) -> bool:
    return abs(ratio - 1) > SAME


def _times(ratio: float, words: tuple[str, str], say: Language) -> str:
    """-> e.g. ``10.2x faster`` or ``1.3x slower``; two digits are all that a benchmark holds."""
    factor, word = (ratio, words[0]) if ratio >= 1 else (1 / ratio, words[1])
    return say(word, factor=f"{factor:.{0 if factor >= 20 else 1}f}")
