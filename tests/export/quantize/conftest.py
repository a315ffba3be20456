from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32, ExportSpec

L = keras.layers


class Trial:
    """A float file, its calibration images and other images, and what int8 files of it lose on those."""

    def __init__(self, tflite, images, others):
        self.tflite, self.images, self.others = tflite, images, others
        self.wanted = TFLitePredictor(tflite)(others)

    def quantise(self, tflite=None, **settings):
        return PostTraining(FloatFile(tflite or self.tflite, "net"), self.images).quantize(
            ExportSpec("int8", **settings)
        )

    def error(self, tflite=None, **settings):
        """-> the outputs' error as a share of their spread."""
        made = self.quantise(tflite, **settings)
        return float(np.sqrt(np.mean((TFLitePredictor(made)(self.others) - self.wanted) ** 2)) / self.wanted.std())


@pytest.fixture(scope="session")
def trial():
    """A net of Conv, DWConv, Deconv and Conv on smooth positive pictures, with channels of unlike ranges."""
    keras.utils.set_random_seed(5)
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(24, 3, 2, "same", activation="relu")(image)
    x = L.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = L.Conv2D(24, 1, activation="relu")(x)
    x = L.Conv2DTranspose(12, 4, 2, "same", activation="relu")(x)
    model = keras.Model(image, L.Conv2D(4, 1)(x))
    rng = np.random.default_rng(5)
    for weights in model.weights:
        by = (weights.shape[2], 1) if "depthwise_kernel" in weights.name else weights.shape[-1:]
        spread = np.exp(rng.normal(size=by)) if len(weights.shape) == 4 else 0.1
        weights.assign(rng.normal(0.1, 1.0, weights.shape) * spread / np.prod(weights.shape[:-1]) ** 0.5)
    coarse = rng.uniform(0, 1, (24, 4, 4, 3)).astype(np.float32)
    pictures = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)
    return Trial(export_tflite(model, FP32), [one[None] for one in pictures[:16]], pictures[16:])
