from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tta_lite.datasets.calibration_checks import Labels
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.tasks.calibration import check_images, checked_calibration
from tta_lite.tasks.classification import PIXELS
from tta_lite.tasks.pose import PoseTask
from tta_lite.types import InputError


@pytest.fixture(scope="module")
def task():
    people, test = (synthetic_pose(count, seed=seed, picture_size=64) for count, seed in ((60, 1), (20, 2)))
    return PoseTask(people, test, PIXELS["imagenet"], input_size=32, batch_size=20)


def test_a_task_gives_its_images_with_what_is_found(task):
    images, findings = checked_calibration(task, 50, seed=3)
    assert findings == []
    assert all(np.array_equal(a, b) for a, b in zip(images, task.calibration(50, seed=3), strict=True))
    images, findings = checked_calibration(task, 3)
    assert len(images) == 3 and "few" in [finding.code for finding in findings]


def test_joints_count_where_they_are_in_the_crop(task):
    # A crop a quarter as wide, around the middle, holds fewer joints of the same people.
    close = dataclasses.replace(task, train=dataclasses.replace(task.train, box=task.train.box / 8))
    whole, part = (one.calibration_labels(50, seed=3) for one in (task, close))
    assert whole.names == task.train.joint_set.names and whole.seen.shape == (50, 16)
    assert 0 < part.seen.sum() < whole.seen.sum() / 2
    # The labels that training gets say where each joint is, in heat-map pixels.
    places = np.random.default_rng(3).choice(60, size=50, replace=False)
    for place, seen in zip(places, part.seen, strict=True):
        joints = close._crop(close.train, int(place), None)[1]
        inside = ((joints[:, :2] * 4 >= 0) & (joints[:, :2] * 4 <= 31)).all(1) & (joints[:, 2] > 0)
        assert np.array_equal(seen, inside)


def test_images_of_the_test_set_are_refused(task):
    scored = dataclasses.replace(task, train=task.test, batch_size=10)
    with pytest.raises(InputError, match="10 of 10 calibration images are in the test set too"):
        checked_calibration(scored, 10)


def test_images_from_elsewhere_are_compared_with_the_task(task):
    images = task.calibration(50)
    raw = [(image * np.array(task.normalisation.std) + task.normalisation.mean).astype(np.float32) for image in images]
    with pytest.raises(InputError, match=r"look like pixels of 0\.\.255 that were not normalised"):
        check_images(raw, task)
    with pytest.raises(InputError, match=r"must be \[1, 32, 32, 3\] float32. Received: image 0 with \[1, 16, 32, 3\]"):
        check_images((image[:, ::2] for image in images), task)
    kept, findings = check_images((image for image in images), task)
    assert len(kept) == 50 and findings == []


class Own:
    """No more than `Task` asks for, and no training data."""

    steps_per_epoch = 0

    def __init__(self, task, **more):
        self.validation_data, self.calibration = task.validation_data, task.calibration
        self.__dict__.update(more)


def test_a_task_of_ones_own_needs_no_more_than_the_protocol(task, caplog):
    images, findings = checked_calibration(Own(task), 50)
    assert len(images) == 50 and findings == []
    seen = np.zeros((50, 2), bool)
    own = Own(task, calibration_labels=lambda count, seed: Labels("joint", ("head", "hand"), seen))
    _, findings = checked_calibration(own, 50)
    assert [finding.code for finding in findings] == ["coverage"]
    assert "2 of 2 joints" in caplog.text
    with pytest.raises(InputError, match=r"must give Labels\. Received: ndarray"):
        checked_calibration(Own(task, calibration_labels=lambda count, seed: seen), 50)
    with pytest.raises(InputError, match="no image"):
        checked_calibration(Own(task, calibration=lambda count, seed: []), 50)
