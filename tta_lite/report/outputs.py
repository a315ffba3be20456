"""What the outputs of a task's network are called, for whoever reads them on a board."""

from __future__ import annotations

from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import Task


def output_names(task: Task, tflite: bytes) -> tuple[str, ...] | None:
    """-> the classes or joints of the test set in the order of the output's last dimension; None: not known.

    Args:
      task: one of this library's, or anybody's: names are taken from ``test.classes`` or ``test.joint_set.names``.
      tflite: the network; names that are not as many as its outputs are of something else.
    """
    test = getattr(task, "test", None)
    names = getattr(test, "classes", getattr(getattr(test, "joint_set", None), "names", None))
    if not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names) if TFLitePredictor(tflite).output.shape[-1:] == (len(names),) else None
