"""Layers and gradients of one bit against NumPy in float64, and against counts."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models import binary_quantizers as quantizers
from tta_lite.models.binary_layers import BinaryConv2D, BinaryDense, BinaryDepthwiseConv2D
from tta_lite.models.files import load_network
from tta_lite.types import InputError

EDGES = np.array([-2.0, -1.0, -0.7, -1e-8, 0.0, 1e-8, 0.25, 1.0, 1.5])


def signs(values: np.ndarray) -> np.ndarray:
    return np.where(values >= 0, 1.0, -1.0)


def gradient(function, values: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    x = tf.constant(values, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return tape.gradient(y, x, output_gradients=tf.constant(upstream, tf.float64)).numpy()


def test_signs_and_their_gradients():
    upstream = np.arange(1.0, 10.0)
    for function in (quantizers.sign, quantizers.kernel_sign, quantizers.approx_sign):
        np.testing.assert_array_equal(function(tf.constant(EDGES)), signs(EDGES))
    inside = np.abs(EDGES) <= 1
    for function in (quantizers.sign, quantizers.kernel_sign, quantizers.stochastic_sign):
        np.testing.assert_array_equal(gradient(function, EDGES, upstream), upstream * inside)
    # Bi-Real Net, equation 8: 2 + 2x on -1..0, 2 - 2x on 0..1.
    slope = np.select([EDGES < -1, EDGES < 0, EDGES < 1], [0, 2 + 2 * EDGES, 2 - 2 * EDGES], 0)
    np.testing.assert_allclose(gradient(quantizers.approx_sign, EDGES, upstream), upstream * slope, atol=1e-15)


def test_the_parabola_is_what_the_gradient_says():
    # Its integral: -1 to x + x |x|-like parts to 1 (Bi-Real Net, equation 7).
    values = np.linspace(-1.4, 1.4, 141)

    def parabola(x):
        return np.select([x < -1, x < 0, x < 1], [-1, 2 * x + x**2, 2 * x - x**2], 1)

    step = 1e-6
    numeric = (parabola(values + step) - parabola(values - step)) / (2 * step)
    found = gradient(quantizers.approx_sign, values, np.ones_like(values))
    np.testing.assert_allclose(found, numeric, atol=1e-5)


def test_the_stochastic_sign_is_one_as_often_as_the_hard_sigmoid_says():
    keras.utils.set_random_seed(1)
    values = np.array([-1.5, -1.0, -0.5, 0.0, 0.3, 1.0, 2.0])
    draws = 40_000
    drawn = quantizers.stochastic_sign(tf.constant(np.tile(values, (draws, 1)), tf.float32)).numpy()
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    wanted = np.array([0, 0, 0.25, 0.5, 0.65, 1, 1])
    # Five standard deviations of a share.
    error = 5 * np.sqrt(wanted * (1 - wanted) / draws)
    assert (np.abs((drawn == 1).mean(axis=0) - wanted) <= error).all()


def test_the_scale_is_the_best_in_the_sense_of_least_squares():
    # XNOR-Net, equation 6: no other alpha is nearer, channel by channel.
    kernel = np.random.default_rng(2).normal(0, 1, (3, 3, 4, 5))
    found = quantizers.scaled_sign(tf.constant(kernel)).numpy()
    alpha = np.abs(found[0, 0, 0])
    np.testing.assert_allclose(found, alpha * signs(kernel))
    errors = [((kernel - factor * alpha * signs(kernel)) ** 2).sum(axis=(0, 1, 2)) for factor in (0.99, 1, 1.01)]
    assert (errors[1] < errors[0]).all() and (errors[1] < errors[2]).all()


def test_the_gradient_of_a_scaled_kernel_by_the_product_rule():
    rng = np.random.default_rng(3)
    kernel, upstream = rng.uniform(-1.5, 1.5, (2, 2, 3, 4)), rng.normal(0, 1, (2, 2, 3, 4))
    count = 2 * 2 * 3
    alpha = np.abs(kernel).mean(axis=(0, 1, 2))
    # d alpha / d w = sign(w) / n, and the sign passes where |w| <= 1.
    through_alpha = (upstream * signs(kernel)).sum(axis=(0, 1, 2)) * np.sign(kernel) / count
    wanted = through_alpha + alpha * upstream * (np.abs(kernel) <= 1)
    np.testing.assert_allclose(gradient(quantizers.scaled_sign, kernel, upstream), wanted, atol=1e-12)


def convolved(x, kernel, stride, pads, value):
    """[B, H, W, C], [KH, KW, C, F] in float64, tap by tap, on a border of `value`."""
    x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)
    rows, columns = ((x.shape[axis] - kernel.shape[axis - 1]) // stride + 1 for axis in (1, 2))
    y = np.zeros((len(x), rows, columns, kernel.shape[-1]))
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            y += (
                x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
                @ kernel[i, j]
            )
    return y


def filled(layer: keras.layers.Layer, x: np.ndarray, seed: int = 4) -> np.ndarray:
    """Gives a layer latent weights and biases from chance -> its output."""
    layer(x)
    rng = np.random.default_rng(seed)
    layer.set_weights([rng.uniform(-1, 1, weight.shape).astype(np.float32) for weight in layer.weights])
    return layer(x).numpy()


@pytest.mark.parametrize("scaling", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_xnor_convolution_is_a_convolution_of_signs_times_its_scales(stride, scaling):
    x = np.random.default_rng(5).normal(0, 1, (2, 6, 5, 3)).astype(np.float32)
    layer = BinaryConv2D(4, 3, strides=stride, padding="same", input_quantizer="sign", input_scaling=scaling)
    found = filled(layer, x)
    kernel, bias = (weight.astype(np.float64) for weight in layer.get_weights())
    alpha = np.abs(kernel).mean(axis=(0, 1, 2))
    # 6 rows by 5 columns: TensorFlow's 'same' puts the odd one at the end.
    pads = [(1, 1), (1, 1)] if stride == 1 else [(0, 1), (1, 1)]
    bits = convolved(signs(x), signs(kernel), stride, pads, 1.0)
    assert (np.abs(bits - np.rint(bits)) < 1e-12).all() and np.abs(bits).max() <= 27
    scale = np.ones(())
    if scaling:
        # XNOR-Net, section 3.2: K is the mean of |x| over the channels, and of that over the window.
        mean = np.abs(x.astype(np.float64)).mean(axis=-1, keepdims=True)
        scale = convolved(mean, np.full((3, 3, 1, 1), 1 / 9), stride, pads, 0.0)
    np.testing.assert_allclose(found, bits * scale * alpha + bias, rtol=1e-5, atol=1e-5)


def test_float_inputs_meet_zeros_at_the_border():
    x = np.random.default_rng(6).normal(0, 1, (1, 4, 4, 2)).astype(np.float32)
    layer = BinaryConv2D(3, 3, padding="same", use_bias=False, kernel_quantizer="sign")
    found = filled(layer, x)
    wanted = convolved(x.astype(np.float64), signs(layer.get_weights()[0]), 1, [(1, 1), (1, 1)], 0.0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_depthwise_and_dense():
    x = np.random.default_rng(7).normal(0, 1, (2, 4, 4, 3)).astype(np.float32)
    layer = BinaryDepthwiseConv2D(3, padding="same", depth_multiplier=2, input_quantizer="sign")
    found = filled(layer, x)
    kernel, bias = (weight.astype(np.float64) for weight in layer.get_weights())
    alpha = np.abs(kernel).mean(axis=(0, 1))
    for channel in range(3):
        taps = (alpha * signs(kernel))[:, :, channel : channel + 1]
        wanted = convolved(signs(x[..., channel : channel + 1]), taps, 1, [(1, 1), (1, 1)], 1.0)
        place = slice(2 * channel, 2 * channel + 2)
        np.testing.assert_allclose(found[..., place], wanted + bias[place], rtol=1e-5, atol=1e-5)

    dense = BinaryDense(5, activation="relu", input_quantizer="approx_sign")
    rows = x.reshape(2, -1)
    found = filled(dense, rows)
    kernel, bias = (weight.astype(np.float64) for weight in dense.get_weights())
    wanted = signs(rows) @ signs(kernel) * np.abs(kernel).mean(axis=0) + bias
    np.testing.assert_allclose(found, np.maximum(wanted, 0), rtol=1e-5, atol=1e-5)


def test_a_stochastic_layer_draws_in_training_alone():
    keras.utils.set_random_seed(8)
    x = np.ones((1, 64), np.float32)
    layer = BinaryDense(3, use_bias=False, kernel_quantizer="stochastic_sign")
    fixed = filled(layer, x)
    np.testing.assert_array_equal(fixed, signs(layer.get_weights()[0]).sum(axis=0)[None])
    drawn = [layer(x, training=True).numpy() for _ in range(2)]
    assert (drawn[0] != drawn[1]).any()


def test_latent_weights_stay_within_one():
    x = keras.Input((4,))
    model = keras.Model(x, BinaryDense(2, kernel_initializer="ones")(x))
    model.compile(keras.optimizers.SGD(10.0), "mse")
    rng = np.random.default_rng(9)
    model.fit(rng.normal(0, 1, (32, 4)), rng.normal(0, 5, (32, 2)), batch_size=8, verbose=0)
    latent = model.layers[-1].latent.numpy()
    assert np.abs(latent).max() == 1 and (latent < 1).any()


@pytest.mark.parametrize("kernels", quantizers.KERNELS)
def test_a_saved_network_comes_back(tmp_path, kernels):
    image = keras.Input((6, 6, 2))
    x = BinaryConv2D(
        4, 3, padding="same", kernel_quantizer=kernels, input_quantizer="approx_sign", input_scaling=True, name="conv"
    )(image)
    x = BinaryDepthwiseConv2D(3, kernel_quantizer=kernels, name="depthwise")(x)
    model = keras.Model(image, BinaryDense(2, kernel_quantizer=kernels, name="dense")(x))
    images = np.random.default_rng(10).normal(0, 1, (3, 6, 6, 2)).astype(np.float32)
    model.save(tmp_path / "net.keras")
    found = load_network(tmp_path / "net.keras")
    np.testing.assert_array_equal(found(images), model(images))
    assert found.get_layer("conv").get_config() == model.get_layer("conv").get_config()


def test_mistakes_are_told():
    with pytest.raises(InputError, match=r"`kernel_quantizer` must be one of sign, .* Received: 'ternary'"):
        BinaryConv2D(4, 3, kernel_quantizer="ternary")
    with pytest.raises(InputError, match=r"`input_quantizer` must be one of sign, approx_sign. Received: 'round'"):
        BinaryDense(4, input_quantizer="round")
    with pytest.raises(InputError, match="`input_scaling` is for binary inputs"):
        BinaryConv2D(4, 3, input_scaling=True)
    with pytest.raises(InputError, match=r"must know the size of its input .* Received: \[None, None, None, 3\]"):
        BinaryConv2D(4, 3, padding="same", input_quantizer="sign")(keras.Input((None, None, 3)))
