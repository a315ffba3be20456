from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tta_lite.datasets.clothes import Look
from tta_lite.datasets.figure import draw_person
from tta_lite.datasets.pose_set import PoseSet
from tta_lite.datasets.skeleton import BODY_NUMBERS, L_HAND, L_TOES, R_HAND, R_TOES, Bodies, make_bodies
from tta_lite.datasets.synthetic import synthetic_pose
from tta_lite.types import InputError

R_ANKLE, R_KNEE, R_HIP, L_HIP, L_KNEE, L_ANKLE, PELVIS, THORAX, NECK, TOP = range(10)
R_WRIST, R_ELBOW, R_SHOULDER, L_SHOULDER, L_ELBOW, L_WRIST = range(10, 16)
ARRAYS = ("joints", "annotated", "center", "box", "head_size")

# Colours that stay apart when they are shaded: each is one mix of full and no light.
PLAIN = Look(
    skin=(200, 0, 0),
    hair=(0, 200, 0),
    shirt=(0, 0, 200),
    shirt_trim=(0, 0, 200),
    badge=(200, 200, 200),
    trousers=(200, 200, 0),
    trousers_trim=(200, 200, 0),
    shoes=(200, 0, 200),
    sleeve=1.0,
    leg=1.0,
    front="badge",
)


def digest(people: PoseSet, pictures: int = 4) -> str:
    total = hashlib.sha256()
    for name in ARRAYS:
        total.update(getattr(people, name).tobytes())
    for index in range(pictures):
        total.update(people.load(index).tobytes())
    return total.hexdigest()


def bodies_at(size: float, count: int = 60, seed: int = 3) -> Bodies:
    """People of height about `size` / 2 in the middle of a picture of that size."""
    uniform = np.random.default_rng(seed).random((count, BODY_NUMBERS))
    return make_bodies(uniform).moved(np.full(count, size / 2), np.full((count, 2), size / 2))


def drawn(bodies: Bodies, index: int, look: Look = PLAIN, size: int = 256) -> np.ndarray:
    picture = Image.new("RGB", (size, size))
    draw_person(ImageDraw.Draw(picture), bodies, index, look)
    return np.asarray(picture)


def kind(pixels: np.ndarray) -> np.ndarray:
    """[..., 3] -> 4 red + 2 green + blue, where each is 1 if there is any of it."""
    return ((pixels > 60) * np.array([4, 2, 1])).sum(-1)


SKIN, HAIR, SHIRT, BADGE, TROUSERS, SHOES = 4, 2, 1, 7, 6, 5


def faces_viewer(points: np.ndarray) -> np.ndarray:
    """1: the chest faces the viewer, -1: the back; from what the joints are called alone.

    With the head up, a person who faces the viewer has their left shoulder on the viewer's right.
    """
    up, left = points[..., NECK, :2] - points[..., PELVIS, :2], points[..., L_SHOULDER, :] - points[..., R_SHOULDER, :]
    area = up[..., 0] * left[..., 1] - up[..., 1] * left[..., 0]
    return area / np.linalg.norm(up, axis=-1) / np.linalg.norm(left, axis=-1)


def test_two_constructions_and_two_processes_are_equal():
    wanted = digest(synthetic_pose(6, seed=5, picture_size=96))
    assert digest(synthetic_pose(6, seed=5, picture_size=96)) == wanted
    code = (
        "import sys; sys.path.insert(0, 'tests/datasets'); from test_synthetic import digest, synthetic_pose;"
        "print(digest(synthetic_pose(6, seed=5, picture_size=96)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == wanted


def test_joints_are_the_same_on_every_machine():
    # A change of this set is a new set: scores of the old one cannot be compared with it.
    wanted = [[156.671875, 167.03125], [131.421875, 146.625]]
    assert synthetic_pose(1).joints[0, :2].tolist() == wanted


def test_an_example_depends_on_seed_and_index_alone():
    few, many = synthetic_pose(3, seed=9, picture_size=64), synthetic_pose(40, seed=9, picture_size=64)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:3])
    last = many.load(39)
    np.testing.assert_array_equal(few.load(2), many.load(2))
    np.testing.assert_array_equal(many.load(39), last)
    np.testing.assert_array_equal(many.subset([39]).load(0), last)


def test_the_picture_size_only_scales():
    small, large = synthetic_pose(50, seed=2, picture_size=96), synthetic_pose(50, seed=2, picture_size=192)
    both = small.annotated & large.annotated
    # Pixel x of n lies at (x + 1/2) / n of the picture.
    error = (small.joints + 0.5) / 96 - (large.joints + 0.5) / 192
    assert np.abs(error[both]).max() < 1e-3
    np.testing.assert_allclose(2 * small.head_size, large.head_size, rtol=0.01)


def test_other_seeds_give_other_people():
    one, other = synthetic_pose(30, seed=0, picture_size=64), synthetic_pose(30, seed=1, picture_size=64)
    assert not (one.joints == other.joints).all(axis=(1, 2)).any()
    assert len({one.load(i).tobytes() for i in range(30)} | {other.load(i).tobytes() for i in range(30)}) == 60


def test_fields_and_people_inside_the_picture():
    people = synthetic_pose(1500, seed=4, picture_size=128)
    assert people.joint_set.name == "mpii" and len(set(people.items)) == 1500
    assert {getattr(people, name).dtype for name in ("joints", "center", "box", "head_size")} == {np.dtype(np.float32)}
    assert people.annotated.mean() > 0.97 and people.annotated.mean() < 1
    assert people.joints[people.annotated].min() >= 0 and people.joints[people.annotated].max() <= 127
    assert (people.joints[~people.annotated] == 0).all()
    assert people.annotated.sum(1).min() >= 8
    offset = np.abs(people.joints - people.center[:, None]).max(-1)
    inside = (offset < people.box[:, None] / 2)[people.annotated]
    assert inside.mean() > 0.99
    picture = people.load(0)
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8
    assert np.mean([people.load(i).std() for i in range(20)]) > 25


def test_the_best_constant_answer_is_a_bad_one():
    train, test = synthetic_pose(4000, seed=0), synthetic_pose(1500, seed=1)

    def in_crop(people):
        return (people.joints - people.center[:, None]) / people.box[:, None, None]

    mean = np.nanmean(np.where(train.annotated[..., None], in_crop(train), np.nan), axis=0)
    error = np.linalg.norm((in_crop(test) - mean) * test.box[:, None, None], axis=-1) / test.head_size[:, None]
    score = np.mean([np.mean(error[test.annotated[:, j], j] <= 0.5) for j in test.joint_set.scored])
    assert 100 * score < 15


def test_bones_of_the_middle_body_by_hand():
    # With every number 1/2 each length is the middle of its range.
    points = make_bodies(np.full((1, BODY_NUMBERS), 0.5)).points[0]
    bones = {
        (THORAX, PELVIS): 0.27,
        (NECK, THORAX): 0.055,
        (TOP, NECK): 0.1875,
        (R_SHOULDER, L_SHOULDER): 0.22,
        (R_HIP, L_HIP): 0.135,
        (L_SHOULDER, L_ELBOW): 0.16,
        (R_ELBOW, R_WRIST): 0.14,
        (R_HIP, R_KNEE): 0.235,
        (L_KNEE, L_ANKLE): 0.225,
    }
    for (a, b), length in bones.items():
        assert np.linalg.norm(points[a] - points[b]) == pytest.approx(length, abs=1e-9), (a, b)


def test_both_sides_of_a_body_are_equal_and_joints_bend_one_way():
    points = make_bodies(np.random.default_rng(0).random((2000, BODY_NUMBERS))).points

    def bone(a, b):
        return points[:, b] - points[:, a]

    def unit(vectors):
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    for left, right in (
        ((L_HIP, L_KNEE), (R_HIP, R_KNEE)),
        ((L_KNEE, L_ANKLE), (R_KNEE, R_ANKLE)),
        ((L_SHOULDER, L_ELBOW), (R_SHOULDER, R_ELBOW)),
        ((L_ELBOW, L_WRIST), (R_ELBOW, R_WRIST)),
        ((PELVIS, L_HIP), (PELVIS, R_HIP)),
    ):
        np.testing.assert_allclose(np.linalg.norm(bone(*left), axis=1), np.linalg.norm(bone(*right), axis=1))
    for hip, knee, ankle, toes in ((L_HIP, L_KNEE, L_ANKLE, L_TOES), (R_HIP, R_KNEE, R_ANKLE, R_TOES)):
        thigh, shin, foot = unit(bone(hip, knee)), unit(bone(knee, ankle)), unit(bone(ankle, toes))
        cosine = (thigh * shin).sum(1)
        assert np.degrees(np.arccos(cosine.min())) < 111
        # The shin leaves the thigh's line on the side away from the toes; a foot points down by up to 45 degrees.
        aside = shin - thigh * cosine[:, None]
        assert ((aside * foot).sum(1)[cosine > 0.77] <= 1e-9).all()
    for shoulder, elbow, wrist in ((L_SHOULDER, L_ELBOW, L_WRIST), (R_SHOULDER, R_ELBOW, R_WRIST)):
        cosine = (unit(bone(shoulder, elbow)) * unit(bone(elbow, wrist))).sum(1)
        assert np.degrees(np.arccos(cosine.min())) < 141


def test_every_facing_occurs_as_often_as_it_should():
    front = faces_viewer(make_bodies(np.random.default_rng(1).random((4000, BODY_NUMBERS))).points)
    # Front 45 %, back 30 %, and the sides' 25 % fall half on each.
    assert np.mean(front > 0) == pytest.approx(0.575, abs=0.03)


def test_head_size_is_six_tenths_of_the_diagonal_of_the_drawn_head():
    bodies = bodies_at(256)
    low, high = bodies.head_box()
    checked = 0
    for index in range(len(bodies)):
        if bodies.head[index, 2, 2] > -0.5 * np.linalg.norm(bodies.head[index, :, 2]):
            continue
        # Seen from behind the head is all hair, if nothing lies before it.
        y, x = np.nonzero(kind(drawn(bodies, index)) == HAIR)
        box = np.array([x.min(), y.min(), x.max(), y.max()])
        if (np.abs(box - [*low[index], *high[index]]) < 1.5).all():
            checked += 1
    assert checked >= 8
    people = synthetic_pose(200, seed=7, picture_size=256)
    length = np.linalg.norm(people.joints[:, TOP] - people.joints[:, NECK], axis=1)
    seen = people.annotated[:, TOP] & people.annotated[:, NECK]
    # A head of length 1 is 0.8 wide: the diagonal of an upright one is 1.28, of a tilted one a little less or more.
    assert np.median(people.head_size[seen] / length[seen]) == pytest.approx(0.6 * 1.28, rel=0.08)


def test_head_box_by_hand():
    points = np.zeros((2, 20, 3))
    points[:, TOP, 1] = -10
    upright = np.diag([4.0, -5.0, 4.0])
    lying = upright[[1, 0, 2]]
    low, high = Bodies(points, np.stack([upright, lying]), np.zeros((2, 3)), np.ones(2)).head_box()
    np.testing.assert_array_equal(low, [[-4, -10], [-5, -9]])
    np.testing.assert_array_equal(high, [[4, 0], [5, -1]])


def test_joints_lie_on_what_is_drawn_there():
    bodies = bodies_at(256)
    hits: dict[str, list[bool]] = {name: [] for name in ("wrist", "ankle", "hip", "shoulder")}
    for index in range(len(bodies)):
        cells = kind(drawn(bodies, index))
        near = bodies.points[index, :, 2]
        for name, joints, wanted in (
            ("wrist", (R_WRIST, L_WRIST), {SKIN}),
            ("ankle", (R_ANKLE, L_ANKLE), {SKIN, SHOES}),
            ("hip", (R_HIP, L_HIP), {TROUSERS, SHIRT}),
            ("shoulder", (R_SHOULDER, L_SHOULDER), {SHIRT}),
        ):
            for joint in joints:
                # What lies nearer to the viewer may hide it: only those in front of the pelvis are asked.
                if near[joint] > near[PELVIS]:
                    x, y = np.round(bodies.points[index, joint, :2]).astype(int)
                    hits[name].append(int(cells[y, x]) in wanted)
    assert all(np.mean(found) > 0.85 for found in hits.values()), {n: np.mean(f) for n, f in hits.items()}


def test_the_head_ends_at_head_top():
    bodies = bodies_at(256)
    for index in range(20):
        cells = kind(drawn(bodies, index))
        neck, top = bodies.points[index, [NECK, TOP], :2]
        if np.linalg.norm(top - neck) < 18 or bodies.head[index, 2, 2] > 0:
            continue
        beyond = np.round(neck + 1.18 * (top - neck)).astype(int)
        assert cells[beyond[1], beyond[0]] not in (HAIR, SHOES), index


def test_the_face_shows_which_side_is_left():
    bodies = bodies_at(256, count=120)
    front = faces_viewer(bodies.points)
    right = []
    for index in np.flatnonzero(np.abs(front) > 0.7).tolist():
        cells = kind(drawn(bodies, index))
        y, x = np.nonzero(np.ones_like(cells))
        low, high = (corner[index] for corner in bodies.head_box())
        head = ((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])).reshape(cells.shape)
        skin, hair = (cells[head] == SKIN).sum(), (cells[head] == HAIR).sum()
        right.append((skin > hair) == (front[index] > 0))
    assert len(right) > 40 and np.mean(right) > 0.9


def test_the_badge_is_on_the_left_of_the_chest():
    bodies = bodies_at(256, count=120)
    sides, shown_behind = [], 0
    for index in range(len(bodies)):
        y, x = np.nonzero(kind(drawn(bodies, index)) == BADGE)
        if len(x) < 8:
            continue
        shown_behind += int(faces_viewer(bodies.points[index]) < -0.3)
        at = np.array([x.mean(), y.mean()])
        left, right = (np.linalg.norm(at - bodies.points[index, j, :2]) for j in (L_SHOULDER, R_SHOULDER))
        if faces_viewer(bodies.points[index]) > 0.6:
            sides.append(left < right)
    assert shown_behind == 0
    assert len(sides) > 15 and np.mean(sides) > 0.9


def lone_head(middle: tuple[float, float], radius: float, girth: float) -> Bodies:
    """A round head that looks away from the viewer; all else is one point in a far corner."""
    points = np.full((1, 20, 3), 200.0)
    points[0, [THORAX, NECK, TOP]] = [[*middle, 0], [*middle, 0], [*middle, 0]]
    points[0, PELVIS] = points[0, THORAX] + [0.1, 0.1, 0]
    return Bodies(points, np.diag([-radius, -radius, -radius])[None], np.zeros((1, 3)), np.array([girth]))


@pytest.mark.parametrize("scale", [1, 2])
def test_drawing_at_any_scale_keeps_the_joints_in_place(scale):
    errors = []
    for x, y in np.random.default_rng(0).uniform(40, 60, (40, 2)).tolist():
        picture = Image.new("RGB", (256 * scale, 256 * scale))
        draw_person(ImageDraw.Draw(picture), lone_head((x, y), 20.0, 8.0), 0, PLAIN, scale)
        pixels = np.asarray(picture)
        rows, columns = np.nonzero((pixels[..., 1] > 60) & (pixels[..., 0] == 0))
        # The middle of pixel x of the drawing is (x + 1/2) / scale - 1/2 of the picture.
        errors.append([(columns.mean() + 0.5) / scale - 0.5 - x, (rows.mean() + 0.5) / scale - 0.5 - y])
    # Whole pixels are filled: each error is a part of one, their mean is nearly none.
    assert np.abs(np.mean(errors, axis=0)).max() < 0.06


def test_a_nearer_limb_hides_a_farther_one():
    body = lone_head((20.0, 20.0), 8.0, 128.0)
    hands = {"nearer": 90.0, "farther": -90.0}
    crossing = {}
    for name, depth in hands.items():
        points = body.points.copy()
        # A level forearm at depth 0, and an upright one across it.
        points[0, [L_SHOULDER, L_ELBOW, L_WRIST, L_HAND]] = [[90, 60, 0], [90, 60, 0], [130, 60, 0], [130, 60, 0]]
        upright = np.array([[110, 40, depth], [110, 40, depth], [110, 80, depth], [110, 80, depth]])
        points[0, [R_SHOULDER, R_ELBOW, R_WRIST, R_HAND]] = upright
        crossing[name] = drawn(Bodies(points, body.head, body.chest, body.girth), 0)
    # Each limb is dark at its two edges: which edges go through the crossing tells which limb is in front.
    along, across = np.s_[52:69, 110, 0], np.s_[60, 102:119, 0]
    assert np.ptp(crossing["nearer"][along].astype(int)) == 0
    assert np.ptp(crossing["farther"][across].astype(int)) == 0
    assert np.ptp(crossing["nearer"][across].astype(int)) > 20
    assert np.ptp(crossing["farther"][along].astype(int)) > 20


def test_threads_render_the_same_pictures():
    people = synthetic_pose(24, seed=3, picture_size=96)
    alone = [people.load(index) for index in range(24)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(people.load, list(range(24)) * 2))
    for index, picture in enumerate(together):
        np.testing.assert_array_equal(picture, alone[index % 24])
    # A picture belongs to its caller.
    alone[0][:] = 0
    assert people.load(0).any()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"count": 0}, "count"),
        ({"count": 2.5}, "count"),
        ({"count": True}, "count"),
        ({"count": 3, "seed": -1}, "seed"),
        ({"count": 3, "seed": 2**32}, "seed"),
        ({"count": 3, "picture_size": 16}, "picture_size"),
        ({"count": 3, "picture_size": "192"}, "picture_size"),
    ],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(InputError, match=f"`{name}` must be .* Received: {arguments[name]!r}"):
        synthetic_pose(**arguments)


@pytest.mark.parametrize("index", [-1, 3])
def test_an_item_outside_the_set_is_an_error(index):
    with pytest.raises(InputError, match=f"items 0 to 2. Received: {index}"):
        synthetic_pose(3, picture_size=64).load(index)
