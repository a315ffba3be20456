"""Callbacks for a loop of one's own: limits on time and budget, the best file, the way back from NaN. In Keras 2.

Where no network is needed, the hooks are called by hand; clocks are lists of numbers. Keras 3: test_keras3.py.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import math
import types

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

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
from tta_lite.training.watchers import state as states
from tta_lite.training.watchers.learning_rate import learning_rate, lower
from tta_lite.types import InputError

X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)
SCHEDULES = keras.optimizers.schedules


class Own(SCHEDULES.LearningRateSchedule):
    """1, 1/2, 1/3 ..."""

    def __call__(self, step):
        return 1.0 / (1.0 + tf.cast(step, tf.float32))


def silent(line):
    pass


def make_net(optimizer=None):
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.layers.Dense(1, input_shape=(3,))])
    # So small a network takes longer to compile than to train.
    net.compile(optimizer or keras.optimizers.Adam(0.05), "mse", run_eagerly=True)
    return net


def train(net, watchers, epochs=4, **options):
    return net.fit(
        X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=watchers, **options
    )  # fmt: skip


def drive(callback, net, epochs, steps, *, first=0, told=None, step=lambda epoch, batch: {"loss": 1.0}):
    """Calls the hooks as `fit` does. -> the logs of each epoch."""
    net.stop_training = False
    callback.set_model(net)
    callback.set_params({"epochs": epochs, "steps": told, "verbose": 0})
    callback.on_train_begin({})
    seen = []
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch, {})
        for batch in range(steps):
            callback.on_train_batch_begin(batch, {})
            callback.on_train_batch_end(batch, step(epoch, batch))
            if net.stop_training:
                break
        seen.append({"loss": 1.0})
        callback.on_epoch_end(epoch, seen[-1])
        if net.stop_training:
            break
    callback.on_train_end({})
    return seen


@pytest.fixture(scope="module")
def net():
    return make_net()


@pytest.fixture(scope="module")
def whole():
    """The weights after four epochs without a callback of the house."""
    net = make_net()
    train(net, None)
    return net.get_weights()


# Both lists of callbacks.


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


# Progress.


def progress_lines(seconds, **options):
    lines, now = [], [0.0]
    progress = Progress("a", every_s=0, write=lines.append, clock=lambda: now[0])
    drive_timed(progress, now, seconds, **options)
    return [line.rsplit(", ", 1)[1] for line in lines]


def drive_timed(callback, now, seconds, *, epochs, steps, first=0, told=None, net=None):
    """`seconds` of a step, and of the end of an epoch; the clock stands still elsewhere."""
    callback.set_model(net)
    callback.set_params({"epochs": epochs, "steps": told, "verbose": 0})
    callback.on_train_begin({})
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch, {})
        for batch in range(steps):
            now[0] += seconds[0]
            callback.on_train_batch_end(batch, {"loss": 1.0})
            if net is not None and net.stop_training:
                break
        now[0] += seconds[1]
        callback.on_epoch_end(epoch, {"loss": 1.0})
        if net is not None and net.stop_training:
            break


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


# TimeLimit.


def limited(seconds, *, limit, epochs=5, steps=4, told=None, path=None, first=0):
    net, now, lines = make_net(), [0.0], []
    net.stop_training = False
    watch = TimeLimit(limit, path, reserve_s=0, write=lines.append, clock=lambda: now[0])
    drive_timed(watch, now, seconds, epochs=epochs, steps=steps, told=told, net=net, first=first)
    return watch, now[0], lines, net


def test_an_epoch_that_would_not_fit_is_not_begun(tmp_path):
    # An epoch is 4 x 10 s and 20 s of validation.
    watch, ended, lines, _ = limited((10, 20), limit=150, told=4, path=tmp_path / "state.npz")
    assert (watch.epochs_done, watch.stopped, ended) == (2, True, 120)
    assert lines == [
        "Stopped after epoch 2 of 5: the next one needs about 1 min 00 s, and 30 s are left of 2 min 30 s."
    ]
    assert states.read(tmp_path / "state.npz").epochs_done == 2


def test_a_training_that_fits_is_not_stopped():
    watch, ended, lines, _ = limited((10, 20), limit=300, told=4)
    assert (watch.epochs_done, watch.stopped, ended, lines) == (5, False, 300, [])


@pytest.mark.parametrize("told", [4, None])
def test_if_not_even_one_epoch_fits_its_steps_are_kept(tmp_path, told):
    # After the second step, at 20 s, a third would end at 30 s.
    watch, ended, lines, _ = limited((10, 0), limit=25, told=told, path=tmp_path / "state.npz")
    assert (watch.epochs_done, watch.stopped, ended, watch.done_after(0)) == (0, True, 20, 0)
    assert lines == ["Stopped in epoch 1 of 5, its steps are kept: 5 s are left of 25 s."]
    assert states.read(tmp_path / "state.npz").epochs_done == 0


@given(
    steps=st.integers(1, 6), step_s=st.integers(1, 9), tail_s=st.integers(0, 9), more_s=st.integers(0, 200),
    known=st.booleans(),
)  # fmt: skip
def test_as_many_epochs_as_fit_are_done(steps, step_s, tail_s, more_s, known):
    """At constant times, and with a limit for one epoch or more."""
    # While the number of steps is not known, another one might come after the last.
    assume(known or more_s + tail_s >= step_s)
    model, now, epoch_s = types.SimpleNamespace(stop_training=False), [0.0], steps * step_s + tail_s
    limit = TimeLimit(epoch_s + more_s, reserve_s=0, write=silent, clock=lambda: now[0])
    drive_timed(
        limit, now, (step_s, tail_s), epochs=10, steps=steps, told=steps if known else None, net=model
    )  # fmt: skip
    assert limit.epochs_done == min(10, (epoch_s + more_s) // epoch_s) and now[0] == limit.epochs_done * epoch_s
    assert limit.stopped == (limit.epochs_done < 10)


def test_an_epoch_that_becomes_slow_is_cut_and_forgotten(tmp_path):
    net, now = make_net(), [0.0]
    watch = TimeLimit(100, tmp_path / "state.npz", reserve_s=0, write=silent, clock=lambda: now[0])

    def step(epoch, batch):
        now[0] += 10 if epoch == 0 else 25
        net.layers[0].bias.assign_add([1.0])
        return {"loss": 1.0}

    drive(watch, net, epochs=3, steps=4, told=4, step=step)
    # 40 s, then 65 and 90 s: a third step of 25 s or of the mean, 17 s, would be too late.
    assert (watch.epochs_done, watch.stopped, now[0], watch.done_after(1)) == (1, True, 90, None)
    assert states.read(tmp_path / "state.npz").weights[1] == [4.0] and net.layers[0].bias.numpy() == [6.0]


def test_the_reserve_is_kept_free():
    net, now = make_net(), [0.0]
    watch = TimeLimit(100, reserve_s=45, write=silent, clock=lambda: now[0])
    net.stop_training = False
    drive_timed(watch, now, (10, 0), epochs=5, steps=5, told=5, net=net)
    assert now[0] == 50 and watch.epochs_done == 1


def test_a_training_that_was_stopped_goes_on_as_if_it_had_not(tmp_path, whole):
    path, now = tmp_path / "state.npz", itertools.count(step=1.0)
    limit = TimeLimit(14, path, reserve_s=0, write=silent, clock=lambda: next(now))
    train(make_net(), [limit])
    assert limit.stopped and 0 < limit.epochs_done < 4
    again, net = TimeLimit(1e6, path), make_net()
    train(net, [again], initial_epoch=again.epochs_done)
    for one, other in zip(net.get_weights(), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    # Who runs it once more has nothing left to do.
    assert TimeLimit(1, path).epochs_done == 4


def test_an_epoch_that_was_cut_is_not_marked_as_done_in_a_checkpoint(tmp_path):
    net, now, epoch = make_net(), [0.0], tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(model=net, epoch=epoch), str(tmp_path), max_to_keep=1)
    limit = TimeLimit(25, reserve_s=0, write=silent, clock=lambda: now[0])
    keep = EpochCheckpoint(manager, epoch, limit=limit)
    for watch in (limit, keep):
        watch.set_model(net)
        watch.set_params({"epochs": 3, "steps": 3})
        watch.on_train_begin()
    for number, seconds in ((0, 3), (1, 8)):
        limit.on_epoch_begin(number)
        for batch in range(3 if number == 0 else 2):
            now[0] += seconds
            limit.on_train_batch_end(batch)
        keep.on_epoch_end(number)
        limit.on_epoch_end(number)
    assert limit.stopped and int(epoch) == 1
    assert len(list(tmp_path.glob("*.index"))) == 1


def test_a_state_of_another_network_is_refused_and_changes_nothing(tmp_path):
    path = tmp_path / "state.npz"
    states.write(path, states.take(make_net(keras.optimizers.SGD(0.1)), 1))
    net = make_net()
    before = net.get_weights()
    with pytest.raises(InputError, match=r"state.npz must be of the network .* Received: other optimizer"):
        train(net, [TimeLimit(9, path)], initial_epoch=1)
    np.testing.assert_array_equal(before[0], net.get_weights()[0])
    path.write_bytes(b"PK not an archive")
    with pytest.raises(InputError, match=r"must hold the state of a training. Received: "):
        TimeLimit(9, path)


# The state.


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(SCHEDULES.ExponentialDecay(0.1, 3, 0.5), momentum=0.9),
        lambda: keras.mixed_precision.LossScaleOptimizer(keras.optimizers.Adam(0.1), dynamic_growth_steps=3),
        lambda: keras.optimizers.legacy.Adam(0.1),
    ],
)
def test_a_state_is_all_that_the_next_steps_need(optimizer, tmp_path):
    net = make_net(optimizer())
    train(net, None, epochs=1)
    states.write(tmp_path / "state.npz", states.take(net, 1))
    train(net, None, epochs=1)
    other = make_net(optimizer())
    states.put(other, states.read(tmp_path / "state.npz"))
    train(other, None, epochs=1)
    for one, two in zip(net.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    if hasattr(net.optimizer, "loss_scale"):
        assert float(net.optimizer.loss_scale) == float(other.optimizer.loss_scale) == 2.0 ** (15 + 8 // 3)


# NaNGuard.


@pytest.fixture
def guarded():
    """-> a net of SGD whose loss is made NaN in the steps of a list, the guard's lines, and what the steps were."""

    def make(bad, *, epochs=2, steps=4, optimizer=None, **options):
        net, lines = make_net(optimizer or keras.optimizers.SGD(0.8)), []
        net.layers[0].bias.assign([0.0])
        guard = NaNGuard(write=lines.append, **options)

        def step(epoch, batch):
            spoilt = (epoch, batch) in bad
            net.layers[0].bias.assign([math.nan] if spoilt else net.layers[0].bias + 1)
            return {"loss": math.nan if spoilt else 1.0}

        drive(guard, net, epochs, steps, step=step)
        return net, guard, lines

    return make


def test_back_to_the_state_at_the_beginning_of_the_epoch(guarded):
    net, guard, lines = guarded([(1, 1)], factor=0.25)
    # 4 steps, then one and the bad one; from 4 on, two more.
    assert net.layers[0].bias.numpy() == [6.0] and guard.rollbacks == [(1, 1)] and guard.gave_up_at is None
    assert learning_rate(net) == pytest.approx(0.2)
    assert lines == ["NaNGuard: loss nan in epoch 2, step 2; back to epoch 2, learning rate 0.8 -> 0.2"]


@pytest.mark.parametrize("on_disk", [False, True])
def test_back_to_a_state_within_the_epoch(guarded, tmp_path, on_disk):
    path = tmp_path / "good.npz" if on_disk else None
    net, guard, _ = guarded([(0, 3)], epochs=1, keep_every=2, path=path)
    assert net.layers[0].bias.numpy() == [2.0] and guard.rollbacks == [(0, 3)]
    assert path is None or path.exists()


def test_twice_from_one_state_the_rate_falls_twice(guarded):
    net, guard, _ = guarded([(0, 0), (0, 2)], epochs=1)
    assert net.layers[0].bias.numpy() == [1.0] and len(guard.rollbacks) == 2
    assert learning_rate(net) == pytest.approx(0.2)


def test_once_too_often_it_stops_with_sound_weights(guarded):
    net, guard, lines = guarded([(0, 1), (0, 2), (0, 3)], max_rollbacks=2)
    assert guard.gave_up_at == (0, 3) and guard.rollbacks == [(0, 1), (0, 2)] and net.stop_training
    assert net.layers[0].bias.numpy() == [0.0]
    assert lines[-1].endswith("back to epoch 1, and stopped: 2 rollbacks were allowed")


def test_it_may_look_seldom(guarded):
    net, guard, _ = guarded([(0, 0)], epochs=1, look_every=4)
    # After the bad step NaN + 1 stays NaN; this loss is seen no more, but the weights are when the epoch ends.
    assert guard.rollbacks == [(0, 3)] and net.layers[0].bias.numpy() == [0.0]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (SCHEDULES.PiecewiseConstantDecay([1, 3], [1.0, 0.5, 0.25]), (1.0, 0.5, 0.25)),
        (SCHEDULES.ExponentialDecay(1.0, 2, 0.25), (1.0, 0.25, 0.0625)),
        (SCHEDULES.PolynomialDecay(1.0, 4, 0.5), (1.0, 0.75, 0.5)),
        (SCHEDULES.CosineDecay(0.0, 4, warmup_target=1.0, warmup_steps=2), (0.0, 1.0, 0.5)),
        (Own(), (1.0, 1 / 3, 0.2)),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_schedule_is_lowered_as_a_whole(schedule, rates):
    net = make_net(keras.optimizers.SGD(schedule))
    lower(net, 0.5)
    lower(net, 0.5)
    for step, rate in zip((0, 2, 4), rates, strict=True):
        net.optimizer.iterations.assign(step)
        assert learning_rate(net) == pytest.approx(rate / 4, abs=1e-6)


def test_a_lower_schedule_counts_in_a_step_that_was_compiled(tmp_path):
    # A loss of the weight itself: a step takes the rate from it.
    net = keras.Sequential([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(1,))])
    net.compile(keras.optimizers.SGD(SCHEDULES.PiecewiseConstantDecay([100], [1.0, 0.1])), lambda y, x: x)
    x = np.ones((2, 1), np.float32)
    guard = NaNGuard(0.25, write=silent)
    bad = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: batch == 1 and net.set_weights([np.array([[math.nan]])])
    )
    net.fit(x, x, batch_size=1, epochs=1, verbose=0, callbacks=[guard, bad])
    assert guard.rollbacks == [(0, 1)] and net.get_weights()[0] == 0
    net.fit(x, x, batch_size=1, epochs=1, verbose=0)
    assert net.get_weights()[0] == -0.5
    # Keras reads it back without anything of ours.
    net.compile(net.optimizer, "mse")
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    assert float(again.optimizer._learning_rate(0)) == 0.25


def test_a_rollback_after_the_last_step_of_an_epoch_shows_in_its_loss():
    net = make_net(keras.optimizers.SGD(1e25))
    guard = NaNGuard(1e-27, write=silent)
    history = net.fit(X[:4], Y[:4], batch_size=2, epochs=3, shuffle=False, verbose=0, callbacks=[guard]).history
    assert guard.rollbacks == [(0, 1)]
    assert not math.isfinite(history["loss"][0]) and all(0 < loss < 10 for loss in history["loss"][1:])


# BudgetWatch.


def test_a_budget_is_watched_every_few_epochs(net):
    figures, lines = iter([1.0, 2.0, 9.0]), []
    watch = BudgetWatch({"size": (lambda model: next(figures), 5)}, every=2, write=lines.append)
    seen = drive(watch, net, epochs=9, steps=1)
    assert [logs["size"] for logs in seen] == [1.0, 2.0, 2.0, 9.0]
    assert lines == ["BudgetWatch: size is 9, above its limit of 5, after epoch 4; the training stops"]
    assert watch.over == ("size",) and net.stop_training


def test_a_warning_does_not_stop(net):
    lines = []
    both = {"size": (lambda model: 6, 5), "macs": (lambda model: 5, 5)}
    drive(BudgetWatch(both, action="warn", write=lines.append), net, epochs=2, steps=1)
    assert not net.stop_training and len(lines) == 3 and lines[0].endswith("limit of 5, at the start")


def test_a_figure_that_is_no_number_is_over_its_limit(net):
    watch = BudgetWatch({"latency": (lambda model: math.nan, 5)}, write=silent)
    drive(watch, net, epochs=1, steps=1)
    assert watch.over == ("latency",)
    with pytest.raises(InputError, match=r"function of 'size' must give a number. Received: b'file'"):
        drive(BudgetWatch({"size": (lambda model: b"file", 5)}), net, epochs=1, steps=1)


# TFLiteExport.


def exported(folder, scores, net, *, epochs, first=0, known=b"", **options):
    """Each file holds the number of its export; the scores are as given."""
    files, left = (f"{first}.{k}".encode() for k in itertools.count()), iter(scores)
    keep = TFLiteExport(
        folder / "net.tflite", lambda model: next(files), lambda file: 7.5 if file == known else next(left),
        write=silent, **options,
    )  # fmt: skip
    return keep, drive(keep, net, epochs=epochs, steps=1, first=first)


@pytest.mark.parametrize(("mode", "best"), [("max", 1), ("min", 0)])
def test_the_best_file_is_kept_with_its_record(tmp_path, net, mode, best):
    scores = [5.0, 9.0, 7.0]
    keep, seen = exported(tmp_path, scores, net, epochs=3, mode=mode)
    assert [logs["int8_accuracy"] for logs in seen] == scores
    file = (tmp_path / "net.tflite").read_bytes()
    record = json.loads((tmp_path / "net.json").read_text())
    assert file == f"0.{best}".encode() and record["epoch"] == best and record["value"] == scores[best]
    assert record["sha256"] == hashlib.sha256(file).hexdigest() and record["mode"] == mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.json", "net.tflite"] and keep.best == record


def test_a_training_that_goes_on_knows_the_best_file(tmp_path, net):
    exported(tmp_path, [5.0, 8.0, 6.0], net, epochs=3)
    _, seen = exported(tmp_path, [7.0], net, epochs=5, first=3, every=5)
    # Until its first export it logs what was measured last.
    assert [logs["int8_accuracy"] for logs in seen] == [6.0, 7.0]
    assert (tmp_path / "net.tflite").read_bytes() == b"0.1"
    exported(tmp_path, [8.5], net, epochs=6, first=5)
    assert (tmp_path / "net.tflite").read_bytes() == b"5.0"
    # One that begins knows nothing of it.
    exported(tmp_path, [1.0], net, epochs=1)
    assert (tmp_path / "net.tflite").read_bytes() == b"0.0"


def test_killed_between_file_and_record(tmp_path, net):
    exported(tmp_path, [5.0], net, epochs=1)
    (tmp_path / "net.tflite").write_bytes(b"newer")
    keep, _ = exported(tmp_path, [7.0], net, epochs=2, first=1, known=b"newer")
    assert keep.best["value"] == 7.5 and (tmp_path / "net.tflite").read_bytes() == b"newer"
    assert json.loads((tmp_path / "net.json").read_text())["sha256"] == hashlib.sha256(b"newer").hexdigest()


def test_a_score_that_is_no_number_is_never_the_best(tmp_path, net):
    keep, _ = exported(tmp_path, [math.nan, 3.0, math.nan], net, epochs=3)
    assert keep.best["value"] == 3.0 and keep.best["epoch"] == 1


def test_a_record_of_another_metric_is_refused(tmp_path, net):
    exported(tmp_path, [5.0], net, epochs=1)
    with pytest.raises(InputError, match=r"must be of pckh \(max\).* Received: int8_accuracy \(max\)"):
        exported(tmp_path, [5.0], net, epochs=2, first=1, metric="pckh")
    (tmp_path / "net.json").write_text("[]")
    with pytest.raises(InputError, match=r"must be the record of net.tflite. Received: "):
        exported(tmp_path, [5.0], net, epochs=2, first=1)


# What cannot be used is refused before anything is trained.


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


def test_the_guard_needs_a_rate_that_can_be_lowered_and_sound_weights():
    net = make_net(keras.optimizers.legacy.SGD(0.1))
    with pytest.raises(InputError, match=r"must be a number or a LearningRateSchedule"):
        train(net, [NaNGuard()])
    net = make_net()
    net.layers[0].bias.assign([math.inf])
    with pytest.raises(InputError, match=r"must begin with weights that are numbers"):
        train(net, [NaNGuard()])


# The list of names.


def test_all_names_are_there():
    assert {name for name in callbacks.__all__ if getattr(callbacks, name) is None} == set()
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        callbacks.Nothing  # noqa: B018


def test_a_schedule_of_pruning_may_be_a_function():
    net = make_net()
    train(net, [PruneLowMagnitudeStep(lambda step: (tf.equal(step, 1), 0.66))], epochs=1)
    assert (net.get_weights()[0] == 0).sum() == 2
