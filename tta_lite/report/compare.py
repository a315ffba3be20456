"""Runs side by side: what each chose, what that gained in its own run, and all of them timed together."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.export.manifest import MANIFEST, network_bytes, read_manifest
from tta_lite.files import digest
from tta_lite.measure.benchmark import Comparison, benchmark_together
from tta_lite.report import columns as cols
from tta_lite.report.run_folder import RECIPE, RunFolder, slug
from tta_lite.report.table import where_text
from tta_lite.types import InputError, LedgerEntry, Verdict

FILE = "model.tflite"


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run folder.

    Attributes:
      name: as it was given.
      recipe: what ``recipe.json`` holds.
      entries: its rows.
      chosen: the row that became the artifact.
      file: the artifact's flatbuffer.
    """

    name: str
    recipe: Mapping[str, Any]
    entries: tuple[LedgerEntry, ...]
    chosen: LedgerEntry
    file: Path

    @property
    def first(self) -> LedgerEntry:
        """The unmodified network."""
        return self.entries[0]


def read_run(path: str | Path) -> Run:
    """-> the run in a folder.

    Raises:
      InputError: no run folder, a damaged one, or one without an artifact: the run has not finished.
    """
    folder = Path(path)
    if not (folder / RECIPE).is_file():
        raise InputError(f"A run folder with {RECIPE} was expected. Received: {str(path)!r}")
    try:
        recipe = json.loads((folder / RECIPE).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder / RECIPE} must be JSON. Received: {error}") from error
    entries = tuple(RunFolder(folder).read_ledger())
    file = folder / "artifact" / FILE
    if not entries or not file.is_file():
        raise InputError(f"{folder} must be of a run that has finished, with its artifact. Received: none in it")
    files = {digest(found): found.parent.name for found in sorted((folder / "steps").glob(f"*/{FILE}"))}
    place = files.get(_network_digest(file, files), "")
    for entry in reversed(entries):
        if entry.verdict is Verdict.TAKEN and place.partition("-")[2] == slug(entry.name):
            return Run(str(path), recipe, entries, entry, file)
    raise InputError(f"{file} must be the file of one of the run's rows. Received: another one")


def _network_digest(file: Path, known: Collection[str]) -> str:
    """-> the digest of the network in an artifact's file, which is that of its row's file."""
    whole = digest(file)
    # Until format 3 an artifact held the row's file without metadata around it.
    if whole in known or not (file.parent / MANIFEST).is_file():
        return whole
    return hashlib.sha256(network_bytes(file.parent, read_manifest(file.parent))).hexdigest()


def compare_runs(
    paths: Sequence[str | Path],
    rules: Mapping[str, Any] | None = None,
    *,
    write: Callable[[str], object] = print,
) -> str:
    """-> the comparison as GitHub Markdown.

    A latency of one run is never put beside that of another: a run's own figures are ratios over its first row, and the
    artifacts are timed in turn, now and here.

    Args:
      paths: run folders, two or more.
      rules: of `benchmark_together`; None: the artifacts are not timed.
      write: where progress goes.

    Raises:
      InputError: fewer than two, the same twice, or one that cannot be read.
    """
    if len({Path(path).resolve() for path in paths}) < max(2, len(paths)):
        raise InputError(f"Two or more different run folders were expected. Received: {', '.join(map(str, paths))}")
    runs = [read_run(path) for path in paths]
    together = None
    if rules is not None:
        write(f"timing {len(runs)} artifacts in turn, {rules['rounds']} rounds")
        together = benchmark_together({run.name: run.file for run in runs}, **rules)
    return "\n".join([_chosen_table(runs, together), "", _rows_table(runs), "", _differences(runs)]).rstrip() + "\n"


def _chosen_table(runs: Sequence[Run], together: Comparison | None) -> str:
    metrics = {run.chosen.report.metric for run in runs}
    metric = metrics.pop() if len(metrics) == 1 and None not in metrics else None
    head = ["run", "recipe", "chosen row", metric or "accuracy", "95 % interval", "file, MB", "MACs, G"]
    head += ["p50 here, ms", f"speed-up over {runs[0].name}"] if together else []
    lines = [_pipe(head), _pipe(["---"] * 3 + ["---:"] * (len(head) - 3))]
    for run in runs:
        report = run.chosen.report
        score = cols.number(cols.finite(report.accuracy), 1)
        cells = [
            run.name,
            str(run.recipe.get("recipe") or cols.DASH),
            run.chosen.name,
            score if metric or report.metric is None else f"{score} {report.metric}",
            cols.interval_text(run.chosen) or cols.DASH,
            cols.number(cols.scaled(report.size_bytes, 1e6), 2),
            cols.number(cols.scaled(report.macs, 1e9), 3),
        ]
        if together:
            speedup = together.speedups(runs[0].name)[run.name]
            cells += [
                f"{together[run.name].latency.p50:.2f}",
                f"{speedup.median:.2f} ({speedup.min:.2f} to {speedup.max:.2f})",
            ]
        lines.append(_pipe(cells))
    if together:
        place = together[runs[0].name].measured_on
        lines += ["", f"Timed in turn: {where_text(place)}."]
    return "\n".join(lines)


def _rows_table(runs: Sequence[Run]) -> str:
    """Each row beside that of the same name in the other runs: verdict, accuracy, and the speed-up within its run."""
    names = list(dict.fromkeys(entry.name for run in runs for entry in run.entries))
    lines = [_pipe(["row", *(run.name for run in runs)]), _pipe(["---"] * (1 + len(runs)))]
    for name in names:
        cells = []
        for run in runs:
            entry = next((one for one in run.entries if one.name == name), None)
            cells.append(cols.DASH if entry is None else _cell(run, entry))
        lines.append(_pipe([name, *cells]))
    return "\n".join([*lines, "", "Speed-ups are over the first row of the same run."])


def _cell(run: Run, entry: LedgerEntry) -> str:
    parts = [entry.verdict.value]
    if (accuracy := cols.finite(entry.report.accuracy)) is not None:
        parts.append(cols.number(accuracy, 1))
    ratio = cols.ratio(cols.latency(run.first, "p50"), cols.latency(entry, "p50"))
    if ratio is not None:
        parts.append(f"{ratio:.1f}{chr(0xD7)}")
    if (size := cols.scaled(entry.report.size_bytes, 1e6)) is not None:
        parts.append(f"{cols.number(size, 1)} MB")
    return ", ".join(parts)


def _differences(runs: Sequence[Run]) -> str:
    """The flags that are not the same in all runs, and the machines if those differ."""
    flags = [run.recipe.get("flags") or {} for run in runs]
    lines = []
    for name in dict.fromkeys(name for one in flags for name in one):
        values = [one.get(name, cols.DASH) for one in flags]
        if name != "out" and any(value != values[0] for value in values):
            lines.append(_pipe([f"--{name}", *(json.dumps(value, ensure_ascii=False) for value in values)]))
    for what, key in (("commit", "git_commit"), ("seed", "seed")):
        values = [run.recipe.get(key) for run in runs]
        if any(value != values[0] for value in values):
            lines.append(_pipe([what, *(str(value) for value in values)]))
    cpus = [(run.recipe.get("machine") or {}).get("cpu") for run in runs]
    if any(cpu != cpus[0] for cpu in cpus):
        lines.append(_pipe(["machine", *map(str, cpus)]))
    if not lines:
        return "The runs had the same flags."
    head = [_pipe(["what differs", *(run.name for run in runs)]), _pipe(["---"] * (1 + len(runs)))]
    return "\n".join([*head, *lines])


def _pipe(texts: Sequence[str]) -> str:
    flat = (" ".join(text.split()).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(flat)} |"
