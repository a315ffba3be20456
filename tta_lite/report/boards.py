"""What boards measured, in a run folder and on its page: a section that can be written anew without the rest."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tta_lite.export.manifest import read_manifest
from tta_lite.files import atomic_write, to_json_text
from tta_lite.measure.device.results import Group, Results
from tta_lite.measure.op_profile import match_ops, typical
from tta_lite.report import columns as cols
from tta_lite.report import emulated
from tta_lite.report.language import ENGLISH, LANGUAGES, Language
from tta_lite.report.run_folder import slug
from tta_lite.report.templating import environment
from tta_lite.types import InputError

FORMAT = 1
PAGE, TEMPLATE = "report.html", "boards.html.j2"
BEGIN, END = "<!-- boards -->", "<!-- /boards -->"
ARTIFACT = "artifact"
EMULATED = "emulated: its times say nothing and are left out"
# Layers that are shown; the rest is one line.
MOST_LAYERS = 25


def record_of(results: Results, tflite: bytes | None) -> dict[str, Any]:
    """-> what is kept: plain JSON values.

    Args:
      results: of a board.
      tflite: the network that ran, so that its ops get their layers' names; None: they keep the runtime's names.
    """
    groups = [_group(one, None if results.emulated else tflite, results.emulated) for one in results.groups]
    return {"format": FORMAT, "kit": dict(results.kit), "groups": groups}


def _group(group: Group, tflite: bytes | None, emulated: bool) -> dict[str, Any]:
    figures = group.figures
    return {
        "cores": group.cores,
        # An emulator's times and its own memory say nothing of the board.
        "init_s": None if emulated else figures.init_s,
        "latency_ms": None if emulated else dataclasses.asdict(figures.latency),
        "peak_memory_bytes": None if emulated else figures.peak_memory_bytes,
        "measured_on": dataclasses.asdict(dataclasses.replace(figures.measured_on, emulated=emulated)),
        "conditions": str(figures.conditions),
        "clock_moved": list(figures.conditions.moved),
        "rounds": len(figures.round_p50),
        "agrees": group.agrees,
        "vectors": len({one.output for one in group.golden}),
        "layers": [] if emulated else _layers(group.ops, tflite),
    }


def _layers(ops: Sequence[Mapping[str, Any]], tflite: bytes | None) -> list[dict[str, Any]]:
    if tflite is None or not ops:
        return [{"layer": "", "op": one["name"], "us": typical(one["samples_us"])} for one in ops]
    return [{"layer": one.layer, "op": one.op, "us": one.time_us} for one in match_ops(tflite, ops) if one.kernels]


def artifact_of(run: str | Path | None, results: Results) -> bytes | None:
    """-> the network of a run's artifact; None without a run.

    Raises:
      InputError: the results are of another network, or the folder holds no artifact.
    """
    if run is None:
        return None
    folder = Path(run) / ARTIFACT
    manifest = read_manifest(folder)
    if manifest["model"]["sha256"] != results.kit["model_sha256"]:
        raise InputError(
            f"The results must be of the network in {folder}, SHA-256 {manifest['model']['sha256']}. "
            f"Received: {results.kit['model_sha256']}"
        )
    return (folder / "model.tflite").read_bytes()


def keep(run: str | Path, record: Mapping[str, Any]) -> Path | None:
    """Keeps a record in the run folder, and writes the page's section anew -> the page; None: there is none yet."""
    folder = Path(run) / emulated.FOLDER
    name = slug(f"{record['kit']['board']}-{record['kit']['row']}")
    atomic_write(folder / f"{name}.json", to_json_text(record, indent=1) + "\n")
    return update_page(run)


def read_records(run: str | Path) -> list[dict[str, Any]]:
    """-> what boards measured of the run's networks, in the order of their names.

    Raises:
      InputError: a file that is none of ours.
    """
    records = []
    for file in sorted((Path(run) / emulated.FOLDER).glob("*.json")):
        if file.name.startswith(emulated.PREFIX):
            continue
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["format"] != FORMAT:
                raise ValueError(f"format {record['format']}")
            # One that was changed by hand is told here, and not by a page that is half written.
            _view({**record, "network": record["kit"]["model_sha256"]}, ENGLISH)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{type(error).__name__}: {error}"
            raise InputError(f"{file} must hold what tta-lite wrote there. Received: {said}") from error
        records.append(record)
    return records


def section(run: str | Path, say: Language = ENGLISH) -> str:
    """-> the page's section as HTML, between its marks; only the marks if no board measured anything.

    What was measured of a network that the run has replaced since is left out.
    """
    now = _network_of(run)
    template = environment().get_template(TEMPLATE)
    view = [_view(one, say) for one in read_records(run) if now in (None, one["kit"]["model_sha256"])]
    return f"{BEGIN}\n{template.render(say=say, boards=view, counts=emulated.counts_view(run, say))}{END}"


def _network_of(run: str | Path) -> str | None:
    try:
        return str(read_manifest(Path(run) / ARTIFACT)["model"]["sha256"])
    except (InputError, OSError, KeyError, TypeError):
        # A run that has no artifact yet, or one that `artifact_of` will refuse.
        return None


def update_page(run: str | Path) -> Path | None:
    """Writes the section of an existing page anew -> the page; None: there is none.

    Raises:
      InputError: the page has no such section, as one of an older version.
    """
    page = Path(run) / PAGE
    if not page.is_file():
        return None
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{page} must have a place for boards; run its command again. Received: a page of before")
    code = re.search(r'<html lang="(\w+)"', before)
    say = LANGUAGES.get(code[1] if code else "en", ENGLISH)
    return atomic_write(page, before + section(run, say) + after)


def _view(record: Mapping[str, Any], say: Language) -> dict[str, Any]:
    return {
        "title": record["kit"]["board_title"],
        "row": record["kit"]["row"],
        "groups": [_group_view(one, say) for one in record["groups"]],
    }


def _group_view(group: Mapping[str, Any], say: Language) -> dict[str, Any]:
    place, latency = group["measured_on"], group["latency_ms"] or {}
    total = sum(one["us"] for one in group["layers"])
    slowest = sorted(group["layers"], key=lambda one: -one["us"])
    rest = sum(one["us"] for one in slowest[MOST_LAYERS:])
    lines = [
        {
            "layer": one["layer"] or one["op"],
            "op": one["op"] if one["layer"] else "",
            "ms": f"{one['us'] / 1e3:.3f}",
            "share": f"{100 * one['us'] / total:.1f}" if total else "0",
        }
        for one in slowest[:MOST_LAYERS]
    ]
    if rest:
        lines.append({
            "layer": say("{count} more", count=len(slowest) - MOST_LAYERS),
            "op": "",
            "ms": f"{rest / 1e3:.3f}",
            "share": f"{100 * rest / total:.1f}",
        })  # fmt: skip
    threads = say("1 thread") if place["threads"] == 1 else say("{count} threads", count=place["threads"])
    agreement = {True: say("as expected"), False: say("not as expected"), None: cols.DASH}
    return {
        "cpu": place["cpu"],
        "how": f"{place['runtime']}, {place['delegate']}, {threads}",
        "p50": cols.number(latency.get("p50"), 2),
        "p90": cols.number(latency.get("p90"), 2),
        "runs": latency.get("runs", cols.DASH),
        "init": cols.number(group["init_s"], 3),
        "memory": cols.number(cols.scaled(group["peak_memory_bytes"], 1e6), 1),
        "agrees": agreement[group["agrees"]],
        "wrong": group["agrees"] is False,
        "conditions": say(EMULATED) if place["emulated"] else group["conditions"],
        "moved": bool(group["clock_moved"]),
        "layers": lines,
    }


def print_record(record: Mapping[str, Any], console: Console) -> None:
    """Prints the figures of a board, and its slowest layers."""
    view = _view(record, ENGLISH)
    console.print(f"{view['title']}: {record['kit']['name']}", highlight=False, markup=False)
    for one in view["groups"]:
        console.print(
            f"{one['cpu']}; {one['how']}: p50 {one['p50']} ms, p90 {one['p90']} ms over {one['runs']} runs, "
            f"initialisation {one['init']} s, memory {one['memory']} MB; outputs {one['agrees']}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
        console.print(f"  {one['conditions']}", highlight=False, markup=False, soft_wrap=True)
    for one in view["groups"][:1]:
        if not one["layers"]:
            continue
        table = Table(box=None, pad_edge=False)
        table.add_column("layer", overflow="fold")
        table.add_column("op", overflow="fold")
        for head in ("ms", "%"):
            table.add_column(head, justify="right")
        for line in one["layers"]:
            table.add_row(line["layer"], line["op"], line["ms"], line["share"])
        console.print(table)
