"""`Distiller`: a student and its teacher as one `keras.Model`, for anybody's `compile` and `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training import precision as precisions
from tta_lite.training.distillation_step import Lesson, Taught
from tta_lite.training.distillation_terms import Hint, Term, Weight, check_weight
from tta_lite.training.fitnets import hinted
from tta_lite.training.pruning_policies import named_layers
from tta_lite.training.teachers import Teacher, as_teacher, example_batch
from tta_lite.transforms.graph import check_graph
from tta_lite.types import InputError


class Distiller(keras.Model):
    """Trains `student` on ``task_weight * loss + sum of weight * distance to the teacher + penalties on weights``.

    Compiled and fitted as the student would be. `evaluate`, `predict`, `save` and `layers` are the student's, so that
    callbacks which look at a network see the student; logs have the task's loss and metrics and, beside them, the mean
    distance of each term (``kd``, ``at``, ...). Nothing of the teacher or of a regressor is in ``distiller.student``,
    which learns in place: save that. Checkpoints of the Distiller hold the student, the regressors and the optimizer.

    Args:
      student: what `fit` would be given: a graph of layers of `tf_keras` in any precision, one that
        `quantization_aware` made, or one in TFMOT's pruning wrappers.
      teacher: a float network, a function of a batch, or what `as_teacher` or `load_teacher` gave. It has the
        student's inputs; its outputs have the shape of the student's where a term compares them.
      losses: terms of `tta_lite.training.distillation_terms`, one or more.
      task_weight: of the loss given to `compile`; a number of 0 or more, or a schedule of the step. Compiled without a
        loss, the student learns from the teacher alone.
      example: a batch for a teacher that must be tried out; None: noise in the shape of the student's input.

    With a strategy, make it within its scope, as the student. A teacher that is a Python function does not go with
    ``jit_compile=True``.

    Example:
      >>> from tta_lite.training.distillation_terms import AttentionTransfer, KnowledgeDistillation
      >>> def net(filters):
      ...     image = keras.Input((8, 8, 1))
      ...     x = keras.layers.Conv2D(filters, 3, activation="relu")(image)
      ...     return keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
      >>> distiller = Distiller(net(2), net(8), [KnowledgeDistillation(0.5), AttentionTransfer()])
      >>> distiller.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
      >>> history = distiller.fit(np.ones([4, 8, 8, 1]), np.zeros(4), verbose=0).history
      >>> sorted(history)
      ['at', 'kd', 'loss']

    Raises:
      InputError: student, teacher and losses do not fit each other.
    """

    def __init__(
        self,
        student: keras.Model,
        teacher: keras.Model | Teacher | Callable[[Any], Any],
        losses: Sequence[Term],
        *,
        task_weight: Weight = 1.0,
        example: np.ndarray | None = None,
        name: str = "distiller",
    ) -> None:
        super().__init__(name=name)
        check_graph(student)
        losses = (losses,) if isinstance(losses, Term) else tuple(losses)
        if wrong := [one for one in losses if not isinstance(one, Term)]:
            raise InputError(
                "Argument `losses` must hold terms of tta_lite.training.distillation_terms, as "
                f"KnowledgeDistillation(). Received: {wrong[0]!r}"
            )
        check_weight("task_weight", task_weight)
        shape = student.input_shape
        given = as_teacher(teacher, example_batch(shape) if example is None else example)
        theirs = getattr(given, "input_shape", None)
        if not isinstance(shape, tuple) or (theirs is not None and not _fit(shape, theirs)):
            raise InputError(
                f"A teacher must have the inputs of the network that learns, one tensor {shape}. Received: {theirs}"
            )
        placed = given.placed()
        self.student = student
        # No part of the model: what Keras tracks is saved, counted and trained.
        self._lesson = Lesson(student, placed, [term.bind(student, placed) for term in losses], task_weight)
        self.regressors = list(self._lesson.regressors)
        # Its variables are there before the first batch: callbacks may save and restore them.
        self.built = True

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers that the losses need; `cache_teacher` wants them."""
        return self._lesson.teacher_layers

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The student's layers: what is pruned, quantised or looked at is the student."""
        return self.student.layers

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """-> the student's outputs."""
        return self.student(inputs, training=training)

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **options: Any) -> None:
        """As `keras.Model.compile`; an optimizer gets loss scaling if the student computes in float16."""
        optimizer = keras.optimizers.get(optimizer)
        half = any(layer.compute_dtype == "float16" for _, layer in named_layers(self.student))
        if half and not isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
            optimizer = precisions.optimizer_for("mixed_float16", optimizer)
        super().compile(optimizer, loss, metrics, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """-> logs."""
        return self._lesson.step(self, data)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """-> logs of the student alone."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        return super().test_step((x, y.y if isinstance(y, Taught) else y, sample_weight))

    def reset_metrics(self) -> None:
        """Keras calls it when an epoch begins."""
        super().reset_metrics()
        self._lesson.reset()

    def save(self, filepath: Any, *args: Any, **options: Any) -> None:
        """Saves the student, which is what is used afterwards."""
        self.student.save(filepath, *args, **options)


def hint_stage(
    student: keras.Model,
    teacher: keras.Model | Teacher,
    hint: Hint | None = None,
    *,
    name: str = "hint_stage",
) -> Distiller:
    """-> the first of FitNets' two stages: it trains the student up to its hinted layer, and the regressor.

    Romero et al., ICLR 2015, section 2.3, https://arxiv.org/abs/1412.6550. Compile it without a loss; labels are not
    looked at. The layers are the student's own, so that the second stage is a `Distiller` of the whole student with
    other losses; layers after the hint are neither run nor changed in the first.

    Args:
      student: the whole network, one graph of layers.
      teacher: with features.
      hint: which pair of layers, one; None: the middle one of the sizes that both have.

    Raises:
      InputError: see `Hint.bind`; or several pairs.

    Example:
      >>> def net(filters):
      ...     image = keras.Input((8, 8, 1))
      ...     x = keras.layers.Conv2D(filters, 3, activation="relu")(image)
      ...     return keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
      >>> stage = hint_stage(net(2), net(8))
      >>> stage.compile("adam")
      >>> sorted(stage.fit(np.ones([4, 8, 8, 1]), verbose=0).history)
      ['hint', 'loss']
    """
    teacher = as_teacher(teacher)
    first, pair = hinted(student, teacher, hint)
    return Distiller(first, teacher, [pair], name=name)


def _fit(mine: tuple, theirs: tuple) -> bool:
    return len(mine) == len(theirs) and all(
        one is None or other is None or one == other for one, other in zip(mine[1:], theirs[1:], strict=True)
    )
