from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from PIL import Image

from tests.datasets.test_image_folder import pictures
from tta_lite.compat import keras
from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.tasks.classification import PIXELS, ClassificationTask
from tta_lite.tasks.find import find_task
from tta_lite.types import InputError

L = keras.layers


@pytest.fixture
def folder(tmp_path):
    """Grey pictures: those of `dark` are darker than those of `light`."""
    for part, shift in (("train", 0), ("test", 3)):
        pictures(tmp_path / part / "dark", 12, start=10 + shift)
        pictures(tmp_path / part / "light", 8, start=200 + shift)
    return tmp_path


def task(folder, **changes):
    train, test = read_image_folder(folder)
    return ClassificationTask(train, test, PIXELS["0..1"], (4, 4), batch_size=5, **changes)


def net(classes: int = 2, activation: str | None = "softmax", size: int | None = 4) -> keras.Model:
    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, L.Dense(classes, activation=activation, name="scores")(L.GlobalAveragePooling2D()(image)))


def test_the_score_is_the_share_that_is_right(folder):
    """20 test pictures, 12 of them dark: who always says dark has 60 %, all of one class and none of the other."""
    found = task(folder).score(lambda images: np.tile([0.9, 0.1], (len(images), 1)))
    assert (found.value, found.examples, dict(found.parts)) == (60.0, 20, {"dark": 100.0, "light": 0.0})
    # The normal approximation: 60 +- 1.96 sqrt(0.6 x 0.4 / 20) = 38.5 to 81.5.
    half = 196 * math.sqrt(0.6 * 0.4 / 20)
    assert found.interval == pytest.approx((60 - half, 60 + half), abs=4)
    right = task(folder).score(lambda images: np.stack([1 - images.mean((1, 2, 3)), images.mean((1, 2, 3))], 1))
    assert right.value == 100.0


def test_pixels_are_normalised_and_pictures_scaled(folder):
    images, labels = next(task(folder).validation_data().as_numpy_iterator())
    assert images.shape == (5, 4, 4, 3) and images.dtype == np.float32
    assert images[0, 0, 0].tolist() == pytest.approx([13 / 255] * 3) and labels.tolist() == [0] * 5


def test_a_batch_hangs_on_the_seed_and_its_number_alone(folder):
    whole = [batch for batch in task(folder).train_data(seed=3).take(6).as_numpy_iterator()]
    later = next(task(folder).train_data(seed=3, start_step=5).as_numpy_iterator())
    np.testing.assert_array_equal(whole[5][0], later[0])
    np.testing.assert_array_equal(whole[5][1], later[1])
    other = next(task(folder).train_data(seed=4).as_numpy_iterator())
    assert not np.array_equal(whole[0][0], other[0])
    # An epoch is 4 batches of 5: each picture once.
    assert sorted(np.concatenate([labels for _, labels in whole[:4]]).tolist()) == [0] * 12 + [1] * 8


def test_pictures_of_letters_are_not_mirrored(tmp_path):
    slope = np.tile(np.arange(0, 240, 30, dtype=np.uint8)[None, :, None], (8, 1, 3))
    for name in "ab":
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(slope).save(tmp_path / "train" / name / f"{number}.png")
            Image.fromarray(slope).save(tmp_path / "test" / name / f"{number}.png")

    def falls(chosen):
        batches = chosen.train_data(seed=0).take(4).as_numpy_iterator()
        return {bool(image[0, 0, 0] > image[0, -1, 0]) for images, _ in batches for image in images}

    assert falls(task(tmp_path, mirror=False)) == {False}
    assert falls(task(tmp_path)) == {False, True}


def test_without_training_data_there_is_no_step_and_no_calibration(tmp_path):
    for name in "ab":
        pictures(tmp_path / "test" / name, 2)
    found = task(tmp_path)
    assert found.steps_per_epoch == 0 and found.calibration(10) == []


def test_found_by_name(folder):
    found = find_task(f"image_folder:{folder}", net(), pixels="-1..1")
    assert isinstance(found, ClassificationTask) and found.size == (4, 4) and not found.from_logits
    assert find_task(f"image_folder:{folder}", net(activation=None), pixels="-1..1").from_logits
    # More than there are pictures is all of them.
    assert found.batch_size == 20


def test_found_in_a_module_of_the_user_s(folder, tmp_path, monkeypatch):
    (tmp_path / "my_task.py").write_text(
        "from tta_lite.tasks.find import find_task\n"
        f"def make(model): return find_task('image_folder:{folder}', model, pixels='0..1', batch_size=2)\n"
        "def nothing(model): return 3\n"
        "def broken(model): return 1 / 0\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert find_task("my_task:make", net()).batch_size == 2
    with pytest.raises(InputError, match="int without steps_per_epoch, train_data"):
        find_task("my_task:nothing", net())
    with pytest.raises(InputError, match="ZeroDivisionError"):
        find_task("my_task:broken", net())
    with pytest.raises(InputError, match=r"must have a function missing\(model\)"):
        find_task("my_task:missing", net())
    with pytest.raises(InputError, match="No module named 'no_such_task'"):
        find_task("no_such_task:make", net())


@pytest.mark.parametrize(
    ("spec", "model", "pixels", "words"),
    [
        ("image_folder:{}", lambda: net(3), "0..1", r"\[B, 2\]. Received: \[None, 3\]"),
        ("image_folder:{}", net, None, "0..255, 0..1, -1..1, imagenet"),
        ("image_folder:{}", lambda: net(size=None), "0..1", "a fixed size"),
        ("image_folder:", net, "0..1", "A task is one of"),
        ("pose:lspet:{}", net, "imagenet", "images|joints|folder"),
        ("pose:nobody:{}", net, "imagenet", "lsp, lspet, mpii, coco"),
        ("flowers", net, None, "A task is one of"),
    ],
)
def test_tasks_that_cannot_be(folder, spec, model, pixels, words):
    with pytest.raises(InputError, match=words):
        find_task(spec.format(folder), model(), pixels=pixels)
