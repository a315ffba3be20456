"""Two scores of the same examples: the difference by hand, and an interval that knows that they are the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training.conftest import tiny_net, tiny_task
from tta_lite.tasks.paired import gain, paired_difference
from tta_lite.types import Accuracy, InputError


def score(right: list[int], counted: list[int]) -> Accuracy:
    return Accuracy(
        100.0 * sum(right) / sum(counted), "joints", (0, 100), counted=np.array(counted), correct=np.array(right)
    )


def test_points_are_of_all_that_counts():
    # 2 + 1 of 4 + 2 right, then 3 + 1: one joint of six more.
    found = paired_difference(score([2, 1], [4, 2]), score([3, 1], [4, 2]))
    assert found.points == pytest.approx(100 / 6)
    # Both people are drawn with replacement: both times the first, 2 of 8; both times the second, nothing.
    assert found.interval == (0.0, 25.0)


def test_what_is_the_same_in_each_example_is_no_difference():
    right = np.random.default_rng(0).integers(0, 3, 50).tolist()
    assert paired_difference(score(right, [3] * 50), score(right, [3] * 50)).interval == (0.0, 0.0)


def test_the_interval_is_that_of_a_mean():
    """Large and of one thing an example: 1.96 standard errors of the mean, to a tenth."""
    gained = np.random.default_rng(1).choice([-1, 0, 1], 2000, p=[0.1, 0.7, 0.2])
    low, high = gain(gained, np.ones(2000, int)).interval
    error = 100 * gained.std() / np.sqrt(2000)
    assert low == pytest.approx(100 * gained.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(100 * gained.mean() + 1.96 * error, abs=0.1 * error)


def test_nobody_who_counts_is_no_division():
    assert gain(np.array([1, 0]), np.array([2, 0])).points == 50.0


def test_scores_that_do_not_tell_have_no_interval():
    assert paired_difference(Accuracy(40.0, "own", (30, 50)), Accuracy(41.5, "own", (30, 50))).interval is None


def test_other_examples_are_refused():
    with pytest.raises(InputError, match="compared on the same examples"):
        paired_difference(score([1], [2]), score([1, 1], [2, 2]))


def test_a_pose_score_tells_each_person():
    net = tiny_net()
    found = tiny_task().score(lambda batch: net(batch, training=False).numpy())
    assert found.counted.tolist() == [3] * 4
    assert 100 * found.correct.sum() / 12 == pytest.approx(found.value)
