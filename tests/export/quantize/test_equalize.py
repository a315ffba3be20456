from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.equalize import equalize, find_links
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.linear_ops import linear_ops
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32, ExportSpec

L = keras.layers
IMAGES = [np.random.default_rng(n).normal(size=(1, 8, 8, 3)).astype(np.float32) for n in range(4)]


def as_it_is(tflite):
    return tflite


def of(outputs, image, seed=0, spread=1.5):
    """-> the float file of a net whose channels have very different ranges."""
    model = keras.Model(image, outputs)
    rng = np.random.default_rng(seed)
    for weights in model.weights:
        size = weights.shape[-2] if "depthwise_kernel" in weights.name else weights.shape[-1]
        scale = np.exp(rng.normal(scale=spread, size=size))
        if "depthwise_kernel" in weights.name:
            scale = scale[:, None]
        weights.assign(rng.normal(size=weights.shape) * scale / max(1.0, np.prod(weights.shape[:-1])) ** 0.5)
    return export_tflite(model, FP32)


def block(name, x, filters, act):
    activation = {"relu": L.ReLU, "relu6": lambda: L.ReLU(6.0), "leaky": lambda: L.LeakyReLU(0.2)}.get(act)
    layer = {
        "conv": lambda: L.Conv2D(filters, 3, padding="same"),
        "point": lambda: L.Conv2D(filters, 1),
        "grouped": lambda: L.Conv2D(4, 1, groups=2) if x.shape[-1] % 2 == 0 else L.Conv2D(4, 1),
        "depthwise": lambda: L.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        "deconv": lambda: L.Conv2DTranspose(filters, 4, 2, "same"),
        "pool": lambda: L.MaxPool2D(2, 1, "same"),
        "average": lambda: L.AveragePooling2D(2, 1, "same"),
    }[name]
    x = layer()(x)
    return activation()(x) if activation and name not in ("pool", "average") else x


NAMES = ("conv", "point", "grouped", "depthwise", "deconv", "pool", "average")


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    blocks=st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(("none", "relu", "leaky"))), min_size=2, max_size=5
    ),
    seed=st.integers(0, 99),
)
def test_without_relu6_outputs_stay_the_same(blocks, seed):
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 1, activation="relu")(image)
    for name, act in blocks:
        x = block(name, x, 4, act)
    tflite = of(L.Conv2D(2, 1)(x), image, seed)
    changed = equalize(tflite, IMAGES, as_it_is)
    assert find_links(GraphEdit(tflite))
    assert changed != tflite
    before, after = TFLitePredictor(tflite)(np.concatenate(IMAGES)), TFLitePredictor(changed)(np.concatenate(IMAGES))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def residual(image):
    x = L.Conv2D(8, 1, activation="relu")(image)
    return L.Conv2D(2, 1)(L.Add()([x, L.Conv2D(8, 1)(x)]))


def squeeze_and_excite(image):
    x = L.Conv2D(8, 1, activation="relu")(image)
    gate = L.Conv2D(8, 1, activation="sigmoid")(L.Conv2D(4, 1, activation="relu")(L.GlobalAvgPool2D(keepdims=True)(x)))
    return L.Conv2D(2, 1)(L.Multiply()([x, gate]))


def squared(image):
    x = L.Conv2D(8, 1, activation="relu")(image)
    return L.Conv2D(2, 1)(L.Multiply()([x, x]))


def subpixel(image):
    x = L.Lambda(lambda x: __import__("tensorflow").nn.depth_to_space(x, 2))(L.Conv2D(16, 1, activation="relu")(image))
    return L.Conv2D(2, 1)(x)


def classifier(image):
    return L.Dense(3)(L.GlobalAvgPool2D()(L.Conv2D(8, 1, activation="relu")(image)))


def swish(image):
    return L.Conv2D(2, 1)(L.Activation("swish")(L.Conv2D(8, 1)(image)))


@pytest.mark.parametrize(
    "net, links",
    [(residual, 0), (squeeze_and_excite, 2), (squared, 0), (subpixel, 1), (classifier, 1), (swish, 0)],
)
def test_what_lies_between(net, links):
    image = keras.Input((8, 8, 3))
    tflite = of(net(image), image)
    assert len(find_links(GraphEdit(tflite))) == links
    changed = equalize(tflite, IMAGES, as_it_is)
    assert (changed != tflite) == bool(links)
    before, after = TFLitePredictor(tflite)(np.concatenate(IMAGES)), TFLitePredictor(changed)(np.concatenate(IMAGES))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_both_sides_of_a_channel_get_the_geometric_mean():
    image = keras.Input((1, 1, 2))
    model = keras.Model(image, L.Conv2D(1, 1)(L.Conv2D(2, 1, activation="relu")(image)))
    model.set_weights(
        [np.array([[[[8.0, 0.5], [-2.0, 0.25]]]]), np.array([4.0, 1.0]), np.array([[[[0.5], [2.0]]]]), np.array([3.0])]
    )
    edit = GraphEdit(equalize(export_tflite(model, FP32), [np.ones((1, 1, 1, 2), np.float32)], as_it_is))
    first, second = linear_ops(edit)
    # s = sqrt(8 / 0.5) = 4 and sqrt(0.5 / 2) = 0.5.
    np.testing.assert_allclose(edit.value(first.weights).reshape(2, 2), [[2.0, -0.5], [1.0, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(edit.value(first.bias), [1.0, 2.0], rtol=1e-6)
    np.testing.assert_allclose(edit.value(second.weights).ravel(), [2.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(edit.value(second.bias), [3.0])


def test_a_relu6_clips_what_it_clipped():
    image = keras.Input((8, 8, 3))
    x = L.ReLU(6.0)(L.Conv2D(12, 1)(image))
    tflite = of(L.Conv2D(2, 1)(x), image, seed=3, spread=2.0)
    changed = equalize(tflite, IMAGES, as_it_is)
    before, after = GraphEdit(tflite), GraphEdit(changed)
    largest = [np.abs(e.value(linear_ops(e)[0].weights)).max(axis=(1, 2, 3)) for e in (before, after)]
    same = np.isclose(largest[0], largest[1], rtol=1e-6)
    assert same.any() and not same.all()
    pictures = np.concatenate(IMAGES)
    wanted = TFLitePredictor(tflite)(pictures)
    np.testing.assert_allclose(TFLitePredictor(changed)(pictures), wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("backend", ["converter", "litert_quantizer"])
def test_it_brings_back_what_one_scale_a_tensor_loses(backend):
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = L.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    tflite = of(L.Conv2D(4, 1)(x), image, seed=1, spread=2.0)
    pictures = np.concatenate(IMAGES)
    wanted = TFLitePredictor(tflite)(pictures)

    def error(**settings):
        spec = ExportSpec("int8", backend=backend, **settings)
        made = PostTraining(FloatFile(tflite, "net"), IMAGES).quantize(spec)
        return np.sqrt(np.mean((TFLitePredictor(made)(pictures) - wanted) ** 2)) / wanted.std()

    plain, repaired, per_channel = error(per_tensor=True), error(per_tensor=True, repairs=("equalize",)), error()
    assert repaired < plain / 2
    assert per_channel < plain / 1.5
