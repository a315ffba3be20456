"""`Slimmable`: one set of weights that is a network at several widths, for anybody's `compile` and `fit`.

Yu et al., *Slimmable Neural Networks*, ICLR 2019, https://arxiv.org/abs/1812.08928 (a batch norm of its own for each
width); Yu and Huang, *Universally Slimmable Networks and Improved Training Techniques*, ICCV 2019,
https://arxiv.org/abs/1903.05134 (sandwich rule, in-place distillation, batch norm's statistics afterwards).
"""

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
from tta_lite.training.shared_slices import Slice, narrowed
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.transforms.channels.targets import sizes
from tta_lite.transforms.channels.units import free
from tta_lite.transforms.graph import check_graph
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError

SWITCHABLE, UNIVERSAL = "switchable", "universal"


@dataclasses.dataclass(frozen=True, eq=False)
class Width:
    """A network within the wide one.

    Attributes:
      width: share of the channels, below 1.
      model: its layers have the names of the wide one's; its shared weights are copies, renewed in each step.
      shared: (weight of `model`, weight of the wide network, where it lies in that).
      own: weights that no other width has.
      mean: of its loss over the epoch.
    """

    width: float
    model: keras.Model
    shared: tuple[tuple[tf.Variable, tf.Variable, Slice], ...]
    own: tuple[tf.Variable, ...]
    mean: keras.metrics.Metric

    def renew(self) -> None:
        """Copies the shared weights from the wide network."""
        for mine, wide, place in self.shared:
            mine.assign(place.read(tf.convert_to_tensor(wide)))


@dataclasses.dataclass(frozen=True, eq=False)
class _Narrow:
    """Kept out of Keras's sight: its layers would be saved, counted and penalised beside the wide network's."""

    networks: tuple[Width, ...]


class Slimmable(keras.Model):
    """Trains a network so that its first channels alone are a network too.

    A narrow network has the first units of each group of channels that can shrink (`channel_groups`). It is compiled
    and fitted as the wide one would be: `evaluate`, `predict`, `layers` and `save` are the wide one's, and the logs
    have the wide one's loss and metrics beside the mean loss of each width in training (``loss_0.5``).
    `network(width)` gives a network of one width, to be exported.

    Args:
      model: functional, one input and one output, without nested models; it becomes the wide network and learns.
      widths: shares of the channels above 0 and below 1; 1 is always there.
      how: ``switchable``: all widths in each step, and each has batch norms of its own. ``universal``: in each step
        the widest, the narrowest and `sampled` of the others by chance (the sandwich rule); batch norms share their
        factors, and their statistics come afterwards, by `recalibrate`.
      distil: narrow widths learn the answers of the widest in the same step instead of the labels (in-place
        distillation). None: so if ``universal``, as in the papers.
      sampled: see `how`.
      round_to: a group's size is a multiple of this.
      floor: the fewest channels of a group.
      protected: names and patterns of layers whose channels all stay.
      seed: of the widths that are drawn.

    Raises:
      InputError: a width out of range or twice, nothing that can shrink, or no such `how`.

    Example:
      >>> image = keras.Input((8, 8, 1))
      >>> x = keras.layers.Conv2D(16, 3, name="body")(image)
      >>> x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
      >>> net = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
      >>> both = Slimmable(net, (0.5,))
      >>> both.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
      >>> sorted(both.fit(np.ones([4, 8, 8, 1]), np.zeros(4), verbose=0).history)
      ['loss', 'loss_0.5']
      >>> both.network(0.5).get_layer("body").filters
      8
    """

    def __init__(
        self,
        model: keras.Model,
        widths: Sequence[float],
        *,
        how: str = SWITCHABLE,
        distil: bool | None = None,
        sampled: int = 2,
        round_to: int = 8,
        floor: int = 8,
        protected: Sequence[str] = (),
        seed: int = 0,
        name: str = "slimmable",
    ) -> None:
        super().__init__(name=name)
        check_graph(model)
        if how not in (SWITCHABLE, UNIVERSAL):
            raise InputError(f"Argument `how` must be {SWITCHABLE} or {UNIVERSAL}. Received: {how!r}")
        widths = tuple(sorted(widths, reverse=True))
        if not widths or len(set(widths)) < len(widths) or not all(0 < width < 1 for width in widths):
            raise InputError(f"Argument `widths` must be different shares between 0 and 1. Received: {widths}")
        if sampled < 0:
            raise InputError(f"Argument `sampled` must be 0 or more. Received: {sampled}")
        groups = channel_groups(model, protected=protected)
        self.how, self.sampled, self.seed = how, sampled, seed
        self.distil = how == UNIVERSAL if distil is None else distil
        self.wide = model
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="slimmable_steps")
        self._narrow = _Narrow(tuple(_within(model, groups, width, how, round_to, floor) for width in widths))
        # Known to Keras, for checkpoints and the optimizer.
        self.own_weights = [variable for one in self.narrow for variable in one.own]
        self._distance: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
        self.built = True

    @property
    def narrow(self) -> tuple[Width, ...]:
        """The narrow networks, the widest of them first."""
        return self._narrow.networks

    @property
    def widths(self) -> tuple[float, ...]:
        """All widths, the widest first."""
        return (1.0, *(one.width for one in self.narrow))

    @property
    def layers(self) -> list[keras.layers.Layer]:
        """The wide network's."""
        return self.wide.layers

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """-> the wide network's outputs."""
        return self.wide(inputs, training=training)

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **options: Any) -> None:
        """As `keras.Model.compile`, with a loss.

        Raises:
          InputError: no loss, or one that does not say what answers mean where narrow widths learn from the widest.
        """
        loss = keras.losses.get(loss)
        if not isinstance(loss, keras.losses.Loss):
            raise InputError(f"All widths learn by a keras.losses.Loss. Received: {loss!r}")
        optimizer = keras.optimizers.get(optimizer)
        if isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer):
            raise InputError(
                "Widths learn in float32 or bfloat16. Received: an optimizer with a loss scale, of float16"
            )
        if self.distil:
            self._distance = Distillation(self.wide, weight=1.0, temperature=1.0).distance(self.wide, loss)
        super().compile(optimizer, loss, metrics, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """-> logs, after one step for the widest network and those of the narrow ones that have their turn."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        wide = self.wide.trainable_variables
        with tf.GradientTape() as tape:
            answers = self.wide(x, training=True)
            loss = self.compute_loss(x, y, answers, sample_weight)
        total = _filled(tape.gradient(loss, wide), wide)
        batch = x, y, sample_weight, tf.stop_gradient(answers)
        turns = self._turns()
        own: list[tf.Tensor] = []
        for place, one in enumerate(self.narrow):
            learn = functools.partial(self._learn, one, batch, wide)
            if turns is None or place == len(self.narrow) - 1:
                found, mine = learn()
            else:
                found, mine = tf.cond(turns[place], learn, functools.partial(_nothing, one, wide))
            total = [before + more for before, more in zip(total, found, strict=True)]
            own += mine
        trained = [variable for one in self.narrow for variable in one.own if variable.trainable]
        self.optimizer.apply_gradients(zip([*total, *own], [*wide, *trained], strict=True))
        self._steps.assign_add(1)
        logs = self.compute_metrics(x, y, answers, sample_weight)
        return {**logs, **{one.mean.name: one.mean.result() for one in self.narrow}}

    def reset_metrics(self) -> None:
        """Keras calls it when an epoch begins."""
        super().reset_metrics()
        for one in self.narrow:
            one.mean.reset_state()

    def save(self, filepath: Any, *args: Any, **options: Any) -> None:
        """Saves the wide network; see `network` for the others."""
        self.wide.save(filepath, *args, **options)

    def network(self, width: float) -> keras.Model:
        """-> a network of its own of one of `widths`, with the weights as they are now.

        Raises:
          InputError: no such width.
        """
        if width == 1:
            return rewrite(self.wide, {})
        found = next((one for one in self.narrow if one.width == width), None)
        if found is None:
            raise InputError(f"Argument `width` must be one of {', '.join(map(str, self.widths))}. Received: {width}")
        found.renew()
        return rewrite(found.model, {})

    def recalibrate(self, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
        """Gives the batch norms of every width the statistics of some batches (US-Nets, section 3.3).

        Args:
          batches: inputs [B, ...] of the training set.

        Raises:
          InputError: no batches.
        """
        kept = list(batches)
        recompute_batch_norm(self.wide, kept)
        for one in self.narrow:
            one.renew()
            recompute_batch_norm(one.model, kept)

    def _turns(self) -> tf.Tensor | None:
        """-> [narrow networks but the last] bool, which are trained in this step; None: all."""
        others = len(self.narrow) - 1
        if self.how == SWITCHABLE or self.sampled >= others:
            return None
        seed = tf.stack([tf.constant(self.seed, tf.int64), self._steps])
        order = tf.random.experimental.stateless_shuffle(tf.range(others), seed=seed)
        return order < self.sampled

    def _learn(self, one: Width, batch: tuple, wide: Sequence[tf.Variable]) -> tuple[list, list]:
        """-> what one width adds to the gradients of the wide network's weights, and the gradients of its own."""
        x, y, sample_weight, answers = batch
        one.renew()
        variables = one.model.trainable_variables
        with tf.GradientTape() as tape:
            found = one.model(x, training=True)
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
        gradients = _filled(tape.gradient(shared_loss, variables), variables)
        by_variable = {variable.ref(): gradient for variable, gradient in zip(variables, gradients, strict=True)}
        spread = {
            large.ref(): place.spread(by_variable[mine.ref()]) for mine, large, place in one.shared if mine.trainable
        }
        return (
            [spread.get(variable.ref(), tf.zeros_like(variable)) for variable in wide],
            [by_variable[variable.ref()] for variable in one.own if variable.trainable],
        )


def _filled(gradients: Sequence[tf.Tensor | None], variables: Sequence[tf.Variable]) -> list[tf.Tensor]:
    pairs = zip(gradients, variables, strict=True)
    return [tf.zeros_like(variable) if one is None else tf.convert_to_tensor(one) for one, variable in pairs]


def _nothing(one: Width, wide: Sequence[tf.Variable]) -> tuple[list, list]:
    own = [variable for variable in one.own if variable.trainable]
    return [tf.zeros_like(variable) for variable in wide], [tf.zeros_like(variable) for variable in own]


def _within(
    model: keras.Model, groups: Sequence[ChannelGroup], width: float, how: str, round_to: int, floor: int
) -> Width:
    gone = {}
    for group in free(groups):
        ladder = sizes(group, round_to, floor)
        size = next((one for one in ladder if one <= width * group.size), ladder[-1])
        if size < group.size:
            gone[group.name] = range(size, group.size)
    if not gone:
        raise InputError(f"No layer can shrink to the width {width:g}: use a smaller `round_to` or `floor`")
    small, slices = narrowed(model, gone)
    norms = [layer for layer in small.submodules if isinstance(layer, keras.layers.BatchNormalization)]
    kept = {weight.ref() for norm in norms for weight in norm.weights}
    if how == UNIVERSAL:
        kept = {weight.ref() for norm in norms for weight in (norm.moving_mean, norm.moving_variance)}
    triples = list(zip(small.weights, model.weights, slices, strict=True))
    for mine, wide, place in triples:
        mine.assign(place.read(tf.convert_to_tensor(wide)))
    return Width(
        width,
        small,
        tuple(one for one in triples if one[0].ref() not in kept),
        tuple(mine for mine, _, _ in triples if mine.ref() in kept),
        keras.metrics.Mean(f"loss_{width:g}"),
    )
