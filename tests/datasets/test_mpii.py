from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tta_lite.datasets.mpii import is_held_out, read_mpii
from tta_lite.types import InputError

SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "mpii"
MAT = "mpii_human_pose_v1_u12_1.mat"
EMPTY = np.zeros((0, 0))


def structs(*records):
    """A MATLAB struct array, 1 x N."""
    array = np.empty((1, len(records)), dtype=[(name, object) for name in records[0]])
    for place, record in enumerate(records):
        for name, value in record.items():
            array[0, place][name] = value
    return array


def points(*joints):
    """Points of (id, x, y), counted from 1 as in the file."""
    flags = [EMPTY, "1", "0", 1, 0]
    records = [{"x": x, "y": y, "id": j, "is_visible": flags[i % 5]} for i, (j, x, y) in enumerate(joints)]
    return structs({"point": structs(*records)})


def rect(joints=((0, 31, 41), (9, 21, 11)), objpos=(26, 31), scale=0.25, head=(11, 6, 31, 21)):
    return {
        "x1": head[0], "y1": head[1], "x2": head[2], "y2": head[3],
        "annopoints": points(*joints) if len(joints) else EMPTY,
        "scale": scale,
        "objpos": structs({"x": objpos[0], "y": objpos[1]}) if len(objpos) else EMPTY,
    }  # fmt: skip


def picture(name, *rects):
    return {"image": structs({"name": name}), "annorect": structs(*rects) if rects else EMPTY}


def write(folder, *pictures, is_train=None, held_out="held.png\n"):
    (folder / "images").mkdir(parents=True, exist_ok=True)
    flags = np.array([is_train or [1] * len(pictures)], np.uint8)
    scipy.io.savemat(folder / MAT, {"RELEASE": {"annolist": structs(*pictures), "img_train": flags}})
    for entry in pictures:
        Image.new("RGB", (64, 80), (10, 20, 30)).save(folder / "images" / entry["image"][0, 0]["name"])
    if held_out is not None:
        (folder / "valid_images.txt").write_text(held_out)
    return folder


def test_the_formulas_by_hand(tmp_path):
    poses = read_mpii(write(tmp_path, picture("a.png", rect())))
    assert poses.name == "mpii train"
    assert len(poses) == 1
    # Counted from 0: one less than in the file.
    assert poses.joints[0, 0].tolist() == [30, 40]
    assert poses.joints[0, 9].tolist() == [20, 10]
    assert np.flatnonzero(poses.annotated[0]).tolist() == [0, 9]
    # objpos (26, 31), 15 x 0.25 = 3.75 down, counted from 0.
    assert poses.center[0].tolist() == [25, 33.75]
    # 200 x 0.25 x 1.25.
    assert poses.box[0] == 62.5
    # A head box of 20 x 15 has a diagonal of 25; 0.6 of it.
    assert poses.head_size[0] == pytest.approx(15)
    assert poses.items == (f"{tmp_path / MAT} annolist(1).annorect(1) (a.png)",)
    assert poses.load(0)[0, 0].tolist() == [10, 20, 30]


def test_hidden_joints_and_every_kind_of_flag_are_annotated(tmp_path):
    joints = [(j, 10 + j, 20 + j) for j in range(16)]
    poses = read_mpii(write(tmp_path, picture("a.png", rect(joints))))
    assert poses.annotated.all()
    np.testing.assert_array_equal(poses.joints[0], np.stack([9.0 + np.arange(16), 19.0 + np.arange(16)], axis=1))


def test_people_and_pictures_that_are_no_examples(tmp_path):
    bare = rect(joints=())
    folder = write(
        tmp_path,
        picture("a.png", bare, rect(scale=0.3)),
        picture("test.png", rect()),
        picture("none.png"),
        picture("b.png", rect(objpos=()), rect(scale=EMPTY), rect()),
        is_train=[1, 0, 1, 1],
    )
    poses = read_mpii(folder)
    assert [item.split("annolist")[1] for item in poses.items] == [
        "(1).annorect(2) (a.png)",
        "(4).annorect(3) (b.png)",
    ]
    assert poses.box.tolist() == [75, 62.5]
    assert poses.skipped == ()


def test_people_without_a_crop_are_counted(tmp_path, caplog):
    read_mpii(write(tmp_path, picture("a.png", rect(), rect(objpos=()))))
    assert "1 people have no scale or no objpos" in caplog.text


def test_a_person_without_a_head_box_is_not_scored(tmp_path):
    poses = read_mpii(write(tmp_path, picture("a.png", rect(head=(EMPTY, EMPTY, EMPTY, EMPTY)))))
    assert np.isnan(poses.head_size[0])


def names(poses):
    return [item.rsplit("(", 1)[1].rstrip(")") for item in poses.items]


def test_split_by_a_list_of_pictures(tmp_path):
    pictures = [picture(f"{n}.png", rect(), rect(scale=0.3)) for n in "abc"]
    folder = write(tmp_path, *pictures, held_out="b.png\n")
    assert names(read_mpii(folder, "train")) == ["a.png", "a.png", "c.png", "c.png"]
    assert names(read_mpii(folder, "valid")) == ["b.png", "b.png"]


def test_split_of_the_reference(tmp_path, caplog):
    folder = write(
        tmp_path,
        picture("a.png", rect(objpos=(20, 30)), rect(objpos=(40, 30), scale=0.3)),
        picture("b.png", rect(objpos=(22, 33))),
        held_out="b.png\n",
    )
    (folder / "annot").mkdir()
    listed = [{"image": "a.png", "center": [40.0, 30.0], "scale": 0.3}]
    (folder / "annot" / "valid.json").write_text(json.dumps(listed))
    valid = read_mpii(folder, "valid")
    assert valid.box.tolist() == [75]
    # The other one on a.png is in neither split.
    assert names(read_mpii(folder, "train")) == ["b.png"]
    assert "lists" not in caplog.text

    listed.append({"image": "b.png", "center": [1.0, 1.0]})
    (folder / "annot" / "valid.json").write_text(json.dumps(listed))
    assert len(read_mpii(folder, "valid")) == 1
    assert "valid.json lists 2 people" in caplog.text

    (folder / "annot" / "valid.json").write_text('[{"image": "a.png"}]')
    with pytest.raises(InputError, match=r"valid\.json must be a JSON list of people.*Received: KeyError: 'center'"):
        read_mpii(folder, "valid")


def test_split_by_hash(tmp_path, caplog):
    digits = [int(hashlib.sha256(f"{n}.png".encode()).hexdigest()[:8], 16) % 100 for n in range(80)]
    held_out = [f"{n}.png" for n in range(80) if digits[n] < 12]
    assert held_out  # Or the test says nothing.
    folder = write(tmp_path, *(picture(f"{n}.png", rect()) for n in range(80)), held_out=None)
    valid, train = read_mpii(folder, "valid"), read_mpii(folder, "train")
    assert names(valid) == held_out
    assert len(train) == 80 - len(held_out)
    assert not set(names(train)) & set(held_out)
    assert "the split is by a hash" in caplog.text


def test_the_hash_holds_out_about_12_of_100():
    assert 1000 < sum(is_held_out(f"{n:09d}.jpg") for n in range(10_000)) < 1400


BAD = {
    "missing": "bad.png is missing",
    "truncated": "bad.png is truncated",
    "id": "the id of a point must be 0 to 15. Received: 16",
    "no id": "the id of a point must be 0 to 15. Received: nan",
    "nan": "joint r_ankle needs finite numbers. Received: (nan, 40)",
    "outside": "joint r_ankle lies outside its picture bad.png. Expected: inside 64 x 80 pixels. Received: (299, 40)",
    "scale": "it needs a scale and an objpos (x, y). Received: scale nan and objpos [26.0, 31.0]",
    "objpos": "it needs a scale and an objpos (x, y). Received: scale 0.25 and objpos [26.0, nan]",
    "zero scale": "its crop needs a middle and a side above 0. Received: (25, 30) and 0",
    "head box": "its head size must be above 0 pixels. Received: 0",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_examples_in_both_modes(tmp_path, kind):
    bad = {
        "id": rect([(16, 1, 1)]),
        "no id": rect([(EMPTY, 1, 1)]),
        "nan": rect([(0, np.nan, 41)]),
        "outside": rect([(0, 300, 41)]),
        "scale": rect(scale=np.nan),
        "objpos": rect(objpos=(26, np.nan)),
        "zero scale": rect(scale=0.0),
        "head box": rect(head=(5, 5, 5, 5)),
    }.get(kind, rect())
    folder = write(tmp_path, picture("a.png", rect()), picture("bad.png", bad))
    image = folder / "images" / "bad.png"
    if kind == "missing":
        image.unlink()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (80, 64, 3), np.uint8)
        Image.fromarray(noise).save(image)
        image.write_bytes(image.read_bytes()[:2000])
    with pytest.raises(InputError) as error:
        read_mpii(folder)
    message = str(error.value)
    assert "mpii train: 1 of 2 examples" in message
    assert f"{folder / MAT} annolist(2).annorect(1) (bad.png): " in message
    assert BAD[kind] in message
    poses = read_mpii(folder, on_bad_example="skip")
    assert names(poses) == ["a.png"]
    assert len(poses.skipped) == 1
    assert BAD[kind] in poses.skipped[0]


def test_nobody(tmp_path):
    folder = write(tmp_path, picture("a.png", rect(joints=())), picture("b.png", rect(objpos=())))
    with pytest.raises(
        InputError, match=r"no person for train.*Received: 2 pictures, 1 .*without joints, 1 without sc"
    ):
        read_mpii(folder)


@pytest.mark.parametrize(
    ("release", "message"),
    [
        (np.zeros((14, 3, 5)), r"`RELEASE` of .*must be a struct.*Received: shape \(14, 3, 5\)"),
        ({"annolist": 1}, r"must be a struct with annolist and img_train\. Received: \['annolist'\]"),
        ({"annolist": EMPTY, "img_train": EMPTY}, "Received: 0 pictures and img_train of shape"),
        ({"annolist": structs(picture("a.png")), "img_train": [1, 0]}, r"Received: 1 pictures and .* shape \(1, 2\)"),
        ({"annolist": structs(picture("a.png")), "img_train": "y"}, "Received: 1 pictures"),
    ],
)
def test_a_file_of_another_shape(tmp_path, release, message):
    scipy.io.savemat(tmp_path / MAT, {"RELEASE": release})
    with pytest.raises(InputError, match=message):
        read_mpii(tmp_path)


def test_other_file_and_other_split(tmp_path):
    scipy.io.savemat(tmp_path / MAT, {"joints": 1})
    with pytest.raises(InputError, match=r"must hold a variable `RELEASE`\. Received: \['joints'\]"):
        read_mpii(tmp_path)
    with pytest.raises(InputError, match=r"`split` must be one of train, valid\. Received: 'test'"):
        read_mpii(tmp_path, "test")


def test_samples():
    train, valid = read_mpii(SAMPLES, "train"), read_mpii(SAMPLES, "valid")
    assert names(train) == ["000000001.jpg", "000000002.jpg", "000000002.jpg"]
    assert names(valid) == ["000000003.jpg"]
    assert train.annotated.sum() == 45
    # Drawn with a head box 10 wide and 15 high.
    assert train.head_size[0] == pytest.approx(0.6 * math.hypot(10, 15), abs=0.01)
    # The stick figures are darker than the ground, and every bone ends in a joint.
    for person in range(3):
        x, y = train.joints[person, 6].astype(int)
        assert train.load(person)[y, x].mean() < train.load(person)[0, 0].mean() - 30
