"""G3 or G4 on a network of which there is only a file: a float ``.tflite``, a SavedModel, or a model without a task."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tta_lite.boards.profile import Runtime
from tta_lite.export.contents import read_contents
from tta_lite.export.for_runtime import exported_for
from tta_lite.export.parity import measure
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.files import atomic_write, to_json_text
from tta_lite.guideline.bench import START
from tta_lite.guideline.case_study import FILE, PARITY_IMAGES, REPORT, report_on_paper, say
from tta_lite.guideline.checks import missing_ops
from tta_lite.guideline.delegated import delegation_note
from tta_lite.guideline.reasons import reason, spoken, with_said
from tta_lite.guideline.timing import time_together
from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.tasks.find import Edges
from tta_lite.types import ExportSpec, InputError, LedgerEntry, Task, Verdict


class Folders(Protocol):
    """Where the rows are kept; `tta_lite.report.run_folder.RunFolder` is one."""

    def step_dir(self, index: int, name: str) -> Path:
        """The folder of a step, created."""

    def write_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Replaces all."""


def edges_of(tflite: bytes) -> Edges:
    """-> what a task must know of a float flatbuffer with one input and one output."""
    contents = read_contents(tflite)
    picture = contents.tensors[contents.inputs[0]].shape
    output = contents.tensors[contents.outputs[0]].shape
    last = next((op.name for op in reversed(contents.ops) if contents.outputs[0] in op.outputs), "")
    if len(picture) != 4 or picture[-1] != 3:
        raise InputError(f"The network must take one colour picture, [1, H, W, 3]. Received: {list(picture)}")
    return Edges(tuple(picture[1:]), tuple(output[1:]), last == "SOFTMAX")


def quantize_file(
    source: FloatFile,
    spec: ExportSpec,
    images: Sequence[np.ndarray],
    folders: Folders,
    rules: Mapping[str, Any],
    *,
    step: str,
    clause: str,
    task: Task | None = None,
    runtime: Runtime | None = None,
    write: Callable[[str], Any] = say,
) -> list[LedgerEntry]:
    """Quantises a float file, compares both on the images, scores them if there is a task, and times them together.

    Args:
      source: the float file.
      spec: the preset, the ranges and the repairs.
      images: for calibration, each [1, H, W, C] float32.
      folders: get ``steps/00-none/model.tflite`` and that of the step.
      rules: by which the two are timed.
      step: the row's name.
      clause: of the guideline.
      task: scores them.
      runtime: of the board, which must take every op; None: no board is asked.
      write: where progress goes.

    Returns:
      the row ``none`` and the row of the step.

    Raises:
      InputError: the network cannot be quantised so, or the board does not take it.
    """
    began = time.monotonic()
    write(f"[1/2] {START}")
    rows = {START: source.tflite}
    post = PostTraining(source, images)
    write(f"[2/2] {step}: {spec.preset}")
    tflite = exported_for(post.quantize(spec), runtime)
    if runtime is not None and not runtime.ask and (misses := missing_ops(tflite, runtime)):
        told = ", ".join(dict.fromkeys(f"{miss.op} ({miss.layer})" for miss in misses[:3]))
        raise InputError(f"{runtime.title} does not take the {spec.preset} file. Received: {told}")
    rows[step] = tflite
    note = ""
    if len(images):
        batch = np.concatenate(list(images[:PARITY_IMAGES]))
        note = f"{measure(TFLitePredictor(source.tflite)(batch), TFLitePredictor(tflite)(batch))}."
    files, entries = {}, []
    for place, (name, data) in enumerate(rows.items()):
        folder = folders.step_dir(place, name)
        files[name] = folder / FILE
        atomic_write(files[name], data)
        preset = "fp32" if name == START else spec.preset
        report = report_on_paper(data, count_tflite(data))
        if task is not None:
            write(f"{name}: scoring {preset} through the interpreter")
            report = dataclasses.replace(report, **task.score(TFLitePredictor(data)).report_fields())
        notes = " ".join(filter(None, [note if name == step else "", spoken(delegation_note(data))]))
        details = {**with_said("label", f"{source.name}, {preset}"), "trail": [preset], "note": notes}
        why = "the network as it was given" if name == START else f"asked for: {spoken(reason(f'label_{preset}'))}"
        row_clause = "" if name == START else clause
        entries.append(LedgerEntry(name, row_clause, Verdict.TAKEN, why, report, time.monotonic() - began, details))
        began = time.monotonic()
    write(f"timing {len(files)} files in turn, {rules.get('rounds', 1)} rounds")
    entries = time_together(entries, files, rules)
    folders.write_ledger(entries)
    for entry in entries:
        atomic_write(files[entry.name].parent / REPORT, to_json_text(entry.report.to_json(), indent=2) + "\n")
    return entries
