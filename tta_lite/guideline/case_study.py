"""The case study of the guideline's chapter 7: PoseResNet made light step by step, and measured after every step."""

from __future__ import annotations

import dataclasses
import functools
import math
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tta_lite.compat import keras, load_model
from tta_lite.export.delegation import check_delegation
from tta_lite.export.parity import TooLossyError, check_parity, compare
from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.guideline.delegated import delegation_note
from tta_lite.guideline.reasons import Said, all_of, reason, spoken, with_said
from tta_lite.guideline.rows import ROWS, Row, choose_rows
from tta_lite.guideline.timing import time_together, timed_together
from tta_lite.measure.counting import count
from tta_lite.measure.counts import Counts
from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.models.backbones import Normalisation, get_backbone
from tta_lite.models.pose import pose_resnet
from tta_lite.tasks.pckh import pckh
from tta_lite.tasks.pose import PoseTask
from tta_lite.tasks.stream import first_inputs
from tta_lite.training.fit import FitSettings, fit, training_seconds
from tta_lite.training.precision import AUTO, choose_policy
from tta_lite.training.pruning import Pruning, sparsity
from tta_lite.training.strategy import get_strategy, mean_and_variance
from tta_lite.types import Candidate, InputError, LedgerEntry, Report, Verdict

MODEL, FILE, REPORT, JOINTS = "model.keras", "model.tflite", "report.json", "joints.npy"
TRAINING = "training"
PARITY_IMAGES = 8

TaskFor = Callable[[Normalisation], PoseTask]
Write = Callable[[str], Any]
# At once, for whoever follows a log file or a pipe.
say: Write = functools.partial(print, flush=True)


class Journal(Protocol):
    """Where results are kept; `tta_lite.report.run_folder.RunFolder` is one."""

    def step_dir(self, index: int, name: str) -> Path:
        """The folder of a step, created."""

    def read_ledger(self) -> list[LedgerEntry]:
        """What was finished before."""

    def write_ledger(self, entries: Iterable[LedgerEntry]) -> None:
        """Replaces all."""


@dataclasses.dataclass(frozen=True)
class CaseStudy:
    """What is compared with what.

    Attributes:
      rows: names of `tta_lite.guideline.rows.ROWS`.
      backbone: of the unmodified network, trained from random weights.
      light_backbone: of all other rows (G1).
      light_weights: what the light backbone starts from: None, ``imagenet`` or a file.
      bottleneck: channels before each Deconv (G2).
      pruning: the schedule of G5.
      fit: the rules by which every row is trained.
      num_threads: of the interpreter.
      rounds: of the benchmark; the rows are timed in turn.
      num_runs: timed inferences a row, at least.
      min_secs: timed seconds a row, at least.
      precision: in which rows of G4 are trained, one of `tta_lite.training.precision.CHOICES`.
      place: which board times, as `tta_lite.measure.benchmark.benchmark_together` takes it; empty: this machine.
    """

    rows: tuple[str, ...]
    backbone: str = "resnet50"
    light_backbone: str = "mobilenet_v2"
    light_weights: str | None = None
    bottleneck: int = 64
    pruning: Pruning = dataclasses.field(default_factory=Pruning)
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)
    num_threads: int = 1
    rounds: int = 5
    num_runs: int = 50
    min_secs: float = 1.0
    precision: str = AUTO
    place: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        choose_policy(self.precision)
        for name in ("bottleneck", "num_threads", "rounds", "num_runs"):
            if getattr(self, name) < 1:
                raise InputError(f"Argument `{name}` must be 1 or more. Received: {getattr(self, name)}")
        if not 0 <= self.min_secs < math.inf:
            raise InputError(f"Argument `min_secs` must be 0 or more seconds. Received: {self.min_secs}")

    def timing(self) -> dict[str, Any]:
        """-> the rules by which every row is timed."""
        rules = {name: getattr(self, name) for name in ("num_threads", "rounds", "num_runs", "min_secs")}
        return {**rules, **self.place}


def check(study: CaseStudy, task_for: TaskFor) -> None:
    """Finds at once what a run would find only after the training of a row or two.

    Raises:
      InputError: an unknown backbone, a task that cannot be, nobody who can be scored, or a light backbone whose
        width or weights do not fit.
    """
    rows = choose_rows(study.rows)
    for backbone in (study.backbone, study.light_backbone):
        get_backbone(backbone)
    tasks = [task_for(normalisation_of(study, row)) for row in rows]
    people = tasks[0].test
    pckh(people, people.joints)
    light = [(row, task) for row, task in zip(rows, tasks, strict=True) if row.light]
    if light:
        build(study, *max(light, key=lambda pair: pair[0].pretrained))


def train_only(study: CaseStudy, task_for: TaskFor, journal: Journal, *, write: Write = say) -> None:
    """What a worker of a cluster that is not the chief does: its part of every row's training."""
    rows = choose_rows(study.rows)
    folders = _folders(rows, journal)
    for row in rows:
        _check_workers_agree(study, row, folders)
        _network(study, row, task_for(normalisation_of(study, row)), folders, row.name, write)


def run(study: CaseStudy, task_for: TaskFor, journal: Journal, *, write: Write = say) -> list[LedgerEntry]:
    """Trains, exports, scores and times every row; goes on where a killed run stopped.

    All files are timed at the end, in turn, because only figures of one such comparison may be divided by one another.

    Args:
      study: the rows and the rules.
      task_for: normalisation -> the task; the backbones want their pixels in different ways.
      journal: gets a folder and a ledger line a row.
      write: where progress goes.

    Returns:
      one entry a row, in the table's order.

    Raises:
      InputError: an argument, an example or an exported file that cannot be used.
    """
    rows = choose_rows(study.rows)
    for backbone in (study.backbone, study.light_backbone):
        get_backbone(backbone)
    entries = {entry.name: entry for entry in journal.read_ledger()}
    folders = _folders(rows, journal)
    for place, row in enumerate(rows, start=1):
        title = f"[{place}/{len(rows)}] {row.name}"
        _check_workers_agree(study, row, folders)
        if row.name in entries and all((folders[row.name] / name).is_file() for name in (FILE, JOINTS)):
            write(f"{title}: finished before")
            continue
        write(f"{title}: {describe(study, row)}")
        entries[row.name] = _step(study, row, task_for, folders, title, write)
        _keep(journal, entries, folders)
    exported = [entries[row.name] for row in rows if entries[row.name].verdict is Verdict.TAKEN]
    if exported and not timed_together(exported, study.timing()):
        write(f"timing {len(exported)} files in turn, {study.rounds} rounds, {study.num_threads} thread(s)")
        timed = time_together(exported, {name: folder / FILE for name, folder in folders.items()}, study.timing())
        entries.update((entry.name, entry) for entry in timed)
        _keep(journal, entries, folders)
    return [entries[row.name] for row in rows]


def describe(study: CaseStudy, row: Row) -> str:
    """-> what a row is, e.g. ``mobilenet_v2 (pretrained) + PConv 64, int8``."""
    return spoken(_label(study, row))


def _label(study: CaseStudy, row: Row) -> Said:
    pretrained = row.light and row.pretrained and study.light_weights
    backbone = study.light_backbone if row.light else study.backbone
    text = reason("label_pretrained" if pretrained else "label_scratch", name=backbone)
    if row.narrow:
        text = reason("label_pconv", label=text, channels=study.bottleneck)
    if row.pruned:
        text = reason("label_sparse", label=text, share=f"{study.pruning.sparsity:.0%}")
    return reason("label_file", label=text, preset=row.export.preset)


def build(study: CaseStudy, row: Row, task: PoseTask) -> keras.Model:
    """-> the untrained network of a row: [B, S, S, 3] -> [B, S/4, S/4, J]."""
    keras.utils.set_random_seed(study.fit.seed)
    return pose_resnet(
        study.light_backbone if row.light else study.backbone,
        joints=len(task.train.joint_set),
        input_size=task.input_size,
        weights=study.light_weights if row.light and row.pretrained else None,
        bottleneck=study.bottleneck if row.narrow else None,
    )


def normalisation_of(study: CaseStudy, row: Row) -> Normalisation:
    """-> what a row's backbone expects of its pixels."""
    return get_backbone(study.light_backbone if row.light else study.backbone).normalisation


def choose(entries: Sequence[LedgerEntry], max_drop: float) -> LedgerEntry | None:
    """-> the fastest row that is at most `max_drop` points below the most accurate one: it becomes the artifact."""
    measured = [
        (entry.report.accuracy, entry.report.latency_ms.p50, entry)
        for entry in entries
        if entry.report.accuracy is not None and entry.report.latency_ms is not None
    ]
    best = max((accuracy for accuracy, _, _ in measured), default=0.0)
    near = [(latency, entry) for accuracy, latency, entry in measured if accuracy >= best - max_drop]
    return min(near, key=lambda pair: pair[0])[1] if near else None


def row_files(study: CaseStudy, journal: Journal) -> dict[str, Path]:
    """-> row -> its file, for those that have one."""
    files = {name: folder / FILE for name, folder in _folders(choose_rows(study.rows), journal).items()}
    return {name: file for name, file in files.items() if file.is_file()}


def _folders(rows: Sequence[Row], journal: Journal) -> dict[str, Path]:
    # A row has the same folder whichever rows are asked for, so that rows can be added to a run.
    return {row.name: journal.step_dir(list(ROWS).index(row.name), row.name) for row in rows}


def _keep(journal: Journal, entries: Mapping[str, LedgerEntry], folders: Mapping[str, Path]) -> None:
    for name in entries.keys() & folders.keys():
        atomic_write(folders[name] / REPORT, to_json_text(entries[name].report.to_json(), indent=2) + "\n")
    # In the table's order; rows that were not asked for this time stay.
    journal.write_ledger(entries[name] for name in dict.fromkeys((*ROWS, *entries)) if name in entries)


def _step(
    study: CaseStudy, row: Row, task_for: TaskFor, folders: dict[str, Path], title: str, write: Write
) -> LedgerEntry:
    folder = folders[row.name]
    task = task_for(normalisation_of(study, row))
    model, notes = _network(study, row, task, folders, title, write)
    # A training that was killed and went on counts as a whole.
    began = time.monotonic() - training_seconds(folder / TRAINING)
    write(f"{title}: exporting {row.export.preset}")
    calibration: Sequence[np.ndarray] = ()
    if row.export.needs_images:
        calibration = task.calibration(row.export.calibration_images, seed=study.fit.seed)
    tflite = export_tflite(model, row.export, calibration)
    report = report_on_paper(tflite, count(model))
    parity = compare(model, tflite, first_inputs(task.validation_data(), PARITY_IMAGES))
    details = {
        **with_said("label", _label(study, row)),
        "published": dict(row.published),
        "parity": dataclasses.asdict(parity),
    }
    try:
        check_parity(parity, row.export.preset)
    except TooLossyError as error:
        # A verdict and no mistake of the user's: the other rows go on, and this one gives no file away.
        write(f"{title}: {error}")
        details |= with_said("note", all_of([*notes, str(error)], "then"))
        return LedgerEntry(row.name, row.clause, Verdict.TOO_LOSSY, row.why, report, time.monotonic() - began, details)
    atomic_write(folder / FILE, tflite)
    write(f"{title}: scoring {len(task.test)} people through the interpreter")
    joints = task.predict_joints(TFLitePredictor(tflite))
    with atomic_path(folder / JOINTS) as temporary:
        np.save(temporary, joints)
    accuracy = pckh(task.test, joints)
    keras_accuracy = task.score(lambda images: np.asarray(model(images, training=False)))
    left = check_delegation(tflite)
    report = dataclasses.replace(
        report,
        **accuracy.report_fields(),
        keras_accuracy=keras_accuracy.value,
    )
    write(f"{title}: {accuracy.metric} {accuracy.value:.1f}, {len(tflite) / 1e6:.1f} MB")
    details |= {**with_said("note", all_of([*notes, delegation_note(tflite)], "then")), "undelegated": left}
    return LedgerEntry(row.name, row.clause, Verdict.TAKEN, row.why, report, time.monotonic() - began, details)


def _network(
    study: CaseStudy, row: Row, task: PoseTask, folders: dict[str, Path], title: str, write: Write
) -> tuple[keras.Model, list[Said]]:
    """-> the trained network of a row, trained now or read from its folder, and what the report should say of it."""
    if row.network_of is not None:
        return _load(folders[row.network_of] / MODEL), []
    folder = folders[row.name]
    notes: list[Said] = []
    policy = "float32"
    if row.mixed:
        policy, why = choose_policy(study.precision)
        notes.append(reason("note_trained", policy=policy, why=why))
    if (folder / MODEL).exists():
        model = _load(folder / MODEL)
    else:
        settings = dataclasses.replace(study.fit, precision=policy, pruning=study.pruning if row.pruned else None)
        start = Candidate(build(study, row, task), row.export, (row.name,))
        model = fit(start, task, settings, folder / TRAINING, label=title, write=write).model
        with atomic_path(folder / MODEL) as temporary:
            model.save(temporary)
        # The trained network is kept; the optimizer's state, three times its size, is of no more use.
        shutil.rmtree(folder / TRAINING / "checkpoints", ignore_errors=True)
    if row.pruned:
        notes.append(reason("note_zeros", share=f"{sparsity(model):.1%}"))
    return model, notes


def _check_workers_agree(study: CaseStudy, row: Row, folders: Mapping[str, Path]) -> None:
    """A worker of a cluster that trains a row alone would wait for the others for ever."""
    if row.network_of is not None:
        return
    folder = folders[row.name]
    trained = (folder / MODEL).exists()
    mean, variance = mean_and_variance(get_strategy(study.fit.strategy), trained)
    if variance > 1e-6:
        raise InputError(
            f"All workers must have trained the row {row.name}, or no worker; {folder} "
            f"{'holds' if trained else 'lacks'} {MODEL}. Expected: that folder removed on every worker. "
            f"Received: {MODEL} on {mean:.0%} of them"
        )


def _load(path: Path) -> keras.Model:
    try:
        return load_model(path)
    except Exception as error:  # Keras raises a dozen kinds on a damaged file.
        raise InputError(
            f"{path} cannot be read; remove {path.parent}, and the same command makes that row again. Expected: the "
            f"network that its training left. Received: {type(error).__name__}: {error}"
        ) from error


def report_on_paper(tflite: bytes, counts: Counts) -> Report:
    """-> what is known of a file before it is run."""
    return Report(
        size_bytes=len(tflite),
        zip_bytes=zip_bytes(tflite),
        macs=counts.macs,
        params=counts.params,
        activation_bytes=counts.activation_bytes,
    )


def zip_bytes(data: bytes) -> int:
    """-> the size after zip's compression (deflate at its highest level), which is what pruning makes smaller.

    >>> zip_bytes(bytes(100_000)) < 200
    True
    """
    return len(zlib.compress(data, 9))
