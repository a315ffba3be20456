"""What the case study leaves to read and to take away: the tables, the page, the plots and the artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tta_lite.datasets.pose_set import PoseSet
from tta_lite.export.bundle import write_bundle
from tta_lite.guideline import case_study
from tta_lite.guideline.rows import ROWS
from tta_lite.report import page, plots, table
from tta_lite.report.language import ENGLISH, Language
from tta_lite.report.outputs import output_names
from tta_lite.report.run_folder import RunFolder
from tta_lite.report.samples import spread
from tta_lite.report.skeletons import people_strip
from tta_lite.types import LedgerEntry

TITLE = "PoseResNet made light: the case study of the TTA guideline"
SUMMARY = (
    "The guideline's chapter 7 on this machine: a light backbone (G1), narrow inputs for the Deconvs (G2), then "
    "quantisation (G3), reduced precision (G4) or pruning (G5), each measured as a TFLite file."
)
GOLDEN = 3


def write_report(
    folder: RunFolder,
    entries: Sequence[LedgerEntry],
    study: case_study.CaseStudy,
    task_for: case_study.TaskFor,
    *,
    max_drop: float,
    strips: int,
    command: str,
    notes: Sequence[str] = (),
    say: Language = ENGLISH,
) -> Path:
    """Writes ``table.md``, ``table.csv``, ``plots/``, ``report.html`` and ``artifact/``; -> the page.

    Args:
      folder: of the run; its steps are finished.
      entries: one a row.
      study: what was compared.
      task_for: normalisation -> the task.
      max_drop: points of accuracy that the artifact may lie below the best row.
      strips: people whose skeletons are shown.
      command: what to type to run it again.
      notes: what the figures can and cannot say.
      say: the language of the page, which the notes are in already; tables are in English.
    """
    chosen = case_study.choose(entries, max_drop)
    task = task_for(case_study.normalisation_of(study, ROWS[entries[0].name]))
    dataset = task.test.name
    table.write_tables(folder, entries, dataset=dataset)
    plots.write_plots(folder, entries, say=say)
    if chosen is not None:
        _write_artifact(folder, chosen, study, task_for)
    skipped = (*task.train.skipped, *task.test.skipped)
    reported = [say("{dataset}: left out {example}", dataset=task.train.name, example=text) for text in skipped]
    return page.write_page(
        folder,
        say(TITLE),
        entries,
        notes=[*notes, *reported],
        strips=_strips(folder, entries, task.test, strips),
        context={
            "summary": say(SUMMARY),
            "dataset": dataset,
            "command": command,
            "chosen": chosen.name if chosen else "",
            "caution": _caution(study, entries[0], chosen, say),
            "facts": {say("training people"): f"{len(task.train)} ({task.train.name})", **_rules(study, say)},
        },
        say=say,
    )


def _caution(study: case_study.CaseStudy, first: LedgerEntry, chosen: LedgerEntry | None, say: Language) -> str:
    """A network that starts from pretrained weights is ahead of one that does not, whatever its structure."""
    if chosen is None or study.light_weights is None:
        return ""
    starts = [ROWS[entry.name].light and ROWS[entry.name].pretrained for entry in (first, chosen)]
    if starts[0] == starts[1]:
        return ""
    return say(
        "Only one of the two started from pretrained weights: the difference in accuracy is not what the steps cost."
    )


def _rules(study: case_study.CaseStudy, say: Language) -> dict[str, str]:
    fit = study.fit
    rules = say(
        "{epochs} epochs, Adam, learning rate {rate}, a tenth of it after {drops} of the steps; the same for every "
        "row; seed {seed}",
        epochs=fit.epochs,
        rate=f"{fit.learning_rate:g}",
        drops=", ".join(f"{drop:.0%}" for drop in fit.drops),
        seed=fit.seed,
    )
    return {say("training"): rules}


def _write_artifact(
    folder: RunFolder, chosen: LedgerEntry, study: case_study.CaseStudy, task_for: case_study.TaskFor
) -> None:
    row = ROWS[chosen.name]
    normalisation = case_study.normalisation_of(study, row)
    task = task_for(normalisation)
    step = folder.step_dir(list(ROWS).index(row.name), row.name)
    golden = np.concatenate(task.calibration(GOLDEN, seed=study.fit.seed))
    tflite = (step / case_study.FILE).read_bytes()
    write_bundle(
        folder.path / "artifact",
        tflite,
        name=f"pose {row.name}",
        normalisation=normalisation,
        golden_inputs=golden,
        labels=output_names(task, tflite),
        report={"row": chosen.name, **chosen.report.to_json()},
    )


def _strips(folder: RunFolder, entries: Sequence[LedgerEntry], people: PoseSet, count: int) -> Mapping[str, bytes]:
    """-> row -> PNG of the same people in every row, spread over the test set."""
    chosen = spread(len(people), count)
    strips = {}
    for entry in entries:
        if entry.report.accuracy is None:
            continue
        found = np.load(folder.step_dir(list(ROWS).index(entry.name), entry.name) / case_study.JOINTS)
        strips[entry.name] = people_strip(people, chosen, found[chosen])
    return strips
