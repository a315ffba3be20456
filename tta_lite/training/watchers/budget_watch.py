"""`BudgetWatch`: figures of the network that learns, against limits."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any

from tta_lite.training.watchers.base import Callback, check_whole, say
from tta_lite.types import InputError

ACTIONS = ("stop", "warn")
Figure = Callable[[Any], float]


class BudgetWatch(Callback):
    """Measures the network when a training begins and every few epochs, and stops or warns if a figure is too large.

    What is measured is a function of the model, so that nothing here knows of files or boards:
    `tta_lite.guideline.for_callbacks` makes such functions for the exported size, MACs and the latency on this machine.
    The figures are added to what Keras logs; in epochs that measure nothing, those of the last time. Put it before the
    callbacks that shall see them.

    A budget that is passed at the start ends the training after one step: earlier Keras does not look.

    Args:
      budget: name, as it is logged -> (function of the model, limit).
      every: epochs between two measurements.
      action: ``stop`` or ``warn``.
      write: where a line goes for each figure that is too large; standard error if None.

    Attributes:
      figures: of the last measurement, by name.
      over: names of those that were above their limits then.

    Raises:
      InputError: a limit or an argument that cannot be used.

    Example:
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> watch = BudgetWatch({"weights": (lambda model: model.count_params(), 1)}, write=print)
      >>> _ = net.fit(x, y, epochs=5, verbose=0, callbacks=[watch])
      BudgetWatch: weights is 2, above its limit of 1, at the start; the training stops
    """

    def __init__(
        self,
        budget: Mapping[str, tuple[Figure, float]],
        *,
        every: int = 1,
        action: str = "stop",
        write: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(budget, Mapping) or not budget:
            raise InputError(f"Argument `budget` must map names to (function, limit). Received: {budget!r}")
        for name, pair in budget.items():
            if not (isinstance(name, str) and isinstance(pair, tuple) and len(pair) == 2 and callable(pair[0])):
                raise InputError(
                    f"Argument `budget` must map names to (function of the model, limit). Received: {name!r}: {pair!r}"
                )
            if not _is_number(pair[1]) or math.isnan(pair[1]):
                raise InputError(f"The limit of {name!r} must be a number. Received: {pair[1]!r}")
        check_whole("every", every, 1)
        if action not in ACTIONS:
            raise InputError(f"Argument `action` must be one of {', '.join(ACTIONS)}. Received: {action!r}")
        self.budget, self.every, self.action = dict(budget), every, action
        self.write = write or say
        self.figures: dict[str, float] = {}
        self.over: tuple[str, ...] = ()
        self._stopped = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Measures."""
        self._stopped = False
        self._measure("at the start")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Measures, if it is time, and logs."""
        if (epoch + 1) % self.every == 0 and not self._stopped:
            self._measure(f"after epoch {epoch + 1}")
        if logs is not None:
            logs.update(self.figures)

    def _measure(self, when: str) -> None:
        for name, (figure, _) in self.budget.items():
            value = figure(self.model)
            if not _is_number(value):
                raise InputError(f"The function of {name!r} must give a number. Received: {value!r}")
            self.figures[name] = float(value)
        # What is no number is not below its limit.
        self.over = tuple(name for name, (_, limit) in self.budget.items() if not self.figures[name] <= limit)
        for name in self.over:
            then = "; the training stops" if self.action == "stop" else ""
            limit = self.budget[name][1]
            self.write(
                f"BudgetWatch: {name} is {self.figures[name]:,.12g}, above its limit of {limit:,.12g}, {when}{then}"
            )
        if self.over and self.action == "stop":
            self._stopped = True
            self.model.stop_training = True


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
