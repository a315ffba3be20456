"""A setting that learns from the network of a row: its trainings with and without the teacher, and what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.export.teachers import load_teacher
from tta_lite.guideline.bench import Teaching
from tta_lite.guideline.reasons import Reason, fault_of, reason
from tta_lite.tasks.paired import Difference, paired_difference
from tta_lite.training.distillation import Distillation
from tta_lite.training.distillation_terms import TERMS
from tta_lite.training.fitnets import hinted, without_hint
from tta_lite.training.teachers import Teacher
from tta_lite.types import Accuracy, Candidate, InputError, Task


@dataclasses.dataclass(frozen=True)
class Taught:
    """What a teacher brought.

    Attributes:
      taught: the score with it.
      alone: the score without, by the same training.
      gain: the difference.
    """

    taught: Accuracy
    alone: Accuracy

    @property
    def gain(self) -> Difference:
        """Points by which the teacher made it better."""
        return paired_difference(self.alone, self.taught)

    @property
    def keeps_teacher(self) -> bool:
        """Whether the network that was taught is kept; NaN is refused."""
        return self.taught.value >= self.alone.value

    def note(self, teaching: Mapping[str, Any]) -> Reason:
        """-> what a row's reader should know."""
        points, interval = self.gain.points, self.gain.interval
        said: str | Reason = f"{points:+.1f}"
        if interval is not None:
            said = reason("accuracy_interval", accuracy=said, low=f"{interval[0]:+.1f}", high=f"{interval[1]:+.1f}")
        return reason(
            "note_taught_gain" if self.keeps_teacher else "note_taught_loss",
            row=teacher_name(teaching),
            weight=weights_of(teaching),
            gain=said,
            taught=f"{self.taught.value:.1f}",
            alone=f"{self.alone.value:.1f}",
        )

    def record(self) -> dict[str, Any]:
        """-> what the ledger keeps."""
        gain = self.gain
        return {
            "taught": self.taught.value,
            "alone": self.alone.value,
            "gain": gain.points,
            "gain_interval": None if gain.interval is None else list(gain.interval),
            "kept": "taught" if self.keeps_teacher else "alone",
        }


def try_teacher(model: keras.Model, teaching: Teaching, task: Task) -> None:
    """Finds at once whether a file can teach a network, and not after an hour.

    Raises:
      InputError: the file cannot be read, or the two do not fit each other.
    """
    if teaching.file:
        found = _distillation(load_teacher(teaching.file), dataclasses.asdict(teaching))
        found.check(model, task.loss())
        if teaching.hint_epochs:
            hinted(model, found.teacher, without_hint(found)[1])


def _distillation(teacher: keras.Model | Teacher, teaching: Mapping[str, Any]) -> Distillation:
    pairs = [tuple(pair) for pair in teaching.get("pairs", ())]
    terms = tuple(
        TERMS[name](weight, pairs=pairs or None)  # type: ignore[call-arg]
        for name, weight in teaching.get("terms", ())
    )
    return Distillation(teacher, teaching["weight"], teaching["temperature"], terms)


def weights_of(teaching: Mapping[str, Any]) -> str:
    """-> the weights of what is learnt, for people.

    >>> weights_of({"weight": 0.5, "terms": [["at", 1000.0]]}), weights_of({"weight": 0, "terms": [["sp", 3.0]]})
    ('0.5, at 1000', 'sp 3')
    """
    answers = [f"{teaching['weight']:g}"] if teaching["weight"] else []
    return ", ".join([*answers, *(f"{name} {weight:g}" for name, weight in teaching.get("terms", ()))])


def teacher_name(teaching: Mapping[str, Any]) -> str:
    """-> the row, or the name of the file."""
    return Path(teaching["file"]).name if teaching.get("file") else teaching["row"]


def teacher_for(
    model: keras.Model, teaching: Mapping[str, Any], load: Callable[[str], Candidate], task: Task
) -> tuple[Distillation | None, Reason | None]:
    """-> how a network learns from its teacher; or None, and why it cannot.

    Args:
      model: that learns.
      teaching: a record of `tta_lite.guideline.bench.Teaching`.
      load: row -> what it has.
      task: whose loss says what answers mean.

    Raises:
      InputError: the file of the teacher cannot be read.
    """
    named = teaching.get("file")
    teacher = load_teacher(named) if named else load(teaching["row"]).model
    try:
        found = _distillation(teacher, teaching)
        found.check(model, task.loss())
    except InputError as error:
        return None, reason("note_no_teacher", fault=fault_of(error))
    return found, None
