"""G3 with training: the network learns with int8's rounding, and is compared with the int8 file that needed none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tta_lite.boards.profile import Runtime
from tta_lite.compat import keras
from tta_lite.guideline.bench import START, Trial
from tta_lite.guideline.case_study import Journal, say
from tta_lite.guideline.export_steps import export_trial
from tta_lite.guideline.reasons import spoken
from tta_lite.guideline.rescues import quantization_aware_trial
from tta_lite.guideline.settings import CLAUSES
from tta_lite.guideline.timing import time_together
from tta_lite.guideline.workshop import Workshop
from tta_lite.training.fit import FitSettings
from tta_lite.training.quantization_plan import QuantizationAware
from tta_lite.types import Candidate, ExportSpec, InputError, LedgerEntry, Task, Verdict

PLAIN, AWARE = "G3", "G3 aware"


def take_quantization_aware(
    model: keras.Model,
    task: Task,
    plan: QuantizationAware,
    journal: Journal,
    fit: FitSettings,
    rules: Mapping[str, Any],
    *,
    runtime: Runtime | None = None,
    write: Callable[[str], Any] = say,
) -> list[LedgerEntry]:
    """Trains a network with int8's rounding, and scores and times three files of it. A killed call goes on.

    Args:
      model: the trained float network.
      task: its data, loss and metric.
      plan: what is frozen when, and what of the weights is kept.
      journal: where rows are kept, such as a `tta_lite.report.run_folder.RunFolder`.
      fit: how it is trained.
      rules: by which the files are timed.
      runtime: of the board, which must run the files; None: no board is asked.
      write: where progress goes.

    Returns:
      the rows ``none`` (float32), ``G3`` (int8 without training) and ``G3 aware``.

    Raises:
      InputError: the network cannot be quantised, is quantised already, or does not run on the board.
    """
    rows = journal.read_ledger()
    if len(rows) > 2:
        return rows
    candidate = Candidate(model)
    trials = {
        PLAIN: export_trial(candidate, ExportSpec("int8", plan.calibration_images)),
        AWARE: quantization_aware_trial(candidate, plan, fit.epochs, 1.0),
    }
    # Before anything is scored: a layer that cannot be quantised ends the call in seconds.
    trials[AWARE].make()
    bench = Workshop(model, task, runtime, tuple(trials), journal, fit, rules, write=write)
    if not rows:
        write(f"[1/3] {START}")
        rows = [dataclasses.replace(bench.start(), why="the network as it was given")]
        journal.write_ledger(rows)
    for place, (name, trial) in enumerate(trials.items(), start=1):
        if len(rows) > place:
            continue
        write(f"[{place + 1}/3] {name}: {trial.label}")
        rows = [*rows, _taken(bench, name, trial)]
        journal.write_ledger(rows)
    usable = [row for row in rows if not row.details.get("fault")]
    timed = time_together(usable, {row.name: bench.file(row.name) for row in usable}, rules)
    rows = [next((one for one in timed if one.name == row.name), row) for row in rows]
    journal.write_ledger(rows)
    bench.write_reports(rows)
    for name in trials:
        bench.tidy(name)
    return rows


def _taken(bench: Workshop, name: str, trial: Trial) -> LedgerEntry:
    if bench.recall(name) is None:
        sketch = bench.sketch(name, trial)
        if sketch.fault:
            raise InputError(f"{name} by {trial.label} cannot be taken here. Received: {spoken(sketch.fault)}")
        bench.remember(name, {"trials": [{"name": trial.name, "status": "promising"}]})
    entry = dataclasses.replace(bench.finish(name, trial.name), name=name, clause=CLAUSES["G3"])
    if entry.details.get("fault"):
        # An int8 file may lose too much without training: that is what the training is for.
        return dataclasses.replace(entry, why=str(entry.details["fault"]))
    bench.keep(name, trial.name)
    return dataclasses.replace(entry, verdict=Verdict.TAKEN, why=f"asked for: {trial.label}")
