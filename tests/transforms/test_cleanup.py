from __future__ import annotations

import functools

import numpy as np
import pytest

from tests import networks
from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.cleanup import clean, fold_batch_norm, merge_linear, remove_no_ops

L = keras.layers
net = functools.partial(networks.net, shape=(8, 8, 6))


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers if not isinstance(layer, L.InputLayer)]


def assert_same(old: keras.Model, new: keras.Model) -> None:
    x = np.random.default_rng(1).normal(size=(2, *old.input_shape[1:])).astype(np.float32)
    wanted = old(x)
    np.testing.assert_allclose(new(x), wanted, rtol=1e-4, atol=1e-5 * float(np.abs(wanted).max()))


NORM = L.BatchNormalization(name="bn")
BEFORE = {
    "conv": L.Conv2D(4, 3, padding="same", name="one"),
    "conv without bias": L.Conv2D(4, 3, strides=2, use_bias=False, name="one"),
    "groups": L.Conv2D(4, 3, groups=2, name="one"),
    "depthwise": L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="one"),
    "deconv": L.Conv2DTranspose(4, 4, strides=2, padding="same", use_bias=False, name="one"),
    "dense": L.Dense(5, name="one"),
}
BEHIND = {
    "conv valid": L.Conv2D(4, 3, activation="relu", name="one"),
    "1x1": L.Conv2D(4, 1, padding="same", use_bias=False, name="one"),
    "groups": L.Conv2D(4, 3, groups=2, name="one"),
    "depthwise": L.DepthwiseConv2D(3, depth_multiplier=2, name="one"),
    "dense": L.Dense(5, name="one"),
}


def fresh(layer: L.Layer) -> L.Layer:
    return type(layer).from_config(layer.get_config())


@pytest.mark.parametrize("kind", BEFORE)
def test_batch_norm_behind(kind):
    old = net(fresh(BEFORE[kind]), L.BatchNormalization(name="bn"), L.ReLU(name="act"))
    new = fold_batch_norm(old)
    assert names(new) == ["one", "act"]
    assert_same(old, new)


@pytest.mark.parametrize("kind", BEHIND)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}])
def test_batch_norm_before(kind, options):
    old = net(L.BatchNormalization(name="bn", **options), fresh(BEHIND[kind]))
    new = fold_batch_norm(old)
    assert names(new) == ["one"]
    assert_same(old, new)


def test_a_convolution_between_two_takes_both():
    old = net(L.BatchNormalization(name="a"), L.Conv2D(4, 3, name="conv"), L.BatchNormalization(name="b"))
    assert names(fold_batch_norm(old)) == ["conv"]
    assert_same(old, fold_batch_norm(old))


@pytest.mark.parametrize(
    "layers",
    [
        # Zeros that come after batch norm are not what zeros before it would have become.
        (NORM, L.Conv2D(4, 3, padding="same", name="one")),
        (NORM, L.Conv2DTranspose(4, 4, strides=2, padding="same", name="one")),
        (L.Conv2D(4, 3, activation="relu", name="one"), NORM, L.ReLU(name="act")),
        (L.ReLU(name="act"), NORM, L.ReLU(name="act2")),
        (L.Conv2D(6, 3, name="one"), L.BatchNormalization(axis=1, name="bn")),
    ],
)
def test_batch_norm_is_left_where_nobody_can_take_it(layers):
    old = net(*[fresh(layer) for layer in layers])
    new = fold_batch_norm(old)
    assert "bn" in names(new)
    assert_same(old, new)


def test_batch_norm_is_left_where_others_see_the_tensor_between():
    image = keras.Input((8, 8, 3))
    conv = L.Conv2D(4, 3, padding="same", name="conv")(image)
    old = randomised(keras.Model(image, L.Add(name="add")([conv, L.BatchNormalization(name="bn")(conv)])))
    assert "bn" in names(fold_batch_norm(old))
    shared = L.Conv2D(3, 3, padding="same", name="conv")
    old = randomised(keras.Model(image, L.BatchNormalization(name="bn")(shared(shared(image)))))
    assert "bn" in names(fold_batch_norm(old))
    assert_same(old, fold_batch_norm(old))


@pytest.mark.parametrize(
    ("layers", "merged"),
    [
        ((L.Conv2D(4, 1, name="a"), L.Conv2D(5, 1, name="b")), True),
        ((L.Conv2D(7, 3, strides=2, padding="same", name="a"), L.Conv2D(2, 1, activation="relu", name="b")), True),
        ((L.Conv2D(7, 1, name="a"), L.Conv2D(2, 3, name="b")), True),
        ((L.Conv2D(7, 1, use_bias=False, name="a"), L.Conv2D(2, 3, padding="same", name="b")), True),
        # The bias of the first is not there in the zeros around it.
        ((L.Conv2D(7, 1, name="a"), L.Conv2D(2, 3, padding="same", name="b")), False),
        # A bottleneck: one convolution would take 6 x 9 x 6 products a pixel, these take 6 x 2 + 2 x 9 x 6.
        ((L.Conv2D(2, 1, use_bias=False, name="a"), L.Conv2D(6, 3, name="b")), False),
        ((L.Conv2D(4, 3, name="a"), L.Conv2D(4, 3, name="b")), False),
        ((L.Conv2D(7, 1, activation="relu", name="a"), L.Conv2D(2, 1, name="b")), False),
    ],
)
def test_linear_convolutions_in_a_row(layers, merged):
    old = net(*[fresh(layer) for layer in layers])
    new = merge_linear(old)
    assert names(new) == (["b"] if merged else ["a", "b"])
    assert count(new).macs <= count(old).macs
    assert_same(old, new)


def test_what_does_nothing_goes():
    old = net(
        L.Dropout(0.5), L.Activation("linear"), L.ZeroPadding2D(0), L.UpSampling2D(1), L.MaxPooling2D(1),
        L.Reshape((8, 8, 6)), L.GaussianNoise(0.1), L.Conv2D(4, 1, name="conv"), L.Cropping2D(0),
    )  # fmt: skip
    assert names(remove_no_ops(old)) == ["conv"]
    assert_same(old, remove_no_ops(old))
    kept = net(L.ZeroPadding2D(1), L.UpSampling2D(2), L.MaxPooling2D(2), L.Reshape((10, 60)), L.Activation("relu"))
    assert names(remove_no_ops(kept)) == names(kept)


def test_the_case_study_network_is_clean_of_batch_norm():
    old = randomised(pose_resnet("mobilenet_v2_0.35", input_size=64, bottleneck=16))
    new = clean(old)
    assert not any(isinstance(layer, L.BatchNormalization) for layer in new.layers)
    assert count(new).macs == count(old).macs
    assert_same(old, new)
