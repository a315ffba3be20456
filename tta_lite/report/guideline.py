"""The report of a guideline run: table, plots, page and artifact from its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.export.bundle import write_bundle
from tta_lite.guideline import budget as budgets
from tta_lite.guideline.case_study import FILE
from tta_lite.guideline.ladder import START, Outcome
from tta_lite.guideline.preflight import Preflight
from tta_lite.guideline.program import Request, Result
from tta_lite.guideline.steps import STEPS
from tta_lite.models.backbones import Normalisation
from tta_lite.report import columns as cols
from tta_lite.report import page, plots, table
from tta_lite.report.outputs import output_names
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import LedgerEntry, Report, Task

TITLE = "The guideline, step by step"
GOLDEN = 3


def verdict_text(result: Result) -> str:
    """-> one line and, if the budget is not met, what the guideline advises."""
    outcome = result.outcome
    standing = budgets.standing(outcome.state.report, outcome.state.budget)
    if outcome.met:
        return f"The budget is met by {outcome.chosen}: {standing}."
    lines = [f"The budget is not met. Nearest comes {outcome.chosen}: {standing}. What the guideline advises (6.2):"]
    return "\n".join([*lines, *(f"- {one}" for one in result.advice)])


def write_report(
    folder: RunFolder, result: Result, request: Request, known: Preflight, task: Task, *, command: str
) -> Path:
    """Writes ``table.md``, ``table.csv``, ``plots/``, ``report.html`` and ``artifact/``; -> the page.

    Args:
      folder: of the run.
      result: how it ended.
      request: what was wanted.
      known: what was known before.
      task: gives the golden inputs of the artifact.
      command: what to type to run it again.
    """
    entries = result.outcome.entries
    dataset = str(getattr(getattr(task, "test", None), "name", ""))
    table.write_tables(folder, entries, dataset=dataset)
    allowed = _allowed(result.outcome)
    plots.write_plots(folder, entries, allowed)
    _write_artifact(folder, result.outcome, task, request.board.title)
    normal = page.duration(sum(entry.seconds for entry in entries))
    return page.write_page(
        folder,
        TITLE,
        entries,
        context={
            "summary": f"For the {request.board.title}. {verdict_text(result).splitlines()[0]}",
            "dataset": dataset,
            "command": command,
            "chosen": result.outcome.chosen,
            "allowed": allowed,
            "budget": _budget(result.outcome),
            "advice": [str(one) for one in result.advice],
            "trials": _trials(entries),
            "support": _support(known),
            "outlook": [(step, str(why)) for step, why in known.outlook],
            "facts": {"target": request.board.title, "time spent": normal},
        },
    )


def _allowed(outcome: Outcome) -> plots.Allowed:
    budget = outcome.state.budget
    size_mb = None if budget.max_size_kib is None else budget.max_size_kib * 1024 / 1e6
    return plots.Allowed(budget.max_latency_ms, size_mb, outcome.state.floor)


def _budget(outcome: Outcome) -> list[dict[str, Any]]:
    """-> one line a limit: what it is on, the limit, the unmodified network, the chosen one."""
    state = outcome.state
    first, chosen = state.entries[START].report, state.report
    before, after = (budgets.ratios(report, state.budget) for report in (first, chosen))
    lines = []
    for key, limit in budgets.limits_of(state.budget).items():
        one = budgets.LIMITS[key]
        lines.append({
            "what": f"{one.what}, {one.unit}",
            "limit": f"at most {budgets.figure(limit)}",
            "first": budgets.figure(one.value(first) or 0.0),
            "chosen": budgets.figure(one.value(chosen) or 0.0),
            "first_kept": before[key] <= 1,
            "kept": after[key] <= 1,
        })  # fmt: skip
    if first.accuracy is not None and chosen.accuracy is not None:
        lines.append({
            "what": first.metric or "accuracy",
            "limit": f"at least {state.floor:.1f}",
            "first": f"{first.accuracy:.1f}",
            "chosen": f"{chosen.accuracy:.1f}",
            "first_kept": True,
            "kept": chosen.accuracy >= state.floor,
        })  # fmt: skip
    return lines


def _trials(entries: Sequence[LedgerEntry]) -> list[dict[str, Any]]:
    """-> step -> its settings, with what was measured of each."""
    groups = []
    for entry in entries:
        lines = []
        for one in entry.details.get("trials", ()):
            report = Report.from_json(one["report"]) if one.get("report") else Report()
            speedup = one.get("speedup") or {}
            lines.append({
                "label": one["label"],
                "status": one["status"],
                "why": one["why"] if one["status"] == "cannot be used" else "",
                "accuracy": cols.number(cols.finite(report.accuracy), 1),
                "latency": cols.number(cols.finite(report.latency_ms.p50 if report.latency_ms else None), 2),
                "speedup": cols.number(cols.finite(speedup.get("median")), 2),
                "size": cols.number(cols.scaled(report.size_bytes, 1024), 0),
                "macs": cols.number(cols.scaled(report.macs, 1e6), 1),
            })  # fmt: skip
        if lines:
            groups.append({"step": entry.name, "lines": lines})
    return groups


def _support(known: Preflight) -> dict[str, Any]:
    names = sorted({op for one in known.supports for op in one.ops})
    return {
        "heads": [f"{one.runtime}, {one.preset}" for one in known.supports],
        "lines": [(name, known.cells(name)) for name in names],
        "faults": [f"{one.runtime}, {one.preset}: {one.fault}" for one in known.supports if one.fault],
    }


def _write_artifact(folder: RunFolder, outcome: Outcome, task: Task, board: str) -> None:
    rows = [START, *STEPS]
    step = folder.step_dir(rows.index(outcome.chosen), outcome.chosen)
    inputs = next(task.validation_data().as_numpy_iterator())[0][:GOLDEN]
    normalisation = getattr(task, "normalisation", None)
    tflite = (step / FILE).read_bytes()
    write_bundle(
        folder.path / "artifact",
        tflite,
        name=f"model {outcome.chosen}",
        normalisation=normalisation if isinstance(normalisation, Normalisation) else None,
        golden_inputs=np.asarray(inputs, np.float32),
        labels=output_names(task, tflite),
        board=board,
        report={"row": outcome.chosen, **outcome.state.report.to_json()},
    )
