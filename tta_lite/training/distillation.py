"""Distillation in `fit`: a network also learns to answer as a larger one does, its teacher.

The distances and their papers are in `tta_lite.training.distillation_losses`; for a `fit` of one's own there is
`tta_lite.training.distiller.Distiller`, which takes the same steps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models.outputs import ends_in_softmax
from tta_lite.training.distillation_losses import as_logits, mean_squared_error
from tta_lite.training.distillation_losses import softened_divergence as softened_divergence
from tta_lite.training.distillation_step import Lesson
from tta_lite.training.distillation_terms import Bound, Term
from tta_lite.training.teachers import KerasTeacher, Teacher, as_teacher
from tta_lite.types import InputError

# (the teacher's outputs, the network's outputs), each [B, ...] -> [B], how far apart they are.
Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
CLASSES = (keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy)


@dataclasses.dataclass(frozen=True, eq=False)
class Distillation:
    """Who teaches, and how much it counts: ``(1 - weight) * loss of the task + weight * distance to the teacher``.

    Attributes:
      teacher: a trained network with the inputs and outputs of the one that learns, which is not changed; or what
        `as_teacher` or `load_teacher` gave.
      weight: of its answers, above 0 and at most 1; Zhang et al. take a half. With `terms` it may be 0.
      temperature: by which logits are divided on both sides; of classes alone.
      terms: more of `tta_lite.training.distillation_terms`, each added with a weight of its own.

    Raises:
      InputError: a figure out of its range, or no float network.
    """

    teacher: keras.Model | Teacher
    weight: float = 0.5
    temperature: float = 4.0
    terms: tuple[Term, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", tuple(self.terms))
        if not 0 < self.weight <= 1 and not (self.terms and self.weight == 0):
            raise InputError(
                f"Argument `weight` must be above 0 and at most 1, or 0 beside `terms`. Received: {self.weight}"
            )
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"Argument `temperature` must be a number above 0. Received: {self.temperature}")
        if wrong := [one for one in self.terms if not isinstance(one, Term)]:
            raise InputError(
                f"Argument `terms` must hold terms of tta_lite.training.distillation_terms. Received: {wrong[0]!r}"
            )
        # At once, and not when the training begins.
        as_teacher(self.teacher)

    def distance(self, model: keras.Model, loss: keras.losses.Loss) -> Distance:
        """-> how far answers are from the teacher's: by classes if the loss is a cross-entropy of classes.

        A loss with a method ``to_teacher`` (`Distance`) says it itself, as that of heat maps does. Any other loss: the
        mean squared error.

        Args:
          model: that learns.
          loss: of its task.

        Raises:
          InputError: the two networks do not fit each other, or the loss does not tell what outputs mean.
        """
        teacher = as_teacher(self.teacher)
        shapes = [("outputs", model.output_shape, teacher.output_shape)]
        if isinstance(teacher, KerasTeacher):
            shapes.insert(0, ("inputs", model.input_shape, teacher.input_shape))
        for what, mine, theirs in shapes:
            if not isinstance(mine, tuple) or mine != theirs:
                raise InputError(
                    f"A teacher must have the {what} of the network that learns, one tensor {mine}. Received: {theirs}"
                )
        if not isinstance(loss, keras.losses.Loss):
            raise InputError(f"Distillation must know the task's loss, a keras.losses.Loss. Received: {loss!r}")
        if (own := getattr(loss, "to_teacher", None)) is not None:
            return own
        if not isinstance(loss, CLASSES):
            return mean_squared_error
        logits = bool(loss.get_config()["from_logits"])
        ends = [teacher.probabilities, ends_in_softmax(model)]
        # Only where they end differently is it plain that the loss speaks for one of the two.
        of_teacher, of_model = (logits, logits) if ends[0] == ends[1] else (not ends[0], not ends[1])
        temperature = self.temperature

        def distance(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
            return softened_divergence(as_logits(taught, of_teacher), as_logits(found, of_model), temperature)

        return distance

    def check(self, model: keras.Model, loss: keras.losses.Loss) -> None:
        """Finds out before a training whether the network can learn so.

        Raises:
          InputError: see `distance` and `Term.bind`.
        """
        if self.weight:
            self.distance(model, loss)
        for term in self.terms:
            term.bind(model, as_teacher(self.teacher))

    def teach(self, model: keras.Model, loss: keras.losses.Loss) -> Lessons:
        """Makes the steps of `model.fit` learn from the teacher too, until the training ends.

        Logs, validation and what is kept are those of the task; ``distillation`` comes beside them, the mean distance
        over the epoch, and that of each of `terms`. Call it within the scope of the strategy.

        Args:
          model: compiled with `loss`.
          loss: of the task.

        Returns:
          a callback that `fit` must have.

        Raises:
          InputError: see `distance`.
        """
        teacher = as_teacher(self.teacher).placed()
        bound = [term.bind(model, teacher) for term in self.terms]
        if self.weight:
            distance = self.distance(model, loss)
            bound.insert(0, Bound("distillation", self.weight, lambda taught, found: distance(taught[0], found[0])))
        lesson = Lesson(model, teacher, bound, 1 - self.weight)

        def train_step(data: Any) -> dict[str, tf.Tensor]:
            return lesson.step(model, data)

        # Not a model around both: callbacks and checkpoints see the network that learns and nothing else.
        model.train_step = train_step
        return Lessons(lesson)


class Lessons(keras.callbacks.Callback):
    """Begins the means anew in each epoch; after the last one nothing of the teacher is left in the model."""

    def __init__(self, lesson: Lesson) -> None:
        super().__init__()
        self.lesson = lesson

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """New means."""
        self.lesson.reset()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Forgets the teacher."""
        if "train_step" in vars(self.model):
            del self.model.train_step
        self.model.train_function = None
