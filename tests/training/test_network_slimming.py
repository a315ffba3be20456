from __future__ import annotations

import math

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.training.callbacks import NetworkSlimming
from tta_lite.types import InputError

L = keras.layers
X = np.zeros((6, 4, 4, 3), np.float32)


def nothing(y, prediction):
    """A loss whose gradient is zero."""
    return 0.0 * keras.backend.sum(prediction)


def small_net():
    image = keras.Input((4, 4, 3))
    inner_image = keras.Input((4, 4, 5))
    inner = keras.Model(inner_image, L.BatchNormalization(name="inside")(inner_image), name="inner")
    x = L.Conv2D(5, 1, name="conv")(image)
    x = inner(L.BatchNormalization(name="first")(x))
    net = keras.Model(image, L.BatchNormalization(scale=False, name="no_factor")(x))
    net.get_layer("first").gamma.assign([0.5, -0.25, 0.03, -0.01, 0.0])
    return net


def test_a_step_of_sgd_moves_each_factor_by_rate_times_penalty_and_no_further_than_zero():
    net = small_net()
    others = [w.numpy() for w in net.trainable_weights if "gamma" not in w.name]
    net.compile(keras.optimizers.SGD(0.1), nothing)
    net.fit(X, X[..., :1], batch_size=6, verbose=0, callbacks=[NetworkSlimming(0.2)])
    # 0.1 x 0.2 = 0.02 towards zero.
    np.testing.assert_allclose(net.get_layer("first").gamma, [0.48, -0.23, 0.01, 0.0, 0.0], atol=1e-7)
    np.testing.assert_allclose(net.get_layer("inner").get_layer("inside").gamma, np.full(5, 0.98), atol=1e-6)
    for now, was in zip([w for w in net.trainable_weights if "gamma" not in w.name], others, strict=True):
        np.testing.assert_array_equal(now, was)


def test_the_rate_is_that_of_each_step():
    net = small_net()
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.1, 0.01, 0.001])
    net.compile(keras.optimizers.SGD(schedule), nothing)
    net.fit(X, X[..., :1], batch_size=2, verbose=0, callbacks=[NetworkSlimming(1.0)])
    assert net.get_layer("first").gamma.numpy()[0] == pytest.approx(0.5 - 0.1 - 0.01 - 0.001, abs=1e-6)


def test_several_steps_an_execution_count_as_several():
    net = small_net()
    net.compile(keras.optimizers.SGD(0.1), nothing, steps_per_execution=3)
    net.fit(X, X[..., :1], batch_size=2, verbose=0, callbacks=[NetworkSlimming(0.1)])
    assert net.get_layer("first").gamma.numpy()[0] == pytest.approx(0.5 - 3 * 0.01, abs=1e-6)


def test_adam_is_not_asked():
    # Its own step for zero gradients is zero, and the penalty is not divided by the size of the gradients.
    net = small_net()
    net.compile(keras.optimizers.Adam(0.1), nothing)
    net.fit(X, X[..., :1], batch_size=6, verbose=0, callbacks=[NetworkSlimming(0.2)])
    assert net.get_layer("first").gamma.numpy()[0] == pytest.approx(0.48, abs=1e-6)


def test_a_factor_that_nothing_needs_goes_to_zero_and_one_that_is_needed_stays():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 2)).astype(np.float32)
    image = keras.Input((2,))
    norm = L.BatchNormalization(name="norm")
    head = L.Dense(1, use_bias=False, name="head")
    net = keras.Model(image, head(norm(image)))
    head.set_weights([np.ones((2, 1))])
    head.trainable = False
    net.compile(keras.optimizers.SGD(0.05), "mse")
    net.fit(x, 2 * x[:, :1], batch_size=32, epochs=12, verbose=0, callbacks=[NetworkSlimming(0.3)])
    needed, idle = norm.gamma.numpy()
    assert idle == 0
    # (gamma - 2)^2 + 0.3 |gamma| is least at 1.85.
    assert needed == pytest.approx(1.85, abs=0.1)


@pytest.mark.parametrize("penalty", [0, -1e-4, math.inf, math.nan, True, "1e-4"])
def test_a_penalty_out_of_range(penalty):
    with pytest.raises(InputError, match=r"penalty.*Received"):
        NetworkSlimming(penalty)


def test_a_network_without_factors():
    image = keras.Input((4, 4, 3))
    net = keras.Model(image, L.BatchNormalization(scale=False)(L.Conv2D(2, 1)(image)))
    net.compile(keras.optimizers.SGD(0.1), nothing)
    with pytest.raises(InputError, match="scale=True"):
        net.fit(X, X[..., :1], verbose=0, callbacks=[NetworkSlimming(0.1)])
