"""`NaNGuard`: the way back from NaN, with a lower rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests.training.loop import X, Y, drive, make_net, silent, train
from tta_lite.compat import keras
from tta_lite.training.callbacks import (
    NaNGuard,
)
from tta_lite.training.watchers.learning_rate import learning_rate, lower
from tta_lite.types import InputError

SCHEDULES = keras.optimizers.schedules


class Own(SCHEDULES.LearningRateSchedule):
    """1, 1/2, 1/3 ..."""

    def __call__(self, step):
        return 1.0 / (1.0 + tf.cast(step, tf.float32))


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


def test_the_guard_needs_a_rate_that_can_be_lowered_and_sound_weights():
    net = make_net(keras.optimizers.legacy.SGD(0.1))
    with pytest.raises(InputError, match=r"must be a number or a LearningRateSchedule"):
        train(net, [NaNGuard()])
    net = make_net()
    net.layers[0].bias.assign([math.inf])
    with pytest.raises(InputError, match=r"must begin with weights that are numbers"):
        train(net, [NaNGuard()])
