"""One step of the guideline by itself, made, trained, exported and scored by the same code as within the ladder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from tta_lite.boards.profile import Runtime
from tta_lite.compat import keras
from tta_lite.guideline.bench import START, Trial
from tta_lite.guideline.case_study import Journal, say
from tta_lite.guideline.reasons import spoken
from tta_lite.guideline.settings import CLAUSES
from tta_lite.guideline.timing import time_together
from tta_lite.guideline.workshop import Workshop
from tta_lite.training.fit import FitSettings
from tta_lite.types import InputError, LedgerEntry, Task, Verdict


def take_alone(
    step: str,
    model: keras.Model,
    task: Task,
    trial: Trial,
    journal: Journal,
    fit: FitSettings,
    rules: Mapping[str, Any],
    *,
    runtime: Runtime | None = None,
    clause: str | None = None,
    write: Callable[[str], Any] = say,
) -> list[LedgerEntry]:
    """Takes one setting of one step, whether it pays or not, and measures before and after.

    The network of a row of a guideline run, the same setting and the same seed give the same files as within the run,
    bit by bit. A call that was killed goes on where it was.

    Args:
      step: its name, one of `tta_lite.guideline.settings.CLAUSES`, or another with a `clause`.
      model: the network before the step.
      task: its data, loss and metric.
      trial: the setting.
      journal: where rows are kept, such as a `tta_lite.report.run_folder.RunFolder`.
      fit: how it is trained, if it needs that; its learning rate is multiplied by the trial's.
      rules: by which the two files are timed.
      runtime: of the board, which must run the file; None: no board is asked.
      clause: of the guideline; that of the step if not given.
      write: where progress goes.

    Returns:
      the row ``none`` and the row of the step, timed together.

    Raises:
      InputError: the setting cannot be used on this network or this board.
    """
    finished = journal.read_ledger()
    if len(finished) > 1:
        return finished
    bench = Workshop(model, task, runtime, (step,), journal, fit, rules, write=write)
    if not finished:
        write(f"[1/2] {START}")
        finished = [bench.start()]
        journal.write_ledger(finished)
    first = dataclasses.replace(finished[0], why="the network as it was given")
    write(f"[2/2] {step}: {trial.label}")
    if bench.recall(step) is None:
        sketch = bench.sketch(step, trial)
        if sketch.fault:
            raise InputError(f"{step} by {trial.label} cannot be taken here. Received: {spoken(sketch.fault)}")
        bench.remember(step, {"trials": [{"name": trial.name, "status": "promising"}]})
    entry = bench.finish(step, trial.name)
    entry = dataclasses.replace(entry, name=step, clause=CLAUSES[step] if clause is None else clause)
    if entry.details.get("fault"):
        entries = [first, dataclasses.replace(entry, why=str(entry.details["fault"]))]
        rows = time_together(entries[:1], {START: bench.file(START)}, rules) + entries[1:]
    else:
        bench.keep(step, trial.name)
        entry = dataclasses.replace(entry, verdict=Verdict.TAKEN, why=f"asked for: {trial.label}")
        rows = time_together([first, entry], {START: bench.file(START), step: bench.file(step)}, rules)
    journal.write_ledger(rows)
    bench.write_reports(rows)
    bench.tidy(step)
    return rows
