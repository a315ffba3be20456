from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tta_lite.datasets.coco import read_coco
from tta_lite.types import InputError

SAMPLES = Path(__file__).parents[2] / "data" / "samples" / "coco"
NOSE, L_SHOULDER, R_SHOULDER, L_ANKLE = 0, 5, 6, 15


def keypoints(**changes):
    """Nose (30, 10), shoulders (40, 20) and (20, 22), a hidden left ankle (36, 70); nothing else is marked."""
    values = np.zeros((17, 3))
    values[NOSE], values[L_SHOULDER], values[R_SHOULDER] = (30, 10, 2), (40, 20, 2), (20, 22, 2)
    values[L_ANKLE] = 36, 70, 1
    for joint, value in changes.items():
        values[int(joint[1:])] = value
    return [float(v) for v in values.ravel()]


def person(number=1, image_id=7, **changes):
    entry = {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 900.0, "num_keypoints": 4,
        "bbox": [15.0, 5.0, 31.0, 71.0], "keypoints": keypoints(),
    }  # fmt: skip
    return {**entry, **changes}


def write(folder, *people, split="train", images=None):
    images = images or [{"id": 7, "file_name": "7.png", "width": 64, "height": 80}]
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / f"{split}2017").mkdir(exist_ok=True)
    content = {"images": images, "annotations": list(people), "categories": [{"id": 1, "name": "person"}]}
    annotation_file(folder, split).write_text(json.dumps(content))
    for entry in images:
        picture = Image.new("RGB", (entry["width"], entry["height"]), (1, 2, entry["id"]))
        picture.save(folder / f"{split}2017" / entry["file_name"])
    return folder


def annotation_file(folder, split="train"):
    return folder / "annotations" / f"person_keypoints_{split}2017.json"


def test_the_formulas_by_hand(tmp_path):
    poses = read_coco(write(tmp_path, person()))
    assert poses.name == "coco train"
    assert poses.joint_set.name == "coco"
    assert np.flatnonzero(poses.annotated[0]).tolist() == [NOSE, L_SHOULDER, R_SHOULDER, L_ANKLE]
    assert poses.joints[0, L_ANKLE].tolist() == [36, 70]
    # The reference's box: (15, 5) to (15 + 30, 5 + 70).
    assert poses.center[0].tolist() == [30, 40]
    assert poses.box[0] == 87.5  # 1.25 x 70.
    # From (30, 10) to the middle of the shoulders, (30, 21).
    assert poses.head_size[0] == 11
    assert poses.items == (f"{annotation_file(tmp_path)} annotations[0] (id 1) (7.png)",)
    assert poses.load(0)[0, 0].tolist() == [1, 2, 7]


def test_the_box_is_cut_at_the_edge_of_the_picture(tmp_path):
    poses = read_coco(write(tmp_path, person(bbox=[-6.0, 5.0, 100.0, 41.0])))
    # From 0 to 63, the last pixel, and from 5 to 45.
    assert poses.center[0].tolist() == [31.5, 25]
    assert poses.box[0] == 78.75  # 1.25 x 63.


@pytest.mark.parametrize("joint", [NOSE, L_SHOULDER, R_SHOULDER])
def test_head_size_needs_nose_and_shoulders(tmp_path, joint):
    poses = read_coco(write(tmp_path, person(keypoints=keypoints(**{f"j{joint}": (0, 0, 0)}))))
    assert np.isnan(poses.head_size[0])


def test_nose_between_the_shoulders_is_not_scored(tmp_path):
    poses = read_coco(write(tmp_path, person(keypoints=keypoints(j0=(30, 21, 2)))))
    assert np.isnan(poses.head_size[0])


def test_who_is_an_example(tmp_path):
    nothing = person(2, keypoints=[0.0] * 51, num_keypoints=0)
    others = [person(3, iscrowd=1), person(4, area=0.0), person(5, category_id=2), person(6, bbox=[64.0, 5, 9, 9])]
    poses = read_coco(write(tmp_path, person(1), nothing, *others, person(9)))
    assert [item.split("(id ")[1].split(")")[0] for item in poses.items] == ["1", "9"]
    assert poses.skipped == ()


def test_people_and_pictures_are_matched_by_id(tmp_path):
    images = [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 80} for i in (3, 9)]
    poses = read_coco(write(tmp_path, person(1, 9), person(2, 3), person(3, 9), split="val", images=images), "val")
    assert [int(poses.load(i)[0, 0, 2]) for i in range(3)] == [9, 3, 9]


BAD = {
    "missing": "7b.png is missing",
    "truncated": "7b.png is truncated",
    "count": "`keypoints` must hold 51 numbers. Received: [1, 2, 2]",
    "none": "`keypoints` must hold 51 numbers. Received: None",
    "text": "`keypoints` must hold 51 numbers. Received: ",
    "mark": "every third number of `keypoints` must be 0, 1 or 2",
    "nan": "joint nose needs finite numbers. Received: (nan, 10)",
    "outside": "joint nose lies outside its picture 7b.png. Expected: inside 64 x 80 pixels. Received: (400, 10)",
    "image_id": "`image_id` must be one of `images`, with a file_name. Received: 99",
    "bbox": "`bbox` must hold 4 numbers. Received: [1, 2, 3]",
    "nan box": "`bbox` must be finite. Received: [nan, 5.0, 31.0, 71.0]",
    "object": "an annotation must be an object. Received: int",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_examples_in_both_modes(tmp_path, kind):
    bad = {
        "count": person(2, 8, keypoints=[1, 2, 2]),
        "none": person(2, 8, keypoints=None),
        "text": person(2, 8, keypoints=["a"] * 51),
        "mark": person(2, 8, keypoints=keypoints(j0=(1, 1, 3))),
        "nan": person(2, 8, keypoints=keypoints(j0=(float("nan"), 10, 2))),
        "outside": person(2, 8, keypoints=keypoints(j0=(400, 10, 2))),
        "image_id": person(2, 99),
        "bbox": person(2, 8, bbox=[1, 2, 3]),
        "nan box": person(2, 8, bbox=[float("nan"), 5, 31, 71]),
        "object": 5,
    }.get(kind, person(2, 8))
    images = [{"id": i, "file_name": name, "width": 64, "height": 80} for i, name in ((7, "7.png"), (8, "7b.png"))]
    folder = write(tmp_path, person(1), bad, images=images)
    image = folder / "train2017" / "7b.png"
    if kind == "missing":
        image.unlink()
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (80, 64, 3), np.uint8)
        Image.fromarray(noise).save(image)
        image.write_bytes(image.read_bytes()[:3000])
    with pytest.raises(InputError) as error:
        read_coco(folder)
    message = str(error.value)
    assert "coco train: 1 of 2 examples" in message
    assert f"{annotation_file(folder)} annotations[1] (id {None if kind == 'object' else 2})" in message
    assert BAD[kind] in message
    poses = read_coco(folder, on_bad_example="skip")
    assert len(poses) == 1
    assert len(poses.skipped) == 1
    assert BAD[kind] in poses.skipped[0]


def test_nobody(tmp_path):
    for people in ([], [person(iscrowd=1)]):
        with pytest.raises(InputError, match=r"train2017\.json holds no person for coco train.*an empty list"):
            read_coco(write(tmp_path, *people))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', r"is no JSON file\. Expected: COCO keypoints\. Received: 12 bytes"),
        ("[1]", r"must hold the lists `images` and `annotations`\. Received: list"),
        ('{"images": [], "people": []}', r"Received: \['images', 'people'\]"),
        ('{"images": [], "annotations": {}}', r"Received: \['annotations', 'images'\]"),
    ],
)
def test_another_file(tmp_path, text, message):
    annotation_file(write(tmp_path, person())).write_text(text)
    with pytest.raises(InputError, match=rf"person_keypoints_train2017\.json.*{message}"):
        read_coco(tmp_path)


def test_missing_file_and_other_split(tmp_path):
    with pytest.raises(InputError, match=r"person_keypoints_val2017\.json is missing.*Received: no file there"):
        read_coco(tmp_path, "val")
    with pytest.raises(InputError, match=r"`split` must be one of train, val\. Received: 'test'"):
        read_coco(tmp_path, "test")


def test_samples():
    train, val = read_coco(SAMPLES, "train"), read_coco(SAMPLES, "val")
    assert len(train) == len(val) == 3
    assert train.annotated.sum(axis=1).tolist() == [16] * 3
    assert np.isfinite(train.head_size).all()
