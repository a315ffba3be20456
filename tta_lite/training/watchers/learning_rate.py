"""A lower learning rate for an optimizer that runs, be it a number or a schedule, of Keras 2 or 3."""

from __future__ import annotations

from typing import Any

from tta_lite.training.watchers.state import optimizer_of
from tta_lite.types import InputError

# What of the settings of Keras's own schedules is a rate; the rest are steps and shares.
_RATES = ("initial_learning_rate", "end_learning_rate", "warmup_target")


def learning_rate(model: Any) -> float:
    """-> the rate of the next step."""
    rate = optimizer_of(model)._learning_rate
    if _is_schedule(rate):
        rate = rate(optimizer_of(model).iterations)
    return float(rate.numpy() if hasattr(rate, "numpy") else rate)


def check_can_lower(model: Any) -> None:
    """Raises an `InputError` for an optimizer whose rate cannot be lowered."""
    optimizer = optimizer_of(model)
    rate = getattr(optimizer, "_learning_rate", None)
    if not (_is_schedule(rate) or hasattr(rate, "assign")):
        raise InputError(
            "The learning rate must be a number or a LearningRateSchedule of an optimizer of keras.optimizers. "
            f"Received: {type(rate).__name__} of {type(optimizer).__module__}.{type(optimizer).__name__}"
        )


def lower(model: Any, factor: float) -> None:
    """Multiplies the rate of the optimizer by a factor. A schedule is replaced, and the step compiled anew.

    >>> from tta_lite.compat import keras
    >>> from tta_lite.training.watchers.example import small
    >>> net, x, y = small()
    >>> net.compile(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9)), "mse")
    >>> lower(net, 0.5)
    >>> learning_rate(net)
    0.25
    """
    optimizer = optimizer_of(model)
    rate = optimizer._learning_rate
    if not _is_schedule(rate):
        rate.assign(rate.numpy() * factor)
        return
    optimizer.learning_rate = _scaled(rate, factor)
    # What is compiled still asks the old one.
    model.make_train_function(force=True)


def _is_schedule(rate: Any) -> bool:
    return any(base.__name__ == "LearningRateSchedule" for base in type(rate).__mro__)


def _scaled(schedule: Any, factor: float) -> Any:
    """-> a schedule of the same kind if it is Keras's own, so that a saved model can be read by Keras alone."""
    if type(schedule).__module__.partition(".")[0] in ("keras", "tf_keras"):
        config = schedule.get_config()
        scaled = {name: config[name] * factor for name in _RATES if config.get(name) is not None}
        if "values" in config:
            scaled["values"] = [value * factor for value in config["values"]]
        if scaled:
            return type(schedule).from_config({**config, **scaled})
    base = next(one for one in type(schedule).__mro__ if one.__name__ == "LearningRateSchedule")

    class Scaled(base):  # type: ignore[misc, valid-type]
        """A schedule of the user's own times a factor."""

        def __call__(self, step: Any) -> Any:
            return schedule(step) * factor

        def get_config(self) -> dict[str, Any]:
            return schedule.get_config()

    return Scaled()
