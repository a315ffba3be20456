"""One training step with a teacher: what `Distiller` and `fit` with a `Distillation` both do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.distillation_features import with_features
from tta_lite.training.distillation_terms import Bound, Weight, weight_at
from tta_lite.training.teachers import Answer, Teacher
from tta_lite.types import InputError


class Taught(NamedTuple):
    """Labels, and what the teacher has said of the same batch; the ``y`` of a dataset whose teacher is in a cache."""

    y: Any
    answer: Answer


class Lesson:
    """``task weight * loss + sum of weight * distance + penalties on weights``, and its steps.

    It is no model around the student: callbacks and checkpoints need not see it. Its logs are the task's own, and for
    each term the mean of its distance over the epoch, without its weight.

    Args:
      student: learns; call this within the scope of the strategy.
      teacher: on the devices of the strategy (`Teacher.placed`).
      terms: bound to the two.
      task_weight: of the loss that the student was compiled with, without penalties.

    Attributes:
      teacher_layers: the features that are asked for.
      regressors: layers that learn beside the student.
      means: one of each term.
    """

    def __init__(self, student: keras.Model, teacher: Teacher, terms: Sequence[Bound], task_weight: Weight) -> None:
        if not terms:
            raise InputError("A student needs one way or more to learn from its teacher. Received: no losses")
        self.student, self.teacher, self.task_weight = student, teacher, task_weight
        names = [term.name for term in terms]
        # A second term of a kind is "at_2".
        self.terms = {
            name if names[:place].count(name) == 0 else f"{name}_{names[:place].count(name) + 1}": term
            for place, (name, term) in enumerate(zip(names, terms, strict=True))
        }
        pairs = [pair for term in terms for pair in term.pairs]
        self.student_layers = tuple(dict.fromkeys(mine for mine, _ in pairs))
        self.teacher_layers = tuple(dict.fromkeys(theirs for _, theirs in pairs))
        self.regressors = tuple(layer for term in terms for layer in term.regressors)
        self._learner = with_features(student, self.student_layers) if self.student_layers else None
        self.means = {name: keras.metrics.Mean(name) for name in self.terms}
        # Of a training without labels.
        self._total = keras.metrics.Mean("loss")

    @property
    def extra_variables(self) -> list[tf.Variable]:
        """What learns beside the student's variables."""
        return [variable for layer in self.regressors for variable in layer.trainable_variables]

    def reset(self) -> None:
        """Begins the means anew."""
        for mean in (*self.means.values(), self._total):
            mean.reset_state()

    def answer(self, images: tf.Tensor) -> Answer:
        """-> what the student says while it trains, in float32."""
        if self._learner is None:
            return Answer(tf.cast(self.student(images, training=True), tf.float32), {})
        outputs, *features = (tf.cast(one, tf.float32) for one in self._learner(images, training=True))
        return Answer(outputs, dict(zip(self.student_layers, features, strict=True)))

    def step(self, model: keras.Model, data: Any) -> dict[str, tf.Tensor]:
        """-> logs, after one step of the optimizer.

        Args:
          model: compiled, the student or what holds it. Without a loss it learns from the teacher alone.
          data: (x, y) or (x, y, sample weights); sample weights are of the task's loss. `y` may be `Taught`.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        y, taught = self._taught(x, y)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        at = model.optimizer.iterations
        task_weight = weight_at(self.task_weight, at)
        with tf.GradientTape() as tape:
            found = self.answer(x)
            apart = {name: tf.reduce_mean(term.distance(taught, found)) for name, term in self.terms.items()}
            of_teacher = tf.add_n([weight_at(term.weight, at) * apart[name] for name, term in self.terms.items()])
            # The penalties on weights are part of the task's loss, and no weight is theirs.
            penalties = tf.add_n(model.losses) if model.losses else 0.0
            if model.loss:
                of_task = model.compute_loss(x, y, found.outputs, sample_weight)
                minimised = task_weight * of_task + (of_teacher + (1 - task_weight) * penalties) / replicas
            else:
                minimised = (of_teacher + penalties) / replicas
        variables = [*self.student.trainable_variables, *self.extra_variables]
        model.optimizer.minimize(minimised, variables, tape=tape)
        examples = tf.shape(found.outputs)[0]
        for name, mean in self.means.items():
            mean.update_state(apart[name], sample_weight=examples)
        if model.loss:
            logs = model.compute_metrics(x, y, found.outputs, sample_weight)
        else:
            self._total.update_state(minimised * replicas, sample_weight=examples)
            logs = {"loss": self._total.result()}
        return {**logs, **{name: mean.result() for name, mean in self.means.items()}}

    def _taught(self, x: Any, y: Any) -> tuple[Any, Answer]:
        if isinstance(y, Taught):
            if missing := [name for name in self.teacher_layers if name not in y.answer.features]:
                raise InputError(
                    f"What is cached of the teacher must hold its layers {', '.join(self.teacher_layers)}: give "
                    f"cache_teacher these as `layers`. Received: none of {', '.join(missing)}"
                )
            y, answer = y.y, y.answer
        else:
            answer = self.teacher.ask(x, self.teacher_layers)
        return y, tf.nest.map_structure(tf.stop_gradient, answer)
