"""The ladder table: a row a step, as ``table.md``, ``table.csv`` and on the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tta_lite.measure.device.benchmark import THIS_MACHINE
from tta_lite.measure.predict import PREDICTED
from tta_lite.report import columns as cols
from tta_lite.report.language import ENGLISH, Language
from tta_lite.types import LedgerEntry, MeasuredOn, Verdict

if TYPE_CHECKING:
    from rich.console import Console

    from tta_lite.report.run_folder import RunFolder


def write_tables(folder: RunFolder, entries: Sequence[LedgerEntry], *, dataset: str = "") -> None:
    """Writes ``table.md`` and ``table.csv`` into the run folder."""
    folder.write_text("table.md", to_markdown(entries, dataset=dataset))
    folder.write_text("table.csv", to_csv(entries))


def to_markdown(entries: Sequence[LedgerEntry], *, dataset: str = "") -> str:
    """-> the table, the lines under it and the rows' notes, as GitHub Markdown."""
    table = cols.columns(entries)
    heads = ["row", "what it is"]
    for column in table:
        head = " ".join(part for part in (column.head, column.unit) if part)
        heads.append(f"{cols.PUBLISHED_GROUP}: {head}" if column.group else head)
        if column.key == "accuracy":
            heads.append("95 % interval")
    lines = [_pipe(heads), _pipe(["---", "---", *["---:"] * (len(heads) - 2)])]
    for entry, texts in zip(entries, cols.cells(entries), strict=True):
        figures = []
        for column, text in zip(table, texts, strict=True):
            figures.append(text)
            if column.key == "accuracy":
                figures.append(cols.interval_text(entry) or cols.DASH)
        lines.append(_pipe([_escape(row_name(entry)), _escape(cols.label(entry)) or cols.DASH, *figures]))
    under = [*footnotes(entries, dataset=dataset), *(f"{name}: {note}" for name, note in row_notes(entries))]
    return "\n".join([*lines, "", *(f"- {_escape(line)}" for line in under)]) + "\n"


def to_csv(entries: Sequence[LedgerEntry]) -> str:
    """-> the table for a spreadsheet: unrounded figures in the head's unit, a missing figure is an empty cell."""
    table = cols.columns(entries)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    keys = [column.key for column in table]
    writer.writerow(["row", "what", "clause", "verdict", "metric", keys[0], "accuracy_low", "accuracy_high", *keys[1:]])
    for entry in entries:
        values = [column.value(entry, entries[0]) for column in table]
        ends = cols.interval(entry) or (None, None)
        head = [entry.name, cols.label(entry), entry.clause, entry.verdict.value, entry.report.metric]
        writer.writerow([*head, values[0], *ends, *values[1:]])
    return stream.getvalue()


def print_table(entries: Sequence[LedgerEntry], *, dataset: str = "", console: Console | None = None) -> None:
    """Prints the table as wide as the terminal allows; the columns that do not fit are named."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = console or Console()
    table, texts = cols.columns(entries), cols.cells(entries)
    # Texts, not strings: a name such as "[bold]" must not be read as markup.
    rows = [[row_name(entry), *figures] for entry, figures in zip(entries, texts, strict=True)]
    heads = [["", "row", ""], *(["report" if c.group else "", c.head, c.unit] for c in table)]
    place = 1 + next(i for i, column in enumerate(table) if column.key == "accuracy")
    heads.insert(place + 1, ["", "95 %", "interval"])
    for entry, row in zip(entries, rows, strict=True):
        row.insert(place + 1, cols.interval_text(entry) or cols.DASH)
    ranks = [0, *(column.rank for column in table)]
    ranks.insert(place + 1, 2)
    widths = [max(len(text) for text in (*heads[i], *(row[i] for row in rows))) + 2 for i in range(len(heads))]
    kept = list(range(len(heads)))
    while sum(widths[i] for i in kept) > console.width and max(ranks[i] for i in kept) > 0:
        worst = max(ranks[i] for i in kept)
        kept = [i for i in kept if ranks[i] < worst]
    top = 0 if any(heads[i][0] for i in kept) else 1
    view = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i in kept:
        head = "\n".join(heads[i][top:])
        view.add_column(Text(head), justify="left" if i == 0 else "right", no_wrap=i > 0, overflow="fold")
    for row in rows:
        view.add_row(*(Text(row[i]) for i in kept))
    console.print(view)
    hidden = [" ".join(part for part in heads[i][:2] if part) for i in range(len(heads)) if i not in kept]
    if hidden:
        console.print(Text(f"Not shown for lack of width (table.md has them): {', '.join(hidden)}.", style="dim"))
    for line in footnotes(entries, dataset=dataset):
        console.print(Text(line, style="dim"))


def row_name(entry: LedgerEntry) -> str:
    """-> the row's name, with the verdict where the step was not taken."""
    return entry.name if entry.verdict is Verdict.TAKEN else f"{entry.name} ({entry.verdict.value})"


def row_notes(entries: Sequence[LedgerEntry], say: Language = ENGLISH) -> list[tuple[str, str]]:
    """-> (row's name, note) of the rows that have one."""
    return [(entry.name, say.in_record(entry.details, "note")) for entry in entries if entry.details.get("note")]


def footnotes(entries: Sequence[LedgerEntry], *, dataset: str = "", say: Language = ENGLISH) -> list[str]:
    """-> the lines that belong under every form of the table: where, on what, and what the figures are."""
    lines = [*_where_measured(entries, say), *_clocks(entries, say), *_accuracy_line(entries, dataset, say)]
    if any(column.group for column in cols.columns(entries)):
        lines.append(
            say(
                'The columns "{group}" are Table 1 of the TTA technical report, measured on a Firefly RK3399 in 2019 '
                "with other data and another runtime: compare the ratios, not the figures.",
                group=say.known(cols.PUBLISHED_GROUP),
            )
        )
    if entries:
        lines.append(
            say(
                "Speed-up: latency p50 of the first row ({row}) over that of the row. 1 MB = 1,000,000 bytes. {dash}: "
                "no figure.",
                row=entries[0].name,
                dash=cols.DASH,
            )
        )
    return lines


def where_text(place: MeasuredOn, say: Language = ENGLISH) -> str:
    """-> e.g. ``LiteRT 2.3.0, XNNPACK, 1 thread, on this machine (Xeon), which is not the board``."""
    threads = say("1 thread") if place.threads == 1 else say("{count} threads", count=place.threads)
    delegate = say("delegate {name}", name=place.delegate) if place.delegate else say("delegate none")
    how = ", ".join(part for part in (place.runtime, delegate, threads) if part)
    if not place.board or place.board.startswith(THIS_MACHINE):
        return say("{how}, on this machine ({cpu}), which is not the board", how=how, cpu=place.cpu)
    if place.board.startswith(PREDICTED):
        return say(
            "predicted for {board} by a model of {runtime}, {threads}, not measured",
            board=place.board.removeprefix(f"{PREDICTED} for "),
            runtime=place.runtime.removeprefix(f"{PREDICTED}, by a model of "),
            threads=threads,
        )
    if place.emulated:
        return say(
            "{how}, on an emulated {board} ({cpu}), which is not the board itself",
            how=how, board=place.board, cpu=place.cpu,
        )  # fmt: skip
    return say("{how}, on the board {board} ({cpu})", how=how, board=place.board, cpu=place.cpu)


def _where_measured(entries: Sequence[LedgerEntry], say: Language) -> list[str]:
    places: dict[MeasuredOn, list[str]] = {}
    for entry in entries:
        if entry.report.measured_on is not None:
            places.setdefault(entry.report.measured_on, []).append(entry.name)
    runs = {e.report.latency_ms.runs for e in entries if e.report.latency_ms is not None}
    if len(places) == 1:
        where = where_text(next(iter(places)), say)
        if next(iter(places)).board.startswith(PREDICTED):
            return [say("Latency: {where}.", where=where), *_intervals(entries, say)]
        line = say("Latency, initialisation and peak memory: {where}.", where=where)
        if len(runs) == 1:
            line += say(" Timed runs a row: {count}.", count=min(runs))
        elif runs:
            line += say(" Timed runs a row: {least} to {most}.", least=min(runs), most=max(runs))
        return [line]
    return [
        say(
            "Latency, initialisation and peak memory of {rows}: {where}.",
            rows=", ".join(names), where=where_text(place, say),
        )
        for place, names in places.items()
    ]  # fmt: skip


def _intervals(entries: Sequence[LedgerEntry], say: Language) -> list[str]:
    """-> between what a predicted latency lies, and why it may not."""
    found = [(entry.name, entry.details["predicted"]) for entry in entries if entry.details.get("predicted")]
    if not found:
        return []
    told = ", ".join(f"{name} {one['low_ms']:.3g} {cols.DASH} {one['high_ms']:.3g}" for name, one in found)
    share = f"{min(one['coverage'] for _, one in found):.0%}"
    lines = [say("Interval of the predicted latencies ({share}), ms: {told}.", share=share, told=told)]
    warnings = dict.fromkeys(f"{name}: {text}" for name, one in found for text in one["warnings"])
    if warnings:
        lines.append(say("Beyond what the model was fitted to: {told}.", told="; ".join(warnings)))
    return lines


def _clocks(entries: Sequence[LedgerEntry], say: Language) -> list[str]:
    """-> what a board said of its clocks, and which rows were timed while one moved."""
    said = [(entry.name, str(entry.details["conditions"])) for entry in entries if entry.details.get("conditions")]
    if not said:
        return []
    told = "; ".join(f"{name}: {text}" for name, text in said)
    lines = [say("Governor, clock and temperature of the board just before and after: {told}.", told=told)]
    moved = [entry.name for entry in entries if entry.details.get("clock_moved")]
    if moved:
        lines.append(
            say(
                "A core's clock moved while {rows} were timed: their latencies are not those of one clock.",
                rows=", ".join(moved),
            )
        )  # fmt: skip
    return lines


def _accuracy_line(entries: Sequence[LedgerEntry], dataset: str, say: Language) -> list[str]:
    scored = [entry for entry in entries if cols.finite(entry.report.accuracy) is not None]
    if not scored:
        return []
    counts = sorted({e.report.accuracy_examples for e in scored if e.report.accuracy_examples})
    parts = [say("0 to 100"), say("of {dataset}", dataset=say.known(dataset)) if dataset else ""]
    if counts:
        texts = say(" or ").join(f"{count:,}" for count in counts)
        parts.append(say("on {counts} test examples", counts=texts))
    line = f"{say.known(cols.metric_name(entries))}: {', '.join(part for part in parts if part)}"
    if any(cols.interval(entry) for entry in scored):
        line += say(
            "; the interval is a 95 % bootstrap over the test examples: the luck of which examples were drawn, "
            "not of the training"
        )
    return [line + say(". It is that of the exported file, run by the interpreter.")]


def _pipe(texts: Sequence[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _escape(text: str) -> str:
    """Keeps a cell in its cell, and what looks like HTML as text."""
    flat = " ".join(text.split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
