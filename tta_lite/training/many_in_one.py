"""Several networks in one set of weights, trained together: what slimmable and multi-resolution networks share."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.connectivity import recompute_batch_norm
from tta_lite.training.distillation import Distillation
from tta_lite.training.shared_slices import Slice
from tta_lite.transforms.graph import check_graph
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError

Prepare = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A network within the main one.

    Attributes:
      key: what it is asked for by: a share of the channels, a size in pixels.
      model: its layers have the names of the main network's; its shared weights are copies, renewed in each step.
      shared: (weight of `model`, weight of the main network, where it lies in that).
      own: weights that no other part has.
      mean: of its loss over the epoch.
      prepare: inputs of the main network -> those of this one.
    """

    key: float
    model: keras.Model
    shared: tuple[tuple[tf.Variable, tf.Variable, Slice], ...]
    own: tuple[tf.Variable, ...]
    mean: keras.metrics.Metric
    prepare: Prepare = tf.identity

    def renew(self) -> None:
        """Copies the shared weights from the main network."""
        for mine, main, place in self.shared:
            mine.assign(place.read(tf.convert_to_tensor(main)))


def part(
    key: float,
    model: keras.Model,
    main: keras.Model,
    slices: Sequence[Slice],
    *,
    own_factors: bool,
    prepare: Prepare = tf.identity,
) -> Part:
    """-> a network within another one, with its weights.

    Args:
      key: of the part.
      model: its weights are in the order of the main network's.
      main: the main network.
      slices: for each weight, where it lies in the main network's.
      own_factors: whether it has batch norms of its own, or their moving statistics alone.
      prepare: see `Part`.
    """
    norms = [layer for layer in model.submodules if isinstance(layer, keras.layers.BatchNormalization)]
    kept = {weight.ref() for norm in norms for weight in (norm.moving_mean, norm.moving_variance)}
    if own_factors:
        kept = {weight.ref() for norm in norms for weight in norm.weights}
    triples = list(zip(model.weights, main.weights, slices, strict=True))
    for mine, whole, place in triples:
        mine.assign(place.read(tf.convert_to_tensor(whole)))
    return Part(
        key,
        model,
        tuple(one for one in triples if one[0].ref() not in kept),
        tuple(mine for mine, _, _ in triples if mine.ref() in kept),
        keras.metrics.Mean(f"loss_{key:g}"),
        prepare,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Parts:
    """Kept out of Keras's sight: their layers would be saved, counted and penalised beside the main network's."""

    networks: tuple[Part, ...]


class ManyInOne(keras.Model):
    """Trains a network and others within it: `evaluate`, `predict`, `layers` and `save` are the main network's.

    Args:
      model: the main network, functional with one input and one output; it learns.
      parts: the others, the largest first.
      key: of the main network.
      distil: the others learn the answers of the main network in the same step instead of the labels.
      sampled: how many of the others but the last have their turn in a step, by chance; None: all. The main network
        and the last one are trained in each step (the sandwich rule of Yu and Huang, ICCV 2019).
      seed: of that.
    """

    def __init__(
        self,
        model: keras.Model,
        parts: Sequence[Part],
        *,
        key: float,
        distil: bool,
        sampled: int | None = None,
        seed: int = 0,
        name: str,
    ) -> None:
        super().__init__(name=name)
        check_graph(model)
        if sampled is not None and sampled < 0:
            raise InputError(f"Argument `sampled` must be 0 or more. Received: {sampled}")
        self.main, self.distil, self.sampled, self.seed = model, distil, sampled, seed
        self._key = key
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps_of_many")
        self._parts = _Parts(tuple(parts))
        # Known to Keras, for checkpoints and the optimizer.
        self.own_weights = [variable for one in parts for variable in one.own]
        self._distance: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
        self.built = True

    @property
    def parts(self) -> tuple[Part, ...]:
        """All networks but the main one, the largest first."""
        return self._parts.networks

    @property
    def keys(self) -> tuple[float, ...]:
        """What networks are asked for by, the main one's first."""
        return (self._key, *(one.key for one in self.parts))

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The main network's."""
        return self.main.layers

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """-> the main network's outputs."""
        return self.main(inputs, training=training)

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **options: Any) -> None:
        """As `keras.Model.compile`, with a loss.

        Raises:
          InputError: no loss, or one that does not say what answers mean where the others learn from the main network.
        """
        optimizer, loss = checked(optimizer, loss)
        if self.distil:
            self._distance = Distillation(self.main, weight=1.0, temperature=1.0).distance(self.main, loss)
        super().compile(optimizer, loss, metrics, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """-> logs, after one step for the main network and those of the others that have their turn."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        main = self.main.trainable_variables
        with tf.GradientTape() as tape:
            answers = self.main(x, training=True)
            loss = self.compute_loss(x, y, answers, sample_weight)
        total = filled(tape.gradient(loss, main), main)
        batch = x, y, sample_weight, tf.stop_gradient(answers)
        turns = self._turns()
        own: list[tf.Tensor] = []
        for place, one in enumerate(self.parts):
            learn = functools.partial(self._learn, one, batch, main)
            if turns is None or place == len(self.parts) - 1:
                found, mine = learn()
            else:
                found, mine = tf.cond(turns[place], learn, functools.partial(_nothing, one, main))
            total = [before + more for before, more in zip(total, found, strict=True)]
            own += mine
        trained = [variable for one in self.parts for variable in one.own if variable.trainable]
        self.optimizer.apply_gradients(zip([*total, *own], [*main, *trained], strict=True))
        self._steps.assign_add(1)
        logs = self.compute_metrics(x, y, answers, sample_weight)
        return {**logs, **{one.mean.name: one.mean.result() for one in self.parts}}

    def reset_metrics(self) -> None:
        """Keras calls it when an epoch begins."""
        super().reset_metrics()
        for one in self.parts:
            one.mean.reset_state()

    def save(self, filepath: Any, *args: Any, **options: Any) -> None:
        """Saves the main network; see `network` for the others."""
        self.main.save(filepath, *args, **options)

    def network(self, key: float) -> keras.Model:
        """-> a network of its own, one of `keys`, with the weights as they are now.

        Raises:
          InputError: there is none of that key.
        """
        if key == self._key:
            return rewrite(self.main, {})
        found = next((one for one in self.parts if one.key == key), None)
        if found is None:
            raise InputError(
                f"The network must be one of {', '.join(f'{one:g}' for one in self.keys)}. Received: {key}"
            )
        found.renew()
        return rewrite(found.model, {})

    def recalibrate(self, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
        """Gives the batch norms of every network the statistics of some batches (Yu and Huang, ICCV 2019, section 3.3).

        Args:
          batches: inputs [B, ...] of the training set, as the main network takes them.

        Raises:
          InputError: no batches.
        """
        kept = list(batches)
        recompute_batch_norm(self.main, kept)
        for one in self.parts:
            one.renew()
            recompute_batch_norm(one.model, [one.prepare(tf.convert_to_tensor(batch)) for batch in kept])

    def _turns(self) -> tf.Tensor | None:
        """-> [parts but the last] bool, which are trained in this step; None: all."""
        others = len(self.parts) - 1
        if self.sampled is None or self.sampled >= others:
            return None
        seed = tf.stack([tf.constant(self.seed, tf.int64), self._steps])
        order = tf.random.experimental.stateless_shuffle(tf.range(others), seed=seed)
        return order < self.sampled

    def _learn(self, one: Part, batch: tuple, main: Sequence[tf.Variable]) -> tuple[list, list]:
        """-> what one network adds to the gradients of the main network's weights, and the gradients of its own."""
        x, y, sample_weight, answers = batch
        one.renew()
        variables = one.model.trainable_variables
        with tf.GradientTape() as tape:
            found = one.model(one.prepare(x), training=True)
            if self._distance is not None:
                apart = self._distance(answers, tf.cast(found, tf.float32))
            else:
                apart = self.loss.call(y, found)
            apart = tf.reduce_mean(tf.reshape(apart, [tf.shape(apart)[0], -1]), axis=1)
            if sample_weight is not None:
                apart *= tf.cast(tf.reshape(sample_weight, [-1]), apart.dtype)
            loss = tf.reduce_mean(apart)
            shared_loss = loss / tf.distribute.get_strategy().num_replicas_in_sync
        one.mean.update_state(loss)
        gradients = filled(tape.gradient(shared_loss, variables), variables)
        by_variable = {variable.ref(): gradient for variable, gradient in zip(variables, gradients, strict=True)}
        spread = {
            large.ref(): place.spread(by_variable[mine.ref()]) for mine, large, place in one.shared if mine.trainable
        }
        return (
            [spread.get(variable.ref(), tf.zeros_like(variable)) for variable in main],
            [by_variable[variable.ref()] for variable in one.own if variable.trainable],
        )


def checked(optimizer: Any, loss: Any) -> tuple[keras.optimizers.Optimizer, keras.losses.Loss]:
    """-> what networks that share weights are compiled with.

    Raises:
      InputError: no loss, or a loss scale, which one network would change for the others.
    """
    loss = keras.losses.get(loss)
    if not isinstance(loss, keras.losses.Loss):
        raise InputError(f"All networks learn by a keras.losses.Loss. Received: {loss!r}")
    optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
        raise InputError(
            "Networks that share weights learn in float32 or bfloat16. Received: a float16 optimizer's loss scale"
        )
    return optimizer, loss


def filled(gradients: Sequence[tf.Tensor | None], variables: Sequence[tf.Variable]) -> list[tf.Tensor]:
    """-> gradients, with zeros where there is none."""
    pairs = zip(gradients, variables, strict=True)
    return [tf.zeros_like(variable) if one is None else tf.convert_to_tensor(one) for one, variable in pairs]


def _nothing(one: Part, main: Sequence[tf.Variable]) -> tuple[list, list]:
    own = [variable for variable in one.own if variable.trainable]
    return [tf.zeros_like(variable) for variable in main], [tf.zeros_like(variable) for variable in own]
