"""What dynamic loss scaling did in a training in float16 (G4, clause 6.2.2): the scale, and the steps it cost.

Micikevicius et al., *Mixed Precision Training*, ICLR 2018, section 3.2, https://arxiv.org/abs/1710.03740: the loss is
multiplied so that small gradients do not vanish in float16. A step whose gradients are not finite is skipped and the
scale halved; after 2,000 good ones (Keras's number) it doubles.
"""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

from tta_lite.files import atomic_write
from tta_lite.training.watchers.base import Callback, steps_at_once
from tta_lite.training.watchers.history import read_history
from tta_lite.types import InputError

OVERFLOW, GROWTH, START = "overflow", "growth", "start"


@dataclasses.dataclass(frozen=True)
class ScaleChange:
    """A moment at which the loss scale changed, or was seen first.

    Attributes:
      epoch: from 0.
      step: of the epoch, from 0; the change came with its gradients.
      loss_scale: after it.
      event: ``start``, ``overflow`` or ``growth``.
    """

    epoch: int
    step: int
    loss_scale: float
    event: str


class LossScaleLogger(Callback):
    """Logs ``loss_scale`` and ``overflows``, the skipped steps of the epoch so far, after every step and epoch.

    It fits any ``model.fit`` and comes before the callbacks that shall see what it logs: TensorBoard, `History`. An
    optimizer without loss scaling has nothing to log. Keras 2 counts a skipped step as any other, so that neither
    ``optimizer.iterations`` nor the loss tells of it. The scale of Keras 2 stays at 1 or more, that of Keras 3 does
    not.

    Args:
      path: of a CSV file with the columns epoch, step, loss_scale and event, a row a `ScaleChange`; None: none. A
        training that goes on keeps the rows of the epochs before.

    Attributes:
      changes: of this call of ``fit``, in order.
      overflows: steps that were skipped in this call of ``fit``.

    Example:
      >>> from tta_lite.compat import keras
      >>> image = keras.Input((2,))
      >>> net = keras.Model(image, keras.layers.Dense(1, kernel_initializer="ones")(image))
      >>> scaled = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.0), initial_scale=2.0**127)
      >>> net.compile(scaled, "mse")
      >>> logger = LossScaleLogger()
      >>> _ = net.fit([[100.0, 0.0]], [[0.0]], epochs=3, verbose=0, callbacks=[logger])
      >>> logger.overflows, [change.event for change in logger.changes[:2]]
      (3, ['start', 'overflow'])
    """

    def __init__(self, path: str | Path | None = None) -> None:
        super().__init__()
        self.path = None if path is None else Path(path)
        self.changes: list[ScaleChange] = []
        self.overflows = 0
        self._epoch = self._in_epoch = 0
        self._scale, self._good = 0.0, 0
        self._scaled = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks at the optimizer.

        Raises:
          InputError: several steps are run at once (``steps_per_execution``), between which nothing can be seen.
        """
        self.changes, self.overflows = [], 0
        self._scaled = _scales(self.model)
        if not self._scaled:
            return
        if (at_once := steps_at_once(self.model)) > 1:
            raise InputError(
                "LossScaleLogger looks at the scale after every step: compile with steps_per_execution=1. "
                f"Received: {at_once}"
            )
        self._scale, self._good = self._look()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Begins to count anew."""
        self._epoch, self._in_epoch = epoch, 0
        if self._scaled and not self.changes:
            self.changes.append(ScaleChange(epoch, 0, self._scale, START))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Sees what the step did to the scale."""
        if not self._scaled:
            return
        scale, good = self._look()
        if self._dynamic():
            if self._skipped(scale, good):
                self.overflows += 1
                self._in_epoch += 1
                self.changes.append(ScaleChange(self._epoch, batch, scale, OVERFLOW))
            elif scale > self._scale:
                self.changes.append(ScaleChange(self._epoch, batch, scale, GROWTH))
        self._scale, self._good = scale, good
        self._log(logs)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Logs, and writes the file anew."""
        if not self._scaled:
            return
        self._log(logs)
        if self.path is not None:
            text = io.StringIO()
            writer = csv.DictWriter(text, [field.name for field in dataclasses.fields(ScaleChange)])
            writer.writeheader()
            first = self.changes[0].epoch
            writer.writerows(old for old in read_history(self.path) if int(old["epoch"]) < first)
            writer.writerows(dataclasses.asdict(change) for change in self.changes)
            atomic_write(self.path, text.getvalue())

    def _log(self, logs: dict | None) -> None:
        if logs is not None:
            logs["loss_scale"], logs["overflows"] = self._scale, self._in_epoch

    def _dynamic(self) -> bool:
        # That of Keras 3 is always.
        return bool(getattr(self.model.optimizer, "dynamic", True))

    def _look(self) -> tuple[float, int]:
        """-> the scale, and how many steps were good since it last changed."""
        optimizer = self.model.optimizer
        if hasattr(optimizer, "loss_scale"):
            return float(optimizer.loss_scale), int(optimizer.dynamic_counter) if optimizer.dynamic else 0
        if not optimizer.built:
            return float(optimizer.initial_scale), 0
        return float(optimizer.dynamic_scale.numpy()), int(optimizer.step_counter.numpy())

    def _skipped(self, scale: float, good: int) -> bool:
        # Both a skipped step and one that doubles the scale set the counter to 0.
        if good:
            return False
        grew = self._good + 1 == int(self.model.optimizer.dynamic_growth_steps)
        return not grew or scale < self._scale or scale == self._scale == 1.0


def _scales(model: Any) -> bool:
    """Whether its optimizer scales the loss; both Keras call it so, and the name spares an import of either."""
    optimizer = getattr(model, "optimizer", None)
    return any(base.__name__ in ("LossScaleOptimizer", "BaseLossScaleOptimizer") for base in type(optimizer).__mro__)
