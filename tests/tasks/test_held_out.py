"""`held_out`: examples that are scored and not learnt from, the same ones each time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.models.backbones import Normalisation
from tta_lite.tasks.arrays import ArrayTask
from tta_lite.tasks.held_out import held_out, learning_from
from tta_lite.types import InputError

PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)


def dots(count, first=0):
    """Picture k has the value k everywhere, and the label k % 2."""
    values = np.arange(first, first + count, dtype=np.uint8)
    return PictureArrays("dots", np.tile(values[:, None, None, None], (1, 2, 2, 1)), values % 2, ("even", "odd"))


@pytest.fixture
def task():
    return ArrayTask(dots(20), dots(5, 100), PLAIN, (2, 2), batch_size=4, channels=1)


def test_each_example_is_learnt_from_or_scored_with_its_own_label(task):
    apart = held_out(task, 6)
    learnt, scored = (part.pictures[:, 0, 0, 0].tolist() for part in (apart.train, apart.test))
    assert (len(learnt), len(scored)) == (14, 6) and sorted(learnt + scored) == list(range(20))
    for part in (apart.train, apart.test):
        assert part.labels.tolist() == [value % 2 for value in part.pictures[:, 0, 0, 0]]
    # Trained on nothing that is scored: an epoch and a half, whatever the seed.
    seen = {int(x[0, 0, 0]) for batch, _ in apart.train_data(seed=3).take(6) for x in batch.numpy()}
    assert seen <= set(learnt) and apart.steps_per_epoch == 3
    assert [int(x[0, 0, 0]) for batch, _ in apart.validation_data() for x in batch.numpy()] == scored
    # What it was made of stays as it was, and the choice is the same again.
    assert (len(task.train), len(task.test)) == (20, 5)
    assert held_out(dataclasses.replace(task, batch_size=2), 6).test.pictures.tolist() == apart.test.pictures.tolist()


def test_pictures_of_a_folder(tmp_path):
    for name in ("a", "b"):
        for part in ("train", "test"):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                value = 100 * (name == "b") + number
                Image.new("L", (2, 2), value).save(tmp_path / part / name / f"{number}.png")
    train, _ = read_image_folder(tmp_path)
    part = train.subset([4, 0])
    assert [int(part.load(place)[0, 0, 0]) for place in (0, 1)] == [101, 0]
    assert part.labels.tolist() == [1, 0] and [path.parent.name for path in part.files] == ["b", "a"]


@pytest.mark.parametrize(("count", "words"), [(0, "1 to 16"), (17, "1 to 16.* of 20 a batch of 4"), (-1, "1 to 16")])
def test_too_many(task, count, words):
    with pytest.raises(InputError, match=rf"{words}.* Received: {count}"):
        held_out(task, count)


def test_fewer_to_learn_from(task):
    apart = held_out(task, 6)
    fewer = learning_from(apart, 8)
    assert set(fewer.train.pictures[:, 0, 0, 0]) < set(apart.train.pictures[:, 0, 0, 0])
    assert (len(fewer.train), fewer.steps_per_epoch) == (8, 2) and fewer.test is apart.test
    assert learning_from(apart, 14) is apart
    with pytest.raises(InputError, match=r"a batch, 4, or more. Received: 3"):
        learning_from(task, 3)


@pytest.mark.parametrize("change", [held_out, learning_from])
def test_a_task_of_the_users_own_has_no_examples_to_set_aside(change):
    with pytest.raises(InputError, match=r"has its own parts. Received: object"):
        change(object(), 3)
