from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.types import PRESETS, ExportSpec

# It is run by itself, where there is Keras 3 alone.
collect_ignore = ["keras3_child.py"]
SIZE = 64
layers = keras.layers


def _norm(x, name, relu=True):
    # Statistics and scales as a trained net has them: with fresh ones folding would change nothing.
    x = layers.BatchNormalization(
        gamma_initializer=keras.initializers.RandomUniform(0.5, 1.5),
        beta_initializer=keras.initializers.RandomNormal(stddev=0.3),
        moving_mean_initializer=keras.initializers.RandomNormal(stddev=0.1),
        moving_variance_initializer=keras.initializers.RandomUniform(0.2, 0.6),
        name=f"{name}_bn",
    )(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x


def build_net(seed: int = 0) -> keras.Model:
    """[B, 64, 64, 3] -> [B, 64, 64, 4]: Conv, DWConv, a residual, two Deconvs, each with batch norm."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = _norm(layers.Conv2D(16, 3, 2, "same", use_bias=False, name="stem")(image), "stem")
    x = _norm(layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name="down")(x), "down")
    x = _norm(layers.Conv2D(32, 1, use_bias=False, name="widen")(x), "widen")
    y = _norm(layers.DepthwiseConv2D(3, 1, "same", use_bias=False, name="mix")(x), "mix")
    y = _norm(layers.Conv2D(32, 1, use_bias=False, name="project")(y), "project", relu=False)
    x = layers.Add(name="residual")([x, y])
    for i in (1, 2):
        x = layers.Conv2DTranspose(32, 4, 2, "same", use_bias=False, name=f"deconv{i}")(x)
        x = _norm(x, f"deconv{i}")
    return keras.Model(image, layers.Conv2D(4, 1, name="heatmaps")(x), name="tiny")


@pytest.fixture(scope="session")
def net():
    return build_net()


@pytest.fixture(scope="session")
def other_net():
    """The same architecture with other weights."""
    return build_net(seed=1)


@pytest.fixture(scope="session")
def images():
    """[12, 64, 64, 3] float32: smooth pictures with values from -1 to 1, as a normalised photo has them."""
    rng = np.random.default_rng(0)
    coarse = rng.uniform(-1, 1, (12, 8, 8, 3)).astype(np.float32)
    return np.repeat(np.repeat(coarse, 8, axis=1), 8, axis=2)


@pytest.fixture(scope="session")
def calibration(images):
    return [image[None] for image in images]


@pytest.fixture(scope="session")
def files(net, calibration):
    """Preset -> flatbuffer of `net`."""
    return {preset: export_tflite(net, ExportSpec(preset), calibration) for preset in PRESETS}
