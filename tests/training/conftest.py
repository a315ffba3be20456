from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.datasets.pose_set import JointSet, PoseSet
from tta_lite.models.backbones import Normalisation
from tta_lite.tasks.pose import PoseTask

# It is run by itself, and would bring Keras 3 into the process of the tests.
collect_ignore = ["keras3_loop.py"]
layers = keras.layers
JOINTS = JointSet("three", ("nose", "l_hand", "r_hand"), ((1, 2),), (0, 1, 2), ((0, 1), (0, 2)))


def people(count, seed):
    """Three soft lights, red, green and blue, in grey: what a small network learns at once."""
    joints = np.random.default_rng(seed).uniform(10, 30, (count, 3, 2)).astype(np.float32)

    y, x = np.mgrid[:40, :40]
    # [count, 40, 40, 3]: joint k in colour k.
    squares = (np.stack([x, y], axis=2)[:, :, None, :] - joints[:, None, None]) ** 2
    lights = np.exp(-squares.sum(axis=-1) / 18)
    pictures = np.uint8(40 + 200 * lights)

    return PoseSet(
        name=f"people {seed}",
        joint_set=JOINTS,
        joints=joints,
        annotated=np.ones((count, 3), bool),
        center=np.full((count, 2), 20, np.float32),
        box=np.full(count, 32, np.float32),
        head_size=np.full(count, 10, np.float32),
        items=tuple(f"item {k}" for k in range(count)),
        load=pictures.__getitem__,
    )


def tiny_task(**changes):
    """8 people to learn from, 4 to score; two steps an epoch."""
    grey = Normalisation(mean=(127.5,) * 3, std=(127.5,) * 3)
    values = {"train": people(8, 0), "test": people(4, 1), "normalisation": grey}
    return PoseTask(**{**values, "input_size": 32, "sigma": 1.0, "batch_size": 4, **changes})


def tiny_net(*, norm=True):
    """[B, 32, 32, 3] -> [B, 8, 8, 3]: Conv, DWConv, PConv, Deconv, and batch norm or biases."""
    keras.utils.set_random_seed(11)
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(12, 3, 2, "same", name="stem")(image)
    x = layers.BatchNormalization(name="stem_bn")(x) if norm else x
    x = layers.ReLU(name="stem_relu")(x)
    x = layers.DepthwiseConv2D(3, 2, "same", name="down")(x)
    x = layers.Conv2D(16, 3, 2, "same", name="narrow")(x)
    x = layers.BatchNormalization(name="narrow_bn")(x) if norm else x
    x = layers.ReLU(name="narrow_relu")(x)
    x = layers.Conv2DTranspose(12, 4, 2, "same", name="deconv1")(x)
    x = layers.ReLU(name="deconv1_relu")(x)
    return keras.Model(image, layers.Conv2D(3, 1, name="heatmaps")(x), name="tiny")


@pytest.fixture(scope="session")
def make_task():
    return tiny_task


@pytest.fixture(scope="session")
def make_net():
    return tiny_net


def same_weights(model, other):
    """Whether two models have the same weights, bit for bit."""
    return all(np.array_equal(a, b) for a, b in zip(model.get_weights(), other.get_weights(), strict=True))


@pytest.fixture(scope="session")
def same():
    return same_weights


class StoppedError(Exception):
    """What ends a training from outside."""


class StopAt(keras.callbacks.Callback):
    """Raises in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.at, self.epoch = epoch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.at:
            raise StoppedError


@pytest.fixture(scope="session")
def interrupt():
    """Starts a training that is stopped in the middle of an epoch."""

    def start(fit, *args, epoch):
        with pytest.raises(StoppedError):
            fit(*args, callbacks=[StopAt(epoch)], write=lambda line: None)

    return start
