"""The flags of a training in which the network as it was is the teacher of what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from recipes import _task
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.guideline.bench import Teaching
    from tta_lite.types import Task

DISTIL = flags.DEFINE_bool("distil", True, "A network that was changed also learns from what it was, or --teacher.")
WEIGHT = flags.DEFINE_float("distil_weight", 0.5, "Of the teacher's answers beside the labels.", 0, 1)
TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Of the teacher's classes; heat maps have none.", 0)
CONTROL = flags.DEFINE_bool(
    "distil_control", True, "It is trained without the teacher too, the better one is kept, and the difference told."
)

TEACHER = flags.DEFINE_string(
    "teacher", None, "Another teacher: .keras, .h5, .tflite, .onnx or the folder of a SavedModel."
)

FLAGS = [DISTIL, WEIGHT, TEMPERATURE, CONTROL, TEACHER]


def check(trains: bool) -> None:
    """Refuses a flag that would do nothing.

    Args:
      trains: whether there is a training.

    Raises:
      InputError: that, or a teacher that is not there.
    """
    if not trains:
        _task.refuse("where there is a training", *FLAGS)
    if not DISTIL.value:
        _task.refuse("with --distil", WEIGHT, TEMPERATURE, CONTROL, TEACHER)
    if DISTIL.value and WEIGHT.value == 0:
        raise InputError("--distil_weight must be above 0; --nodistil leaves the teacher out. Received: 0")
    if TEACHER.value and not Path(TEACHER.value).exists():
        raise InputError(f"--teacher must be a file, or the folder of a SavedModel. Received: {TEACHER.value}")


def try_teacher(model: keras.Model, task: Task) -> None:
    """Raises an `InputError` if --teacher cannot teach this network: not after an hour, but at once."""
    if TEACHER.value:
        from tta_lite.guideline import taught

        found = teaching()
        assert found is not None
        taught.try_teacher(model, found, task)


def teaching(epochs: int = 1) -> Teaching | None:
    """-> from whom a training of so many epochs also learns."""
    from tta_lite.guideline.bench import START, Teaching

    if not DISTIL.value or not epochs:
        return None
    return Teaching(START, WEIGHT.value, TEMPERATURE.value, CONTROL.value, TEACHER.value or "")
