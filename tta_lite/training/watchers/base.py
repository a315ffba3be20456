"""`Callback`: what `model.fit` of Keras 2 and of Keras 3 calls, without either of them."""

from __future__ import annotations

import contextlib
import math
import numbers
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from tta_lite.types import InputError

Hook = TypeVar("Hook", bound=Callable[..., Any])


def _unused(hook: Hook) -> Hook:
    """Both Keras look for this mark: only hooks without it cost anything."""
    hook._is_default = True  # type: ignore[attr-defined]
    return hook


class Callback:
    """The base of the callbacks here; subclasses say what they do by defining hooks.

    Neither Keras asks what class a callback is of: their lists call the hooks below. So one class serves both, and this
    file imports none. Keras 2 also asks which hooks are defined (``_implements_*``), since hooks of batches cost it a
    conversion of the logs; Keras 3 reads the mark of each hook.

    Attributes:
      model: that is trained; given by `fit`.
      params: ``epochs``, ``steps`` (None: not known) and ``verbose``; given by `fit`.
      async_safe: whether Keras 3 may call ``on_train_batch_end`` from a thread of its own, late and out of order. With
        one callback that says no, it waits for every step.
    """

    # Keras 2 may leave what it logs as tensors: who needs a number of a batch converts that one.
    _supports_tf_logs = True
    async_safe = False

    def __init__(self) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}

    def set_params(self, params: dict[str, Any]) -> None:
        """Called by `fit`."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Called by `fit`."""
        self.model = model

    @_unused
    def on_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a step of a training; the name it had before `on_train_batch_begin`."""

    @_unused
    def on_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a step of a training; the name it had before `on_train_batch_end`."""

    @_unused
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a step of a training."""

    @_unused
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a step of a training; several steps if they are run at once."""

    @_unused
    def on_test_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a batch of a validation."""

    @_unused
    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a batch of a validation."""

    @_unused
    def on_predict_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before a batch of a prediction."""

    @_unused
    def on_predict_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """After a batch of a prediction."""

    @_unused
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Before an epoch, numbered from 0."""

    @_unused
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """After an epoch and its validation; what is added to `logs`, later callbacks and Keras's history see."""

    @_unused
    def on_train_begin(self, logs: dict | None = None) -> None:
        """Before the first epoch of a `fit`."""

    @_unused
    def on_train_end(self, logs: dict | None = None) -> None:
        """After the last epoch of a `fit`."""

    @_unused
    def on_test_begin(self, logs: dict | None = None) -> None:
        """Before a validation."""

    @_unused
    def on_test_end(self, logs: dict | None = None) -> None:
        """After a validation."""

    @_unused
    def on_predict_begin(self, logs: dict | None = None) -> None:
        """Before a prediction."""

    @_unused
    def on_predict_end(self, logs: dict | None = None) -> None:
        """After a prediction."""

    def _implements_train_batch_hooks(self) -> bool:
        return self._defines("batch_begin", "batch_end", "train_batch_begin", "train_batch_end")

    def _implements_test_batch_hooks(self) -> bool:
        return self._defines("test_batch_begin", "test_batch_end")

    def _implements_predict_batch_hooks(self) -> bool:
        return self._defines("predict_batch_begin", "predict_batch_end")

    def _defines(self, *hooks: str) -> bool:
        return any(not hasattr(getattr(self, f"on_{hook}"), "_is_default") for hook in hooks)


def steps_at_once(model: Any) -> int:
    """-> how many steps a compiled model takes between two calls of the hooks (``steps_per_execution``)."""
    # A variable in Keras 2, a number in Keras 3.
    found = getattr(model, "_steps_per_execution", None)
    if found is None:
        found = getattr(model, "steps_per_execution", None)
    return 1 if found is None else int(found)


def scalars(logs: dict | None) -> dict[str, float]:
    """-> the single numbers among what Keras logs, whatever type they have; a metric of several values is left out.

    >>> import numpy as np
    >>> scalars({"loss": np.float32(0.5), "of_each_class": np.ones(3), "why": "more"})
    {'loss': 0.5}
    """
    found = {}
    for name, value in (logs or {}).items():
        with contextlib.suppress(TypeError, ValueError):
            found[name] = float(value)
    return found


def say(line: str) -> None:
    """Writes a line to standard error."""
    print(line, file=sys.stderr, flush=True)


def check_number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> None:
    """Raises an `InputError` for an argument that is no finite number, or out of its range.

    >>> check_number("seconds", 3, above=0)
    >>> check_number("seconds", -1, above=0)
    Traceback (most recent call last):
    tta_lite.types.InputError: Argument `seconds` must be a number above 0. Received: -1
    """
    right = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    if right and above < value < below and value >= least:  # type: ignore[operator]
        return
    limits = [f"above {above:g}"] * (above > -math.inf) + [f"of {least:g} or more"] * (least > -math.inf)
    limits += [f"below {below:g}"] * (below < math.inf)
    raise InputError(f"Argument `{name}` must be a number {' and '.join(limits)}. Received: {value!r}")


def check_whole(name: str, value: object, least: int) -> None:
    """Raises an `InputError` for an argument that is no whole number, or too small."""
    if type(value) is not int or value < least:
        raise InputError(f"Argument `{name}` must be a whole number, {least} or more. Received: {value!r}")
