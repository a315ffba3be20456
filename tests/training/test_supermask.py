"""Masks of untrained networks: the gradient of a draw by hand, and a mask that classifies while no weight moves."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.supermask import SupermaskTraining, simple_supermask
from tta_lite.types import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 4)).astype(np.float32)
Y = np.int32(X[:, 0] > 0)


def batches(count):
    places = np.stack([np.arange(32) + 32 * (step % 8) for step in range(count)])
    return tf.data.Dataset.from_tensor_slices((X[places], Y[places]))


def made(rescale, jit=False):
    keras.utils.set_random_seed(0)
    net = keras.Sequential(
        [keras.layers.Dense(32, "relu", input_shape=(4,), name="hidden"), keras.layers.Dense(2, name="scores")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return net, SupermaskTraining(net, loss, rescale=rescale, jit=jit)


@pytest.mark.parametrize("rescale", [False, True])
def test_a_mask_is_learnt_and_no_weight_moves(rescale):
    net, training = made(rescale)
    start = net.get_weights()
    before = float((net.predict(X, verbose=0).argmax(1) == Y).mean())
    training.begin(start)
    masks = training.run(batches(200), np.full(200, 0.1, np.float32))
    after = float((net.predict(X, verbose=0).argmax(1) == Y).mean())
    assert after > 0.85 > before + 0.1
    for name, place in (("hidden", 0), ("scores", 2)):
        factor = masks[name].size / masks[name].sum() if rescale else 1.0
        np.testing.assert_allclose(net.get_weights()[place], start[place] * masks[name] * factor, rtol=1e-6)
        assert 0.05 < masks[name].mean() < 0.95
    for place in (1, 3):
        np.testing.assert_array_equal(net.get_weights()[place], start[place])
    if rescale:
        # The same draws give the same masks.
        training.begin(start)
        again = training.run(batches(200), np.full(200, 0.1, np.float32))
        assert all(np.array_equal(masks[name], again[name]) for name in masks)


def test_the_first_step_by_hand():
    """y = x w, squared error: the gradient of m is that of y x (x w) x sigmoid'(0); Adam takes its sign."""
    net = keras.Sequential([keras.layers.Dense(1, use_bias=False, input_shape=(3,), name="only")])
    net.set_weights([np.float32([[2.0], [-1.0], [0.5]])])
    training = SupermaskTraining(net, lambda y, out: tf.reduce_mean((out - y) ** 2), rescale=False, jit=False)
    training.begin(net.get_weights())
    x = np.float32([[1.0, 2.0, 4.0]])
    # Far below every output that a draw can give (-2 to 4): the error is positive whatever is drawn.
    data = tf.data.Dataset.from_tensors((x, np.float32([[-100.0]]))).repeat()
    training.run(data, np.float32([0.1]))
    # Weight x input: 2, -2 and 2; m falls where it is positive.
    np.testing.assert_allclose(training.logits["only"].numpy().ravel(), [-0.1, 0.1, -0.1], rtol=1e-4)


def test_large_weights_of_the_same_sign_stay():
    start = {"a": np.float32([0.1, -0.2, 0.3, -0.4]), "b": np.float32([1.0, 1.0])}
    final = {"a": np.float32([0.9, 0.8, 0.2, -0.7]), "b": np.float32([0.6, -3.0])}
    # Scores: 0.9, -0.8, 0.2, 0.7 and 0.6, -3.
    masks = simple_supermask(start, final, 0.5)
    assert masks["a"].tolist() == [True, False, False, True] and masks["b"].tolist() == [True, False]


def test_batches_that_end():
    _, training = made(True)
    with pytest.raises(InputError, match=r"needs 200 batches\. Received: 100"):
        training.run(batches(100), np.full(200, 0.1, np.float32))
