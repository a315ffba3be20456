from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.image_folder import read_image_folder
from tta_lite.types import InputError


def pictures(folder: Path, count: int, start: int = 0) -> None:
    folder.mkdir(parents=True)
    for number in range(start, start + count):
        Image.fromarray(np.full((6, 8, 3), number, np.uint8)).save(folder / f"{number}.png")


def test_two_parts(tmp_path):
    pictures(tmp_path / "train" / "rose", 3)
    pictures(tmp_path / "train" / "aster", 2, start=10)
    pictures(tmp_path / "val" / "rose", 1, start=20)
    train, test = read_image_folder(tmp_path)
    assert train.classes == test.classes == ("aster", "rose")
    assert train.labels.tolist() == [0, 0, 1, 1, 1] and test.labels.tolist() == [1]
    assert train.load(0)[0, 0].tolist() == [10, 10, 10] and test.load(0)[0, 0].tolist() == [20, 20, 20]


def test_a_test_part_alone_trains_nothing(tmp_path):
    for name in "ab":
        pictures(tmp_path / "test" / name, 2)
    train, test = read_image_folder(tmp_path)
    assert (len(train), len(test)) == (0, 4)


def test_one_part_is_split_by_name_and_stays_so(tmp_path):
    for name in "ab":
        pictures(tmp_path / name, 100)
    train, test = read_image_folder(tmp_path)
    assert len(train) + len(test) == 200 and 20 < len(test) < 65
    assert not set(train.files) & set(test.files)
    pictures(tmp_path / "c", 5)
    again = read_image_folder(tmp_path)[1]
    assert set(test.files) <= set(again.files)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "two folders or more"),
        (lambda folder: pictures(folder / "train" / "a", 1), "a part to score"),
        (lambda folder: [(folder / "test" / name).mkdir(parents=True) for name in "ab"], "must hold pictures"),
        (
            lambda folder: [pictures(folder / part, 1) for part in ("train/a", "train/b", "test/a", "test/c")],
            "every class must be in .* Received: c",
        ),
        (lambda folder: [pictures(folder / name, 1) for name in "ab"], "ten or more"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, words):
    make(tmp_path)
    with pytest.raises(InputError, match=words):
        read_image_folder(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="must exist"):
        read_image_folder(tmp_path / "nothing")
