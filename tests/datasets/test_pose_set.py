from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.datasets.pose_set import COCO17, JOINT_SETS, LSP14, MPII16, PoseSet
from tta_lite.types import InputError

# The categories of person_keypoints_*.json, as COCO publishes them (from 1).
COCO_KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
COCO_SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11),
    (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
# MPII's README: "joint id (0 - r ankle, 1 - r knee, ...)", and LSP's: "Right ankle, Right knee, ...".
MPII_JOINTS = "r ankle, r knee, r hip, l hip, l knee, l ankle, pelvis, thorax, upper neck, head top, r wrist, r elbow, r shoulder, l shoulder, l elbow, l wrist"  # noqa: E501
LSP_JOINTS = "Right ankle, Right knee, Right hip, Left hip, Left knee, Left ankle, Right wrist, Right elbow, Right shoulder, Left shoulder, Left elbow, Left wrist, Neck, Head top"  # noqa: E501

every_set = pytest.mark.parametrize("joint_set", JOINT_SETS.values(), ids=list(JOINT_SETS))


def mirrored(name):
    return {"l_": "r_", "r_": "l_"}.get(name[:2], name[:2]) + name[2:]


def short(published):
    return tuple(
        name.strip().lower().replace("left ", "l ").replace("right ", "r ").replace(" ", "_")
        for name in published.split(",")
    )


def test_the_orders_are_the_published_ones():
    assert COCO17.names == tuple(name.replace("left_", "l_").replace("right_", "r_") for name in COCO_KEYPOINTS)
    assert MPII16.names == short(MPII_JOINTS)
    assert LSP14.names == short(LSP_JOINTS)
    assert JOINT_SETS == {"mpii": MPII16, "coco": COCO17, "lsp": LSP14}


def test_cocos_bones_are_cocos():
    published = {frozenset((a - 1, b - 1)) for a, b in COCO_SKELETON}
    assert {frozenset(bone) for bone in COCO17.bones} <= published


def test_the_official_pckh_leaves_pelvis_and_thorax_out():
    assert [MPII16.names[joint] for joint in range(16) if joint not in MPII16.scored] == ["pelvis", "thorax"]
    assert COCO17.scored == tuple(range(17))
    assert LSP14.scored == tuple(range(14))


@every_set
def test_pairs_are_left_and_right_of_one_joint(joint_set):
    names = joint_set.names
    assert len(set(names)) == len(names) == len(joint_set)
    expected = {frozenset((name, mirrored(name))) for name in names if name != mirrored(name)}
    assert {frozenset(names[joint] for joint in pair) for pair in joint_set.flip_pairs} == expected
    assert len(joint_set.flip_pairs) == len(expected)
    assert [names[joint] for joint in joint_set.flip_order] == [mirrored(name) for name in names]


@every_set
def test_bones_join_two_joints_and_have_a_mirror_image(joint_set):
    bones = [frozenset(joint_set.names[joint] for joint in bone) for bone in joint_set.bones]
    assert all(0 <= joint < len(joint_set) for bone in joint_set.bones for joint in bone)
    assert all(len(bone) == 2 for bone in bones)
    assert len(set(bones)) == len(bones)
    assert {frozenset(map(mirrored, bone)) for bone in bones} == set(bones)
    assert set().union(*bones) == set(joint_set.names)


def test_selected_joints_take_their_pairs_bones_and_scores_along():
    chosen = MPII16.select(["thorax", "l_elbow", "r_elbow", "r_shoulder", "l_shoulder"])
    assert chosen.name == "mpii"
    assert len(chosen) == 5
    assert {frozenset(pair) for pair in chosen.flip_pairs} == {frozenset((1, 2)), frozenset((3, 4))}
    # r_elbow - r_shoulder - thorax - l_shoulder - l_elbow.
    assert {frozenset(bone) for bone in chosen.bones} == {frozenset(b) for b in ((2, 3), (3, 0), (0, 4), (4, 1))}
    assert chosen.scored == (1, 2, 3, 4)


@every_set
def test_all_joints_selected_in_their_order_are_the_set(joint_set):
    assert joint_set.select(joint_set.names) == joint_set


@given(st.data())
def test_any_whole_selection_mirrors_as_its_names_do(data):
    joint_set = data.draw(st.sampled_from(list(JOINT_SETS.values())))
    groups = sorted({tuple(sorted({name, mirrored(name)})) for name in joint_set.names})
    taken = data.draw(st.lists(st.sampled_from(groups), min_size=1, unique=True))
    names = data.draw(st.permutations([name for group in taken for name in group]))
    chosen = joint_set.select(names)
    assert chosen.names == tuple(names)
    assert [names[joint] for joint in chosen.flip_order] == [mirrored(name) for name in names]
    assert [names[joint] for joint in chosen.scored] == [
        name for name in names if joint_set.names.index(name) in joint_set.scored
    ]
    old = {frozenset(joint_set.names[joint] for joint in bone) for bone in joint_set.bones}
    assert {frozenset(names[joint] for joint in bone) for bone in chosen.bones} == {b for b in old if b <= set(names)}


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["r_knee", "l_knee", "tail"], "different ones of: r_ankle.*Received: r_knee, l_knee, tail"),
        (["neck", "neck"], "different ones of.*Received: neck, neck"),
        ([], "Received: none"),
        (["neck", "r_knee"], "r_knee and l_knee change places.*take both or neither. Received: neck, r_knee"),
    ],
)
def test_a_selection_that_cannot_be_is_refused(names, message):
    with pytest.raises(InputError, match=message):
        LSP14.select(names)


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    return PoseSet(
        name="drawn",
        joint_set=LSP14,
        joints=rng.random((3, 14, 2), np.float32),
        annotated=rng.random((3, 14)) < 0.5,
        center=rng.random((3, 2), np.float32),
        box=np.array([1, 2, 3], np.float32),
        head_size=np.array([4, np.nan, 6], np.float32),
        items=("a", "b", "c"),
        load=lambda index: np.full((2, 2, 3), index, np.uint8),
        skipped=("d: bad",),
    )


def test_select_joints_keeps_the_people(people):
    chosen = people.select_joints(["neck", "l_ankle", "r_ankle"])
    assert chosen.joints.tolist() == people.joints[:, [12, 5, 0]].tolist()
    assert chosen.annotated.tolist() == people.annotated[:, [12, 5, 0]].tolist()
    assert chosen.joint_set.names == ("neck", "l_ankle", "r_ankle")
    assert (chosen.items, chosen.skipped, len(chosen)) == (people.items, people.skipped, 3)
    assert chosen.load(2)[0, 0, 0] == 2
    assert people.joints.shape == (3, 14, 2)


def test_subset_takes_people_and_their_pictures_in_the_order_asked_for(people):
    for indices in ([2, 0], np.array([2, 0]), range(2, -1, -2)):
        some = people.subset(indices)
        assert some.items == ("c", "a")
        assert some.box.tolist() == [3, 1]
        assert some.head_size.tolist() == [6, 4]
        assert some.joints.tolist() == people.joints[[2, 0]].tolist()
        assert [int(some.load(i)[0, 0, 0]) for i in range(2)] == [2, 0]
    # A subset of a subset still finds its pictures.
    assert int(people.subset([2, 1]).subset([1]).load(0)[0, 0, 0]) == 1
    assert len(people) == 3


def test_a_set_without_people_is_refused(people):
    with pytest.raises(InputError, match=r"drawn must hold one person or more. Received: 0 \(skipped: 1\)"):
        people.subset([])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("joints", np.zeros((3, 16, 2))),
        ("annotated", np.zeros((2, 14), bool)),
        ("center", np.zeros((3, 3))),
        ("box", np.zeros((3, 1))),
        ("head_size", np.zeros(4)),
    ],
)
def test_arrays_of_another_shape_are_refused(people, field, value):
    with pytest.raises(InputError, match=rf"`{field}` of drawn must be \(3.*Received: \({value.shape[0]}"):
        dataclasses.replace(people, **{field: value})
