from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.datasets.pose_set import LSP14, MPII16, JointSet, PoseSet
from tta_lite.tasks.pckh import bootstrap_interval, correct_joints, pckh, percentage
from tta_lite.types import InputError

THREE = JointSet("three", ("nose", "l_hand", "r_hand"), ((1, 2),), (0, 1, 2), ((0, 1), (0, 2)))


def people(joint_set, joints, head_size, annotated=None):
    joints = np.asarray(joints, np.float32)
    count = len(joints)
    return PoseSet(
        name="people",
        joint_set=joint_set,
        joints=joints,
        annotated=np.ones(joints.shape[:2], bool) if annotated is None else np.asarray(annotated),
        center=np.zeros((count, 2), np.float32),
        box=np.ones(count, np.float32),
        head_size=np.asarray(head_size, np.float32),
        items=tuple(f"item {i}" for i in range(count)),
        load=lambda index: np.zeros((8, 8, 3), np.uint8),
    )


def test_by_hand():
    # Half a head is 5, 10 and 2 pixels.
    annotated = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1]], bool)
    poses = people(THREE, np.full((3, 3, 2), 50.0), [10, 20, 4], annotated)
    predicted = np.full((3, 3, 2), 50.0)
    predicted[0] += [[3, 4], [3, 4.01], [0, 0]]  # 5 away: right; more than 5: wrong; right.
    predicted[1] += [[0, -10], [10.5, 0], [0, 0]]  # Right; wrong; not annotated.
    predicted[2] += [[2.1, 0], [0, 0], [-1, 1]]  # Wrong; not annotated; right.
    score = pckh(poses, predicted)
    assert score.value == pytest.approx(100 * 4 / 7)
    assert score.parts == pytest.approx({"nose": 100 * 2 / 3, "l_hand": 0, "r_hand": 100})
    assert score.metric == "PCKh@0.5" and score.examples == 3
    assert score.interval[0] <= score.value <= score.interval[1]


def test_another_threshold():
    poses, predicted = people(THREE, np.zeros((1, 3, 2)), [10]), np.array([[[1, 0], [2, 0], [3, 0.0]]])
    assert pckh(poses, predicted, threshold=0.1).value == pytest.approx(100 / 3)
    assert pckh(poses, predicted, threshold=0.2).metric == "PCKh@0.2"


def test_people_without_a_head_size_are_not_counted():
    poses = people(THREE, np.zeros((4, 3, 2)), [10, math.nan, 0, -1])
    predicted = np.zeros((4, 3, 2))
    predicted[0, 0] = 100
    counted, correct = correct_joints(predicted, poses.joints, poses.annotated, poses.head_size)
    assert counted.tolist() == [[True] * 3, [False] * 3, [False] * 3, [False] * 3]
    assert correct.tolist() == [[False, True, True], [False] * 3, [False] * 3, [False] * 3]
    score = pckh(poses, predicted)
    assert score.value == pytest.approx(200 / 3) and score.examples == 1


def test_a_joint_that_nobody_marked_has_no_score_of_its_own():
    poses = people(THREE, np.zeros((2, 3, 2)), [10, 10], np.array([[True, False, True]] * 2))
    score = pckh(poses, np.zeros((2, 3, 2)))
    assert math.isnan(score.parts["l_hand"]) and score.value == 100


def test_a_prediction_that_is_no_number_is_wrong():
    assert pckh(people(THREE, np.zeros((1, 3, 2)), [10]), np.full((1, 3, 2), np.nan)).value == 0


def test_mpii_by_hand():
    # A head box of 30 x 40 pixels has a diagonal of 50: a head size of 30, and a joint is right within 15.
    head_size = 0.6 * math.hypot(30, 40)
    predicted = np.zeros((1, 16, 2))
    predicted[0, MPII16.names.index("pelvis")] = predicted[0, MPII16.names.index("thorax")] = 500
    assert pckh(people(MPII16, np.zeros((1, 16, 2)), [head_size]), predicted).value == 100
    predicted[0, MPII16.names.index("head_top")] = 14.9, 0
    predicted[0, MPII16.names.index("l_wrist")] = 15.1, 0
    score = pckh(people(MPII16, np.zeros((1, 16, 2)), [head_size]), predicted)
    assert score.value == pytest.approx(100 * 13 / 14)
    assert score.parts["pelvis"] == 0 and score.parts["head_top"] == 100


def test_mpii_official_formula():
    # The evaluation of the reference (MPIIDataset.evaluate), which follows the benchmark's own.
    rng = np.random.default_rng(0)
    count = 60
    joints = rng.uniform(0, 200, (count, 16, 2)).astype(np.float32)
    annotated = rng.random((count, 16)) < 0.8
    box = rng.uniform(10, 40, (count, 2))
    predicted = joints + rng.normal(0, 8, joints.shape)

    missing = 1 - annotated.T.astype(float)
    distances = np.linalg.norm((predicted - joints).transpose(1, 2, 0), axis=1)
    heads = np.linalg.norm(box, axis=1) * 0.6
    scaled = distances / heads * (1 - missing)
    per_joint = 100.0 * ((scaled <= 0.5) * (1 - missing)).sum(axis=1) / (1 - missing).sum(axis=1)
    joint_count = (1 - missing).sum(axis=1)
    joint_count[6:8] = 0
    expected = (per_joint * joint_count / joint_count.sum()).sum()

    score = pckh(people(MPII16, joints, heads, annotated), predicted)
    assert score.value == pytest.approx(expected)
    assert list(score.parts.values()) == pytest.approx(per_joint.tolist())
    assert list(score.parts) == list(MPII16.names)


def correlated(count, seed=0):
    """-> counted and correct [N, 14]: people who are easy or hard as a whole."""
    rng = np.random.default_rng(seed)
    counted = rng.random((count, 14)) < 0.9
    return counted, counted & (rng.random((count, 14)) < rng.beta(2, 2, (count, 1)))


def test_interval_against_scipy():
    counted, correct = correlated(150)

    def statistic(n_correct, n_counted):
        return 100 * n_correct.sum() / n_counted.sum()

    expected = scipy.stats.bootstrap(
        (correct.sum(axis=1), counted.sum(axis=1)), statistic, paired=True, vectorized=False, n_resamples=3000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    low, high = bootstrap_interval(counted, correct)
    assert high - low == pytest.approx(expected.high - expected.low, rel=0.06)
    assert low == pytest.approx(expected.low, abs=0.5) and high == pytest.approx(expected.high, abs=0.5)


def test_interval_of_independent_people_is_the_binomials():
    counted = np.ones((400, 1), bool)
    correct = np.arange(400)[:, None] < 280
    low, high = bootstrap_interval(counted, correct, resamples=5000)
    half = 100 * 1.96 * math.sqrt(0.7 * 0.3 / 400)
    assert low == pytest.approx(70 - half, abs=0.4) and high == pytest.approx(70 + half, abs=0.4)


def test_joints_of_one_person_are_no_independent_evidence():
    correct = np.arange(400)[:, None] < 280
    one = bootstrap_interval(np.ones((400, 1), bool), correct)
    assert bootstrap_interval(np.ones((400, 14), bool), np.repeat(correct, 14, axis=1)) == pytest.approx(one)


def test_interval_is_repeatable():
    counted, correct = correlated(40)
    assert bootstrap_interval(counted, correct) == bootstrap_interval(counted, correct)
    assert bootstrap_interval(counted, correct, seed=1) != bootstrap_interval(counted, correct, seed=2)


def test_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        low, high = bootstrap_interval(*correlated(60, seed), resamples=400, seed=seed)
        covered += low <= 50 <= high  # The mean of beta(2, 2) is a half.
    assert 0.89 <= covered / 200 <= 0.99


@given(st.integers(0, 2**32 - 1), st.integers(20, 60))
def test_interval_contains_the_score(seed, count):
    counted, correct = correlated(count, seed)
    low, high = bootstrap_interval(counted, correct, resamples=300)
    assert 0 <= low <= percentage(counted, correct) <= high <= 100


@pytest.mark.parametrize(("correct", "value"), [(True, 100), (False, 0)])
def test_interval_of_all_or_none(correct, value):
    counted = np.ones((5, 3), bool)
    assert bootstrap_interval(counted, counted & correct) == (value, value)


def test_resamples_without_a_counted_joint_are_left_out():
    counted = np.zeros((3, 2), bool)
    counted[0] = True
    assert bootstrap_interval(counted, counted & [True, False]) == (50, 50)


def test_predictions_of_another_shape():
    with pytest.raises(InputError, match=r"must be \(2, 14, 2\). Received: \(2, 16, 2\)"):
        pckh(people(LSP14, np.zeros((2, 14, 2)), [1, 1]), np.zeros((2, 16, 2)))


@pytest.mark.parametrize("head_size", [math.nan, 0.0])
def test_nobody_to_score(head_size):
    with pytest.raises(InputError, match=r"PCKh of people needs .* Received: none"):
        pckh(people(LSP14, np.zeros((2, 14, 2)), [head_size] * 2), np.zeros((2, 14, 2)))


def test_only_joints_that_are_not_scored():
    annotated = np.zeros((1, 16), bool)
    annotated[0, [6, 7]] = True
    with pytest.raises(InputError, match="needs one annotated joint"):
        pckh(people(MPII16, np.zeros((1, 16, 2)), [10], annotated), np.zeros((1, 16, 2)))
