"""PCKh: the percentage of correct joints, measured in head sizes, with its 95 % interval.

Andriluka, Pishchulin, Gehler and Schiele, 2D Human Pose Estimation: New Benchmark and State of the Art Analysis,
CVPR 2014, section 4. A joint is correct when it lies within 0.5 head sizes of its annotation. For MPII the head size is
0.6 x the diagonal of the head box, and pelvis and thorax are not scored.
"""

from __future__ import annotations

import numpy as np

from tta_lite.datasets.pose_set import PoseSet
from tta_lite.types import Accuracy, InputError

RESAMPLES = 2000


def correct_joints(
    predicted: np.ndarray, joints: np.ndarray, annotated: np.ndarray, head_size: np.ndarray, threshold: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Which joints are counted, and which of them are right.

    Args:
      predicted: [N, J, 2] in picture pixels.
      joints: [N, J, 2] in picture pixels.
      annotated: [N, J] bool.
      head_size: [N] in picture pixels; NaN or 0: the person is not scored.
      threshold: in head sizes; a joint at exactly this distance is correct.

    Returns:
      counted [N, J] bool and correct [N, J] bool.
    """
    scored = np.isfinite(head_size) & (head_size > 0)
    counted = annotated & scored[:, None]
    distance = np.linalg.norm(predicted.astype(np.float64) - joints, axis=-1)
    limit = threshold * np.where(scored, head_size, 1.0)
    return counted, counted & (distance <= limit[:, None])


def percentage(counted: np.ndarray, correct: np.ndarray) -> float:
    """All correct joints over all counted ones, in percent: the count-weighted mean of the joints' scores.

    >>> percentage(np.array([[True, True], [True, False]]), np.array([[True, False], [True, False]]))
    66.66666666666667
    """
    return 100.0 * float(correct.sum()) / float(counted.sum())


def bootstrap_interval(
    counted: np.ndarray, correct: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of `percentage` when people are drawn again with replacement.

    People are drawn and not joints, because the joints of one person are right or wrong together.
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.)

    Args:
      counted: [N, J] bool.
      correct: [N, J] bool.
      resamples: how many times N people are drawn.
      seed: of the draws.
    """
    n_counted, n_correct = counted.sum(axis=1), correct.sum(axis=1)
    # Drawing n people with replacement is drawing how often each is taken: one row of counts a resample.
    n = len(n_counted)
    times = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    total = times @ n_counted
    scores = 100.0 * (times @ n_correct)[total > 0] / total[total > 0]
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def pckh(pose_set: PoseSet, predicted: np.ndarray, threshold: float = 0.5) -> Accuracy:
    """-> the mean score, its interval and the score of every joint.

    Args:
      pose_set: N people with J joints.
      predicted: [N, J, 2] in picture pixels.
      threshold: in head sizes.

    Raises:
      InputError: nobody can be scored, or the shapes differ.
    """
    if predicted.shape != pose_set.joints.shape:
        raise InputError(
            f"Predictions for {pose_set.name} must be {pose_set.joints.shape}. Received: {predicted.shape}"
        )
    counted, correct = correct_joints(
        predicted, pose_set.joints, pose_set.annotated, pose_set.head_size, threshold=threshold
    )
    scored = list(pose_set.joint_set.scored)
    parts = {
        pose_set.joint_set.names[j]: percentage(counted[:, j], correct[:, j]) if counted[:, j].any() else float("nan")
        for j in range(len(pose_set.joint_set))
    }
    counted, correct = counted[:, scored], correct[:, scored]
    if not counted.any():
        raise InputError(f"PCKh of {pose_set.name} needs one annotated joint and head size or more. Received: none")
    return Accuracy(
        value=percentage(counted, correct),
        metric=f"PCKh@{threshold:g}",
        interval=bootstrap_interval(counted, correct),
        parts=parts,
        examples=int(counted.any(axis=1).sum()),
        counted=counted.sum(axis=1),
        correct=correct.sum(axis=1),
    )
