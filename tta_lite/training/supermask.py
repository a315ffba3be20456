"""Supermasks: masks with which a network that was never trained classifies far better than by chance.

Zhou, Lan, Liu and Yosinski, Deconstructing Lottery Tickets, NeurIPS 2019, https://arxiv.org/abs/1905.01067, section 5.
The simple ones come from a trained network: the criterion ``large_final_same_sign`` on the weights at the start. The
learned ones are drawn: every weight is there with a probability sigmoid(m), and m learns while the weights stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.lottery_criteria import scores
from tta_lite.training.lottery_masks import full_masks, mask_kernels, pruned
from tta_lite.training.masked_training import chunks
from tta_lite.types import InputError


def simple_supermask(
    start: Mapping[str, np.ndarray],
    final: Mapping[str, np.ndarray],
    left: float,
    *,
    criterion: str = "large_final_same_sign",
    scope: str = "global",
) -> dict[str, np.ndarray]:
    """-> masks for the weights at the start: those that became large and kept their sign stay.

    Args:
      start: kernels at the start.
      final: the same after training.
      left: the share of weights that stays, between 0 and 1.
      criterion: one of `tta_lite.training.lottery_criteria.CRITERIA`.
      scope: see `tta_lite.training.lottery_masks.pruned`.

    Example:
      >>> simple_supermask({"a": np.array([1.0, 1.0, -1.0])}, {"a": np.array([9.0, -9.0, -2.0])}, 2 / 3)["a"].tolist()
      [True, False, True]
    """
    return pruned(full_masks(start), scores(criterion, start, final), left, scope)


class SupermaskTraining:
    """Learns which weights of an untrained network stay; weights, biases and all else are as they were drawn.

    The draw of a step has the gradient of its probability (straight-through: Bengio, Leonard and Courville, 2013), so
    the gradient of m is that of the weight x the weight x sigmoid'(m).

    Args:
      model: with its weights as they were drawn; its kernels change, and are masked in the end.
      loss: of (labels, outputs).
      layers: see `mask_kernels`.
      rescale: multiply each kernel by its weights over those that are there (the paper's dynamic weight rescaling).
      jit: compile with XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
        *,
        layers: Sequence[str] | None = None,
        rescale: bool = True,
        jit: bool = True,
    ) -> None:
        self.model, self.loss, self.rescale = model, loss, rescale
        self.kernels = mask_kernels(model, layers)
        self.start = {name: tf.Variable(kernel, trainable=False) for name, kernel in self.kernels.items()}
        self.logits = {name: tf.Variable(tf.zeros_like(kernel)) for name, kernel in self.kernels.items()}
        self.optimizer = keras.optimizers.Adam(1.0, epsilon=1e-8)
        self.optimizer.build(list(self.logits.values()))
        self._loop = tf.function(self._steps, jit_compile=jit)

    def begin(self, weights: Sequence[np.ndarray]) -> None:
        """Puts in another draw of the network; every weight is there with probability 1/2 again."""
        self.model.set_weights(list(weights))
        for variable in self.optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        for name, kernel in self.kernels.items():
            self.start[name].assign(kernel)
            self.logits[name].assign(tf.zeros_like(kernel))

    def run(self, batches: tf.data.Dataset, rates: np.ndarray, seed: int = 0) -> dict[str, np.ndarray]:
        """Learns as many steps as there are rates -> the masks of the weights that are more likely there than not.

        The model has these masks on then, rescaled if so asked.

        Args:
          batches: of (inputs, labels).
          rates: the learning rate of every step, of Adam on m.
          seed: of the draws.

        Raises:
          InputError: the batches end too early.
        """
        done = 0
        for inputs, labels in chunks(batches, len(rates)):
            count = min(len(inputs), len(rates) - done)
            chunk = np.zeros(len(inputs), np.float32)
            chunk[:count] = rates[done : done + count]
            self._loop(inputs, labels, tf.constant(chunk), tf.constant(count), tf.constant([seed, done], tf.int32))
            done += count
        if done < len(rates):
            raise InputError(f"The training needs {len(rates)} batches. Received: {done}")
        masks = {name: logit.numpy() > 0 for name, logit in self.logits.items()}
        for name, kernel in self.kernels.items():
            kernel.assign(self._seen(name, tf.cast(masks[name], kernel.dtype))[0])
        return masks

    def _steps(
        self, inputs: tf.Tensor, labels: tf.Tensor, rates: tf.Tensor, count: tf.Tensor, seed: tf.Tensor
    ) -> tf.Tensor:
        def step(index: tf.Tensor) -> tuple[tf.Tensor]:
            self._step(inputs[index], labels[index], rates[index], seed + tf.stack([0, index]))
            return (index + 1,)

        return tf.while_loop(lambda index: index < count, step, (tf.constant(0),))[0]

    def _step(self, inputs: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor) -> None:
        factors = {}
        for place, (name, kernel) in enumerate(self.kernels.items()):
            drawn = tf.random.stateless_uniform(kernel.shape, seed * 1000 + place)
            there = tf.cast(drawn < tf.sigmoid(self.logits[name]), kernel.dtype)
            seen, factors[name] = self._seen(name, there)
            kernel.assign(seen)
        kernels = list(self.kernels.values())
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(kernels)
            # As in inference: nothing but m learns, batch norm's statistics neither.
            loss = self.loss(labels, self.model(inputs, training=False))
        gradients = []
        for (name, logit), gradient in zip(self.logits.items(), tape.gradient(loss, kernels), strict=True):
            likely = tf.sigmoid(logit)
            gradients.append(gradient * self.start[name] * factors[name] * likely * (1 - likely))
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply_gradients(zip(gradients, self.logits.values(), strict=True))

    def _seen(self, name: str, there: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """-> the kernel that the network computes with, and by what it is larger."""
        size = tf.cast(tf.size(there), there.dtype)
        factor = size / tf.maximum(tf.reduce_sum(there), 1.0) if self.rescale else tf.ones((), there.dtype)
        return self.start[name] * there * factor, factor
