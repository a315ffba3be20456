from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tta_lite.datasets.lsp import read_lsp, read_lspet
from tta_lite.types import InputError

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
COUNT = 4


def coordinates(count=COUNT):
    """[N, 14, 2]: joint j of item n at (10 + j, 20 + 2 j + n)."""
    j = np.arange(14)
    return np.stack([np.stack([10.0 + j, 20.0 + 2 * j + n], axis=1) for n in range(count)])


def write(folder, array, digits=4, count=COUNT, ending="jpg", size=(64, 80)):
    folder.mkdir(exist_ok=True)
    (folder / "images").mkdir(exist_ok=True)
    scipy.io.savemat(folder / "joints.mat", {"joints": array})
    for n in range(count):
        # The first number of a pixel tells the pictures apart.
        Image.new("RGB", size, (40 * n, 0, 0)).save(folder / "images" / f"im{n + 1:0{digits}d}.{ending}", quality=100)
    return folder


def lsp_array(count=COUNT):
    array = np.zeros((3, 14, count))
    array[:2] = coordinates(count).transpose(2, 1, 0)
    array[2, 5, :] = 1  # Hidden, and annotated all the same.
    return array


def lspet_array(count=COUNT):
    array = np.ones((14, 3, count))
    array[:, :2] = coordinates(count).transpose(1, 2, 0)
    array[5, :, 1:2] = 0
    return array


@pytest.fixture
def lsp(tmp_path):
    return write(tmp_path / "lsp", lsp_array())


@pytest.fixture
def lspet(tmp_path):
    return write(tmp_path / "lspet", lspet_array(), digits=5)


def write_index(folder, text):
    (folder / "index.csv").write_text(text)
    return folder


def test_lsp_by_hand(lsp):
    poses = read_lsp(lsp, "test")
    assert poses.name == "lsp test"
    assert poses.joint_set.name == "lsp"
    assert len(poses) == 2
    # Item 3: ankle at (10, 22), head top at (10 + 13, 22 + 26).
    np.testing.assert_array_equal(poses.joints, coordinates()[2:])
    assert poses.annotated.all()
    assert poses.center[0].tolist() == [16.5, 35]
    assert poses.box[0] == 39  # 1.5 x 26.
    assert poses.head_size[0] == pytest.approx(math.sqrt(5))  # One to the right and two down.
    assert poses.items[0] == f"{lsp / 'joints.mat'} item 3 (im0003.jpg)"
    assert abs(int(poses.load(0)[0, 0, 0]) - 80) < 3
    assert poses.load(0).shape == (80, 64, 3)


def test_lsp_halves(lsp):
    train, test = read_lsp(lsp, "train"), read_lsp(lsp, "test")
    assert [item.split()[-2] for item in train.items + test.items] == ["1", "2", "3", "4"]


def test_lspet_by_hand(lspet):
    poses = read_lspet(lspet)
    assert poses.name == "lspet train"
    assert len(poses) == COUNT
    expected = np.ones((COUNT, 14), bool)
    expected[1, 5] = False
    np.testing.assert_array_equal(poses.annotated, expected)
    np.testing.assert_array_equal(poses.joints, coordinates() * expected[..., None])
    assert poses.items[1].endswith("item 2 (im00002.jpg)")


def test_the_box_is_around_the_annotated_joints_only(tmp_path):
    array = lspet_array(1)
    array[7:, :, 0] = 0, 0, 0
    poses = read_lspet(write(tmp_path / "a", array, digits=5, count=1))
    # Joints 0 .. 6: x 10 .. 16, y 20 .. 32.
    assert poses.center[0].tolist() == [13, 26]
    assert poses.box[0] == 18
    assert np.isnan(poses.head_size[0])


@pytest.mark.parametrize("joint", [12, 13])
def test_head_size_needs_neck_and_head_top(tmp_path, joint):
    array = lspet_array(2)
    array[joint, :, 0] = 0
    array[13, :2, 1] = array[12, :2, 1]  # Both on one spot.
    poses = read_lspet(write(tmp_path / "a", array, digits=5, count=2))
    assert np.isnan(poses.head_size).all()


@pytest.mark.parametrize(("read", "array"), [(read_lsp, lspet_array), (read_lspet, lsp_array)])
def test_the_order_of_the_array_tells_what_the_flag_means(tmp_path, read, array):
    poses = read(write(tmp_path / "a", array(), digits=5), "train")
    assert poses.annotated.all() == (array is lsp_array)


def test_one_item_without_a_third_dimension(tmp_path):
    poses = read_lspet(write(tmp_path / "a", lspet_array(1)[:, :, 0], digits=5, count=1))
    np.testing.assert_array_equal(poses.joints, coordinates(1))


def test_png_pictures_and_integers(tmp_path):
    poses = read_lspet(write(tmp_path / "a", lspet_array().astype(np.int32), digits=5, ending="png"))
    assert poses.load(2)[0, 0].tolist() == [80, 0, 0]
    assert poses.items[2].endswith("(im00003.png)")


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((16, 3, 4)), r"shape \(16, 3, 4\)"),
        (np.zeros((4, 14, 3)), r"shape \(4, 14, 3\)"),
        (np.zeros((14, 2, 4)), r"shape \(14, 2, 4\)"),
        (np.zeros((14, 3, 2, 2)), r"shape \(14, 3, 2, 2\)"),
        (np.array([["text"]]), r"shape \(1, 1\) of <U4"),
        ({"field": 1}, r"shape \(1, 1\) of object"),
    ],
)
def test_another_shape(tmp_path, array, received):
    folder = write(tmp_path / "a", array)
    with pytest.raises(InputError, match=rf"joints\.mat must hold numbers, 14 x 3 x N .*Received: {received}"):
        read_lsp(folder)


def test_an_empty_array(tmp_path):
    with pytest.raises(InputError, match=r"joints\.mat holds no person for lspet train.*Received: an empty list"):
        read_lspet(write(tmp_path / "a", np.zeros((14, 3, 0)), count=0))


def test_a_flag_that_is_no_flag(tmp_path):
    array = lspet_array()
    array[13, 2, 2] = 2
    folder = write(tmp_path / "a", array, digits=5)
    with pytest.raises(
        InputError, match=r"joints\.mat item 3: the flag of joint head_top must be 0 or 1\. Received: 2"
    ):
        read_lspet(folder)


def spoil(folder, kind):
    image = folder / "images" / "im0002.jpg"
    if kind == "missing":
        image.unlink()
        return "im0002.jpg is missing"
    if kind == "truncated":
        image.write_bytes(image.read_bytes()[:400])
        return "Received: 400 bytes"
    array = lsp_array()
    array[0, 4, 1] = {"nan": np.nan, "outside": 500}[kind]
    scipy.io.savemat(folder / "joints.mat", {"joints": array})
    return {
        "nan": "joint l_knee needs finite numbers. Received: (nan, 29)",
        "outside": "Expected: inside 64 x 80 pixels. Received: (500, 29)",
    }[kind]


@pytest.mark.parametrize("kind", ["missing", "truncated", "nan", "outside"])
def test_bad_examples_in_both_modes(lsp, kind):
    text = spoil(lsp, kind)
    with pytest.raises(InputError) as error:
        read_lsp(lsp)
    message = str(error.value)
    assert "lsp train: 1 of 2 examples" in message
    assert f"{lsp / 'joints.mat'} item 2 (im0002.jpg): " in message
    assert text in message
    poses = read_lsp(lsp, on_bad_example="skip")
    assert len(poses) == 1
    assert len(poses.skipped) == 1
    assert text in poses.skipped[0]
    # The other half is not touched.
    assert len(read_lsp(lsp, "test")) == 2


def test_missing_parts_of_the_folder(tmp_path, lsp):
    with pytest.raises(InputError, match=r"nowhere/joints\.mat is missing"):
        read_lsp(tmp_path / "nowhere")
    (lsp / "images").rename(lsp / "pictures")
    with pytest.raises(InputError, match=r"The folder .*lsp/images is missing.*Received: no folder"):
        read_lsp(lsp)


def test_two_pictures_of_one_number(lsp):
    Image.new("RGB", (8, 8)).save(lsp / "images" / "im00002.png")
    with pytest.raises(InputError, match=r"one picture a number\. Received: im00002\.png and im0002\.jpg"):
        read_lsp(lsp)


def test_lspet_has_no_test_split_of_its_own(lspet):
    with pytest.raises(InputError, match=r"no official test split.*index\.csv.*Received: split='test'"):
        read_lspet(lspet, "test")
    with pytest.raises(InputError, match=r"`upright` needs .*index\.csv.*Received: upright=True and no such file"):
        read_lspet(lspet, upright=True)
    with pytest.raises(InputError, match=r"`split` must be one of train, test\. Received: 'val'"):
        read_lspet(lspet, "val")


def test_index(lspet):
    write_index(lspet, "image,lspet_image,upright,split\n4,9,1,train\n1,1,0,train\n2,5,1,test\n3,7,1,train\n")
    numbers = lambda poses: [item.split()[-2] for item in poses.items]  # noqa: E731
    assert numbers(read_lspet(lspet)) == ["1", "3", "4"]
    assert numbers(read_lspet(lspet, "test")) == ["2"]
    upright = read_lspet(lspet, upright=True)
    assert numbers(upright) == ["3", "4"]
    assert upright.name == "lspet train upright"
    assert abs(int(upright.load(1)[0, 0, 0]) - 120) < 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,upright\n1,1\n", r"columns \['image', 'split'\]\. Received: \['image', 'upright'\]"),
        ("", r"columns \['image', 'split'\]\. Received: None"),
        ("image,split\n1,train\n2,train\n3,train\n", "each of the 4 items of joints.mat once. Received: 3 rows, 3"),
        ("image,split\n1,train\n2,train\n3,train\n3,train\n", "Received: 4 rows, 3 different"),
        ("image,split\n1,train\n2,train\n3,train\n4,train\n", r"no row for split 'test'.*Received: splits \['train'\]"),
    ],
)
def test_bad_index(lspet, text, message):
    write_index(lspet, text)
    with pytest.raises(InputError, match=rf"index\.csv.*{message}"):
        read_lspet(lspet, "test")


def test_samples():
    assert len(read_lsp(SAMPLES / "lsp", "train")) == len(read_lsp(SAMPLES / "lsp", "test")) == 2
    poses = read_lspet(SAMPLES / "lspet")
    assert poses.annotated.sum(axis=1).tolist() == [13, 13, 13, 12]
    assert np.isnan(poses.head_size).tolist() == [False, False, False, True]
