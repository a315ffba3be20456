"""Network Slimming's training: the factors of batch norm are drawn to zero, and show which channels are needed."""

from __future__ import annotations

import tensorflow as tf

from tta_lite.training.pruning_policies import is_a
from tta_lite.training.watchers.base import Callback, check_number
from tta_lite.types import InputError


class NetworkSlimming(Callback):
    """Draws the factors (gamma) of all batch norms towards zero while a network learns, so that channels part company.

    Liu et al., *Learning Efficient Convolutional Networks through Network Slimming*, ICCV 2017, section 3, equation 1:
    the loss and penalty x the sum of all |gamma|; https://arxiv.org/abs/1708.06519. After each step of the optimizer
    every factor moves by the learning rate x the penalty towards zero, and stays there when it arrives. With SGD this
    is the paper's step (of a subgradient, which swings about zero and never stays); with Adam the penalty is not
    divided by the size of the gradients, as weight decay is not in AdamW. It works in any `model.fit`, leaves nothing
    in the model, and needs no state of its own to go on with a training that was stopped. Then
    `shrink(model, "network_slimming")`.

    Args:
      penalty: lambda; the paper takes 1e-5 to 1e-4 with SGD at 0.1. What counts is learning rate x penalty x steps:
        with less than the factors' size in all, none will reach zero.

    Example: a hundred steps of SGD at 0.1, of a loss that asks for nothing.

      >>> from tta_lite.compat import keras
      >>> net = keras.Sequential([keras.layers.BatchNormalization(input_shape=(2,))])
      >>> net.compile(keras.optimizers.SGD(0.1), lambda y, x: 0.0 * x)
      >>> x = tf.zeros((100, 2))
      >>> _ = net.fit(x, x, batch_size=1, verbose=0, callbacks=[NetworkSlimming(0.05)])
      >>> net.layers[0].gamma.numpy().round(3)
      array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, penalty: float = 1e-4) -> None:
        super().__init__()
        check_number("penalty", penalty, above=0)
        self.penalty = float(penalty)
        self._step = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Finds the factors."""
        factors = [
            layer.gamma
            for layer in self.model._flatten_layers(include_self=False)
            if is_a(layer, "BatchNormalization") and layer.scale and layer.trainable
        ]
        if not factors:
            raise InputError(
                "NetworkSlimming draws the factors (gamma) of batch norms to zero. Expected: a network with batch "
                f"norms that are trainable and have scale=True. Received: {self.model.name!r} without any"
            )

        @tf.function
        def shrink(by: tf.Tensor) -> None:
            for factor in factors:
                size = tf.maximum(tf.abs(factor) - tf.cast(by, factor.dtype), 0)
                factor.assign(tf.sign(factor) * size)

        self._shrink = shrink

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Remembers how many steps were taken."""
        self._step = int(self.model.optimizer.iterations)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Moves the factors, as often as the optimizer has stepped: several times at once, or not at all."""
        steps = int(self.model.optimizer.iterations) - self._step
        if steps:
            # Of a schedule, Keras 2 tells the rate of the last step, and Keras 3 that of the next.
            rate = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
            self._shrink(tf.constant(steps * rate * self.penalty, tf.float32))
