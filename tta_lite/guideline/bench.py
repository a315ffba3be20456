"""What a ladder is made of: trials, steps, where a run is, and the bench that does the work. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tta_lite.guideline import budget as budgets
from tta_lite.guideline.reasons import Reason, Said, spoken
from tta_lite.measure.benchmark import Comparison
from tta_lite.types import Budget, Candidate, InputError, LedgerEntry, Report

if TYPE_CHECKING:
    from tta_lite.training.pruning import Pruning
    from tta_lite.training.quantization_plan import QuantizationAware

START = "none"
# What can be learnt from a teacher, and the usual weights: those of the papers; that of the answers is a share.
LOSSES = {"answers": 0.5, "at": 1000.0, "sp": 3000.0, "hint": 1.0}


@dataclasses.dataclass(frozen=True)
class Teaching:
    """From whom a trial learns while it is trained, see `tta_lite.training.distillation.Distillation`.

    Attributes:
      row: that was taken, whose network is the teacher;
      weight: of its answers, above 0 and at most 1; 0 beside `terms`.
      temperature: of classes.
      control: it is trained without the teacher too, and the more accurate of the two is kept.
      file: the teacher instead of a row's network, anything that `tta_lite.export.teachers.load_teacher` reads.
      terms: what is learnt from it besides: a name of `tta_lite.training.distillation_terms.TERMS` and its weight.
      pairs: (layer of the network, layer of the teacher) for `terms`; none: the last layers of each size of both.
      hint_epochs: FitNets in two stages: so many of the trial's epochs come first, in which the network learns up to
        its hinted layer and from the hint alone, which is then dropped; 0: the hint counts beside the rest throughout.
    """

    row: str
    weight: float = 0.5
    temperature: float = 4.0
    control: bool = False
    file: str = ""
    terms: tuple[tuple[str, float], ...] = ()
    pairs: tuple[tuple[str, ...], ...] = ()
    hint_epochs: int = 0


def losses_of(texts: Sequence[str]) -> tuple[float, tuple[tuple[str, float], ...]]:
    """-> the weight of the answers, 0 without them, and the other terms, from words as people write them.

    Args:
      texts: names of `LOSSES`, each with a weight after "=" if not the usual one.

    Raises:
      InputError: a name that is not known or comes twice, or a weight that cannot be.

    >>> losses_of(["answers=0.7", "at=1", "sp"])
    (0.7, (('at', 1.0), ('sp', 3000.0)))
    """
    weights = {}
    for text in texts:
        name, given, weight = text.partition("=")
        if name not in LOSSES or name in weights:
            raise InputError(f"--losses must name some of {', '.join(LOSSES)}, each once. Received: {text!r}")
        try:
            weights[name] = float(weight) if given else LOSSES[name]
        except ValueError:
            raise InputError(f"--losses: a weight must be a number, as at=1000. Received: {text!r}") from None
        if not 0 < weights[name] < math.inf or (name == "answers" and weights[name] > 1):
            raise InputError(f"--losses: a weight must be above 0, that of the answers at most 1. Received: {text!r}")
    if not weights:
        raise InputError(f"--losses must name one or more of {', '.join(LOSSES)}. Received: nothing")
    return weights.pop("answers", 0.0), tuple(weights.items())


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting of a step.

    Attributes:
      name: unique within its step.
      what: what it is, for people; a reason can be said in other languages too.
      make: -> the network, not trained yet.
      epochs: of training that it needs; 0: none.
      rate: the learning rate as a share of the one that the run was given.
      sparsity: of the pruning schedule that it is trained on; None: no pruning.
      pruning: more of that schedule; None: the usual one.
      precision: in which it is trained, see `tta_lite.training.fit.FitSettings`.
      quantization: how it learns with int8's rounding; None: it does not.
      teaching: from which row's network it also learns; None: from none.
      ahead: trials with a higher one are tried first among those that can come to the budget, whatever their size.
      outline: -> a network of the same cost as the trained one, where that hangs on the values of the weights.
      rescues: settings that are tried one after another, the cheapest first, if this one loses too much.
    """

    name: str
    what: Said
    make: Callable[[], Candidate]
    epochs: int = 0
    rate: float = 1.0
    sparsity: float | None = None
    pruning: Pruning | None = None
    precision: str = "float32"
    quantization: QuantizationAware | None = None
    teaching: Teaching | None = None
    ahead: int = 0
    outline: Callable[[], Candidate] | None = None
    rescues: tuple[Trial, ...] = ()

    @property
    def label(self) -> str:
        """What it is, in English."""
        return spoken(self.what)


@dataclasses.dataclass(frozen=True)
class State:
    """Where a run is.

    Attributes:
      budget: what must be kept.
      candidate: the network that stands.
      current: the row that it comes from.
      entries: all rows so far, in order.
    """

    budget: Budget
    candidate: Candidate
    current: str
    entries: Mapping[str, LedgerEntry]

    @property
    def floor(self) -> float:
        """The least accuracy that is allowed: from the first row, so that small losses cannot creep."""
        return (self.entries[START].report.accuracy or 0.0) - self.budget.max_accuracy_drop

    @property
    def report(self) -> Report:
        """What was measured of the network that stands."""
        return self.entries[self.current].report

    def broken(self) -> list[str]:
        """-> the limits that are not kept, the worst first."""
        return budgets.broken(budgets.ratios(self.report, self.budget))


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the guideline.

    Attributes:
      name: of its row.
      clause: of the guideline.
      gate: -> why it is not taken here; nothing: it is tried.
      trials: -> the settings to try; an `InputError` says that there is none.
      later: kind of limit -> by how much the steps after this one may still divide what is measured.
    """

    name: str
    clause: str
    gate: Callable[[State], Sequence[Reason]]
    trials: Callable[[State], Sequence[Trial]]
    later: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sketch:
    """What a trial costs before it is trained: its report without an accuracy, or why it cannot be used."""

    report: Report = dataclasses.field(default_factory=Report)
    fault: Said = ""


class Bench(Protocol):
    """Builds, trains, exports, scores and times. What it has finished it keeps, so that a killed run can go on."""

    def start(self) -> LedgerEntry:
        """The unmodified network, exported and scored; not timed."""

    def load(self, row: str) -> Candidate:
        """The network of a row that was taken."""

    def file(self, row: str, trial: str | None = None) -> Path:
        """The ``.tflite`` file of a row, or of one of its trials."""

    def sketch(self, row: str, trial: Trial) -> Sketch:
        """Builds and exports a trial, not trained."""

    def finish(self, row: str, trial: str) -> LedgerEntry:
        """Trains a sketched trial if it needs that, exports and scores it; not timed. Details: ``fault``."""

    def keep(self, row: str, trial: str) -> None:
        """The trial becomes the row; the other trials are of no more use."""

    def compare(self, files: Mapping[str, Path]) -> Comparison:
        """Times files in turn."""

    def timing(self) -> Mapping[str, Any]:
        """The rules by which files are timed."""

    def recall(self, row: str) -> dict[str, Any] | None:
        """What was remembered of a row."""

    def remember(self, row: str, record: Mapping[str, Any]) -> None:
        """Keeps what a killed run needs to go on within a row."""

    def tidy(self, row: str) -> None:
        """The row is in the ledger: what only its trials needed can go."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
      entries: one a row, the unmodified network first.
      chosen: the row that stands: it meets the budget, or comes nearest to it.
      met: whether the budget is met.
      state: for whoever gives advice.
    """

    entries: tuple[LedgerEntry, ...]
    chosen: str
    met: bool
    state: State
