"""Distillation: a network also learns to answer as a larger one does, its teacher.

Classes: Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015, section 2,
https://arxiv.org/abs/1503.02531: the divergence of the two softened softmaxes, times the temperature squared, so that
its gradients do not fall with the temperature. Heat maps: Zhang, Zhu and Ye, *Fast Human Pose Estimation*, CVPR 2019,
https://arxiv.org/abs/1811.05419: the squared error to the teacher's maps, also of joints that nobody has
annotated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models.outputs import ends_in_softmax
from tta_lite.training import precision as precisions
from tta_lite.training.quantization_aware import is_quantization_aware
from tta_lite.types import InputError

# (the teacher's outputs, the network's outputs), each [B, ...] -> [B], how far apart they are.
Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
CLASSES = (keras.losses.SparseCategoricalCrossentropy, keras.losses.CategoricalCrossentropy)
# Of a probability: its logarithm is -69, and float32 still knows the next one.
TINY = 1e-30


@dataclasses.dataclass(frozen=True, eq=False)
class Distillation:
    """Who teaches, and how much it counts: ``(1 - weight) * loss of the task + weight * distance to the teacher``.

    Attributes:
      teacher: a trained network with the inputs and outputs of the one that learns; it is not changed.
      weight: of its answers, above 0 and at most 1; Zhang et al. take a half.
      temperature: by which logits are divided on both sides; of classes alone.

    Raises:
      InputError: a figure out of its range, or no float network.
    """

    teacher: keras.Model
    weight: float = 0.5
    temperature: float = 4.0

    def __post_init__(self) -> None:
        if not 0 < self.weight <= 1:
            raise InputError(f"Argument `weight` must be above 0 and at most 1. Received: {self.weight}")
        if not 0 < self.temperature < float("inf"):
            raise InputError(f"Argument `temperature` must be a number above 0. Received: {self.temperature}")
        if not isinstance(self.teacher, keras.Model) or is_quantization_aware(self.teacher):
            raise InputError(f"Argument `teacher` must be a float network. Received: {self.teacher!r}")

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
        for what, mine, theirs in (
            ("inputs", model.input_shape, self.teacher.input_shape),
            ("outputs", model.output_shape, self.teacher.output_shape),
        ):
            if not isinstance(mine, tuple) or mine != theirs:
                raise InputError(
                    f"A teacher must have the {what} of the network that learns, one tensor {mine}. Received: {theirs}"
                )
        if not isinstance(loss, keras.losses.Loss):
            raise InputError(f"Distillation must know the task's loss, a keras.losses.Loss. Received: {loss!r}")
        if (own := getattr(loss, "to_teacher", None)) is not None:
            return own
        if not isinstance(loss, CLASSES):
            return _mean_squared_error
        logits = bool(loss.get_config()["from_logits"])
        ends = [ends_in_softmax(one) for one in (self.teacher, model)]
        # Only where they end differently is it plain that the loss speaks for one of the two.
        theirs, mine = (logits, logits) if ends[0] == ends[1] else (not ends[0], not ends[1])
        temperature = self.temperature

        def distance(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
            return softened_divergence(_logits(taught, theirs), _logits(found, mine), temperature)

        return distance

    def teach(self, model: keras.Model, loss: keras.losses.Loss) -> keras.callbacks.Callback:
        """Makes the steps of `model.fit` learn from the teacher too, until the training ends.

        Logs, validation and what is kept are those of the task; ``distillation`` comes beside them, the mean distance
        over the epoch. Call it within the scope of the strategy.

        Args:
          model: compiled with `loss`.
          loss: of the task.

        Returns:
          a callback that `fit` must have.

        Raises:
          InputError: see `distance`.
        """
        distance = self.distance(model, loss)
        # A copy: of this strategy's devices, and exact whatever precision is trained in.
        teacher = precisions.with_policy(self.teacher, "float32")
        teacher.trainable = False
        mean = keras.metrics.Mean("distillation")
        weight = self.weight

        def train_step(data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
            taught = tf.stop_gradient(teacher(x, training=False))
            with tf.GradientTape() as tape:
                found = model(x, training=True)
                of_task = model.compute_loss(x, y, found, sample_weight)
                apart = tf.reduce_mean(distance(taught, tf.cast(found, tf.float32)))
                # The penalties on weights are part of the task's loss, and no weight is theirs.
                penalties = tf.add_n(model.losses) if model.losses else 0.0
                replicas = tf.distribute.get_strategy().num_replicas_in_sync
                minimised = (1 - weight) * of_task + weight * (apart + penalties) / replicas
            model.optimizer.minimize(minimised, model.trainable_variables, tape=tape)
            mean.update_state(apart, sample_weight=tf.shape(found)[0])
            return {**model.compute_metrics(x, y, found, sample_weight), mean.name: mean.result()}

        # Not a model around both: callbacks and checkpoints see the network that learns and nothing else.
        model.train_step = train_step
        return _Lessons(mean)


class _Lessons(keras.callbacks.Callback):
    """Begins the mean anew in each epoch; after the last one nothing of the teacher is left in the model."""

    def __init__(self, mean: keras.metrics.Metric) -> None:
        super().__init__()
        self.mean = mean

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """A new mean."""
        self.mean.reset_state()

    def on_train_end(self, logs: dict | None = None) -> None:
        """Forgets the teacher."""
        if "train_step" in vars(self.model):
            del self.model.train_step
        self.model.train_function = None


def softened_divergence(taught: tf.Tensor, found: tf.Tensor, temperature: float) -> tf.Tensor:
    """``T^2 * KL(softmax(taught / T) || softmax(found / T))``; its gradient is that of Hinton's cross-entropy.

    Args:
      taught: [B, ..., C] float32: logits of the teacher.
      found: logits in the same shape.
      temperature: T; above 1 the classes that are not the likeliest count for more.

    Returns:
      [B] float32, the mean over what lies between.

    >>> float(softened_divergence(tf.constant([[2.0, 0.0]]), tf.constant([[2.0, 0.0]]), 4.0)[0])
    0.0
    """
    p, log_p = tf.nn.softmax(taught / temperature), tf.nn.log_softmax(taught / temperature)
    divergence = tf.reduce_sum(p * (log_p - tf.nn.log_softmax(found / temperature)), axis=-1)
    return temperature**2 * _of_each(divergence)


def _mean_squared_error(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    return _of_each(tf.square(found - taught))


def _of_each(values: tf.Tensor) -> tf.Tensor:
    """[B, ...] -> [B], the mean of each example."""
    return tf.reduce_mean(values, axis=tuple(range(1, values.shape.rank)))


def _logits(outputs: tf.Tensor, are_logits: bool) -> tf.Tensor:
    # Softmax does not see what is added to all logits: the logarithms of probabilities are as good as what made them.
    return outputs if are_logits else tf.math.log(tf.maximum(outputs, TINY))
