"""Callbacks for a loop of one's own in Keras 2: beside Keras's, progress, what is refused. Keras 3: test_keras3.py."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import tensorflow as tf

from tests.training.loop import X, Y, drive, drive_timed, make_net, silent, train
from tta_lite.compat import keras
from tta_lite.training import callbacks
from tta_lite.training.callbacks import (
    BudgetWatch,
    Callback,
    EpochCheckpoint,
    EpochsDone,
    History,
    LossScaleLogger,
    NaNGuard,
    Progress,
    PruneLowMagnitudeStep,
    SparsityLogger,
    StopOnNaN,
    TFLiteExport,
    TimeLimit,
)
from tta_lite.types import InputError


@pytest.fixture(scope="module")
def net():
    return make_net()


@pytest.fixture(scope="module")
def whole():
    """The weights after four epochs without a callback of the house."""
    net = make_net()
    train(net, None)
    return net.get_weights()


@pytest.mark.parametrize("hooks", [("train_batch_begin", "train_batch_end"), ("test_batch_end",), ("epoch_end",), ()])
def test_only_hooks_that_are_defined_are_said_to_be_there(hooks):
    ours = type("Ours", (Callback,), {f"on_{hook}": lambda self, *args: None for hook in hooks})()
    theirs = type("Theirs", (keras.callbacks.Callback,), {f"on_{hook}": lambda self, *args: None for hook in hooks})()
    for kind in ("train", "test", "predict"):
        asked = f"_implements_{kind}_batch_hooks"
        assert getattr(ours, asked)() == getattr(theirs, asked)()


def test_every_hook_of_keras_is_there():
    wanted = {name for name in dir(keras.callbacks.Callback) if name.startswith(("on_", "set_", "_implements"))}
    assert wanted <= set(dir(Callback))


@pytest.mark.parametrize(
    "made",
    [
        lambda folder: BudgetWatch({"x": (lambda model: 0, 1)}),
        lambda folder: TFLiteExport(folder / "net.tflite", lambda model: b"", lambda file: 0),
        lambda folder: SparsityLogger(),
        lambda folder: History(folder / "history.csv"),
    ],
)
def test_who_looks_at_epochs_alone_costs_no_step(made, tmp_path):
    assert not made(tmp_path)._implements_train_batch_hooks()


def test_a_loop_of_keras_2_with_callbacks_of_both_kinds(tmp_path, whole):
    net, lines, seen = make_net(), [], []
    epoch = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(model=net, optimizer=net.optimizer, epoch=epoch)
    manager = tf.train.CheckpointManager(checkpoint, str(tmp_path / "kept"), max_to_keep=1)
    nan = StopOnNaN()
    best = TFLiteExport(
        tmp_path / "net.tflite", lambda model: model.get_weights()[0].tobytes(), len, every=2, write=silent
    )
    train(
        net,
        [
            nan, NaNGuard(write=lines.append), SparsityLogger(), LossScaleLogger(),
            BudgetWatch({"params": (lambda model: model.count_params(), 4)}, every=3), best,
            keras.callbacks.CSVLogger(str(tmp_path / "keras.csv")), History(tmp_path / "history.csv"),
            keras.callbacks.ModelCheckpoint(str(tmp_path / "best.h5"), "val_loss", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau("loss", patience=50), EpochCheckpoint(manager, epoch, nan),
            EpochsDone(lambda done, epochs, logs: seen.append(done)), TimeLimit(1e6, tmp_path / "state.npz"),
            Progress("net", write=lines.append), keras.callbacks.TerminateOnNaN(),
        ],
        validation_data=(X[:4], Y[:4]),
    )  # fmt: skip
    # They look and change nothing.
    for one, other in zip(net.get_weights(), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    with (tmp_path / "keras.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"loss", "val_loss", "sparsity", "params", "int8_accuracy"} <= set(rows[0])
    assert [row["int8_accuracy"] for row in rows] == ["nan", "12.0", "12.0", "12.0"]
    assert [row["params"] for row in rows] == ["4.0"] * 4
    assert seen[:6] == [0, 0.25, 0.5, 0.75, 1.0, 1] and lines[-1].endswith(" 0 s left") and len(lines) == 4
    assert int(epoch) == 4 and (tmp_path / "best.h5").exists()


def progress_lines(seconds, **options):
    lines, now = [], [0.0]
    progress = Progress("a", every_s=0, write=lines.append, clock=lambda: now[0])
    drive_timed(progress, now, seconds, **options)
    return [line.rsplit(", ", 1)[1] for line in lines]


def test_the_time_left_knows_of_validation_after_the_first_epoch():
    # 2 epochs of 2 steps of 10 s and a validation of 30 s.
    assert progress_lines((10, 30), epochs=2, steps=2, told=2) == [
        "30 s left", "20 s left", "50 s left",
        "40 s left", "30 s left", "0 s left",
    ]  # fmt: skip


def test_a_dataset_without_a_length_is_counted_in_its_first_epoch():
    unknown = "time left not known yet"
    assert progress_lines((10, 0), epochs=9, first=7, steps=2) == [
        unknown, unknown, "20 s left", "10 s left", "0 s left", "0 s left"
    ]  # fmt: skip


def test_epochs_done_of_a_dataset_without_a_length(net):
    told = []
    drive(EpochsDone(lambda done, epochs, logs: told.append((done, epochs))), net, epochs=2, steps=2)
    assert told == [(0, 2), (0, 2), (0, 2), (1, 2), (1.5, 2), (2, 2)]


def test_several_steps_at_once_are_counted():
    lines, now = [], [0.0]
    progress = Progress("a", every_s=0, write=lines.append, clock=lambda: now[0])
    progress.set_params({"epochs": 1, "steps": 8})
    progress.on_train_begin()
    progress.on_epoch_begin(0)
    for last in (1, 3, 5):
        now[0] += 10
        progress.on_train_batch_end(last, {})
    assert lines[-1] == "a: epoch 1/1 step 6/8, 10 s left"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: BudgetWatch({}), "`budget` must map names"),
        (lambda: BudgetWatch({"size": 5}), "`budget` must map names"),
        (lambda: BudgetWatch({"size": (len, math.nan)}), "limit of 'size' must be a number. Received: nan"),
        (lambda: BudgetWatch({"size": (len, 1)}, every=0), "`every` must be a whole number, 1 or more. Received: 0"),
        (lambda: BudgetWatch({"size": (len, 1)}, action="halt"), "stop, warn. Received: 'halt'"),
        (lambda: TFLiteExport("best", len, len), "file such as net.tflite. Received: 'best'"),
        (lambda: TFLiteExport("a.json", len, len), "file such as net.tflite. Received: 'a.json'"),
        (lambda: TFLiteExport("a.tflite", b"", len), "`export` must be a function. Received: b''"),
        (lambda: TFLiteExport("a.tflite", len, len, mode="best"), "max, min. Received: 'best'"),
        (lambda: TFLiteExport("a.tflite", len, len, every=1.5), "`every` must be a whole number"),
        (lambda: TFLiteExport("a.tflite", len, len, metric=""), "`metric` must be a name"),
        (lambda: TimeLimit(0), "`seconds` must be a number above 0. Received: 0"),
        (lambda: TimeLimit(math.nan), "`seconds` must be a number above 0. Received: nan"),
        (lambda: TimeLimit(9, reserve_s=9), "`reserve_s` must be a number of 0 or more and below 9. Received: 9"),
        (lambda: TimeLimit(9, "state.h5"), "must end with .npz. Received: state.h5"),
        (lambda: NaNGuard(1.0), "`factor` must be a number above 0 and below 1. Received: 1.0"),
        (lambda: NaNGuard(max_rollbacks=-1), "`max_rollbacks` must be a whole number, 0 or more. Received: -1"),
        (lambda: NaNGuard(keep_every=0), "`keep_every` must be a whole number"),
        (lambda: NaNGuard(look_every=True), "`look_every` must be a whole number"),
        (lambda: NaNGuard(path="good"), "must end with .npz. Received: good"),
        (lambda: Progress("a", every_s="often"), "`every_s` must be a number of 0 or more. Received: 'often'"),
    ],
)  # fmt: skip
def test_bad_arguments(make, said):
    with pytest.raises(InputError) as caught:
        make()
    assert said in str(caught.value)


def test_all_names_are_there():
    assert {name for name in callbacks.__all__ if getattr(callbacks, name) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        callbacks.Nothing  # noqa: B018


def test_a_schedule_of_pruning_may_be_a_function():
    net = make_net()
    train(net, [PruneLowMagnitudeStep(lambda step: (tf.equal(step, 1), 0.66))], epochs=1)
    assert (net.get_weights()[0] == 0).sum() == 2
