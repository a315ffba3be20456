"""Small networks whose channels may leave, for the tests of criteria, choice and repair."""

from __future__ import annotations

import numpy as np

from tests.networks import randomised
from tta_lite.compat import keras

L = keras.layers


def plain(filters=(16, 24), shape=(8, 8, 3), seed=0):
    """conv1 -> relu -> conv2 -> relu -> head."""
    image = x = keras.Input(shape, name="image")
    for number, count in enumerate(filters, 1):
        x = L.ReLU(name=f"relu{number}")(L.Conv2D(count, 3, padding="same", name=f"conv{number}")(x))
    return randomised(keras.Model(image, L.Conv2D(5, 1, name="head")(x), name="plain"), seed)


def branching(seed=0):
    """A residual block with a depthwise convolution, a strided and a grouped one, a Deconv, and a dense head."""

    def norm(x, name):
        return L.BatchNormalization(name=f"{name}_bn")(x)

    image = keras.Input((12, 12, 3), name="image")
    x = stem = L.ReLU(name="stem_relu")(
        norm(L.Conv2D(16, 3, padding="same", use_bias=False, name="stem")(image), "stem")
    )
    x = L.ReLU(name="expand_relu")(norm(L.Conv2D(32, 1, use_bias=False, name="expand")(x), "expand"))
    x = L.ReLU(name="dw_relu")(norm(L.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw")(x), "dw"))
    x = norm(L.Conv2D(16, 1, use_bias=False, name="project")(x), "project")
    x = L.Add(name="add")([stem, x])
    x = L.ReLU(name="down_relu")(L.Conv2D(24, 3, 2, padding="same", name="down")(x))
    x = L.Conv2D(32, 3, padding="same", groups=2, activation="relu", name="grouped")(x)
    x = L.SeparableConv2D(16, 3, padding="same", name="separable")(x)
    x = L.Conv2DTranspose(24, 4, 2, padding="same", activation="relu", name="deconv")(x)
    x = L.Flatten(name="flatten")(L.MaxPooling2D(4, name="pool")(x))
    return randomised(keras.Model(image, L.Dense(7, name="head")(x), name="branching"), seed)


def pictures(count, shape=(8, 8, 3), seed=1):
    return np.random.default_rng(seed).normal(size=(count, *shape)).astype(np.float32)
