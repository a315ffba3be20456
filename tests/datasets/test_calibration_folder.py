from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.calibration_folder import read_calibration
from tta_lite.types import InputError

SHAPE = (6, 8, 3)


def normalise(pixels):
    return pixels.astype(np.float32) / 127.5 - 1


@pytest.fixture
def folder(tmp_path):
    """Ten pictures of one colour each, which is ten times their number; half of them lie deeper."""
    for number in range(10):
        place = tmp_path / ("a" if number % 2 else "b/c")
        place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 15), (10 * number, 10 * number, 250)).save(place / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_pictures_of_all_folders_are_scaled_normalised_and_drawn(folder):
    images = read_calibration(folder, SHAPE, normalise, count=99)
    assert {image.shape for image in images} == {(1, *SHAPE)} and {image.dtype for image in images} == {np.dtype("f4")}
    reds = [float(image[0, 0, 0, 0] + 1) * 12.75 for image in images]
    assert sorted(np.rint(reds)) == list(range(10)) and reds != sorted(reds)
    few = read_calibration(folder, SHAPE, normalise, count=3, seed=1)
    again = read_calibration(folder, SHAPE, normalise, count=3, seed=1)
    assert len(few) == 3 and all(np.array_equal(a, b) for a, b in zip(few, again, strict=True))


def test_grey_networks_get_grey_pictures(folder):
    image = read_calibration(folder, (6, 8, 1), lambda pixels: pixels.astype(np.float32), count=1)[0]
    # ITU-R 601-2, as Pillow's "L": 0.299 R + 0.587 G + 0.114 B.
    possible = [np.rint(0.886 * 10 * number + 0.114 * 250) for number in range(10)]
    assert image.shape == (1, 6, 8, 1) and np.abs(np.array(possible) - image[0, 0, 0, 0]).min() <= 1


def test_an_array_of_pixels_is_normalised_and_one_of_floats_is_not(tmp_path):
    pixels = np.arange(5 * 144, dtype=np.uint8).reshape(5, *SHAPE)
    np.save(tmp_path / "pixels.npy", pixels)
    np.save(tmp_path / "floats.npy", normalise(pixels))
    one, other = (
        read_calibration(tmp_path / f"{name}.npy", SHAPE, normalise, count=4) for name in ("pixels", "floats")
    )
    assert np.array_equal(one, other) and len(one) == 4
    assert {image.tobytes() for image in one} <= {normalise(image).tobytes() for image in pixels}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda place: place / "none", "nothing there"),
        (lambda place: place / "notes.txt", "a file of another kind"),
        (lambda place: saved(place, np.zeros((2, 8, 6, 3), np.float32)), r"\[2, 8, 6, 3\] float32"),
        (lambda place: saved(place, np.zeros((0, *SHAPE), np.float32)), r"\[0, 6, 8, 3\] float32"),
        (lambda place: saved(place, np.zeros((2, *SHAPE), np.int64)), "int64"),
        (lambda place: saved(place, np.array([{}])), "must hold|A .npy file of numbers"),
    ],
)
def test_what_holds_no_such_images_is_refused(folder, make, said):
    with pytest.raises(InputError, match=f"Received: .*{said}|{said}"):
        read_calibration(make(folder), SHAPE, normalise)


def saved(place, array):
    np.save(place / "images.npy", array)
    return place / "images.npy"


def test_torn_pictures_and_missing_figures_are_refused(folder):
    with pytest.raises(InputError, match="no normalisation"):
        read_calibration(folder, SHAPE)
    np.save(folder / "pixels.npy", np.zeros((2, *SHAPE), np.uint8))
    with pytest.raises(InputError, match="uint8, which looks like pixels"):
        read_calibration(folder / "pixels.npy", SHAPE)
    with pytest.raises(InputError, match=r"1 or 3 channels.*Received: 4"):
        read_calibration(folder, (6, 8, 4), normalise)
    with pytest.raises(InputError, match="keep the shape"):
        read_calibration(folder, SHAPE, lambda pixels: pixels[:3])
    with pytest.raises(InputError, match="`count`"):
        read_calibration(folder, SHAPE, normalise, count=0)
    whole = (folder / "a/1.png").read_bytes()
    (folder / "a/1.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"1\.png is"):
        read_calibration(folder, SHAPE, normalise)
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="Received: none"):
        read_calibration(empty, SHAPE, normalise)
