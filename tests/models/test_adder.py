from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models.adder import Adder2D, adder_resnet20
from tta_lite.models.blocks import pooled_head


def by_definition(x, kernel, stride, padding):
    """float64, one window after the other -> outputs, and the windows."""
    height, width, _, filters = kernel.shape
    if padding == "same":
        border = []
        for size, taps in zip(x.shape[1:3], (height, width), strict=True):
            total = max(0, (-(-size // stride) - 1) * stride + taps - size)
            border.append((total // 2, total - total // 2))
        x = np.pad(x, ((0, 0), *border, (0, 0)))
    rows, columns = (x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1
    y = np.zeros((len(x), rows, columns, filters))
    for i in range(rows):
        for j in range(columns):
            window = x[:, i * stride : i * stride + height, j * stride : j * stride + width]
            y[:, i, j] = -np.abs(window[..., None] - kernel).sum((1, 2, 3))
    return x, y


CASES = [(3, 1, "same"), (3, 2, "same"), (3, 2, "valid"), (1, 2, "same"), ((1, 3), 1, "valid")]


@pytest.mark.parametrize(("size", "stride", "padding"), CASES)
def test_outputs_and_gradients_by_definition(size, stride, padding):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 7, 3))
    layer = Adder2D(4, size, strides=stride, padding=padding, dtype="float64")
    variable = tf.Variable(x)
    upstream = None
    with tf.GradientTape() as tape:
        y = layer(variable)
        upstream = rng.normal(size=y.shape)
        loss = tf.reduce_sum(y * upstream)
    kernel = layer.kernel.numpy()
    padded, wanted = by_definition(x, kernel, stride, padding)
    np.testing.assert_allclose(y, wanted)
    to_x, to_kernel = tape.gradient(loss, [variable, layer.kernel])
    expected_x, expected_kernel = np.zeros_like(padded), np.zeros_like(kernel)
    height, width = kernel.shape[:2]
    for i in range(wanted.shape[1]):
        for j in range(wanted.shape[2]):
            at = (slice(None), slice(i * stride, i * stride + height), slice(j * stride, j * stride + width))
            window, g = padded[at][..., None], upstream[:, i, j][:, None, None, None]
            expected_kernel += ((window - kernel) * g).sum(0)
            expected_x[at] += (np.clip(kernel - window, -1, 1) * g).sum(-1)
    top, left = ((a - b) // 2 for a, b in zip(padded.shape[1:3], x.shape[1:3], strict=True))
    np.testing.assert_allclose(to_x, expected_x[:, top : top + 6, left : left + 7])
    expected_kernel *= 0.1 * np.sqrt(kernel.size) / np.linalg.norm(expected_kernel)
    np.testing.assert_allclose(to_kernel, expected_kernel)


def test_parameters_as_published():
    # ResNet-20 for CIFAR-10 has 0.27 M parameters (He et al. 2015, table 6).
    image = keras.Input((32, 32, 3))
    model = keras.Model(image, pooled_head(adder_resnet20(image), 10))
    assert model.count_params() / 1e6 == pytest.approx(0.27, abs=0.01)
    assert sum(isinstance(layer, Adder2D) for layer in model.layers) == 20


def test_it_learns():
    """Which quarter of the picture is bright: chance is one in four."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 256)
    images = rng.normal(0, 0.3, (256, 8, 8, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 1
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 1))
    for strides in (1, 2):
        x = Adder2D(8, 3, strides=strides)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(momentum=0.8)(x))
    model = keras.Model(image, keras.layers.Dense(4)(keras.layers.Flatten()(x)))
    adders = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, Adder2D)]
    model.compile(
        keras.optimizers.Adam(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    model.fit(images[:192], labels[:192], batch_size=32, epochs=15, verbose=0)
    assert model.evaluate(images[192:], labels[192:], verbose=0)[1] > 0.9
    after = [layer.kernel.numpy() for layer in model.layers if isinstance(layer, Adder2D)]
    assert all(np.abs(old - new).max() > 0.01 for old, new in zip(adders, after, strict=True))


def test_saved_and_read(tmp_path):
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, Adder2D(4, (1, 3), strides=2, padding="valid", eta=0.2, name="adder")(image))
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    assert again.get_layer("adder").eta == 0.2
