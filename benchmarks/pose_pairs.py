"""Pose networks compared on the same people: what is right, and by how much one is better than another."""

from __future__ import annotations

import numpy as np

from tta_lite.tasks.paired import gain
from tta_lite.tasks.pckh import correct_joints, pckh
from tta_lite.tasks.pose import PoseTask
from tta_lite.types import Predictor


def scored(task: PoseTask, predict: Predictor) -> tuple[np.ndarray, np.ndarray, str]:
    """-> [N, J] bool, which joints count; [N, J] bool, which are right; PCKh@0.5 as ``45.4 (43.1 to 48.0)``."""
    people, columns = task.test, list(task.test.joint_set.scored)
    joints = task.predict_joints(predict)
    counted, correct = correct_joints(joints, people.joints, people.annotated, people.head_size)
    found = pckh(people, joints)
    said = f"{found.value:.1f} ({found.interval[0]:.1f} to {found.interval[1]:.1f})"
    return counted[:, columns], correct[:, columns], said


def difference(one: np.ndarray, other: np.ndarray, counted: np.ndarray) -> tuple[float, float, float]:
    """-> points by which the second is better than the first, and its 95 % interval: people are drawn for both at once.

    Args:
      one, other: [N, J] bool, which joints are right.
      counted: [N, J] bool.
    """
    found = gain((other.astype(int) - one.astype(int)).sum(axis=1), counted.sum(axis=1))
    assert found.interval is not None
    return found.points, *found.interval
