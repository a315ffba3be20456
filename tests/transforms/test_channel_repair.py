from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import randomised
from tests.transforms.channel_nets import branching, pictures, plain
from tta_lite.compat import keras
from tta_lite.transforms.channels.repair import repair
from tta_lite.transforms.least_squares import fit_affine
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.transforms.walk import Walk
from tta_lite.types import InputError

L = keras.layers


def error(net, original, images):
    wanted = original(images).numpy()
    return float(((net(images).numpy() - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum())


READERS = {
    "conv": [L.Conv2D(5, 3, padding="same", name="reader")],
    "strided without padding": [L.Conv2D(5, 3, 2, name="reader")],
    "dilated": [L.Conv2D(5, 3, padding="same", dilation_rate=2, activation="relu", name="reader")],
    "deconv": [L.Conv2DTranspose(5, 4, 2, padding="same", activation="relu", name="reader")],
    "dense": [L.Dense(5, activation="sigmoid", name="reader")],
    "dense after flatten": [L.MaxPooling2D(4), L.Flatten(), L.Dense(5, name="reader")],
    "no bias, batch norm": [L.Conv2D(5, 3, use_bias=False, name="reader"), L.BatchNormalization(name="norm"), L.ReLU()],
}


def with_copies(kind):
    """8 channels of which 6 and 7 follow from others and 5 is a constant: what reads them can do without."""
    image = x = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", name="body")(x)
    for layer in READERS[kind]:
        x = type(layer).from_config(layer.get_config())(x)
    net = randomised(keras.Model(image, x))
    kernel, bias = net.get_layer("body").get_weights()
    kernel[..., 7], bias[7] = kernel[..., 0] - 2 * kernel[..., 1], bias[0] - 2 * bias[1] + 0.7
    kernel[..., 6], bias[6] = 0.5 * kernel[..., 2], 3.0
    kernel[..., 5], bias[5] = 0, -1.5
    net.get_layer("body").set_weights([kernel, bias])
    return net


@pytest.mark.parametrize("kind", READERS)
def test_what_follows_from_the_rest_can_leave_without_loss(kind):
    net = with_copies(kind)
    images = pictures(48)
    if kind == "dense after flatten":
        # Where a maximum is taken, a sum of maps is no sum of maxima.
        remove = {"body": [5]}
    elif READERS[kind][0].get_config().get("padding") == "same":
        # Beyond the border all maps are zero, so that a constant is no bias there.
        kernel, bias = net.get_layer("body").get_weights()
        bias[[6, 7]] = bias[2] / 2, bias[0] - 2 * bias[1]
        net.get_layer("body").set_weights([kernel, bias])
        remove = {"body": [6, 7]}
    else:
        remove = {"body": [5, 6, 7]}
    smaller = remove_channels(net, remove)
    weights = smaller.get_weights()
    repaired = repair(net, smaller, remove, images)
    assert all(np.array_equal(a, b) for a, b in zip(weights, smaller.get_weights(), strict=True))
    unseen = pictures(16, seed=9)
    assert error(smaller, net, unseen) > 1e-2
    assert error(repaired, net, unseen) < 1e-5


def test_a_grouped_convolution_is_repaired_group_by_group():
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(12, 3, padding="same", name="body")(image)
    net = randomised(keras.Model(image, L.Conv2D(4, 3, groups=2, name="reader")(x)))
    kernel, bias = net.get_layer("body").get_weights()
    # The same place in both groups leaves: 2 and 8 follow from 0 and 6.
    for gone, stays in ((2, 0), (8, 6)):
        kernel[..., gone], bias[gone] = -kernel[..., stays], bias[stays] + 1
    net.get_layer("body").set_weights([kernel, bias])
    smaller = remove_channels(net, {"body": [2]})
    assert smaller.get_layer("body").filters == 10
    repaired = repair(net, smaller, {"body": [2]}, pictures(32))
    assert error(smaller, net, pictures(8, seed=4)) > 1e-2
    assert error(repaired, net, pictures(8, seed=4)) < 1e-5


def test_layers_behind_each_other_and_branches():
    net = branching()
    remove = {"stem": [0, 5, 9], "expand": list(range(0, 32, 4)), "down": [1, 2], "grouped": [3], "deconv": [0, 7]}
    smaller = remove_channels(net, remove)
    images, unseen = pictures(64, (12, 12, 3)), pictures(32, (12, 12, 3), seed=8)
    repaired = repair(net, smaller, remove, images)
    assert error(repaired, net, unseen) < 0.6 * error(smaller, net, unseen)
    changed = {
        layer.name
        for layer, other in zip(smaller.layers, repaired.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), other.get_weights(), strict=True))
    }
    # Who reads what left, and the batch norm behind one without a bias. The separable one is left alone.
    assert changed == {"expand", "project", "expand_bn", "project_bn", "down", "grouped", "head"}
    assert repaired.output_names == net.output_names


def test_with_few_images_nothing_is_learnt_by_heart():
    """More unknowns than places: the fit must not be worse than none on other images."""
    net = plain((32, 16), shape=(4, 4, 3))
    remove = {"conv1": list(range(0, 32, 3))}
    smaller = remove_channels(net, remove)
    repaired = repair(net, smaller, remove, pictures(4, (4, 4, 3)))
    unseen = pictures(64, (4, 4, 3), seed=5)
    assert error(repaired, net, unseen) < 1.05 * error(smaller, net, unseen)


def test_fit_affine_finds_the_kernel_and_the_bias():
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 1, (40, 5, 5, 6)).astype(np.float32)
    kernel, bias = rng.normal(size=(6, 3)), np.array([2.0, -1, 0.5])
    layer = L.Dense(3)
    layer.build((None, 6))
    # One input more says nothing; the start is far off.
    found, own_bias = fit_affine(layer, x, (x @ kernel + bias).astype(np.float32), np.zeros((6, 3)))
    np.testing.assert_allclose(found, kernel, atol=2e-3)
    np.testing.assert_allclose(own_bias, bias, atol=5e-3)
    through_zero, none = fit_affine(layer, x, (x @ kernel + bias).astype(np.float32), np.zeros((6, 3)), intercept=False)
    # As float64 least squares without a column of ones.
    wanted = np.linalg.lstsq(x.reshape(-1, 6).astype(np.float64), (x @ kernel + bias).reshape(-1, 3), rcond=None)[0]
    np.testing.assert_allclose(through_zero, wanted, atol=5e-3)
    assert not none.any()


def test_fit_affine_stays_where_it_is_if_nothing_can_be_learnt():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 30)).astype(np.float32)
    start = rng.normal(size=(30, 2))
    layer = L.Dense(2)
    layer.build((None, 30))
    found, _ = fit_affine(layer, x, (x @ start + 0.3 * rng.normal(size=(8, 2))).astype(np.float32), start)
    # Six images to learn 62 numbers from noise.
    assert np.abs(found - start).max() < 0.2


@pytest.fixture(scope="module")
def digits():
    """8 x 8 digits, and a small network that has learnt them."""
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_digits(return_X_y=True)
    x = (x.reshape(-1, 8, 8, 1) / 8 - 1).astype(np.float32)
    keras.utils.set_random_seed(3)
    image = keras.Input((8, 8, 1))
    h = image
    for number, (filters, strides) in enumerate(((16, 1), (24, 2), (32, 1)), 1):
        h = L.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv{number}")(h)
        h = L.ReLU()(L.BatchNormalization(name=f"bn{number}")(h))
    h = L.GlobalAveragePooling2D()(h)
    net = keras.Model(image, L.Dense(10, name="head")(h))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(3e-3), loss)
    net.fit(x[:1200], y[:1200], batch_size=32, epochs=8, verbose=0)
    return net, x[:1200], x[1200:], y[1200:]


def accuracy(net, x, y):
    return float((net(x).numpy().argmax(axis=1) == y).mean())


def test_a_trained_network_keeps_more_with_a_repair_than_without(digits):
    net, train, test, labels = digits
    whole = accuracy(net, test, labels)
    assert whole > 0.8
    rng = np.random.default_rng(0)
    gains = []
    for _ in range(3):
        remove = {
            name: rng.choice(size, size // 2, replace=False).tolist()
            for name, size in (("conv1", 16), ("conv2", 24), ("conv3", 32))
        }
        smaller = remove_channels(net, remove)
        repaired = repair(net, smaller, remove, train[:256])
        assert error(repaired, net, test) < 0.5 * error(smaller, net, test)
        gains.append(accuracy(repaired, test, labels) - accuracy(smaller, test, labels))
    assert min(gains) > 0.1


def test_another_network_is_refused():
    net = plain()
    other = keras.Model(net.input, net.get_layer("relu2").output)
    with pytest.raises(InputError, match="before and after the same removal"):
        repair(net, other, {"conv1": [0]}, pictures(2))


def test_a_walk_gives_what_keras_gives():
    net = branching()
    images = pictures(5, (12, 12, 3))
    walk = Walk(net, images, batch=2)
    wanted = keras.Model(net.input, [net.get_layer("add").input[1], net.get_layer("grouped").output])(images)
    seen = {}
    for call in walk:
        if call.name == "add":
            seen["add"] = walk.read(call)[1]
        if call.name == "grouped":
            seen["grouped"] = walk.write(call)
        if call.name == "head":
            seen["head"] = walk.write(call)
    np.testing.assert_allclose(seen["add"], wanted[0], atol=1e-5)
    np.testing.assert_allclose(seen["grouped"], wanted[1], atol=1e-5)
    np.testing.assert_allclose(seen["head"], net(images), atol=1e-4)
    # Nothing is kept for longer than it is needed.
    assert not walk._values


def test_a_walk_looks_into_nested_models_and_functions():
    inner_image = keras.Input((4, 4, 2))
    inner = keras.Model(inner_image, tf.nn.relu6(L.Conv2D(3, 1, name="inside")(inner_image) * 2.0), name="inner")
    image = keras.Input((4, 4, 2))
    net = randomised(keras.Model(image, tf.concat([inner(image), image], axis=-1)))
    images = pictures(3, (4, 4, 2))
    walk = Walk(net, images)
    last = [walk.write(call) for call in walk][-1]
    np.testing.assert_allclose(last, net(images), atol=1e-6)


def test_a_walk_needs_one_input():
    one, two = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(InputError, match="one input"):
        Walk(keras.Model([one, two], L.Add()([one, two])), np.zeros((1, 4)))
