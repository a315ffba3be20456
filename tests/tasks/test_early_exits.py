"""Exits that learn together: the loss is the weighted sum, and the house's `fit` takes the task."""

from __future__ import annotations

import numpy as np
import pytest

from tests.adaptive.networks import AFTER, classifier
from tta_lite.compat import keras
from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.tasks.arrays import ArrayTask
from tta_lite.tasks.classification import PIXELS
from tta_lite.tasks.early_exits import ExitsTask, joint_losses
from tta_lite.training.fit import FitSettings, fit
from tta_lite.transforms.early_exits import add_exits
from tta_lite.types import Candidate, InputError

CLASSES = tuple("abcde")


@pytest.fixture(scope="module")
def task():
    rng = np.random.default_rng(0)
    labels = np.arange(80) % 5
    # The higher the class, the brighter.
    pictures = rng.integers(0, 60, (80, 8, 8, 1)).astype(np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[: 2 * label] = 255
    parts = [PictureArrays(name, pictures[part], labels[part], CLASSES) for name, part in
             (("train", slice(0, 60)), ("test", slice(60, 80)))]  # fmt: skip
    return ArrayTask(*parts, PIXELS["-1..1"], (8, 8), from_logits=True, batch_size=20, channels=1)


def test_the_loss_is_the_weighted_sum(task):
    net = add_exits(classifier(), AFTER)
    net.compile("sgd", joint_losses(task.loss(), (0.3, 0.5, 1.0)))
    images, labels = next(iter(task.train_data(seed=0)))
    found = net.evaluate(images, labels, verbose=0, return_dict=True)["loss"]
    each = [float(task.loss()(labels, scores)) for scores in net(images)]
    assert found == pytest.approx(0.3 * each[0] + 0.5 * each[1] + each[2], rel=1e-5)


@pytest.mark.slow
def test_fit_trains_all_exits(task, tmp_path):
    net = add_exits(classifier(), AFTER)
    joint = ExitsTask(task, (1.0, 1.0, 1.0))
    images, labels = next(iter(task.validation_data()))
    before = [float(task.loss()(labels, scores)) for scores in net(images)]
    settings = FitSettings(epochs=12, learning_rate=1e-2, drops=(), tensorboard=False)
    trained = fit(Candidate(net), joint, settings, tmp_path).model
    after = [float(task.loss()(labels, scores)) for scores in trained(images)]
    assert all(a < b for a, b in zip(after, before, strict=True))
    assert joint.score(trained.predict_on_batch).value == task.score(lambda x: np.asarray(trained(x)[-1])).value
    assert joint.steps_per_epoch == task.steps_per_epoch and len(joint.calibration(2)) == 2


def test_weights_that_make_no_sense_are_refused(task):
    for weights in ((), (1.0,), (1.0, 0.0), (1.0, float("inf"))):
        with pytest.raises(InputError, match="two or more numbers above 0"):
            ExitsTask(task, weights)
    assert isinstance(joint_losses(task.loss(), [1, 2])[0], keras.losses.Loss)
