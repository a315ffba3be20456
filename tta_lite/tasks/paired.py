"""Two scores of the same examples: by how much is one better, when the luck of the examples is the same for both?"""

from __future__ import annotations

import dataclasses

import numpy as np

from tta_lite.types import Accuracy, InputError

DRAWS = 2000


@dataclasses.dataclass(frozen=True)
class Difference:
    """Points by which a second score is higher than a first one.

    Attributes:
      points: -100..100.
      interval: 95 %, low and high; None: the scores do not tell what was right in which example.
    """

    points: float
    interval: tuple[float, float] | None = None


def paired_difference(first: Accuracy, second: Accuracy) -> Difference:
    """-> the second less the first; its 95 % percentile interval when examples are drawn again, for both at once.

    Most of what makes a test set easy or hard makes it so for both, and falls out of the difference: its interval is
    narrower than those of the two scores. It is the luck of which examples were drawn, not of the training.
    (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.)

    Raises:
      InputError: the scores are not of the same examples.

    Example: of four examples the second has all right that the first has, and one more.

      >>> ones = np.ones(4, int)
      >>> scores = [
      ...     Accuracy(25.0 * sum(right), "accuracy", (0, 100), counted=ones, correct=np.array(right))
      ...     for right in ([1, 0, 0, 1], [1, 1, 0, 1])
      ... ]
      >>> paired_difference(*scores)
      Difference(points=25.0, interval=(0.0, 75.0))
    """
    if first.counted is None or second.counted is None or first.correct is None or second.correct is None:
        return Difference(second.value - first.value)
    if not np.array_equal(first.counted, second.counted):
        raise InputError(
            "Two scores are compared on the same examples. Received: "
            f"{len(first.counted)} and {len(second.counted)}, or others of the same number"
        )
    return gain(second.correct.astype(int) - first.correct.astype(int), first.counted)


def gain(gained: np.ndarray, counted: np.ndarray) -> Difference:
    """-> the difference between two scores, from what each example gained.

    Args:
      gained: [N], how many more are right in each example.
      counted: [N] int, how many count in it.
    """
    n = len(counted)
    # Drawing n examples with replacement is drawing how often each is taken: one row of counts a resample.
    times = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS)
    total = times @ counted
    drawn = 100.0 * (times @ gained)[total > 0] / total[total > 0]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Difference(100.0 * float(gained.sum()) / int(counted.sum()), (float(low), float(high)))
