"""A short training on a task, and a score that does not look at the test part: what a search decides by."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tta_lite.compat import keras
from tta_lite.tasks.stream import read_batches
from tta_lite.types import InputError, Task


def short_training(
    task: Task, steps: int, *, learning_rate: float = 3e-4, seed: int = 0
) -> Callable[[keras.Model, int], keras.Model]:
    """-> (network, number) -> the same network after so many steps of Adam; each number sees other batches.

    The batches of a number are the same for all networks, so that they compare. The network that is given learns.

    Args:
      task: its training data and loss.
      steps: 1 or more.
      learning_rate: constant.
      seed: of the order and the augmentation.

    Raises:
      InputError: no training data, or an argument out of range.
    """
    if steps < 1 or not learning_rate > 0:
        raise InputError(
            f"Arguments `steps` and `learning_rate` must be 1 or more, and above 0. Received: {steps}, {learning_rate}"
        )
    _check(task)

    def tune(model: keras.Model, number: int) -> keras.Model:
        # The reference's epsilon, as in `tta_lite.training.fit`.
        model.compile(keras.optimizers.Adam(learning_rate, epsilon=1e-8), task.loss())
        data = task.train_data(seed=seed, start_step=(number - 1) * steps)
        model.fit(data, steps_per_epoch=steps, epochs=1, verbose=0)
        return model

    return tune


def loss_score(task: Task, batches: int = 8, *, seed: int = 1) -> Callable[[keras.Model], float]:
    """-> network -> the loss on batches of training data, negative: the higher, the better.

    Training data in an order and with an augmentation of its own; the test part is left for the end.

    Args:
      task: its training data and loss.
      batches: how many, 1 or more.
      seed: another than that of the training.

    Raises:
      InputError: no training data, or no batch.
    """
    if batches < 1:
        raise InputError(f"Argument `batches` must be 1 or more. Received: {batches}")
    _check(task)
    loss = task.loss()
    read = [(x, y) for x, y, *_ in read_batches(task.train_data(seed=seed).take(batches))]

    def score(model: keras.Model) -> float:
        return -float(np.mean([float(np.mean(loss(y, model(x, training=False)))) for x, y in read]))

    return score


def _check(task: Task) -> None:
    if not task.steps_per_epoch:
        raise InputError("A search trains its networks. Expected: a task with training data. Received: one without")
