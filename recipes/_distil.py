"""The flags of a training in which the network as it was is the teacher of what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from recipes import _task

if TYPE_CHECKING:
    from tta_lite.guideline.bench import Teaching

DISTIL = flags.DEFINE_bool("distil", True, "With --task: it also learns from the network as it was.")
WEIGHT = flags.DEFINE_float("distil_weight", 0.5, "Of the teacher's answers beside the labels.", 0, 1)
TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Of the teacher's classes; heat maps have none.", 0)
CONTROL = flags.DEFINE_bool(
    "distil_control", True, "It is trained without the teacher too, the better one is kept, and the difference told."
)

FLAGS = [DISTIL, WEIGHT, TEMPERATURE, CONTROL]


def check(trains: bool) -> None:
    """Raises an `InputError` for a flag that would do nothing.

    Args:
      trains: whether there is a training.
    """
    if not trains:
        _task.refuse("where there is a training", *FLAGS)
    if not DISTIL.value:
        _task.refuse("with --distil", WEIGHT, TEMPERATURE, CONTROL)


def teaching(epochs: int) -> Teaching | None:
    """-> from whom a training of so many epochs also learns."""
    from tta_lite.guideline.bench import START, Teaching

    return Teaching(START, WEIGHT.value, TEMPERATURE.value, CONTROL.value) if DISTIL.value and epochs else None
