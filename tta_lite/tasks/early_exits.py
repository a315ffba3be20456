"""`ExitsTask`: what several exits of a network learn together, over any task with one loss.

Section III.B of BranchyNet, https://arxiv.org/abs/1709.01686: the weighted sum of the losses of all exits is made small
at once. The early ones also make the layers before them learn features that can be told apart early.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.types import Accuracy, InputError, Predictor, Task


class WeightedLoss(keras.losses.Loss):
    """A loss times a weight.

    >>> loss = WeightedLoss(keras.losses.MeanSquaredError(), 0.5)
    >>> float(loss(np.array([[0.0]]), np.array([[2.0]])))
    2.0
    """

    def __init__(self, loss: keras.losses.Loss, weight: float) -> None:
        super().__init__(reduction=loss.reduction, name=loss.name)
        self.loss, self.weight = loss, weight

    def call(self, y_true: Any, y_pred: Any) -> tf.Tensor:
        """-> [B, ...], weighted."""
        return self.weight * self.loss.call(y_true, y_pred)


def joint_losses(loss: keras.losses.Loss, weights: Sequence[float]) -> list[keras.losses.Loss]:
    """-> a loss for each exit, for `compile` of a network with exits: labels are given once.

    Args:
      loss: of one exit.
      weights: of each exit, the classifier's own last.

    Raises:
      InputError: fewer than two weights, or one that is not above 0.
    """
    if len(weights) < 2 or not all(0 < weight < float("inf") for weight in weights):
        raise InputError(f"Argument `weights` must be two or more numbers above 0. Received: {list(weights)}")
    return [WeightedLoss(loss, float(weight)) for weight in weights]


@dataclasses.dataclass(frozen=True)
class ExitsTask:
    """A task for a network with exits: its data, a loss for each exit, and the score of the last one.

    `tta_lite.training.fit.fit` takes it as it takes the task within.

    Attributes:
      task: of the network without exits.
      weights: of the exits' losses, the classifier's own last.
    """

    task: Task
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(self.weights))
        joint_losses(self.task.loss(), self.weights)

    @property
    def steps_per_epoch(self) -> int:
        """Batches an epoch."""
        return self.task.steps_per_epoch

    def loss(self) -> Any:
        """One loss an exit, in a list, as `compile` takes it."""
        return joint_losses(self.task.loss(), self.weights)

    def train_data(self, *, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Endless training batches; the first one is batch `start_step`."""
        return self.task.train_data(seed=seed, start_step=start_step)

    def validation_data(self) -> tf.data.Dataset:
        """The test part once, in batches."""
        return self.task.validation_data()

    def calibration(self, count: int, *, seed: int = 0) -> Sequence[np.ndarray]:
        """`count` training inputs without augmentation, each with a batch dimension of 1."""
        return self.task.calibration(count, seed=seed)

    def score(self, predict: Predictor) -> Accuracy:
        """How good the last of the predictions for the test part is."""

        def last(images: np.ndarray) -> np.ndarray:
            found = predict(images)
            return found[-1] if isinstance(found, (list, tuple)) else found

        return self.task.score(last)
