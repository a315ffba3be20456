"""The bench of a guideline run: networks are built, trained, exported, scored, timed, and kept in the run folder."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tta_lite.boards.profile import Runtime
from tta_lite.compat import keras
from tta_lite.export.for_runtime import exported_for
from tta_lite.export.parity import check_parity, compare
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.guideline import trainer
from tta_lite.guideline.bench import START, Sketch, Trial
from tta_lite.guideline.case_study import FILE, MODEL, PARITY_IMAGES, REPORT, report_on_paper, say
from tta_lite.guideline.checks import as_if_trained, missing_ops
from tta_lite.guideline.delegated import delegation_note
from tta_lite.guideline.progress import Scoring, Tell, Timed, untold
from tta_lite.guideline.reasons import Said, UnusableError, all_of, fault_of, reason, said_in, with_said
from tta_lite.measure.benchmark import Comparison, benchmark, benchmark_together
from tta_lite.measure.counting import count
from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.measure.latency_model import load_model
from tta_lite.measure.predict import predict
from tta_lite.tasks.calibration import checked_calibration
from tta_lite.tasks.stream import first_inputs
from tta_lite.training.fit import FitSettings
from tta_lite.training.pruning import sparsity
from tta_lite.training.quantization_aware import is_quantization_aware, plain_network
from tta_lite.training.quantization_files import load_trained, ranges_file, save_trained
from tta_lite.types import FP32, Candidate, ExportSpec, InputError, LedgerEntry, Task, Verdict

# Of a trial: the untrained network, what it is, what was measured of the finished one; of a row: what to go on with.
OUTLINE, RECORD, FINISHED, PROGRESS = "start.keras", "candidate.json", "finished.json", "trials.json"
TRIALS = "trials"


class StepFolders(Protocol):
    """Where a run is kept; `tta_lite.report.run_folder.RunFolder` is one."""

    def step_dir(self, index: int, name: str) -> Path:
        """The folder of a step, created."""


class Workshop:
    """A `tta_lite.guideline.ladder.Bench` that works in a run folder.

    Args:
      model: the unmodified network.
      task: data, loss and metric.
      runtime: of the board; files must run on it. None: no board is asked.
      rows: names of the steps in their order.
      folders: the run folder.
      settings: by which every trial is trained; its epochs and learning rate hold for what starts anew.
      rules: of `benchmark_together`.
      write: where progress goes,
      tell: and the same as records.
    """

    def __init__(
        self,
        model: keras.Model,
        task: Task,
        runtime: Runtime | None,
        rows: Sequence[str],
        folders: StepFolders,
        settings: FitSettings,
        rules: Mapping[str, Any],
        *,
        write: Callable[[str], Any] = say,
        tell: Tell = untold,
    ):
        self.model, self.task, self.runtime = model, task, runtime
        self.rows, self.folders = (START, *rows), folders
        self.settings, self.rules, self.write, self.tell = settings, rules, write, tell
        # The last network that was exported, for how many images, and what was made of it.
        self._post: tuple[keras.Model, int, PostTraining] | None = None
        self._images: dict[int, Sequence[np.ndarray]] = {}

    def start(self) -> LedgerEntry:
        """The unmodified network as a float32 file, scored."""
        candidate = Candidate(self.model, FP32, ())
        atomic_write(self._folder(START) / FILE, self._export(candidate))
        entry = self._scored(START, candidate, self._folder(START), f"{self.model.name}, fp32", time.monotonic())
        self._save(self._folder(START), MODEL, candidate)
        if entry.details.get("fault"):
            raise InputError(f"The unmodified network cannot be measured. Received: {entry.details['fault']}")
        return entry

    def load(self, row: str) -> Candidate:
        """The network of a row that was taken."""
        return self._load(self._folder(row), MODEL)

    def file(self, row: str, trial: str | None = None) -> Path:
        """The ``.tflite`` file of a row or of a trial."""
        return (self._folder(row) if trial is None else self._trial(row, trial)) / FILE

    def sketch(self, row: str, trial: Trial) -> Sketch:
        """Builds a trial and exports it with weights that cost what trained ones do."""
        folder = self._trial(row, trial.name)
        # What starts from random weights starts from the same ones in every run of this seed, killed in between or not.
        keras.utils.set_random_seed(self.settings.seed)
        try:
            candidate = trial.make()
            preset = candidate.export.preset
            if self.runtime is not None and preset not in self.runtime.presets:
                raise UnusableError(reason("fault_preset", runtime=self.runtime.title, preset=preset))
            if trial.outline is not None:
                shown = trial.outline().model
            else:
                shown = as_if_trained(candidate.model) if trial.epochs else candidate.model
            tflite = self._export(dataclasses.replace(candidate, model=shown))
            # What LiteRT's delegate leaves, its own kernels run: that costs time, which is measured.
            if self.runtime is not None and not self.runtime.ask:
                _check_ops(tflite, self.runtime, [layer.name for layer in shown.layers])
            atomic_write(folder / FILE, tflite)
            _check_it_runs(folder / FILE)
            if self.rules.get("latency_model"):
                # What the model of latency does not know is told of this setting, and does not end the run.
                predict(tflite, load_model(self.rules["latency_model"]))
        except InputError as error:
            return Sketch(fault=fault_of(error))
        needs = {
            **with_said("label", trial.what),
            "epochs": trial.epochs,
            "rate": trial.rate,
            "sparsity": trial.sparsity,
            "pruning": None if trial.pruning is None else dataclasses.asdict(trial.pruning),
            "precision": trial.precision,
            "quantization": None if trial.quantization is None else dataclasses.asdict(trial.quantization),
            "teaching": None if trial.teaching is None else dataclasses.asdict(trial.teaching),
        }
        self._save(folder, OUTLINE, candidate, needs)
        return Sketch(report_on_paper(tflite, count(candidate.model)))

    def finish(self, row: str, trial: str) -> LedgerEntry:
        """Trains if needed, exports, compares with the Keras model and scores; what is there already is read."""
        folder = self._trial(row, trial)
        if (folder / FINISHED).is_file():
            return LedgerEntry.from_json(json.loads((folder / FINISHED).read_text(encoding="utf-8")))
        needs = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        began = time.monotonic() - trainer.spent(folder)
        if (folder / MODEL).is_file():
            candidate = self._load(folder, MODEL)
        else:
            candidate, learnt = self._trained(row, trial, needs)
            needs |= learnt
            self._save(folder, MODEL, candidate, needs)
            trainer.tidy(folder)
        if needs["epochs"]:
            atomic_write(folder / FILE, self._export(candidate))
        label = reason("label_file", label=said_in(needs, "label"), preset=candidate.export.preset)
        # With a teacher and without, the better one was found by its score.
        known = needs.get("distillation")
        known = None if known is None else known[known["kept"]]
        entry = self._scored(row, candidate, folder, label, began, known)
        plan = needs.get("quantization") or {}
        if "learnt" in needs:
            entry = _noted(entry, said_in(needs, "learnt"))
        if "distillation" in needs:
            entry = dataclasses.replace(entry, details={**entry.details, "distillation": needs["distillation"]})
        if needs["sparsity"] is not None or plan.get("sparsity") is not None:
            zeros = reason("note_zeros", share=f"{sparsity(plain_network(candidate.model)):.1%}")
            entry = _noted(entry, zeros)
        atomic_write(folder / FINISHED, to_json_text(entry.to_json()))
        return entry

    def keep(self, row: str, trial: str) -> None:
        """Copies the trial's files into the step's folder."""
        source, target = self._trial(row, trial), self._folder(row)
        for name in (FILE, ranges_file(MODEL).name, MODEL, RECORD):
            if not (source / name).is_file():
                continue
            with atomic_path(target / name) as temporary:
                shutil.copyfile(source / name, temporary)

    def compare(self, files: Mapping[str, Path]) -> Comparison:
        """Times files in turn, or predicts what they would take, whatever the rules say."""
        if self.rules.get("latency_model"):
            self.write(f"predicting the latency of {len(files)} files by {self.rules['latency_model']}")
        else:
            self.write(f"timing {len(files)} files in turn, {self.rules['rounds']} rounds")
        self.tell(Timed(0, self.rules["rounds"] * len(files)))
        return benchmark_together(files, **self.rules, progress=lambda done, count, _: self.tell(Timed(done, count)))

    def timing(self) -> Mapping[str, Any]:
        """The rules by which files are timed."""
        return self.rules

    def recall(self, row: str) -> dict[str, Any] | None:
        """What was remembered of a row."""
        file = self._folder(row) / PROGRESS
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def remember(self, row: str, record: Mapping[str, Any]) -> None:
        """Keeps the record, and only those trials that it calls promising."""
        atomic_write(self._folder(row) / PROGRESS, to_json_text(record, indent=1))
        for one in record["trials"]:
            if one["status"] != "promising":
                shutil.rmtree(self._trial(row, one["name"]), ignore_errors=True)

    def tidy(self, row: str) -> None:
        """Removes the trials of a row that is in the ledger."""
        shutil.rmtree(self._folder(row) / TRIALS, ignore_errors=True)
        (self._folder(row) / PROGRESS).unlink(missing_ok=True)

    def write_reports(self, entries: Sequence[LedgerEntry]) -> None:
        """``report.json`` of every row that was measured."""
        for entry in entries:
            if entry.report.size_bytes is not None:
                text = to_json_text(entry.report.to_json(), indent=2) + "\n"
                atomic_write(self._folder(entry.name) / REPORT, text)

    def _folder(self, row: str) -> Path:
        return self.folders.step_dir(self.rows.index(row), row)

    def _trial(self, row: str, trial: str) -> Path:
        return self._folder(row) / TRIALS / (re.sub(r"[^A-Za-z0-9_.]+", "-", trial) or "trial")

    def _save(self, folder: Path, name: str, candidate: Candidate, more: Mapping[str, Any] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        record = {"export": dataclasses.asdict(candidate.export), "trail": candidate.trail, **(more or {})}
        atomic_write(folder / RECORD, to_json_text(record, indent=1))
        save_trained(candidate.model, folder / name)

    def _load(self, folder: Path, name: str) -> Candidate:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Candidate(load_trained(folder / name), ExportSpec(**record["export"]), tuple(record["trail"]))

    def _export(self, candidate: Candidate) -> bytes:
        spec = candidate.export
        if is_quantization_aware(candidate.model):
            return exported_for(export_tflite(candidate.model, spec), self.runtime)
        # The settings of a step share a network: it is converted once, and the images pass through it once.
        count = spec.calibration_images if spec.needs_images else 0
        if self._post is None or self._post[0] is not candidate.model or (count and self._post[1] != count):
            source = FloatFile.of_model(candidate.model)
            self._post = candidate.model, count, PostTraining(source, self._calibration(count))
        return exported_for(self._post[2].quantize(spec), self.runtime)

    def _calibration(self, count: int) -> Sequence[np.ndarray]:
        """-> as many training images, checked once."""
        if count not in self._images:
            self._images[count] = checked_calibration(self.task, count, seed=self.settings.seed)[0] if count else []
        return self._images[count]

    def _trained(self, row: str, trial: str, needs: Mapping[str, Any]) -> tuple[Candidate, dict[str, Any]]:
        """-> the trained network of a trial, and what is to be told of its teacher."""
        folder = self._trial(row, trial)
        at_work = trainer.Trainer(self.task, self.settings, self.load, self.write, self.tell)
        return at_work.trained(self._load(folder, OUTLINE), needs, folder, f"{row} {trial}")

    def _scored(
        self, row: str, candidate: Candidate, folder: Path, label: Said, began: float, known: float | None = None
    ) -> LedgerEntry:
        """-> what was measured of a file; `known` is the score of its Keras model."""
        file = folder / FILE
        tflite = file.read_bytes()
        counts = count(plain_network(candidate.model))
        report = report_on_paper(tflite, counts)
        details: dict[str, Any] = {**with_said("label", label), "trail": list(candidate.trail), "note": ""}
        images = first_inputs(self.task.validation_data(), PARITY_IMAGES)
        try:
            _check_it_runs(file)
            parity = compare(candidate.model, tflite, images)
            details["parity"] = dataclasses.asdict(parity)
            check_parity(parity, candidate.export.preset)
        except InputError as error:
            details["fault"] = str(error)
            return LedgerEntry(row, "", Verdict.TOO_LOSSY, "", report, time.monotonic() - began, details)
        self.tell(Scoring())
        self.write(f"{row}: scoring {details['label']} through the interpreter")
        accuracy = self.task.score(TFLitePredictor(tflite))
        keras_accuracy = trainer.keras_score(candidate.model, self.task).value if known is None else known
        notes: list[Said] = [delegation_note(tflite)]
        if counts.uncounted:
            notes.append(reason("note_uncounted", ops=", ".join(counts.uncounted)))
        report = dataclasses.replace(report, **accuracy.report_fields(), keras_accuracy=keras_accuracy)
        details |= with_said("note", all_of(notes, "then"))
        return LedgerEntry(row, "", Verdict.TAKEN, "", report, time.monotonic() - began, details)


def _noted(entry: LedgerEntry, note: Said) -> LedgerEntry:
    """-> the entry with one more sentence before its note."""
    said = with_said("note", all_of([note, said_in(entry.details, "note")], "then"))
    return dataclasses.replace(entry, details={**entry.details, **said})


def _check_it_runs(file: Path) -> None:
    """A runtime may refuse a file, or die of it: better in a process of its own, and before anything is trained."""
    benchmark(file, num_threads=1, warmup_runs=0, num_runs=1, min_secs=0.0)


def _check_ops(tflite: bytes, runtime: Runtime, layers: Sequence[str]) -> None:
    missing = missing_ops(tflite, runtime, layers)
    if missing:
        told = dict.fromkeys((miss.op, repr(miss.layer)) for miss in missing[:3])
        ops = all_of([reason("op_of_layer", op=op, layer=layer) for op, layer in told], "also")
        raise UnusableError(reason("fault_ops", runtime=runtime.title, ops=ops))
