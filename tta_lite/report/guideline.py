"""The report of a guideline run: table, plots, page and artifact from its ledger."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.bundle import write_bundle
from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import START, Outcome
from tta_lite.guideline.case_study import FILE
from tta_lite.guideline.case_study import say as progress
from tta_lite.guideline.preflight import Preflight
from tta_lite.guideline.program import Request, Result
from tta_lite.guideline.reasons import Reason, Said
from tta_lite.guideline.settings import CLAUSES
from tta_lite.report import columns as cols
from tta_lite.report import page, plots, samples, table
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.layer_errors import errors_view, found_errors
from tta_lite.report.layers import layers_view, measured_layers
from tta_lite.report.outputs import output_names
from tta_lite.report.run_folder import RunFolder
from tta_lite.tasks.find import normalisation_of
from tta_lite.tasks.pose import PoseTask
from tta_lite.tasks.stream import first_inputs
from tta_lite.types import InputError, LedgerEntry, Report, Task, Verdict

TITLE = "The guideline, step by step"
GOLDEN = 3


def verdict_text(result: Result, say: Language = ENGLISH) -> str:
    """-> one line and, if the budget is not met, what the guideline advises."""
    outcome = result.outcome
    standing = say.said(budgets.standings(outcome.state.report, outcome.state.budget))
    if outcome.met:
        return say("The budget is met by {row}: {standing}.", row=outcome.chosen, standing=standing)
    line = say(
        "The budget is not met. Nearest comes {row}: {standing}.", row=outcome.chosen, standing=standing
    )  # fmt: skip
    return "\n".join(
        [line, say("What the guideline advises (6.2):"), *(f"- {one}" for one in say.listed(result.advice))]
    )


def write_report(
    folder: RunFolder,
    result: Result,
    request: Request,
    known: Preflight,
    task: Task,
    *,
    command: str,
    say: Language = ENGLISH,
    write: Callable[[str], Any] = progress,
) -> Path:
    """Writes ``table.md``, ``table.csv``, ``plots/``, ``report.html`` and ``artifact/``; -> the page.

    What takes a minute is kept: ``layers.json``, where the time of the first and the chosen file goes, and
    ``quantization.json``, what each layer of the chosen file loses if that is of integers.

    Args:
      folder: of the run.
      result: how it ended.
      request: what was wanted.
      known: what was known before.
      task: gives the golden inputs of the artifact.
      command: what to type to run it again.
      say: the language of the page; tables are in English.
      write: where progress goes.
    """
    entries = result.outcome.entries
    dataset = str(getattr(getattr(task, "test", None), "name", ""))
    table.write_tables(folder, entries, dataset=dataset)
    plots.write_plots(folder, entries, _allowed(result.outcome), say)
    _write_artifact(folder, result.outcome, task, request.board.title)
    files = row_files(folder, result.outcome)
    shown = _attempt(lambda: samples.samples(task, files), write) or samples.Samples()
    return page.write_page(
        folder,
        say(TITLE),
        entries,
        strips=shown.people,
        context={
            "dataset": dataset,
            "command": command,
            "parts": "joint" if isinstance(task, PoseTask) else "class",
            **page_context(result, request, known, say),
            **samples.samples_view(shown, entries, say),
            "layers": _layers(folder, result.outcome, files, request, say, write),
            "errors": _errors(folder, result.outcome, files, task, request, say, write),
        },
        say=say,
    )


def page_context(result: Result, request: Request, known: Preflight, say: Language = ENGLISH) -> dict[str, Any]:
    """-> what `tta_lite.report.page.render_page` shows of a guideline run beside its rows."""
    outcome = result.outcome
    return {
        "summary": say(
            "For the {board}. {verdict}",
            board=request.board.title, verdict=verdict_text(result, say).splitlines()[0],
        ),
        "chosen": outcome.chosen,
        "caution": _caution(outcome, request, say),
        "allowed": _allowed(outcome),
        "budget": _budget(outcome, say),
        "advice": say.listed(result.advice),
        "trials": _trials(outcome.entries, say),
        "support": _support(known, say),
        "outlook": [(step, say.said(why)) for step, why in known.outlook],
        "facts": {
            say("target"): request.board.title,
            say("time spent"): page.duration(sum(entry.seconds for entry in outcome.entries), say),
        },
    }  # fmt: skip


def _caution(outcome: Outcome, request: Request, say: Language) -> str:
    """A network that starts from pretrained weights may be ahead of one that did not, whatever its structure."""
    swap = next((entry for entry in outcome.entries if entry.name == "G1"), None)
    if swap is None or swap.verdict is not Verdict.TAKEN or swap.details.get("trial") not in request.settings.weights:
        return ""
    return say("The backbone of G1 started from pretrained weights: a gain in accuracy is theirs too.")


def _allowed(outcome: Outcome) -> plots.Allowed:
    budget = outcome.state.budget
    size_mb = None if budget.max_size_kib is None else budget.max_size_kib * 1024 / 1e6
    return plots.Allowed(budget.max_latency_ms, size_mb, outcome.state.floor)


def _budget(outcome: Outcome, say: Language) -> list[dict[str, Any]]:
    """-> one line a limit: what it is on, the limit, the unmodified network, the chosen one."""
    state = outcome.state
    first, chosen = state.entries[START].report, state.report
    before, after = (budgets.ratios(report, state.budget) for report in (first, chosen))
    lines = []
    for key, limit in budgets.limits_of(state.budget).items():
        one = budgets.LIMITS[key]
        lines.append({
            "what": f"{say.said(budgets.name(key))}, {one.unit}",
            "limit": say("at most {limit}", limit=budgets.figure(limit)),
            "first": budgets.figure(one.value(first) or 0.0),
            "chosen": budgets.figure(one.value(chosen) or 0.0),
            "first_kept": before[key] <= 1,
            "kept": after[key] <= 1,
        })  # fmt: skip
    if first.accuracy is not None and chosen.accuracy is not None:
        lines.append({
            "what": say.known(first.metric or "accuracy"),
            "limit": say("at least {floor}", floor=f"{state.floor:.1f}"),
            "first": f"{first.accuracy:.1f}",
            "chosen": f"{chosen.accuracy:.1f}",
            "first_kept": True,
            "kept": chosen.accuracy >= state.floor,
        })  # fmt: skip
    return lines


def _trials(entries: Sequence[LedgerEntry], say: Language) -> list[dict[str, Any]]:
    """-> step -> its settings, with what was measured of each."""
    groups = []
    for entry in entries:
        lines = []
        for one in entry.details.get("trials", ()):
            report = Report.from_json(one["report"]) if one.get("report") else Report()
            speedup = one.get("speedup") or {}
            lines.append({
                "label": say.in_record(one, "label"),
                "status": one["status"],
                "why": say.in_record(one, "why") if one["status"] == "cannot be used" else "",
                "accuracy": cols.number(cols.finite(report.accuracy), 1),
                "latency": cols.number(cols.finite(report.latency_ms.p50 if report.latency_ms else None), 2),
                "speedup": cols.number(cols.finite(speedup.get("median")), 2),
                "size": cols.number(cols.scaled(report.size_bytes, 1024), 0),
                "macs": cols.number(cols.scaled(report.macs, 1e6), 1),
            })  # fmt: skip
        if lines:
            groups.append({"step": entry.name, "lines": lines})
    return groups


def _support(known: Preflight, say: Language) -> dict[str, Any]:
    names = sorted({op for one in known.supports for op in one.ops})
    return {
        "heads": [f"{one.runtime}, {one.preset}" for one in known.supports],
        "lines": [(name, [(say.said(cell), _is_lacking(cell)) for cell in known.cells(name)]) for name in names],
        "faults": [f"{one.runtime}, {one.preset}: {say.said(one.fault)}" for one in known.supports if one.fault],
    }


def _is_lacking(cell: Said) -> bool:
    return isinstance(cell, Reason) and cell.code == "takes_not"


def _layers(
    folder: RunFolder,
    outcome: Outcome,
    files: Mapping[str, Path],
    request: Request,
    say: Language,
    write: Callable[[str], Any],
) -> dict[str, Any]:
    compared = {row: files[row] for row in (START, outcome.chosen) if row in files}
    costs = _attempt(lambda: measured_layers(folder, compared, request.rules, write=write), write)
    return layers_view(costs, plots.row_colours(outcome.entries), say) if costs else {}


def _errors(
    folder: RunFolder,
    outcome: Outcome,
    files: Mapping[str, Path],
    task: Task,
    request: Request,
    say: Language,
    write: Callable[[str], Any],
) -> Mapping[str, Any]:
    def images(count: int) -> Sequence[np.ndarray]:
        return task.calibration(count, seed=request.fit.seed)

    chosen, candidate = outcome.chosen, outcome.state.candidate
    if chosen not in files:
        return {}
    found = _attempt(lambda: found_errors(folder, candidate, files[chosen], images, write=write), write)
    return errors_view(chosen, found, say) if found else {}


def _attempt(make: Callable[[], Any], write: Callable[[str], Any]) -> Any:
    """-> what it makes; None, and a line of why, where it cannot: the rest of the page is worth having."""
    try:
        return make()
    except InputError as error:
        write(f"left out of the page: {error}")
        return None


def row_files(folder: RunFolder, outcome: Outcome) -> dict[str, Path]:
    """-> row -> its file, for the unmodified network and each one that was taken."""
    taken = [entry.name for entry in outcome.entries if entry.verdict is Verdict.TAKEN]
    places = {row: _step_dir(folder, row) / FILE for row in taken}
    return {row: file for row, file in places.items() if file.is_file()}


def _step_dir(folder: RunFolder, row: str) -> Path:
    rows = [START, *CLAUSES]
    return folder.step_dir(rows.index(row), row)


def _write_artifact(folder: RunFolder, outcome: Outcome, task: Task, board: str) -> None:
    inputs = first_inputs(task.validation_data(), GOLDEN)
    tflite = (_step_dir(folder, outcome.chosen) / FILE).read_bytes()
    write_bundle(
        folder.path / "artifact",
        tflite,
        name=f"model {outcome.chosen}",
        normalisation=normalisation_of(task),
        golden_inputs=np.asarray(inputs, np.float32),
        labels=output_names(task, tflite),
        board=board,
        report={"row": outcome.chosen, **outcome.state.report.to_json()},
    )
