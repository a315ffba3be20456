from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from tta_lite.datasets.checks import Person, build_pose_set, load_mat, square_around
from tta_lite.datasets.pose_set import LSP14
from tta_lite.types import InputError

SOURCE = Path("joints.mat")
WIDTH, HEIGHT = 100, 60


@pytest.fixture
def person(tmp_path):
    """Someone with every joint at (50, 30) on a picture of 100 x 60 pixels."""
    Image.new("RGB", (WIDTH, HEIGHT), (9, 8, 7)).save(tmp_path / "good.png")
    joints = np.full((14, 2), (50.0, 30.0))
    annotated = np.ones(14, bool)
    return Person("item 1", tmp_path / "good.png", joints, annotated, np.array([50.0, 30.0]), 90.0, 12.0)


def moved(person, joint, x, y, item="item 2"):
    joints = person.joints.copy()
    joints[LSP14.names.index(joint)] = x, y
    return dataclasses.replace(person, item=item, joints=joints)


def build(people, **options):
    return build_pose_set("a set", LSP14, people, source=SOURCE, **{"on_bad_example": "error", **options})


def refused(people, **options):
    with pytest.raises(InputError) as error:
        build(people, **options)
    return str(error.value)


def test_good_people_become_a_pose_set(person):
    annotated = np.ones(14, bool)
    annotated[3] = False
    second = dataclasses.replace(
        moved(person, "l_hip", np.nan, np.nan), annotated=annotated, head_size=float("nan"), center=np.array([1.0, 2.0])
    )
    poses = build([person, second])
    assert len(poses) == 2
    assert poses.items == ("item 1", "item 2")
    assert poses.skipped == ()
    assert poses.joints.dtype == poses.box.dtype == poses.center.dtype == poses.head_size.dtype == np.float32
    assert poses.joints[1, 3].tolist() == [0, 0]
    assert poses.joints[0, 3].tolist() == [50, 30]
    assert not poses.annotated[1, 3]
    assert poses.annotated.sum() == 27
    assert poses.center.tolist() == [[50, 30], [1, 2]]
    assert np.isnan(poses.head_size[1])
    assert poses.load(1).shape == (HEIGHT, WIDTH, 3)
    assert poses.load(1)[0, 0].tolist() == [9, 8, 7]


def damaged(person, kind):
    """-> the person made bad, and what the message must hold."""
    image = person.image.with_name(f"{kind}.jpg")
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    Image.fromarray(pixels).save(image)
    content = image.read_bytes()
    if kind == "missing":
        image.unlink()
        expected = [str(image), "is missing", "Expected: a file", "Received: nothing"]
    elif kind == "truncated":
        image.write_bytes(content[: len(content) // 2])
        expected = [str(image), "truncated", "decodes to its end", f"Received: {len(content) // 2} bytes"]
    elif kind == "text":
        image.write_text("hello")
        expected = [str(image), "is not a picture", "Received: 5 bytes"]
    elif kind == "nan":
        return moved(person, "r_knee", 3, np.nan), ["joint r_knee needs finite numbers", "Received: (3, nan)"]
    elif kind == "infinite":
        return moved(person, "neck", np.inf, 3), ["joint neck needs finite numbers", "Received: (inf, 3)"]
    elif kind == "outside":
        return moved(person, "l_wrist", 300, 20), [
            "joint l_wrist lies outside", "good.png", "inside 100 x 60 pixels", "Received: (300, 20)"
        ]  # fmt: skip
    elif kind == "negative":
        return moved(person, "l_wrist", 20, -40), ["joint l_wrist lies outside", "Received: (20, -40)"]
    elif kind == "no joints":
        person = dataclasses.replace(person, annotated=np.zeros(14, bool))
        return dataclasses.replace(person, item="item 2"), ["one annotated joint or more", "Received: 0"]
    elif kind == "no box":
        return dataclasses.replace(person, item="item 2", box=0.0), ["a side above 0", "Received: (50, 30) and 0"]
    elif kind == "head size":
        return dataclasses.replace(person, item="item 2", head_size=0.0), ["its head size must be above 0"]
    elif kind == "shape":
        return dataclasses.replace(person, item="item 2", joints=np.zeros((16, 2))), ["14 joints", "(16, 2)"]
    return dataclasses.replace(person, item="item 2", image=image), expected


KINDS = [
    "missing", "truncated", "text", "nan", "infinite", "outside", "negative", "no joints", "no box", "head size",
    "shape",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bad_example_is_an_error(person, kind):
    bad, expected = damaged(person, kind)
    message = refused([person, bad])
    for text in ["a set: 1 of 2 examples of joints.mat are bad", "item 2: ", *expected, "on_bad_example='skip'"]:
        assert text in message
    assert "item 1" not in message
    assert message.endswith("Received: 1 bad examples")


@pytest.mark.parametrize("kind", KINDS)
def test_bad_example_is_skipped_and_counted(person, kind, caplog):
    bad, expected = damaged(person, kind)
    poses = build([bad, person], on_bad_example="skip")
    assert poses.items == ("item 1",)
    assert poses.load(0).shape == (HEIGHT, WIDTH, 3)
    (text,) = poses.skipped
    assert text.startswith("item 2: ")
    assert all(part in text for part in expected)


def test_a_skip_is_logged(person, caplog):
    build([person, moved(person, "neck", np.nan, 0)], on_bad_example="skip")
    assert "1 bad examples are left out, the first: item 2: joint neck" in caplog.text


def test_several_bad_examples_are_counted_and_the_first_three_shown(person):
    people = [person, *(moved(person, "neck", np.nan, 0, f"item {i}") for i in range(2, 7))]
    message = refused(people)
    assert "5 of 6 examples" in message
    assert all(f"item {i}: " in message for i in (2, 3, 4))
    assert not any(f"item {i}: " in message for i in (5, 6))
    assert "... and 2 more" in message


def test_faults_of_the_reader_are_counted_too(person):
    message = refused([person], faults={"item 9": "no scale. Received: nothing"})
    assert "1 of 2 examples" in message
    assert "item 9: no scale. Received: nothing" in message
    poses = build([person], faults={"item 9": "no scale"}, on_bad_example="skip")
    assert poses.skipped == ("item 9: no scale",)


def test_nobody_and_nobody_good(person):
    assert refused([]) == ("joints.mat holds no person for a set. Expected: one or more. Received: an empty list")
    message = refused([moved(person, "neck", np.nan, 0)], on_bad_example="skip")
    assert "item 2: joint neck" in message
    assert "Expected: one good example or more. Received: 1 bad examples" in message


def test_on_bad_example_takes_two_words(person):
    assert refused([person], on_bad_example="ignore") == (
        "Argument `on_bad_example` must be one of error, skip. Received: 'ignore'"
    )


# The picture covers -0.5 .. 99.5 and -0.5 .. 59.5; a tenth of its longer side is 10 pixels.
@pytest.mark.parametrize(
    ("x", "y", "kept", "good"),
    [
        (-0.5, 30, True, True), (-1.4, 30, True, True), (-1.6, 30, False, True), (-10.4, 30, False, True),
        (-10.6, 30, False, False), (100.4, 30, True, True), (100.6, 30, False, True), (109.4, 30, False, True),
        (109.6, 30, False, False), (50, 60.4, True, True), (50, 60.6, False, True), (50, 69.6, False, False),
    ],
)  # fmt: skip
def test_joints_at_the_edge(person, x, y, kept, good, caplog):
    poses = build([person, moved(person, "r_ankle", x, y)], on_bad_example="skip")
    assert len(poses.skipped) == (not good)
    if good:
        assert poses.annotated[1, 0] == kept
        assert poses.joints[1, 0].tolist() == pytest.approx([x, y] if kept else [0, 0])
        assert poses.annotated[:, 1:].all()
    said = "1 joints just outside their picture are taken as not annotated, the first of item 2" in caplog.text
    assert said == (good and not kept)


def test_joints_outside_that_are_not_annotated_do_not_matter(person):
    annotated = np.ones(14, bool)
    annotated[0] = False
    poses = build([dataclasses.replace(moved(person, "r_ankle", 9999, -9999), annotated=annotated)])
    assert poses.joints[0, 0].tolist() == [0, 0]


def test_someone_whose_joints_all_lie_just_outside_is_bad(person):
    nobody = dataclasses.replace(person, joints=np.full((14, 2), (103.0, 30.0)))
    message = refused([nobody])
    assert "all its joints lie outside its picture of 100 x 60 pixels. Received: (103, 30)" in message


def test_people_share_a_picture(person, tmp_path):
    Image.new("RGB", (100, 60), (1, 2, 3)).save(tmp_path / "other.png")
    other = dataclasses.replace(person, image=tmp_path / "other.png")
    poses = build([person, other, person])
    assert [poses.load(i)[0, 0].tolist() for i in range(3)] == [[9, 8, 7], [1, 2, 3], [9, 8, 7]]
    assert poses.load(0) is poses.load(2)


def test_square_around_by_hand():
    center, side = square_around(np.array([[10.0, 5.0], [30.0, 45.0], [20.0, 15.0]]))
    assert center.tolist() == [20, 25]
    assert side == 60  # 1.5 x 40.


def test_load_mat(tmp_path):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"joints": np.arange(3.0), "other": 1})
    assert load_mat(path, "joints").ravel().tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"a\.mat must hold a variable `RELEASE`\. Received: \['joints', 'other'\]"):
        load_mat(path, "RELEASE")
    with pytest.raises(InputError, match=r"none\.mat is missing\. Expected: a \.mat file\. Received: no file"):
        load_mat(tmp_path / "none.mat", "joints")
    for content in (b"", b"text", path.read_bytes()[:150]):
        (tmp_path / "bad.mat").write_bytes(content)
        with pytest.raises(InputError, match=rf"bad\.mat cannot be read.*Received: {len(content)} bytes"):
            load_mat(tmp_path / "bad.mat", "joints")
