"""G5 by repeated trials (clause 6.2.3): one network at several sparsities, each as a float32 and as an int8 file."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.export.sparse_path import has_avx
from tta_lite.guideline.bench import START, Trial
from tta_lite.guideline.case_study import Journal, say
from tta_lite.guideline.export_steps import export_trial
from tta_lite.guideline.reasons import reason, spoken
from tta_lite.guideline.settings import CLAUSES
from tta_lite.guideline.sparse_note import sparse_note
from tta_lite.guideline.timing import time_together
from tta_lite.guideline.workshop import Workshop
from tta_lite.training.fit import FitSettings
from tta_lite.training.pruning import Pruning, magnitude_pruned
from tta_lite.types import Candidate, ExportSpec, InputError, LedgerEntry, Task, Verdict

DENSE = "dense"
INT8 = "int8"


@dataclasses.dataclass(frozen=True)
class SparsityPlan:
    """What is tried.

    Attributes:
      prunings: one a sparsity, in the order of the rows.
      epochs: of the training in which zeros come, for each of them.
      rate: its learning rate, as a share of the run's.
      calibration_images: of the int8 files; 0: no int8 files.
      weight_bits: more int8 files, whose kernels hold fewer different weights, see `ExportSpec`; biases are corrected.
    """

    prunings: tuple[Pruning, ...]
    epochs: int = 2
    rate: float = 0.3
    calibration_images: int = 100
    weight_bits: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shares = [pruning.sparsity for pruning in self.prunings]
        if not shares or len(set(shares)) < len(shares):
            raise InputError(f"A plan has one sparsity or more, each once. Received: {shares}")
        if self.epochs < 1 or not 0 < self.rate <= 1 or self.calibration_images < 0:
            raise InputError(
                "A plan needs one epoch or more, a rate above 0 and at most 1, and 0 or more calibration images. "
                f"Received: {self.epochs}, {self.rate} and {self.calibration_images}"
            )
        for bits in self.weight_bits:
            self.export(bits)
        if len({8, *self.weight_bits}) <= len(self.weight_bits):
            raise InputError(
                f"`weight_bits` holds numbers below 8, each once; 8 bits are tried anyway. Received: {self.weight_bits}"
            )
        if self.weight_bits and not self.calibration_images:
            raise InputError("`weight_bits` are of int8 files, which need calibration images. Received: none of them")

    @property
    def exports(self) -> dict[str, ExportSpec]:
        """The int8 files of each row, by what is added to its name: ``int8``, ``int8, 5 bits``."""
        if not self.calibration_images:
            return {}
        return {INT8: self.export(8)} | {f"{INT8}, {bits} bits": self.export(bits) for bits in self.weight_bits}

    def export(self, bits: int) -> ExportSpec:
        """-> how an int8 file with so many bits a weight is made."""
        repairs = ("bias_correction",) if bits < 8 else ()
        return ExportSpec(INT8, self.calibration_images or 1, repairs=repairs, weight_bits=bits)


def row_of(pruning: Pruning) -> str:
    """-> the name of its row.

    >>> row_of(Pruning(0.875)), row_of(Pruning(0.5, pattern="2:4"))
    ('87.5 %', '50 % (2:4)')
    """
    return f"{100 * pruning.sparsity:g} %" + (f" ({pruning.pattern})" if pruning.pattern else "")


def take_sparsities(
    model: keras.Model,
    task: Task,
    plan: SparsityPlan,
    journal: Journal,
    fit: FitSettings,
    rules: Mapping[str, Any],
    *,
    write: Callable[[str], Any] = say,
) -> list[LedgerEntry]:
    """Prunes a network to every sparsity of a plan, each time from the given one; scores and times all files in turn.

    A call that was killed goes on where it was.

    Args:
      model: the trained network; it is not changed.
      task: its data, loss and metric.
      plan: what is tried.
      journal: where rows are kept, such as a `tta_lite.report.run_folder.RunFolder`.
      fit: how it is trained; its learning rate is multiplied by the plan's.
      rules: by which the files are timed.
      write: where progress goes.

    Returns:
      the rows ``dense``, ``dense int8``, ``50 %``, ``50 % int8``, ``50 % int8, 5 bits``, ...; `details` hold
      ``sparsity`` (0..1), ``preset`` (``fp32``, ``int8``, ``int8, 5 bits``), ``zip_ratio``, the zip of the dense
      float32 or 8-bit file over that of the row, and of pruned rows ``sparse_kernels``, the rule that keeps the file
      off XNNPACK's sparse path.

    Raises:
      InputError: the network cannot be pruned so, or the files cannot be made; before anything is trained.
    """
    for pruning in plan.prunings:
        pruning.check(model)
    rows: dict[str, tuple[float, str, Callable[[Workshop], Trial]]] = {}
    for preset, export in plan.exports.items():
        rows[f"{DENSE} {preset}"] = 0.0, preset, functools.partial(_quantised, source=START, export=export)
    for pruning in plan.prunings:
        name, share = row_of(pruning), pruning.sparsity
        rows[name] = share, "fp32", functools.partial(_pruned, model=model, pruning=pruning, plan=plan)
        for preset, export in plan.exports.items():
            rows[f"{name} {preset}"] = share, preset, functools.partial(_quantised, source=name, export=export)
    entries = journal.read_ledger()
    if len(entries) > len(rows) and all(entry.details.get("timing") for entry in entries if _usable(entry)):
        return entries
    bench = Workshop(model, task, None, tuple(rows), journal, fit, rules, write=write)
    if not entries:
        write(f"[1/{len(rows) + 1}] {DENSE}")
        first = dataclasses.replace(bench.start(), name=DENSE, why="the network as it was given")
        entries = [_with(first, sparsity=0.0, preset="fp32")]
        journal.write_ledger(entries)
    for place, (name, (share, preset, make)) in enumerate(rows.items(), start=1):
        if len(entries) > place:
            continue
        trial = make(bench)
        write(f"[{place + 1}/{len(rows) + 1}] {name}: {trial.label}")
        entries = [*entries, _with(_taken(bench, name, trial), sparsity=share, preset=preset)]
        journal.write_ledger(entries)
    entries = _compared(entries, bench, avx=has_avx() and rules.get("connect", "local") == "local")
    usable = [entry for entry in entries if _usable(entry)]
    files = {entry.name: _file(bench, entry.name) for entry in usable}
    timed = {entry.name: entry for entry in time_together(usable, files, rules)}
    entries = [timed.get(entry.name, entry) for entry in entries]
    journal.write_ledger(entries)
    bench.write_reports([_named(entry) for entry in entries])
    for name in rows:
        bench.tidy(name)
    return entries


def _pruned(bench: Workshop, *, model: keras.Model, pruning: Pruning, plan: SparsityPlan) -> Trial:
    candidate = Candidate(model)
    share = f"{100 * pruning.sparsity:g} %"

    def outline() -> Candidate:
        copy = magnitude_pruned(model, pruning.sparsity, layers=pruning.layers, pattern=pruning.pattern)
        return dataclasses.replace(candidate, model=copy)

    return Trial(
        "pruned",
        reason("label_sparsity", share=share),
        lambda: dataclasses.replace(candidate, trail=(f"G5 {share}",)),
        plan.epochs,
        plan.rate,
        pruning.sparsity,
        pruning,
        outline=outline,
    )


def _quantised(bench: Workshop, *, source: str, export: ExportSpec) -> Trial:
    return export_trial(bench.load(source), export)


def _taken(bench: Workshop, name: str, trial: Trial) -> LedgerEntry:
    if bench.recall(name) is None:
        sketch = bench.sketch(name, trial)
        if sketch.fault:
            raise InputError(f"{name} by {trial.label} cannot be taken here. Received: {spoken(sketch.fault)}")
        bench.remember(name, {"trials": [{"name": trial.name, "status": "promising"}]})
    entry = dataclasses.replace(bench.finish(name, trial.name), name=name)
    entry = dataclasses.replace(entry, clause=CLAUSES["G5" if trial.pruning else "G3"])
    bench.keep(name, trial.name)
    if entry.details.get("fault"):
        # A file that loses too much is a result too, and the next sparsity may stand.
        return dataclasses.replace(entry, why=str(entry.details["fault"]))
    return dataclasses.replace(entry, verdict=Verdict.TAKEN, why=f"asked for: {trial.label}")


def _compared(entries: Sequence[LedgerEntry], bench: Workshop, *, avx: bool) -> list[LedgerEntry]:
    """-> the rows with the ratio of their zips to the dense file, of 8 bits or in float32, and with sparse kernels."""
    dense = {entry.details["preset"]: entry for entry in entries if entry.details["sparsity"] == 0}
    found = []
    for entry in entries:
        first = dense[str(entry.details["preset"]).partition(",")[0]]
        ratio = (first.report.zip_bytes or 0) / (entry.report.zip_bytes or 1)
        words = f"the zip of {first.name} is {ratio:.2f} times as large"
        note = str(entry.details.get("note") or "")
        if entry is not first:
            # In English alone: it is of a table, and no page shows it.
            entry = dataclasses.replace(entry, details={k: v for k, v in entry.details.items() if k != "note_said"})
            # A row that was compared before, in a run that was killed, says it once.
            note = note if words in note else f"{words}. {note}"
        if entry.details["sparsity"] and _usable(entry) and not entry.details.get("sparse_kernels"):
            said = sparse_note(_file(bench, entry.name).read_bytes(), avx=avx)
            entry, note = _with(entry, sparse_kernels=said), f"{note.rstrip('. ')}. {said}"
        found.append(_with(entry, zip_ratio=ratio, note=note))
    return found


def _usable(entry: LedgerEntry) -> bool:
    return not entry.details.get("fault")


def _with(entry: LedgerEntry, **details: Any) -> LedgerEntry:
    return dataclasses.replace(entry, details={**entry.details, **details})


def _named(entry: LedgerEntry) -> LedgerEntry:
    """-> the row under the name by which the workshop knows its folder."""
    return dataclasses.replace(entry, name=START) if entry.name == DENSE else entry


def _file(bench: Workshop, name: str) -> Path:
    return bench.file(START if name == DENSE else name)
