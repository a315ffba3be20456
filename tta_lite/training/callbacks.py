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
from tta_lite.training.lottery_rewind import LotteryRewind as LotteryRewind
from tta_lite.training.network_slimming import NetworkSlimming as NetworkSlimming
from tta_lite.training.pruning_policies import EVERY_LAYER, Kernel, LayerPolicy, chosen_kernels
from tta_lite.training.pruning_schedules import Schedule
from tta_lite.training.quantization_aware import freeze_batch_norm, freeze_ranges, is_quantization_aware
from tta_lite.training.sparsity_patterns import magnitude_mask, parse_pattern, pattern_mask
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
        _write_rows(self.path, row)


def read_history(path: Path) -> list[dict[str, str]]:
    """-> the rows of a `History`; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write_rows(path: Path, row: dict[str, Any]) -> None:
    """Writes the file anew: the rows of earlier epochs, and this one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(old for old in read_history(path) if int(old["epoch"]) < row["epoch"])
    writer.writerow(row)
    atomic_write(path, text.getvalue())


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


class PruneLowMagnitudeStep(keras.callbacks.Callback):
    """Makes the smallest weights zero on a schedule, as TFMOT's `prune_low_magnitude`, on a plain network in any `fit`.

    Before every step, masks are renewed if the schedule says so, from the weights as the last step left them, and put
    on; after every epoch they are put on once more, so that what is saved has its zeros. All in one compiled call.

    A training that goes on where another was stopped finds its masks in the zeros of the kernels; one that keeps
    `state` in its checkpoint has them as they were.

    Args:
      schedule: one of TFMOT's, or from `tta_lite.training.pruning_schedules`; the first step is step 1.
      layers: whose kernels.
      pattern: as ``2:4``; empty: the smallest of each kernel.

    Example:
      >>> from tta_lite.training.pruning_schedules import constant
      >>> net = keras.Sequential([keras.layers.Dense(4, input_shape=(8,))])
      >>> net.compile("adam", "mse")
      >>> step = PruneLowMagnitudeStep(constant(0.75, begin=1, end=4, frequency=1))
      >>> _ = net.fit(np.eye(8), np.zeros((8, 4)), batch_size=2, verbose=0, callbacks=[step])
      >>> int((net.get_weights()[0] == 0).sum())
      24
    """

    def __init__(self, schedule: Schedule, *, layers: LayerPolicy = EVERY_LAYER, pattern: str = "") -> None:
        super().__init__()
        self.schedule, self.layers = schedule, layers
        self.pattern = parse_pattern(pattern) if pattern else None
        self.kernels: list[Kernel] = []
        self.masks: list[tf.Variable] = []

    def attach(self, model: keras.Model) -> None:
        """Makes the masks, all ones; `fit` does it if nobody has.

        Raises:
          InputError: see `tta_lite.training.pruning_policies.chosen_kernels`; or a pattern and a kernel without axis.
        """
        self.kernels = chosen_kernels(model, self.layers)
        without = [kernel.layer for kernel in self.kernels if self.pattern and kernel.axis is None]
        if without:
            raise InputError(f"A pattern needs kernels that sum over input channels. Received: {', '.join(without)}")
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="pruning_step")
        self.masks = [
            tf.Variable(tf.ones(kernel.variable.shape), trainable=False, name=f"{kernel.layer}_mask")
            for kernel in self.kernels
        ]
        self.state = tf.train.Checkpoint(step=self.step, masks=self.masks)
        self._next = tf.function(self._take_step, autograph=False)
        self._put_on = tf.function(self._mask_all, autograph=False)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Finds out where the training is.

        Raises:
          InputError: several steps are run at once (``steps_per_execution``): in between, zeros would come alive.
        """
        at_once = getattr(self.model, "_steps_per_execution", None)
        if at_once is not None and int(at_once) > 1:
            raise InputError(
                "PruneLowMagnitudeStep puts zeros right after every step: compile with steps_per_execution=1. "
                f"Received: {int(at_once)}"
            )
        now = chosen_kernels(self.model, self.layers)
        if [id(kernel.variable) for kernel in now] != [id(kernel.variable) for kernel in self.kernels]:
            self.attach(self.model)
        self._found = False

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Renews the masks if it is time, and puts them on."""
        if not self._found:
            # Not earlier: others may restore weights and optimizer when a training begins.
            self._find_masks()
        self._next()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Puts the masks on."""
        self._put_on()

    def _find_masks(self) -> None:
        self._found = True
        done = int(self.model.optimizer.iterations.numpy())
        if int(self.step.numpy()) == 0 and done:
            self.step.assign(done)
            first = 1 if self.pattern else self.schedule.begin_step
            if done >= first:
                for kernel, mask in zip(self.kernels, self.masks, strict=True):
                    mask.assign(tf.cast(tf.not_equal(kernel.variable, 0), mask.dtype))

    def _take_step(self) -> None:
        step = self.step.assign_add(1)
        due, share = self.schedule(step)
        if self.pattern is not None:
            # Once, as TFMOT and NVIDIA's ASP: a pattern has no shares to grow through.
            due = tf.equal(step, 1)

        def renew() -> tf.Tensor:
            for kernel, mask in zip(self.kernels, self.masks, strict=True):
                if self.pattern is None:
                    mask.assign(magnitude_mask(kernel.variable, share))
                else:
                    assert kernel.axis is not None
                    mask.assign(pattern_mask(kernel.variable, self.pattern, kernel.axis))
            return tf.constant(True)

        tf.cond(due, renew, lambda: tf.constant(False))
        self._mask_all()

    def _mask_all(self) -> None:
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            kernel.variable.assign(kernel.variable * mask)


class SparsityLogger(keras.callbacks.Callback):
    """Logs the share of zeros after every epoch, of the whole network and layer by layer; for any `model.fit`.

    ``sparsity`` is added to what Keras logs: put it before other callbacks that shall see it.

    Args:
      path: of a CSV file with a row an epoch and a column a layer; None: no file. A training that goes on replaces the
        rows of the epochs that it repeats.
      log_dir: of TensorBoard's summaries ``sparsity`` and ``sparsity/<layer>``, written by `tf.summary` alone; None:
        none.
      layers: which kernels are looked at.
    """

    def __init__(
        self, path: str | Path | None = None, log_dir: str | Path | None = None, *, layers: LayerPolicy = EVERY_LAYER
    ) -> None:
        super().__init__()
        self.path, self.log_dir, self.layers = path, log_dir, layers
        self._writer: Any = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Counts and writes."""
        kernels = chosen_kernels(self.model, self.layers)
        sizes = {kernel.layer: int(np.prod(kernel.variable.shape)) for kernel in kernels}
        zeros = {one.layer: sizes[one.layer] - int(tf.math.count_nonzero(one.variable)) for one in kernels}
        row: dict[str, Any] = {"epoch": epoch, "sparsity": sum(zeros.values()) / sum(sizes.values())}
        if logs is not None:
            logs["sparsity"] = row["sparsity"]
        row |= {layer: zeros[layer] / sizes[layer] for layer in zeros}
        if self.path is not None:
            _write_rows(Path(self.path), row)
        if self.log_dir is not None:
            if self._writer is None:
                self._writer = tf.summary.create_file_writer(str(self.log_dir))
            with self._writer.as_default(step=epoch):
                for name, share in list(row.items())[1:]:
                    tf.summary.scalar(name if name == "sparsity" else f"sparsity/{name}", share)
            self._writer.flush()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Closes what TensorBoard reads."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
