"""`PruneLowMagnitudeStep`: magnitude pruning of a plain network, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow as tf

from tta_lite.training.pruning_policies import EVERY_LAYER, Kernel, LayerPolicy, chosen_kernels
from tta_lite.training.sparsity_patterns import magnitude_mask, parse_pattern, pattern_mask
from tta_lite.training.watchers.base import Callback, steps_at_once
from tta_lite.types import InputError

# As TFMOT's: step -> (whether masks are renewed, share of zeros).
Schedule: TypeAlias = Callable[[tf.Tensor], tuple[Any, Any]]


class PruneLowMagnitudeStep(Callback):
    """Makes the smallest weights zero on a schedule, as TFMOT's `prune_low_magnitude`, on a plain network in any `fit`.

    Before every step, masks are renewed if the schedule says so, from the weights as the last step left them, and put
    on; after every epoch they are put on once more, so that what is saved has its zeros. All in one compiled call.

    A training that goes on where another was stopped finds its masks in the zeros of the kernels; one that keeps
    `state` in its checkpoint has them as they were.

    Args:
      schedule: one of TFMOT's, or from `tta_lite.training.pruning_schedules`, or a function of TensorFlow's ops from
        the number of a step, the first is 1, to (whether masks are renewed, share of zeros).
      layers: whose kernels.
      pattern: as ``2:4``; empty: the smallest of each kernel.

    Example:
      >>> import numpy as np
      >>> from tta_lite.compat import keras
      >>> from tta_lite.training.pruning_schedules import constant
      >>> net = keras.Sequential([keras.layers.Dense(4, input_shape=(8,))])
      >>> net.compile("adam", "mse")
      >>> step = PruneLowMagnitudeStep(constant(0.75, begin=1, end=4, frequency=1))
      >>> _ = net.fit(np.eye(8), np.zeros((8, 4)), batch_size=2, verbose=0, callbacks=[step])
      >>> int((net.get_weights()[0] == 0).sum())
      24
    """

    def __init__(self, schedule: Schedule, *, layers: LayerPolicy = EVERY_LAYER, pattern: str = "") -> None:
        super().__init__()
        self.schedule, self.layers = schedule, layers
        self.pattern = parse_pattern(pattern) if pattern else None
        self.kernels: list[Kernel] = []
        self.masks: list[tf.Variable] = []

    def attach(self, model: Any) -> None:
        """Makes the masks, all ones; `fit` does it if nobody has.

        Raises:
          InputError: see `tta_lite.training.pruning_policies.chosen_kernels`; or a pattern and a kernel without axis.
        """
        self.kernels = chosen_kernels(model, self.layers)
        without = [kernel.layer for kernel in self.kernels if self.pattern and kernel.axis is None]
        if without:
            raise InputError(f"A pattern needs kernels that sum over input channels. Received: {', '.join(without)}")
        self.step = tf.Variable(0, trainable=False, dtype=tf.int64, name="pruning_step")
        self.masks = [
            tf.Variable(tf.ones(kernel.variable.shape), trainable=False, name=f"{kernel.layer}_mask")
            for kernel in self.kernels
        ]
        self.state = tf.train.Checkpoint(step=self.step, masks=self.masks)
        self._next = tf.function(self._take_step, autograph=False)
        self._put_on = tf.function(self._mask_all, autograph=False)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Finds out where the training is.

        Raises:
          InputError: several steps are run at once (``steps_per_execution``): in between, zeros would come alive.
        """
        if (at_once := steps_at_once(self.model)) > 1:
            raise InputError(
                "PruneLowMagnitudeStep puts zeros right after every step: compile with steps_per_execution=1. "
                f"Received: {at_once}"
            )
        now = chosen_kernels(self.model, self.layers)
        if [id(kernel.variable) for kernel in now] != [id(kernel.variable) for kernel in self.kernels]:
            self.attach(self.model)
        self._found = False

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Renews the masks if it is time, and puts them on."""
        if not self._found:
            # Not earlier: others may restore weights and optimizer when a training begins.
            self._find_masks()
        self._next()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Puts the masks on."""
        self._put_on()

    def _find_masks(self) -> None:
        self._found = True
        done = int(self.model.optimizer.iterations.numpy())
        if int(self.step.numpy()) == 0 and done:
            self.step.assign(done)
            first = 1 if self.pattern else getattr(self.schedule, "begin_step", 1)
            if done >= first:
                for kernel, mask in zip(self.kernels, self.masks, strict=True):
                    mask.assign(tf.cast(tf.not_equal(kernel.variable, 0), mask.dtype))

    def _take_step(self) -> None:
        step = self.step.assign_add(1)
        due, share = self.schedule(step)
        if self.pattern is not None:
            # Once, as TFMOT and NVIDIA's ASP: a pattern has no shares to grow through.
            due = tf.equal(step, 1)

        def renew() -> tf.Tensor:
            for kernel, mask in zip(self.kernels, self.masks, strict=True):
                if self.pattern is None:
                    mask.assign(magnitude_mask(kernel.variable, share))
                else:
                    assert kernel.axis is not None
                    mask.assign(pattern_mask(kernel.variable, self.pattern, kernel.axis))
            return tf.constant(True)

        tf.cond(due, renew, lambda: tf.constant(False))
        self._mask_all()

    def _mask_all(self) -> None:
        for kernel, mask in zip(self.kernels, self.masks, strict=True):
            kernel.variable.assign(kernel.variable * mask)
