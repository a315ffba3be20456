"""One set of weights for several sizes: the step by hand, statistics of each size, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.resolutions import MultiResolution, resized
from tta_lite.types import InputError

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 8, 8, 1)).astype("float32"), RNG.integers(0, 3, 8)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(norm=False, size=8, head=None):
    """[B, 8, 8, 1] -> [B, 3]."""
    keras.utils.set_random_seed(3)
    image = keras.Input((size, size, 1), name="image")
    x = L.Conv2D(4, 3, padding="same", name="conv")(image)
    x = L.BatchNormalization(name="norm")(x) if norm else x
    x = (head or L.GlobalAveragePooling2D())(L.ReLU()(x))
    return keras.Model(image, L.Dense(3, name="scores")(x), name="net")


def test_a_step_is_the_sum_of_the_sizes():
    """Against TensorFlow's gradient through layers that are called on pictures of both sizes."""
    model, twin = net(), net()
    conv, scores = twin.get_layer("conv"), twin.get_layer("scores")

    def answers(x):
        return scores(tf.reduce_mean(tf.nn.relu(conv(x)), axis=[1, 2]))

    # Halves of 8 x 8 by the widened triangle: 1/8, 3/8, 3/8, 1/8 within, and what is left of it at the borders.
    rows = np.zeros((4, 8))
    for place in range(4):
        for source, weight in zip(range(2 * place - 1, 2 * place + 3), (1, 3, 3, 1), strict=True):
            if 0 <= source < 8:
                rows[place, source] = weight
    rows /= rows.sum(axis=1, keepdims=True)
    small = np.einsum("ih,bhwc,jw->bijc", rows, X, rows).astype("float32")
    np.testing.assert_allclose(resized(X, 4), small, atol=1e-6)
    with tf.GradientTape() as tape:
        loss = LOSS(Y, answers(X)) + LOSS(Y, answers(small))
    variables = twin.trainable_variables
    wanted = [v - 0.1 * g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)]
    found = MultiResolution(model, (4,))
    found.compile(keras.optimizers.SGD(0.1), LOSS)
    logs = found.train_on_batch(X, Y, return_dict=True)
    for variable, value in zip(model.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), atol=1e-6)
    assert logs["loss"] + logs["loss_4"] == pytest.approx(float(loss), abs=1e-5)
    assert found.keys == (8, 4) and found.network(4).input_shape == (None, 4, 4, 1)


@pytest.mark.parametrize("own_factors", [True, False], ids=["own", "shared"])
def test_statistics_are_of_the_size_and_factors_as_asked(own_factors):
    model = net(norm=True)
    found = MultiResolution(model, (4,), own_factors=own_factors)
    found.compile(keras.optimizers.SGD(0.1), LOSS)
    found.fit(X, Y, epochs=3, verbose=0)
    found.recalibrate([X])
    for size, pictures in ((8, X), (4, resized(X, 4))):
        one = found.network(size)
        before = one.get_layer("conv")(pictures).numpy().astype(np.float64)
        np.testing.assert_allclose(one.get_layer("norm").moving_mean, before.mean(axis=(0, 1, 2)), atol=1e-5)
    small, large = found.network(4).get_layer("norm"), model.get_layer("norm")
    assert np.array_equal(small.gamma, large.gamma) != own_factors
    assert not np.array_equal(small.moving_variance, large.moving_variance)


def test_what_cannot_be():
    for sizes in ((), (8,), (4, 4), (0,), (4.5,)):
        with pytest.raises(InputError, match="`sizes`"):
            MultiResolution(net(), sizes)
    with pytest.raises(InputError, match="square picture"):
        MultiResolution(keras.Model(image := keras.Input((8, 4, 1)), L.Conv2D(2, 1)(image)), (4,))
    with pytest.raises(InputError):
        MultiResolution(net(head=L.Flatten()), (4,))
    maps = keras.Input((8, 8, 1))
    with pytest.raises(InputError, match="Outputs must be the same for all sizes"):
        MultiResolution(keras.Model(maps, L.Conv2D(2, 1)(maps)), (4,))
