from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.callbacks import EpochCheckpoint, Progress, StopOnNaN, format_seconds
from tta_lite.training.watchers import epoch_clock


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (61, "1 min 01 s"), (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"), (3660, "1 h 01 min"), (90_000, "25 h 00 min"),
    ],
)  # fmt: skip
def test_format_seconds(seconds, text):
    assert format_seconds(seconds) == text


@pytest.fixture
def clock(monkeypatch):
    """A list whose first number is the time."""
    now = [100.0]
    monkeypatch.setattr(epoch_clock.time, "monotonic", lambda: now[0])
    return now


def drive(progress, clock, *, first_epoch, epochs, steps, seconds_a_step):
    progress.set_params({"steps": steps, "epochs": epochs})
    progress.on_train_begin()
    for epoch in range(first_epoch, epochs):
        progress.on_epoch_begin(epoch)
        for step in range(steps):
            clock[0] += seconds_a_step
            progress.on_train_batch_end(step, {"loss": 1 / (step + 1)})
        progress.on_epoch_end(epoch, {"loss": 0.25, "val_loss": 0.123456})


def test_progress_lines(clock):
    lines = []
    progress = Progress("G1", every_s=15, write=lines.append)
    drive(progress, clock, first_epoch=0, epochs=2, steps=4, seconds_a_step=10)
    # A line after 20 s, for 10 s are too few; then at the end of the epoch, whatever the time.
    assert lines == [
        "G1: epoch 1/2 step 2/4, loss 0.5, 1 min 00 s left",
        "G1: epoch 1/2 step 4/4, loss 0.25, 40 s left",
        "G1: epoch 1/2 done, loss 0.25, val_loss 0.123, 40 s left",
        "G1: epoch 2/2 step 2/4, loss 0.5, 20 s left",
        "G1: epoch 2/2 step 4/4, loss 0.25, 0 s left",
        "G1: epoch 2/2 done, loss 0.25, val_loss 0.123, 0 s left",
    ]


def test_progress_of_a_resumed_training_counts_what_is_left_of_it(clock):
    lines = []
    drive(Progress("G1", every_s=1e9, write=lines.append), clock, first_epoch=7, epochs=10, steps=5, seconds_a_step=2)
    assert [line.rsplit(", ", 1)[1] for line in lines] == ["20 s left", "10 s left", "0 s left"]
    assert lines[0].startswith("G1: epoch 8/10 done")


def test_progress_writes_to_standard_error(clock, capsys):
    drive(Progress("G1"), clock, first_epoch=0, epochs=1, steps=1, seconds_a_step=1)
    out, err = capsys.readouterr()
    assert out == "" and err == "G1: epoch 1/1 done, loss 0.25, val_loss 0.123, 0 s left\n"


@pytest.fixture
def model():
    net = keras.Sequential([keras.layers.Dense(2, input_shape=(3,))])
    net.stop_training = False
    return net


def watch(callback, model):
    callback.set_model(model)
    callback.set_params({"steps": 10, "epochs": 5})
    callback.on_train_begin()
    return callback


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan")])
def test_a_loss_that_is_no_number_ends_the_training(model, bad):
    nan = watch(StopOnNaN(), model)
    nan.on_epoch_begin(2)
    nan.on_train_batch_end(0, {"loss": 1.5})
    assert nan.at is None and not model.stop_training
    nan.on_train_batch_end(4, {"loss": bad})
    assert nan.at == (2, 4) and model.stop_training


def test_weights_that_are_no_numbers_end_the_training(model):
    nan = watch(StopOnNaN(), model)
    nan.on_epoch_begin(1)
    nan.on_train_batch_end(9, {"loss": 0.5})
    nan.on_epoch_end(1, {"loss": 0.5})
    assert nan.at is None and not model.stop_training
    model.layers[0].bias.assign([0, math.inf])
    nan.on_epoch_end(1, {"loss": 0.5})
    assert nan.at == (1, 9) and model.stop_training


def test_checkpoints(model, tmp_path):
    epoch = tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=model, epoch=epoch), str(tmp_path), max_to_keep=1)
    nan = watch(StopOnNaN(), model)
    keep = watch(EpochCheckpoint(manager, epoch, nan), model)
    model.layers[0].bias.assign([1, 2])
    keep.on_epoch_end(3)
    model.layers[0].bias.assign([3, 4])
    nan.at = (4, 0)
    keep.on_epoch_end(4)
    model.layers[0].bias.assign([5, 6])
    # Read back: the state after epoch 3, and one file of it alone.
    tf.train.Checkpoint(model=model, epoch=epoch).restore(manager.latest_checkpoint)
    assert model.layers[0].bias.numpy().tolist() == [1, 2] and int(epoch) == 4
    assert len(list(tmp_path.glob("*.index"))) == 1
