"""How the bench trains a setting: alone, with a teacher, or both; what a run that was killed has trained is kept."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.guideline.case_study import TRAINING
from tta_lite.guideline.progress import Tell, Trained
from tta_lite.guideline.reasons import reason, with_said
from tta_lite.guideline.taught import Taught, teacher_for, teacher_name, weights_of
from tta_lite.training.callbacks import EpochsDone
from tta_lite.training.fit import FitSettings, fit, training_seconds
from tta_lite.training.fitnets import fit_hints, without_hint
from tta_lite.training.pruning import Pruning
from tta_lite.training.pruning_policies import LayerPolicy
from tta_lite.training.quantization_plan import QuantizationAware
from tta_lite.types import Accuracy, Candidate, Task

# The training of a setting, FitNets' first stage of it, and the same without its teacher.
HINTS, ALONE = f"{TRAINING}_hints", f"{TRAINING}_alone"
TRAININGS = (HINTS, TRAINING, ALONE)


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Trains what a trial's record asks for.

    Attributes:
      task: data, loss and metric.
      settings: by which every trial is trained; its epochs and learning rate hold for what starts anew.
      load: row -> what it has, for a row that teaches.
      write: where progress goes,
      tell: and the same as records.
    """

    task: Task
    settings: FitSettings
    load: Callable[[str], Candidate]
    write: Callable[[str], Any]
    tell: Tell

    def trained(
        self, candidate: Candidate, needs: Mapping[str, Any], folder: Path, label: str
    ) -> tuple[Candidate, dict[str, Any]]:
        """-> the trained network, and what is to be told of its teacher.

        Args:
          candidate: not trained yet.
          needs: the record of the trial.
          folder: of the trial.
          label: what progress lines begin with.
        """
        if not needs["epochs"]:
            return candidate, {}
        settings = dataclasses.replace(
            self.settings,
            epochs=needs["epochs"],
            learning_rate=self.settings.learning_rate * needs["rate"],
            precision=needs["precision"],
            pruning=_pruning(needs),
            quantization=QuantizationAware(**needs["quantization"]) if needs.get("quantization") else None,
        )
        teaching = needs.get("teaching")
        if not teaching:
            return self._fit(candidate, settings, folder / TRAINING, label), {}
        distillation, fault = teacher_for(candidate.model, teaching, self.load, self.task)
        if fault is not None:
            return self._fit(candidate, settings, folder / TRAINING, label), with_said("learnt", fault)
        taught = dataclasses.replace(settings, distillation=distillation)
        if not teaching.get("control"):
            learnt = reason("note_taught", row=teacher_name(teaching), weight=weights_of(teaching))
            return self._taught(candidate, taught, teaching, folder, label), with_said("learnt", learnt)
        total = 2 * needs["epochs"]
        pupil = self._taught(candidate, taught, teaching, folder, label, total)
        alone = self._fit(candidate, settings, folder / ALONE, f"{label}, without a teacher", (needs["epochs"], total))
        found = Taught(keras_score(pupil.model, self.task), keras_score(alone.model, self.task))
        told = {**with_said("learnt", found.note(teaching)), "distillation": {**teaching, **found.record()}}
        return (pupil if found.keeps_teacher else alone), told

    def _taught(
        self,
        candidate: Candidate,
        settings: FitSettings,
        teaching: Mapping[str, Any],
        folder: Path,
        label: str,
        total: int = 0,
    ) -> Candidate:
        """-> trained with a teacher: in one go, or in FitNets' two stages of as many epochs together."""
        first = teaching.get("hint_epochs", 0)
        total = total or settings.epochs
        if not first:
            return self._fit(candidate, settings, folder / TRAINING, label, (0, total))
        assert settings.distillation is not None
        rest, hint = without_hint(settings.distillation)
        stage = dataclasses.replace(settings, epochs=first)
        candidate = fit_hints(
            candidate,
            settings.distillation.teacher,
            hint,
            self.task,
            stage,
            folder / HINTS,
            label=f"{label}, hint",
            callbacks=[self._teller((0, total))],
            write=self.write,
        )
        stage = dataclasses.replace(settings, epochs=settings.epochs - first, distillation=rest)
        return self._fit(candidate, stage, folder / TRAINING, label, (first, total))

    def _fit(
        self,
        candidate: Candidate,
        settings: FitSettings,
        workdir: Path,
        label: str,
        part: tuple[int, int] | None = None,
    ) -> Candidate:
        """-> trained; `part` is the epochs of this setting that come before, and all of them."""
        told = [self._teller(part or (0, settings.epochs))]
        return fit(candidate, self.task, settings, workdir, label=label, callbacks=told, write=self.write)

    def _teller(self, part: tuple[int, int]) -> EpochsDone:
        before, total = part

        def tell(done: float, count: int, logs: Mapping[str, float]) -> None:
            self.tell(Trained(before + done, total, logs))

        return EpochsDone(tell)


def spent(folder: Path) -> float:
    """-> the seconds that the trainings in a trial's folder have taken so far."""
    return sum(training_seconds(folder / name) for name in TRAININGS)


def tidy(folder: Path) -> None:
    """Removes what only a training that goes on needs."""
    for name in TRAININGS:
        shutil.rmtree(folder / name / "checkpoints", ignore_errors=True)


def keras_score(model: keras.Model, task: Task) -> Accuracy:
    """-> how good a network is, computed by Keras."""
    answer = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    if len(model.inputs) == 1:
        # One trace for any number of examples: TensorFlow warns of functions that it traces again and again.
        picture = tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)
        traced = answer.get_concrete_function(picture)
        return task.score(lambda batch: np.asarray(traced(tf.convert_to_tensor(batch, picture.dtype))))
    return task.score(lambda batch: np.asarray(answer(batch)))


def _pruning(needs: Mapping[str, Any]) -> Pruning | None:
    """-> the schedule that a trial's record asks for."""
    if needs.get("pruning"):
        record = needs["pruning"]["layers"]
        layers = LayerPolicy(tuple(record["only"]), tuple(record["skip"]), record["ends"], record["depthwise"])
        return Pruning(**{**needs["pruning"], "layers": layers})
    return None if needs["sparsity"] is None else Pruning(needs["sparsity"])
