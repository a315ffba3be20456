"""`StopOnNaN`: the end of a training that has broken down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tta_lite.training.watchers.base import Callback


def finite_weights(model: Any) -> bool:
    """Whether all weights of a model are numbers."""
    return all(np.isfinite(weight).all() for weight in model.get_weights())


class StopOnNaN(Callback):
    """Ends a training whose loss or weights are no longer numbers, and remembers where: (epoch, step), from 0.

    Example:
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> nan = StopOnNaN()
      >>> _ = net.fit(x * math.nan, y, epochs=5, verbose=0, callbacks=[nan])
      >>> nan.at
      (0, 0)
    """

    def __init__(self) -> None:
        super().__init__()
        self.at: tuple[int, int] | None = None
        self._epoch = self._step = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Looks at the loss."""
        self._step = batch
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            self.at = (self._epoch, batch)
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Looks at the weights, which the last step may have spoilt without a loss that shows it."""
        if self.at is None and not finite_weights(self.model):
            self.at = (epoch, self._step)
            self.model.stop_training = True
