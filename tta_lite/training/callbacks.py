"""All Keras callbacks of the house."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.files import atomic_write
from tta_lite.training.quantization_aware import freeze_batch_norm, freeze_ranges, is_quantization_aware
from tta_lite.types import InputError


def format_seconds(seconds: float) -> str:
    """A duration as people say it.

    >>> format_seconds(5), format_seconds(125), format_seconds(7300)
    ('5 s', '2 min 05 s', '2 h 01 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress(keras.callbacks.Callback):
    """One line now and then, with the time left: readable on a terminal and in a log file.

    Args:
      label: what is being trained.
      every_s: seconds between lines within an epoch; the end of an epoch always has one.
      write: where a line goes.
    """

    def __init__(self, label: str, *, every_s: float = 15.0, write: Callable[[str], Any] | None = None) -> None:
        super().__init__()
        self.label, self.every_s = label, every_s
        self.write = write or (lambda line: print(line, file=sys.stderr, flush=True))
        self._epoch = self._done = 0
        self._start = self._last = 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._start = self._last = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch
        if self._done == 0:
            self._first_epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """A line, if the last one is old."""
        self._done += 1
        if time.monotonic() - self._last >= self.every_s:
            self._line(f"step {batch + 1}/{self.params['steps']}", logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """A line."""
        self._line("done", logs)

    def _line(self, where: str, logs: dict | None) -> None:
        now = time.monotonic()
        steps, epochs = self.params["steps"], self.params["epochs"]
        left = (epochs - self._first_epoch) * steps - self._done
        speed = (now - self._start) / max(self._done, 1)
        figures = ", ".join(f"{name} {value:.3g}" for name, value in (logs or {}).items())
        self.write(
            f"{self.label}: epoch {self._epoch + 1}/{epochs} {where}, {figures}, {format_seconds(left * speed)} left"
        )
        self._last = now


class EpochsDone(keras.callbacks.Callback):
    """Tells how far a training is: the epochs that are done, with a part of the one that runs, of how many.

    Args:
      tell: called when an epoch begins and after every step, with what Keras logs.
    """

    def __init__(self, tell: Callable[[float, int, dict[str, float]], Any]) -> None:
        super().__init__()
        self.tell, self._epoch = tell, 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch
        self.tell(epoch, self.params["epochs"], {})

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Tells."""
        self.tell(self._epoch + (batch + 1) / self.params["steps"], self.params["epochs"], dict(logs or {}))


class StopOnNaN(keras.callbacks.Callback):
    """Ends a training whose loss or weights are no longer numbers, and remembers where: (epoch, step), from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.at: tuple[int, int] | None = None
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Looks at the loss."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            self.at = (self._epoch, batch)
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Looks at the weights, which the last step may have spoilt without a loss that shows it."""
        if self.at is None and not all(np.isfinite(weight).all() for weight in self.model.get_weights()):
            self.at = (epoch, self.params["steps"] - 1)
            self.model.stop_training = True


class History(keras.callbacks.Callback):
    """A CSV file with one row an epoch: its number from 0, its seconds, and what Keras logs.

    It comes before `EpochCheckpoint`: a run that is killed between the two repeats the epoch, and its row is replaced.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path, self._began = path, 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the file anew, without what it held of this epoch or later ones."""
        row = {"epoch": epoch, "seconds": round(time.monotonic() - self._began, 3), **(logs or {})}
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), extrasaction="ignore")
        writer.writeheader()
        writer.writerows(old for old in read_history(self.path) if int(old["epoch"]) < epoch)
        writer.writerow(row)
        atomic_write(self.path, text.getvalue())


def read_history(path: Path) -> list[dict[str, str]]:
    """-> the rows of a `History`; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class EpochCheckpoint(keras.callbacks.Callback):
    """Keeps the newest state of a training (weights, optimizer, epoch), so that a killed run goes on.

    Args:
      manager: of a checkpoint that holds `epoch`.
      epoch: a counter variable; after epoch k it holds k + 1.
      nan: comes before this one in the list of callbacks; what it has stopped is not kept.
    """

    def __init__(self, manager: tf.train.CheckpointManager, epoch: tf.Variable, nan: StopOnNaN) -> None:
        super().__init__()
        self.manager, self.epoch, self.nan = manager, epoch, nan

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Saves; TensorFlow writes to a temporary name and renames."""
        if self.nan.at is not None:
            return
        self.epoch.assign(epoch + 1)
        self.manager.save()


class QuantizationAwareSchedule(keras.callbacks.Callback):
    """Freezes a quantisation-aware network bit by bit, so that it ends as the file will be; for any `model.fit`.

    Batch norm first: training then computes with the moving statistics, as inference does. Then the ranges: the grid of
    every activation stays where it is, and the last epochs learn on it. Krishnamoorthi, 2018, section 3.2,
    https://arxiv.org/abs/1806.08342. A training that goes on at a later epoch is frozen as it was.

    Args:
      freeze_batch_norm_epoch: from 0; the first epoch whose batch norms take and leave the moving statistics, while
        their scale and shift still learn. None: they never freeze.
      freeze_ranges_epoch: from 0; the first epoch in which no range moves. None: they never freeze.
    """

    def __init__(self, *, freeze_batch_norm_epoch: int | None = None, freeze_ranges_epoch: int | None = None) -> None:
        super().__init__()
        for name, epoch in (
            ("freeze_batch_norm_epoch", freeze_batch_norm_epoch), ("freeze_ranges_epoch", freeze_ranges_epoch)
        ):  # fmt: skip
            if epoch is not None and epoch < 0:
                raise InputError(f"Argument `{name}` must be an epoch, 0 or more. Received: {epoch}")
        self.freeze_batch_norm_epoch, self.freeze_ranges_epoch = freeze_batch_norm_epoch, freeze_ranges_epoch

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks at the network."""
        if not is_quantization_aware(self.model):
            raise InputError(
                "QuantizationAwareSchedule is for a network that `quantization_aware` made. "
                f"Received: {self.model.name!r}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Freezes what is due."""
        if self.freeze_ranges_epoch is not None and epoch >= self.freeze_ranges_epoch:
            freeze_ranges(self.model)
        due = self.freeze_batch_norm_epoch is not None and epoch >= self.freeze_batch_norm_epoch
        if due and freeze_batch_norm(self.model):
            # What is compiled still has batch norm as it was.
            self.model.make_train_function(force=True)
