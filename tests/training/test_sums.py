"""Against sums that are known: of ones, and in float64 of operands rounded to 16 bits."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training import precision
from tta_lite.training.precision import with_policy
from tta_lite.training.pruning import Pruning

layers = keras.layers
LAYERS = {
    "conv1d": (layers.Conv1D(5, 3, strides=2), (9, 6)),
    "conv": (layers.Conv2D(5, 3, strides=2, padding="same"), (8, 8, 6)),
    "grouped conv": (layers.Conv2D(6, 3, groups=2), (8, 8, 6)),
    "deconv": (layers.Conv2DTranspose(5, 4, strides=2, padding="same"), (4, 4, 6)),
    "depthwise": (layers.DepthwiseConv2D(3, padding="same"), (8, 8, 6)),
    "separable": (layers.SeparableConv2D(5, 3), (8, 8, 6)),
    "dense": (layers.Dense(5, activation="relu"), (64,)),
    "dense of a sequence": (layers.Dense(5, use_bias=False), (7, 64)),
}
ROUND = {"mixed_bfloat16": (ml_dtypes.bfloat16, 8), "mixed_float16": (np.float16, 11)}


def followed(layer, shape):
    """The layer, and one that takes what it gives and is the float32 output."""
    image = keras.Input(shape)
    x = type(layer).from_config(layer.get_config())(image)
    return keras.Model(image, layers.Activation("linear", name="out")(x))


@pytest.fixture
def on_a_cpu(monkeypatch):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: [])


@pytest.mark.parametrize("policy", ROUND)
@pytest.mark.parametrize("name", LAYERS)
def test_operands_of_16_bits_and_a_wide_sum(on_a_cpu, name, policy):
    dtype, bits = ROUND[policy]
    net = followed(*LAYERS[name])
    rng = np.random.default_rng(0)
    net.set_weights([rng.normal(size=weight.shape) for weight in net.get_weights()])
    x = rng.normal(size=(2, *net.input_shape[1:])).astype(np.float32)

    exact = keras.Model.from_config(net.get_config())
    for layer in exact.layers:
        layer._set_dtype_policy("float64")
    exact = keras.models.clone_model(exact)
    exact.set_weights([weight.astype(dtype).astype(np.float64) for weight in net.get_weights()])
    expected = exact(x.astype(dtype).astype(np.float64)).numpy()
    assert expected.dtype == np.float64

    found = with_policy(net, policy)(x).numpy()
    # Rounded once, at the end: half a unit in the last place.
    np.testing.assert_allclose(found, expected, rtol=2.0**-bits, atol=1e-5)


@pytest.mark.parametrize("policy", ROUND)
def test_gradients_of_ones(on_a_cpu, policy):
    """16 x 32 x 32 ones: each weight's gradient is their number, but for the rim of a 3 x 3 kernel."""
    image = keras.Input((32, 32, 2))
    x = layers.DepthwiseConv2D(3, padding="same", depthwise_initializer="zeros", name="depthwise")(image)
    x = layers.Conv2D(2, 1, bias_initializer="ones", kernel_initializer="zeros", name="conv")(x)
    net = with_policy(keras.Model(image, layers.Activation("linear", name="out")(x)), policy)
    ones = tf.ones((16, 32, 32, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net(ones))
    bias = net.get_layer("conv").weights[1]
    assert bias.dtype == tf.float32
    np.testing.assert_array_equal(tape.gradient(loss, bias), 16 * 32 * 32)

    depthwise = keras.Model(net.inputs, net.get_layer("depthwise").output)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(depthwise(ones), tf.float32))
    kernel = depthwise.trainable_weights[0]
    gradient = tape.gradient(loss, kernel).numpy()
    np.testing.assert_array_equal(gradient[1, 1, :, 0], 16 * 32 * 32)
    np.testing.assert_array_equal(gradient[0, 0, :, 0], np.float32(16 * 31 * 31).astype(ROUND[policy][0]))


@pytest.mark.parametrize("name", LAYERS)
def test_there_and_back_is_the_layer_of_keras(on_a_cpu, name):
    net = followed(*LAYERS[name])
    mixed = with_policy(net, "mixed_bfloat16")
    assert type(mixed.layers[1]) is not type(net.layers[1]) and isinstance(mixed.layers[1], type(net.layers[1]))
    assert [weight.name for weight in mixed.weights] == [weight.name for weight in net.weights]
    policy = mixed.layers[1].get_config()["dtype"]
    assert mixed.layers[1].get_config() == {**net.layers[1].get_config(), "dtype": policy}
    assert type(with_policy(mixed, "float32").layers[1]) is type(net.layers[1])


def test_a_gpu_has_its_own_sums(monkeypatch):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: ["GPU:0"])
    net = followed(*LAYERS["conv"])
    assert type(with_policy(net, "mixed_float16").layers[1]) is layers.Conv2D


def test_saved_and_read_back(on_a_cpu, tmp_path):
    net = with_policy(followed(*LAYERS["deconv"]), "mixed_bfloat16")
    net.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 6))
    np.testing.assert_array_equal(again(x), net(x))


@pytest.mark.parametrize("name", ["conv", "deconv", "dense"])
def test_pruning_finds_the_float32_kernel(on_a_cpu, name):
    net = with_policy(followed(*LAYERS[name]), "mixed_bfloat16")
    wrapped = Pruning().wrap(net, 10).layers[1]
    (kernel,) = wrapped.layer.get_prunable_weights()
    assert kernel is net.layers[1].weights[0] and kernel.dtype == tf.float32
