"""``report.html``: one page for whoever decides. Self-contained: no script, no file or address outside it."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.report import columns as cols
from tta_lite.report import plots, skeletons, table
from tta_lite.report.boards import section
from tta_lite.report.headline import headline
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.run_folder import RunFolder
from tta_lite.report.templating import environment
from tta_lite.types import LedgerEntry, Verdict

PAGE = "report.html"
# Of the context, as it is.
PASSED_ON = ("budget", "advice", "trials", "support", "outlook", "layers", "errors", "classes", "pictures")
CAN_AND_CANNOT = (
    "The latencies are those of the machine named above. They say which row is faster there and by how much; a board "
    "with other cores, caches and kernels can give other ratios and another order.",
    "The interval holds the luck of the test examples. It does not hold the spread between two trainings with "
    "different seeds, which can be as large.",
)


def write_page(
    folder: RunFolder,
    title: str,
    entries: Sequence[LedgerEntry],
    *,
    notes: Sequence[str] = (),
    strips: Mapping[str, bytes] | None = None,
    context: Mapping[str, Any] | None = None,
    say: Language = ENGLISH,
) -> Path:
    """Writes ``report.html`` into the run folder; -> its path. See `render_page`."""
    context = {"recipe": folder.recipe, "boards": section(folder.path, say), **(context or {})}
    text = render_page(title, entries, notes=notes, strips=strips, context=context, say=say)
    return folder.write_text(PAGE, text)


def render_page(
    title: str,
    entries: Sequence[LedgerEntry],
    *,
    notes: Sequence[str] = (),
    strips: Mapping[str, bytes] | None = None,
    context: Mapping[str, Any] | None = None,
    say: Language = ENGLISH,
) -> str:
    """-> the page as HTML. Every text is escaped.

    Args:
      title: of the window and above the headline.
      entries: the rows, the unmodified network first.
      notes: what these figures can and cannot say, one text a point; general points are added.
      strips: row -> PNG of `skeletons.skeleton_strip`, over the same people in every row.
      context: all optional. ``summary``: one or two sentences on what was done; ``dataset``: what was scored on;
        ``command``: what to type to run it again; ``chosen``: the row that the headline speaks of;
        ``caution``: what the headline must not be read as;
        ``parts``: what the metric's parts are, ``joint`` or ``class``;
        ``allowed``: limits to draw into the plots; those of `PASSED_ON`: of a guideline run, see
        `tta_lite.report.guideline`;
        ``boards``: the section of `tta_lite.report.boards.section`, as HTML;
        ``recipe``: the record of ``recipe.json``; ``facts``: more lines (name -> text) on how it was measured.
      say: the language. Title, notes and context are in it already.
    """
    given = dict(context or {})
    dataset = str(given.get("dataset") or "")
    answer = headline(entries, str(given.get("chosen") or ""), say)
    measured = any(cols.latency(entry, "p50") is not None for entry in entries)
    trained = any(cols.finite(entry.report.accuracy) is not None for entry in entries)
    general = [say(text) for text, applies in zip(CAN_AND_CANNOT, (measured, trained), strict=True) if applies]
    return environment().get_template("page.html.j2").render(
        say=say,
        title=title,
        summary=str(given.get("summary") or ""),
        answer=answer,
        caution=" ".join(text for text in (answer.caution, str(given.get("caution") or "")) if text),
        base=entries[0].name if entries else "",
        groups=_groups(entries, say),
        columns=cols.columns(entries),
        rows=_rows(entries, answer.row, say),
        row_notes=table.row_notes(entries, say),
        footnotes=table.footnotes(entries, dataset=dataset, say=say),
        where=_where(entries, say),
        figures=_figures(entries, given.get("allowed") or plots.NO_LIMITS, say) if measured and trained else [],
        joints=_joints(entries, say),
        parts=str(given.get("parts") or "joint"),
        strips=_strips(entries, strips or {}, say),
        sides={"left": skeletons.LEFT, "right": skeletons.RIGHT, "middle": skeletons.MIDDLE, "truth": skeletons.TRUTH},
        command=str(given.get("command") or ""),
        facts=_facts(given.get("recipe") or {}, given.get("facts") or {}, say),
        packages=_pairs((given.get("recipe") or {}).get("packages")),
        flags=_pairs((given.get("recipe") or {}).get("flags")),
        limits=[*notes, *general],
        **{name: given.get(name) or () for name in PASSED_ON},
        boards=str(given.get("boards") or ""),
        dash=cols.DASH,
    )  # fmt: skip


def _groups(entries: Sequence[LedgerEntry], say: Language) -> list[tuple[str, int]]:
    """-> (head, columns under it)."""
    table_columns = cols.columns(entries)
    theirs = sum(1 for column in table_columns if column.group)
    groups = [(say("Measured in this run"), len(table_columns) - theirs)]
    return [*groups, (say.known(cols.PUBLISHED_GROUP), theirs)] if theirs else groups


def _rows(entries: Sequence[LedgerEntry], chosen: str, say: Language) -> list[dict[str, Any]]:
    colours = plots.row_colours(entries)
    return [
        {
            "name": entry.name,
            "label": say.in_record(entry.details, "label"),
            "clause": entry.clause,
            "verdict": entry.verdict.value,
            "why": say.why(entry),
            "spent": duration(entry.seconds, say),
            "colour": colours[entry.name],
            "chosen": entry.name == chosen,
            # The network as it came is no step that somebody could have left out.
            "start": entry is entries[0] and entry.verdict is Verdict.TAKEN,
            "interval": cols.interval_text(entry),
            "accuracy": cols.number(cols.finite(entry.report.accuracy), 1),
            "metric": say.known(entry.report.metric or "accuracy"),
            "keras": _keras_text(entry, say),
            "cells": cells,
        }
        for entry, cells in zip(entries, cols.cells(entries), strict=True)
    ]


def _keras_text(entry: LedgerEntry, say: Language) -> str:
    before, after = cols.finite(entry.report.keras_accuracy), cols.finite(entry.report.accuracy)
    if before is None or after is None:
        return ""
    return say(
        "{metric} {before} as a Keras model, {after} as the exported file",
        metric=say.known(entry.report.metric or "accuracy"), before=f"{before:.1f}", after=f"{after:.1f}",
    )  # fmt: skip


def _where(entries: Sequence[LedgerEntry], say: Language) -> str:
    places = {entry.report.measured_on for entry in entries if entry.report.measured_on is not None}
    return table.where_text(places.pop(), say) if len(places) == 1 else ""


def _figures(entries: Sequence[LedgerEntry], allowed: plots.Allowed, say: Language) -> list[dict[str, str]]:
    metric = say.known(cols.metric_name(entries))
    spoken = "; ".join(
        say(
            "{row} {accuracy} at {latency} ms and {size} MB",
            row=entry.name,
            accuracy=cols.number(cols.finite(entry.report.accuracy), 1),
            latency=cols.number(cols.latency(entry, "p50"), 1),
            size=cols.number(cols.scaled(entry.report.size_bytes, 1e6), 1),
        )
        for entry in entries
    )
    drawn = (
        (say("{metric} against latency", metric=metric), plots.accuracy_latency),
        (say("{metric} against file size", metric=metric), plots.accuracy_size),
    )
    return [
        {
            "head": head,
            "alt": say("{head}, one mark a row: {rows}", head=head, rows=spoken),
            "light": data_uri(draw(entries, plots.LIGHT, allowed, say)),
            "dark": data_uri(draw(entries, plots.DARK, allowed, say)),
        }
        for head, draw in drawn
    ]


def _joints(entries: Sequence[LedgerEntry], say: Language) -> dict[str, Any]:
    """-> heads (rows of the ladder) and lines (joint, [(text, figure or 0)])."""
    scored = [entry for entry in entries if entry.report.accuracy_parts]
    names = list(dict.fromkeys(name for entry in scored for name in entry.report.accuracy_parts or {}))
    lines = []
    for name in names:
        figures = [cols.finite((entry.report.accuracy_parts or {}).get(name)) for entry in scored]
        lines.append((_spoken(name, say), [(cols.number(value, 1), round(value or 0)) for value in figures]))
    whole = [cols.finite(entry.report.accuracy) for entry in scored]
    return {
        "heads": [entry.name for entry in scored],
        "lines": lines,
        "whole": [(cols.number(value, 1), round(value or 0)) for value in whole],
        "metric": say.known(cols.metric_name(entries)),
    }


def _spoken(joint: str, say: Language) -> str:
    side, _, part = joint.partition("_")
    if side == "l":
        return say("left {part}", part=say.known(part.replace("_", " ")))
    if side == "r":
        return say("right {part}", part=say.known(part.replace("_", " ")))
    return say.known(joint.replace("_", " "))


def _strips(entries: Sequence[LedgerEntry], strips: Mapping[str, bytes], say: Language) -> list[dict[str, str]]:
    by_name = {entry.name: entry for entry in entries}
    views = []
    for name, png in strips.items():
        accuracy = cols.finite(by_name[name].report.accuracy) if name in by_name else None
        about = "" if accuracy is None else f"{say.known(by_name[name].report.metric or 'accuracy')} {accuracy:.1f}"
        views.append({"name": name, "about": about, "uri": data_uri(png)})
    return views


def _facts(recipe: Mapping[str, Any], more: Mapping[str, Any], say: Language) -> list[tuple[str, str]]:
    machine = recipe.get("machine") or {}
    memory = cols.scaled(machine.get("ram_bytes"), 1e9)
    isa = [name for name, present in (machine.get("isa") or {}).items() if present]
    cores = machine.get("cores")
    parts = [
        machine.get("board"), machine.get("cpu"), machine.get("architecture"),
        (say("1 core") if cores == 1 else say("{count} cores", count=cores)) if cores else None,
        say("{size} GB memory", size=f"{memory:.0f}") if memory else None, machine.get("os"), ", ".join(isa),
    ]  # fmt: skip
    commit = recipe.get("git_commit")
    facts = [
        (say("Machine"), "; ".join(str(part) for part in parts if part)),
        (say("Seed"), "" if recipe.get("seed") is None else str(recipe["seed"])),
        (say("Source"), say("commit {commit}", commit=commit) if commit else say("not run from a git checkout")),
        *((str(key), _text(value)) for key, value in more.items()),
        (say("Page written"), datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    return [(name, text) for name, text in facts if text]


def _pairs(record: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    return [(str(key), _text(value)) for key, value in (record or {}).items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else cols.DASH if value is None else json.dumps(value, ensure_ascii=False)


def data_uri(png: bytes) -> str:
    """-> the picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def duration(seconds: float, say: Language = ENGLISH) -> str:
    """-> a length of time as a person says it.

    >>> duration(42.4), duration(754), duration(7260)
    ('42 s', '12 min 34 s', '2 h 1 min')
    """
    whole = round(cols.finite(seconds) or 0)
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    if whole < 3600:
        return say("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    return say("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)
