"""A task's calibration images, checked with all that the task knows of its data."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from absl import logging

from tta_lite.datasets.calibration_checks import Labels, check_calibration
from tta_lite.datasets.calibration_findings import Finding, refuse_errors
from tta_lite.tasks.stream import read_batches
from tta_lite.types import InputError, Task

# What is read of the training pipeline for its scale, and at most of the test images; a second for 500 of 128 x 128.
TRAINING_IMAGES, TEST_IMAGES = 128, 2000


def checked_calibration(task: Task, count: int, *, seed: int = 0) -> tuple[list[np.ndarray], list[Finding]]:
    """-> the task's calibration images, and what should be told of them; warnings are logged too.

    A task of a user's own needs no more than `Task` asks for. If it has a method ``calibration_labels(count, seed=)``
    that gives `tta_lite.datasets.calibration_checks.Labels`, it is checked that every class or joint is on an image.

    Args:
      task: whose training and test data are compared with.
      count: how many images.
      seed: of the draw.

    Raises:
      InputError: the task gives none, or ranges found with them would be wrong.
    """
    images = task.calibration(count, seed=seed)
    return check_images(images, task, labels=_labels(task, count, seed))


def check_images(
    images: Iterable[np.ndarray], task: Task, *, labels: Labels | None = None
) -> tuple[list[np.ndarray], list[Finding]]:
    """-> images that are to calibrate a network of this task, and what should be told of them, which is logged too.

    Args:
      images: each [1, H, W, C] float32; from a folder, say.
      task: whose training and test data are compared with.
      labels: what is to be seen on them.

    Raises:
      InputError: ranges found with them would be wrong.
    """
    kept: list[np.ndarray] = []

    def passing() -> Iterator[np.ndarray]:
        for image in images:
            kept.append(image)
            yield image

    test = list(_inputs(task.validation_data(), TEST_IMAGES))
    training = list(_inputs(task.train_data(seed=0), TRAINING_IMAGES)) if task.steps_per_epoch else test
    shape = test[0].shape if test else None
    findings = check_calibration(passing(), shape=shape, training=training, test=test, labels=labels)
    for finding in refuse_errors(findings):
        logging.warning("%s", finding.text)
    return kept, findings


def _inputs(dataset: Any, most: int) -> Iterator[np.ndarray]:
    for batch in itertools.islice(read_batches(dataset), most):
        # One input; what a task of several would give is not calibrated with images.
        yield from np.asarray(batch[0])[:most]
        most -= len(batch[0])
        if most <= 0:
            return


def _labels(task: Task, count: int, seed: int) -> Labels | None:
    give = getattr(task, "calibration_labels", None)
    if give is None:
        return None
    labels = give(count, seed=seed)
    if not isinstance(labels, Labels):
        raise InputError(f"`calibration_labels` of a task must give Labels. Received: {type(labels).__name__}")
    return labels
