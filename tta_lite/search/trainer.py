"""What a trial does: build, time, train for a little while, score. What it has done it keeps in its folder.

The latency comes first: a network that is hopelessly slow, or that cannot be exported, is not trained.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.export.parity import check_parity, compare
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.measure.counting import count
from tta_lite.search.space import Point, Space
from tta_lite.search.trial import Hopeless, Interrupted, Measured, Trial, key_of
from tta_lite.tasks.stream import first_inputs
from tta_lite.training.callbacks import TimeLimit
from tta_lite.training.fit import FitSettings, fit, training_seconds
from tta_lite.types import FP32, Candidate, InputError, Latency, Predictor, Report, Task

TRAINING, FINAL = "training", "final"
MODEL, FILE, REPORT, POINT = "model.keras", "model.tflite", "report.json", "point.json"
# On so many pictures a finalist's file must answer as its Keras model does.
PARITY_IMAGES = 4

LatencyOf = Callable[[keras.Model], tuple[float, str]]


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is searched: a space, and the network of each of its points.

    Attributes:
      space: of the points.
      build: point, with what the space has fixed -> the network to train.
      deploy: (trained network, point) -> what is exported.
      pixels: point -> what its network expects of its pixels; None: the task says it.
    """

    space: Space
    build: Callable[[Point], keras.Model]
    deploy: Callable[[keras.Model, Point], keras.Model] = lambda model, point: model
    pixels: Callable[[Point], str | None] = lambda point: None


class Reporting(Protocol):
    """What a trial says while it runs, see `tta_lite.search.engine.Reporter`."""

    def __call__(self, step: int, accuracy: float) -> None:
        """So accurate after so many epochs."""

    def latency(self, latency_ms: float, source: str) -> None:
        """So fast, before the training."""


@dataclasses.dataclass(frozen=True)
class Trainer:
    """Evaluates points.

    Attributes:
      subject: what is searched.
      task_for: (network, what it expects of its pixels) -> data, loss and metric of a trial.
      latency_of: network -> (milliseconds, source).
      settings: of the short training of a trial; each point has its own seed, made of this one and the point.
      folder: gets ``trials/<point>/``.
      deadline: of `time.monotonic`, at which a training stops to go on later; None: there is none.
      write: where progress lines go; standard error if None.
      metrics: the names of what was scored so far; a task says it with its first score.
      final_task_for: as `task_for`, of a full training; None: the same. Trials that are scored on examples held out of
        the training part leave the test part for the networks that they chose.
    """

    subject: Subject
    task_for: Callable[[keras.Model, str | None], Task]
    latency_of: LatencyOf
    settings: FitSettings
    folder: Path
    deadline: float | None = None
    write: Callable[[str], Any] | None = None
    metrics: set[str] = dataclasses.field(default_factory=set)
    final_task_for: Callable[[keras.Model, str | None], Task] | None = None

    def __call__(self, point: Point, report: Any) -> Measured:
        """-> what was measured of a point: the accuracy after a short training, the latency of its file.

        Raises:
          InputError: the network cannot be built, exported, timed or trained.
          Interrupted: the time is up; the same call goes on.
        """
        began = time.monotonic()
        # What earlier trials left in Keras.
        keras.backend.clear_session()
        place = self.place(point)
        model, full = self._build(point)
        deployed = self.subject.deploy(model, full)
        counts = count(deployed)
        latency_ms, source = self._latency(place, deployed)
        report.latency(latency_ms, source)
        task = self.task_for(model, self.subject.pixels(full))
        before = training_seconds(place / TRAINING)
        try:
            trained, scores = self._fit(model, task, self.settings, place / TRAINING, point, report)
        except (Hopeless, InputError):
            # It never goes on.
            self._tidy(place / TRAINING)
            raise
        last = self.settings.epochs
        accuracy = scores[last] if last in scores else self._score(predictor(trained), task)
        self._tidy(place / TRAINING)
        seconds = before + time.monotonic() - began
        return Measured(accuracy, latency_ms, source, counts.macs, counts.params, seconds)

    def finish(self, trial: Trial, epochs: int, folder: Path) -> Report:
        """Trains a point in full, writes ``model.keras``, ``model.tflite``, ``report.json`` -> the report of the file.

        Args:
          trial: that is worth it.
          epochs: of the training.
          folder: for the files; what is there already is not made again.

        Raises:
          InputError: the file does not answer as the network does, or what `fit` raises.
          Interrupted: the time is up; the same call goes on.
        """
        if (folder / REPORT).is_file():
            return Report.from_json(_read(folder / REPORT))
        keras.backend.clear_session()
        model, full = self._build(trial.point)
        task = (self.final_task_for or self.task_for)(model, self.subject.pixels(full))
        settings = dataclasses.replace(self.settings, epochs=epochs)
        trained, _ = self._fit(model, task, settings, folder / FINAL, trial.point, None)
        with atomic_path(folder / MODEL) as temporary:
            trained.save(temporary)
        deployed = self.subject.deploy(trained, full)
        tflite = export_tflite(deployed, FP32)
        images = first_inputs(task.validation_data(), PARITY_IMAGES)
        check_parity(compare(deployed, tflite, images), FP32.preset)
        atomic_write(folder / FILE, tflite)
        latency_ms, source = self.latency_of(deployed)
        counts = count(deployed)
        unknown = float("nan")
        report = dataclasses.replace(
            Report(
                latency_ms=Latency(latency_ms, unknown, latency_ms, unknown, unknown, unknown, 0),
                size_bytes=len(tflite),
                macs=counts.macs,
                params=counts.params,
                activation_bytes=counts.activation_bytes,
            ),
            **task.score(TFLitePredictor(tflite)).report_fields(),
        )
        self.metrics.add(str(report.metric))
        atomic_write(folder / POINT, to_json_text({"point": full, "latency_source": source}, indent=2) + "\n")
        # Last: where this is, all is.
        atomic_write(folder / REPORT, to_json_text(report.to_json(), indent=2) + "\n")
        self._tidy(folder / FINAL)
        return report

    def place(self, point: Point) -> Path:
        """-> the folder of a point's trial."""
        return self.folder / "trials" / hashlib.sha256(key_of(point).encode()).hexdigest()[:12]

    def _build(self, point: Point) -> tuple[keras.Model, Point]:
        full = self.subject.space.full(point)
        keras.utils.set_random_seed(self._seed(point))
        return self.subject.build(full), full

    def _seed(self, point: Point) -> int:
        digest = hashlib.sha256(f"{self.settings.seed} {key_of(point)}".encode()).digest()
        return int.from_bytes(digest[:4], "big")

    def _latency(self, place: Path, deployed: keras.Model) -> tuple[float, str]:
        """-> what was measured before a kill, or now: a trial that goes on is not timed twice."""
        file = place / "latency.json"
        if file.is_file():
            found = _read(file)
            return found["latency_ms"], found["source"]
        latency_ms, source = self.latency_of(deployed)
        atomic_write(file, to_json_text({"latency_ms": latency_ms, "source": source}))
        return latency_ms, source

    def _fit(
        self, model: keras.Model, task: Task, settings: FitSettings, workdir: Path, point: Point, report: Any
    ) -> tuple[keras.Model, dict[int, float]]:
        settings = dataclasses.replace(settings, seed=self._seed(point), tensorboard=False)
        callbacks: list[keras.callbacks.Callback] = []
        limit = None
        if self.deadline is not None:
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise Interrupted("the time is up")
            limit = TimeLimit(left, write=self.write)
            callbacks.append(limit)
        scores = ScoreEachEpoch(lambda predict: self._score(predict, task), report, limit)
        if report is not None:
            callbacks.append(scores)
        done = fit(
            Candidate(model), task, settings, workdir, label="trial", callbacks=callbacks, write=self.write
        ).model
        if limit is not None and limit.stopped:
            raise Interrupted("the time is up")
        return done, scores.found

    def _score(self, predict: Predictor, task: Task) -> float:
        """-> how good predictions are.

        Raises:
          InputError: the score is no number.
        """
        found = task.score(predict)
        self.metrics.add(found.metric)
        if not 0 <= found.value <= 100:
            raise InputError(f"The score of a network must lie in 0..100. Received: {found.value!r}")
        return found.value

    def _tidy(self, workdir: Path) -> None:
        """Removes what only a training that goes on needs."""
        shutil.rmtree(workdir / "checkpoints", ignore_errors=True)


class ScoreEachEpoch(keras.callbacks.Callback):
    """Scores the network after every whole epoch, and says so; what `report` raises ends the training.

    Attributes:
      found: epochs done -> accuracy.
    """

    def __init__(self, score: Callable[[Predictor], float], report: Reporting | None, limit: TimeLimit | None) -> None:
        super().__init__()
        self._score, self._report, self._limit = score, report, limit
        self._predict: Predictor | None = None
        self.found: dict[int, float] = {}

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Scores, unless the epoch was cut."""
        if (self._limit is not None and self._limit.done_after(epoch) != epoch + 1) or self._report is None:
            return
        if self._predict is None:
            self._predict = predictor(self.model)
        self.found[epoch + 1] = self._score(self._predict)
        self._report(epoch + 1, self.found[epoch + 1])


def predictor(model: keras.Model) -> Predictor:
    """-> what a network answers, computed by Keras; it is traced once."""
    predict = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)
    return lambda batch: np.asarray(predict(batch))


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
