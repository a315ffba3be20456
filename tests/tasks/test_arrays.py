"""`ArrayTask`: batches of small pictures, the same from any step on, shifted and mirrored as it says."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.models.backbones import Normalisation
from tta_lite.tasks.arrays import ArrayTask
from tta_lite.tasks.find import Edges, find_task
from tta_lite.types import InputError

PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)
# Every pixel of every picture has a value of its own, none is black.
PIXELS = np.arange(1, 129, dtype=np.uint8).reshape(8, 4, 4, 1)
SET = PictureArrays("dots", PIXELS, np.arange(8) % 2, ("even", "odd"))


def task(**changes):
    values = {"train": SET, "test": SET, "normalisation": PLAIN, "size": (4, 4), "batch_size": 4, "channels": 1}
    return ArrayTask(**{**values, **changes})


def first(made, count, **where):
    return [(x.numpy(), y.numpy()) for x, y in made.train_data(seed=5, **where).take(count)]


def test_an_epoch_has_every_picture_once_and_any_step_can_be_the_first():
    whole = first(task(), 24)
    for epoch in range(12):
        pictures = np.concatenate([whole[2 * epoch + half][0] for half in (0, 1)])
        assert sorted(pictures[:, 0, 0, 0]) == PIXELS[:, 0, 0, 0].tolist()
    later = first(task(), 9, start_step=15)
    for (x, y), (other, labels) in zip(whole[15:], later, strict=True):
        np.testing.assert_array_equal(x, other)
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_array_equal(y, (x[:, 0, 0, 0] - 1) // 16 % 2)


def test_pictures_are_shifted_and_mirrored_whole():
    seen = set()
    for x, _ in first(task(shift=1, mirror=True), 40):
        for picture in x[..., 0]:
            number = int(picture.max() - 1) // 16
            padded = np.pad(PIXELS[number, :, :, 0], 1)
            options = {
                (row, column, mirrored): padded[row : row + 4, column : column + 4][:, :: -1 if mirrored else 1]
                for row in range(3)
                for column in range(3)
                for mirrored in (False, True)
            }
            found = [how for how, option in options.items() if np.array_equal(option, picture)]
            assert len(found) == 1
            seen.add(found[0])
    assert len(seen) == 18


def test_scores_and_inputs():
    made = task(normalisation=Normalisation((127.5,) * 3, (127.5,) * 3))
    x = np.concatenate([images for images, _ in made.validation_data()])
    np.testing.assert_allclose(x, PIXELS / 127.5 - 1, atol=1e-6)
    # Right for the first three of each class.
    right = np.eye(2)[[0, 1, 0, 1, 0, 1, 1, 0]]
    assert made.correct(lambda images: right).tolist() == [True] * 6 + [False] * 2
    assert made.score(lambda images: right).value == 75.0
    assert made.calibration(3)[0].shape == (1, 4, 4, 1)
    assert task(channels=3, size=(8, 8)).calibration(1)[0].shape == (1, 8, 8, 3)


def test_tasks_by_name():
    pytest.importorskip("sklearn")
    edges = Edges(picture=(8, 8, 1), output=(10,), softmax=False)
    found = find_task("digits", edges, pixels="-1..1", batch_size=32)
    assert (found.steps_per_epoch, found.channels, found.mirror) == (37, 1, False)
    for spec, changes, words in (
        ("digits:here", {}, "a whole number of digits .*Received: .digits:here."),
        ("mnist", {}, "A task is one of"),
        ("digits", {"pixels": "imagenet"}, "grey"),
        ("digits", {"model": Edges(picture=(8, 8, 1), output=(4,), softmax=False)}, "each of the 10 classes of digits"),
    ):
        with pytest.raises(InputError, match=words):
            find_task(spec, **{"model": edges, "pixels": "0..1", "batch_size": 32, **changes})
