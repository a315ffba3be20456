"""`TimeLimit`: it ends in time, and what goes on ends the same. The clock is a list of numbers."""

from __future__ import annotations

import itertools
import types

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.training.loop import drive, drive_timed, make_net, silent, train
from tta_lite.compat import keras
from tta_lite.training.callbacks import (
    EpochCheckpoint,
    TimeLimit,
)
from tta_lite.training.watchers import state as states
from tta_lite.types import InputError


@pytest.fixture(scope="module")
def whole():
    """The weights after four epochs without a callback of the house."""
    net = make_net()
    train(net, None)
    return net.get_weights()


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
        lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5), momentum=0.9),
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
