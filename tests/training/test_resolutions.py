"""One set of weights for several sizes: the step by hand, statistics of each size, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.tasks.heatmaps import JointsMSE
from tta_lite.training.resolutions import MultiResolution, resized, resized_maps
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
        MultiResolution(keras.Model(maps, L.Conv2D(2, 3)(maps)), (4,))
    with pytest.raises(InputError, match="`labels_at`"):
        MultiResolution(keras.Model(maps, L.Conv2D(2, 1)(maps)), (4,)).compile("adam", "mse")


def pose_net(sigma=0.5):
    """[B, 16, 16, 1] -> heat maps [B, 4, 4, 2]."""
    keras.utils.set_random_seed(3)
    image = keras.Input((16, 16, 1), name="image")
    x = L.ReLU()(L.Conv2D(4, 4, 4, name="conv")(image))
    return keras.Model(image, L.Conv2D(2, 1, name="maps")(x), name="pose"), JointsMSE(sigma)


def test_labels_and_maps_of_a_smaller_picture_lie_where_its_content_does():
    """A dot in a picture, its label, and the map of a network that marks dots: all three end in one place."""
    ratio, side = 0.5, 64
    dot = np.zeros((1, side, side, 1), np.float32)
    dot[0, 40, 24] = 1
    small = resized(dot, 32).numpy()[0, :, :, 0]
    middle = [float((small.sum(axis=axis) * np.arange(32)).sum() / small.sum()) for axis in (0, 1)]
    # (24 + 0.5) / 2 - 0.5 and (40 + 0.5) / 2 - 0.5, by hand.
    np.testing.assert_allclose(middle, [11.75, 19.75], atol=1e-3)
    label = JointsMSE().labels_at(tf.constant([[[24 / 4, 40 / 4, 1.0]]]), ratio, 4.0).numpy()[0, 0]
    np.testing.assert_allclose(label, [11.75 / 4, 19.75 / 4, 1], atol=1e-6)
    mark = np.zeros((1, 16, 16, 1), np.float32)
    mark[0, 10, 6] = 1
    found = resized_maps(mark, (8, 8), ratio, 4.0).numpy()[0, :, :, 0]
    middle = [float((found.sum(axis=axis) * np.arange(8)).sum() / found.sum()) for axis in (0, 1)]
    # Weights of a triangle are spread to a quarter of a pixel's accuracy; a plain resize would be 0.19 off.
    np.testing.assert_allclose(middle, label[:2], atol=0.07)
    assert found.sum() == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("distil", [False, True], ids=["labels", "distilled"])
def test_a_pose_net_learns_heat_maps_of_both_sizes(distil):
    model, loss = pose_net()
    twin, _ = pose_net()
    joints = RNG.uniform(0, 4, (8, 2, 3)).astype("float32")
    joints[..., 2] = 1
    pictures = RNG.normal(size=(8, 16, 16, 1)).astype("float32")
    scaled = joints.copy()
    # A pixel of the map is 4 of the picture: 4 x_small + 0.5 = (4 x + 0.5) / 2.
    scaled[..., :2] = ((4 * joints[..., :2] + 0.5) / 2 - 0.5) / 4

    def loss_of(net):
        large, small = net(pictures), twin_of_8(net)(resized(pictures, 8))
        taught = resized_maps(tf.stop_gradient(large), (2, 2), 0.5, 4.0)
        return loss(joints, large), tf.reduce_mean(loss.to_teacher(taught, small)) if distil else loss(scaled, small)

    def twin_of_8(net):
        def run(x):
            return net.get_layer("maps")(tf.nn.relu(net.get_layer("conv")(x)))

        return run

    with tf.GradientTape() as tape:
        parts = loss_of(twin)
        total = sum(parts)
    variables = twin.trainable_variables
    wanted = [v - 0.1 * g for v, g in zip(variables, tape.gradient(total, variables), strict=True)]
    found = MultiResolution(model, (8,), distil=distil)
    found.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    logs = found.train_on_batch(pictures, joints, return_dict=True)
    for variable, value in zip(model.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), atol=1e-6)
    assert logs["loss_8"] == pytest.approx(float(parts[1]), abs=1e-6)
    assert found.network(8).output_shape == (None, 2, 2, 2)
