"""`OnceForAll`: one network that can be used at many kernels, depths and widths, for anybody's `compile` and `fit`.

Cai, Gan, Wang, Zhang and Han, *Once-for-All: Train One Network and Specialize it for Efficient Deployment*, ICLR 2020,
https://arxiv.org/abs/1908.09791. That the largest network learns in each step and teaches the others in it is in-place
distillation (Yu and Huang, *Universally Slimmable Networks*, ICCV 2019, https://arxiv.org/abs/1903.05134); in the paper
the teacher is trained before.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.distillation import Distillation
from tta_lite.training.elastic_network import ElasticNetwork
from tta_lite.training.many_in_one import checked, filled, mean_of_examples
from tta_lite.transforms.elastic.find import elastic_space
from tta_lite.transforms.elastic.space import ElasticSpace, Setting
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError


@dataclasses.dataclass(eq=False)
class _Hidden:
    """Kept out of Keras's sight.

    Attributes:
      elastic: the networks.
      mean: of the sampled networks' losses over the epoch.
      keys: settings that are wanted.
    """

    elastic: ElasticNetwork
    mean: keras.metrics.Metric
    keys: tuple[Setting, ...] = ()


class OnceForAll(keras.Model):
    """Trains a network so that smaller kernels, fewer blocks and fewer channels of it are networks too.

    In each step the largest network learns from the labels, and the smallest one and `sampled` others, drawn anew, from
    its answers; the gradients are averaged. All are computed by one graph of the large network, in which what a smaller
    one lacks is zero: a step costs as much for a small network as for the largest. `evaluate`, `predict` and `save` are
    the largest one's, and the logs have its loss and metrics beside ``loss_sampled``, the mean of the others (0 without
    others).

    `ProgressiveShrinking` opens kernels, depths and widths one after the other; without it all are open from the start.

    Args:
      model: functional, one input and one output, its input size fixed. It is not changed.
      space: what is elastic; None: what `elastic_space` finds with its own defaults.
      keys: settings that `recalibrate` is for, beside the largest; None: one half way and the smallest.
      sampled: networks that are drawn in a step.
      sandwich: whether the smallest of what is open has its turn in each step in which others are drawn (Yu et al.,
        *BigNAS*, ECCV 2020, https://arxiv.org/abs/2003.11142); not so in the paper.
      distil: these learn the answers of the largest network instead of the labels.
      seed: of what is drawn.

    Raises:
      InputError: nothing is elastic, or a setting that is not in the space.

    Example:
      >>> image = keras.Input((8, 8, 4))
      >>> x = keras.layers.DepthwiseConv2D(5, padding="same", name="dw")(image)
      >>> net = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
      >>> many = OnceForAll(net)
      >>> many.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
      >>> sorted(many.fit(np.ones([4, 8, 8, 4]), np.zeros(4), verbose=0).history)
      ['loss', 'loss_sampled']
      >>> [str(key) for key in many.keys], many.network(many.keys[-1]).get_layer("dw").kernel_size
      (['k5', 'k3'], (3, 3))
    """

    def __init__(
        self,
        model: keras.Model,
        space: ElasticSpace | None = None,
        *,
        keys: Sequence[Setting] | None = None,
        sampled: int = 2,
        sandwich: bool = True,
        distil: bool = True,
        seed: int = 0,
        name: str = "once_for_all",
    ) -> None:
        super().__init__(name=name)
        plain = rewrite(model, {}, flatten=True)
        self.space = elastic_space(plain) if space is None else space
        self.distil, self.sandwich, self.seed = distil, sandwich, seed
        elastic = ElasticNetwork(plain, self.space)
        self._hidden = _Hidden(elastic, keras.metrics.Mean("loss_sampled"))
        self.masked, self._levels = elastic.masked, elastic.levels
        self._open = tf.Variable(self.space.counts, trainable=False, dtype=tf.int32, name="open")
        self._sampled = tf.Variable(0, trainable=False, name="sampled")
        self._steps = tf.Variable(0, trainable=False, dtype=tf.int64, name="steps_of_many")
        self._distance: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None
        self.allow(sampled=sampled)
        self.choose([self.space.between(0.5), self.space.smallest] if keys is None else keys)
        self.built = True

    @property
    def keys(self) -> tuple[Setting, ...]:
        """Settings that are wanted, the largest first."""
        return self._hidden.keys

    def choose(self, keys: Iterable[Setting]) -> None:
        """Says which settings are wanted beside the largest; equal ones count once.

        Raises:
          InputError: one is not in the space.
        """
        checked_keys = [self.space.check(key) for key in keys]
        self._hidden.keys = tuple(dict.fromkeys([self.space.largest, *checked_keys]))

    def allow(
        self,
        *,
        kernels: int | None = None,
        depths: int | None = None,
        widths: int | None = None,
        sampled: int | None = None,
    ) -> None:
        """Says what is drawn from now on.

        Args:
          kernels: options, counted from the largest; 1: only that; None: all.
          depths: the same.
          widths: the same.
          sampled: networks that are drawn in a step; None: as many as before; 0: the largest learns alone.

        Raises:
          InputError: a figure out of its range.
        """
        for name, count in (("kernels", kernels), ("depths", depths), ("widths", widths)):
            if count is not None and (type(count) is not int or count < 1):
                raise InputError(f"Argument `{name}` must be options, 1 or more. Received: {count!r}")
        if sampled is not None:
            if type(sampled) is not int or sampled < 0:
                raise InputError(f"Argument `sampled` must be 0 or more. Received: {sampled!r}")
            self._sampled.assign(sampled)
        space = self.space
        limits = [kernels] * len(space.kernels) + [depths] * len(space.stages) + [widths] * len(space.widths)
        pairs = zip(space.counts, limits, strict=True)
        self._open.assign([count if limit is None else min(count, limit) for count, limit in pairs])

    @contextlib.contextmanager
    def at(self, setting: Setting) -> Iterator[None]:
        """Within, `call`, `evaluate` and `predict` are those of another setting, with the largest's batch norms.

        Raises:
          InputError: it is not in the space.
        """
        self._levels.assign(self.space.levels(setting))
        try:
            yield
        finally:
            self._levels.assign(tf.zeros_like(self._levels))

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """-> the largest network's outputs, but within `at`."""
        return self.masked(inputs, training=training)

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, metrics: Any = None, **options: Any) -> None:
        """As `keras.Model.compile`, with a loss.

        Raises:
          InputError: no loss, or one that does not say what answers mean where the others learn from the largest.
        """
        optimizer, loss = checked(optimizer, loss)
        if self.distil:
            plain = self._hidden.elastic.plain
            self._distance = Distillation(plain, weight=1.0, temperature=1.0).distance(plain, loss)
        super().compile(optimizer, loss, metrics, **options)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """-> logs, after one step for the largest network and those that are drawn."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.masked.trainable_variables
        with tf.GradientTape() as tape:
            answers = self.masked(x, training=True)
            loss = self.compute_loss(x, y, answers, sample_weight)
        total = filled(tape.gradient(loss, variables), variables)
        taught = tf.stop_gradient(answers)
        # Batch norm's statistics stay those of the largest network.
        state = [one for one in self.masked.non_trainable_variables if one.dtype.is_floating]
        kept = [tf.identity(one) for one in state]

        def learn(turn: tf.Tensor, lost: tf.Tensor, *before: tf.Tensor) -> tuple[tf.Tensor, ...]:
            self._levels.assign(self._draw(turn))
            with tf.GradientTape() as tape:
                found = self.masked(x, training=True)
                if self._distance is not None:
                    apart = self._distance(taught, tf.cast(found, tf.float32))
                else:
                    apart = self.loss.call(y, found)
                apart = mean_of_examples(apart, sample_weight)
                shared = apart / tf.distribute.get_strategy().num_replicas_in_sync
            more = filled(tape.gradient(shared, variables), variables)
            return turn + 1, lost + apart, *(a + b for a, b in zip(before, more, strict=True))

        count = tf.identity(self._sampled)
        if self.sandwich:
            count += tf.minimum(count, 1)
        _, lost, *total = tf.while_loop(
            lambda turn, *_: turn < count, learn, [0, tf.zeros([]), *total], parallel_iterations=1
        )
        self._levels.assign(tf.zeros_like(self._levels))
        for one, value in zip(state, kept, strict=True):
            one.assign(value)
        networks = tf.cast(1 + count, tf.float32)
        self.optimizer.apply_gradients(
            [(one / tf.cast(networks, one.dtype), variable) for one, variable in zip(total, variables, strict=True)]
        )
        self._steps.assign_add(1)
        others = tf.cast(count, tf.float32)
        self._hidden.mean.update_state(tf.math.divide_no_nan(lost, others), sample_weight=others)
        logs = self.compute_metrics(x, y, answers, sample_weight)
        return {**logs, self._hidden.mean.name: self._hidden.mean.result()}

    def reset_metrics(self) -> None:
        """Keras calls it when an epoch begins."""
        super().reset_metrics()
        self._hidden.mean.reset_state()

    def save(self, filepath: Any, *args: Any, **options: Any) -> None:
        """Saves the largest network; see `network` for the others."""
        self.network(self.space.largest).save(filepath, *args, **options)

    def sort_channels(self) -> None:
        """Puts the channels of each elastic width that are worth most first (section 3.3 of the paper).

        By the L1 norm of their kernels. The largest network gives what it gave, and what the optimizer remembers of a
        weight goes with it.
        """
        self._hidden.elastic.sort_channels(getattr(self, "optimizer", None))

    def network(self, setting: Setting) -> keras.Model:
        """-> a network of its own with the weights as they are now.

        Its batch norms have the statistics of `recalibrate` where no step has been taken since; else the largest's,
        which are not a smaller network's.

        Raises:
          InputError: the setting is not in the space.
        """
        return self._hidden.elastic.network(self.space.check(setting), int(self._steps.numpy()))

    def recalibrate(self, batches: Iterable[np.ndarray | tf.Tensor], settings: Iterable[Setting] | None = None) -> None:
        """Gives the batch norms of networks the statistics of some batches, for `network`.

        Args:
          batches: inputs [B, ...] of the training set.
          settings: of which networks; None: of `keys`.

        Raises:
          InputError: no batches, or a setting that is not in the space.
        """
        wanted = self.keys if settings is None else [self.space.check(one) for one in settings]
        self._hidden.elastic.recalibrate(batches, wanted, int(self._steps.numpy()))

    def _draw(self, turn: tf.Tensor) -> tf.Tensor:
        """-> levels of the network that has its turn in this step."""
        seed = tf.stack([tf.constant(self.seed, tf.int64), self._steps * 1024 + tf.cast(turn, tf.int64)])
        places = tf.random.stateless_uniform(self._open.shape, seed) * tf.cast(self._open, tf.float32)
        drawn = tf.minimum(tf.cast(places, tf.int32), self._open - 1)
        return tf.where(turn == 0, self._open - 1, drawn) if self.sandwich else drawn
