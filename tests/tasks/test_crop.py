from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.tasks.crop import Augmentation, apply, crop_matrix, invert, warp
from tta_lite.types import InputError

WIDTH, HEIGHT = 90, 70


def reference_matrix(center, box, size, angle):
    """`get_affine_transform` of the reference: the affine map through three pairs of points, solved in float64."""
    radians = math.pi * angle / 180
    # The middle of the upper edge of the box, turned; it goes to the middle of the upper edge of the crop.
    source = [np.array(center), np.array(center) + 0.5 * box * np.array([math.sin(radians), -math.cos(radians)])]
    target = [np.array([size / 2, size / 2]), np.array([size / 2, 0.0])]
    for points in (source, target):
        x, y = points[0] - points[1]
        points.append(points[1] + np.array([-y, x]))
    # Three points [x, y, 1] times the transposed matrix are the three targets.
    return np.linalg.solve(np.column_stack([source, np.ones(3)]), np.array(target)).T


def draw_case(seed):
    """-> centre, box, angle."""
    rng = np.random.default_rng(seed)
    return rng.uniform([20, 20], [WIDTH - 20, HEIGHT - 20]), rng.uniform(25, 120), rng.uniform(-60, 60)


def photo(seed=0, height=HEIGHT, width=WIDTH):
    """[H, W, 3] uint8, smooth."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    smooth = scipy.ndimage.gaussian_filter(noise, (2, 2, 0))
    return np.uint8(255 * (smooth - smooth.min()) / np.ptp(smooth))


def sources(matrix, size):
    """[size, size, 2]: where in the picture every pixel of the crop comes from, by solving and not by `invert`."""
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    targets = np.stack([x.ravel(), y.ravel()]) - matrix[:, 2:]
    return np.linalg.solve(matrix[:, :2], targets).T.reshape(size, size, 2)


@pytest.mark.parametrize("seed", range(20))
def test_matrix_is_the_references(seed):
    center, box, angle = draw_case(seed)
    np.testing.assert_allclose(crop_matrix(center, box, 64, angle=angle), reference_matrix(center, box, 64, angle))


@pytest.mark.parametrize("seed", range(20))
def test_mirrored_matrix_is_the_references(seed):
    # The reference mirrors the picture, the joints and the centre, and then makes the matrix.
    center, box, angle = draw_case(seed)
    mirrored_center = np.array([WIDTH - center[0] - 1, center[1]])
    points = np.random.default_rng(seed).uniform(0, WIDTH, (7, 2))
    mirrored_points = np.column_stack([WIDTH - points[:, 0] - 1, points[:, 1], np.ones(7)])
    expected = mirrored_points @ reference_matrix(mirrored_center, box, 64, angle).T
    matrix = crop_matrix(center, box, 64, angle=angle, mirrored_width=WIDTH)
    np.testing.assert_allclose(apply(matrix, points), expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_warp_against_scipy(seed):
    center, box, angle = draw_case(seed)
    picture, size = photo(seed), 48
    matrix = crop_matrix(center, box, size, angle=angle, mirrored_width=WIDTH if seed % 2 else None)
    crop = warp(picture, matrix, size).astype(np.float64)
    x, y = np.moveaxis(sources(matrix, size), 2, 0)
    inside = (x >= 0) & (x <= WIDTH - 1) & (y >= 0) & (y <= HEIGHT - 1)
    outside = (x < -0.51) | (x > WIDTH - 0.49) | (y < -0.51) | (y > HEIGHT - 0.49)
    assert inside.sum() > size * size / 4
    for channel in range(3):
        expected = scipy.ndimage.map_coordinates(picture[:, :, channel].astype(np.float64), [y, x], order=1)
        assert np.abs(crop[:, :, channel] - expected)[inside].max() <= 2
    assert (crop[outside] == 0).all()


def test_a_whole_picture_is_cropped_as_it_is():
    picture = photo(height=32, width=32)
    np.testing.assert_array_equal(warp(picture, crop_matrix(np.array([16.0, 16.0]), 32, 32), 32), picture)


def test_a_crop_beyond_the_picture_is_black():
    matrix = crop_matrix(np.array([-100.0, 20.0]), 40, 32)
    assert (warp(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), matrix, 32) == 0).all()


@pytest.mark.parametrize("angle", [0.0, 25.0, -40.0])
def test_a_mirrored_crop_is_the_crop_of_the_mirrored_picture(angle):
    picture, center = photo(5), np.array([37.3, 31.8])
    crop = warp(picture, crop_matrix(center, 55, 48, angle=angle, mirrored_width=WIDTH), 48)
    mirrored = np.ascontiguousarray(picture[:, ::-1])
    expected = warp(mirrored, crop_matrix(np.array([WIDTH - 1 - 37.3, 31.8]), 55, 48, angle=angle), 48)
    assert np.abs(crop.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_joints_follow_the_pixels(seed, mirror):
    # A soft light at the joint: its centre of mass in the crop is where the joint must be.
    _, _, angle = draw_case(seed)
    joint, center, size = np.array([48.0 + 3 * seed, 30.0 + seed]), np.array([47.0, 36.0]), 64
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 255 * np.exp(-((x - joint[0]) ** 2 + (y - joint[1]) ** 2) / (2 * 3.0**2))
    picture = np.repeat(np.uint8(np.round(light))[:, :, None], 3, axis=2)
    matrix = crop_matrix(center, 60 + 10 * seed, size, angle=angle, mirrored_width=WIDTH if mirror else None)
    crop = warp(picture, matrix, size)[:, :, 0].astype(np.float64)
    rows, columns = np.mgrid[:size, :size]
    found = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum()
    np.testing.assert_allclose(found, apply(matrix, joint), atol=0.1)


def test_a_positive_angle_turns_the_content_counter_clockwise():
    # What lies straight below the centre moves to its right.
    matrix = crop_matrix(np.array([10.0, 10.0]), 8, 8, angle=90)
    np.testing.assert_allclose(apply(matrix, np.array([10.0, 12.0])), [6, 4])


@given(
    st.tuples(st.floats(-50, 500), st.floats(-50, 500)),
    st.floats(4, 2000),
    st.sampled_from([8, 64, 256]),
    st.floats(-180, 180),
    st.one_of(st.none(), st.integers(1, 2000)),
)
def test_inverse(center, box, size, angle, width):
    matrix = crop_matrix(np.array(center), box, size, angle=angle, mirrored_width=width)
    points = np.array([[0.0, 0.0], [100.0, -30.0], center])
    np.testing.assert_allclose(apply(invert(matrix), apply(matrix, points)), points, atol=1e-6)
    np.testing.assert_allclose(apply(matrix, np.array(center)), [size / 2, size / 2], atol=1e-6)


def within(share, probability, count):
    """Whether a share is no more than four standard deviations from its probability."""
    return abs(share - probability) < 4 * math.sqrt(probability * (1 - probability) / count)


def test_augmentation_is_the_references():
    augmentation, rng, count = Augmentation(), np.random.default_rng(0), 20_000
    factor, angle, mirror = np.array([augmentation.draw(rng) for _ in range(count)]).T
    assert factor.min() == 0.75 and factor.max() == 1.25
    # One standard deviation and more is cut off: 15.87 % on either side.
    assert within((factor == 0.75).mean(), 0.1587, count) and within((factor == 1.25).mean(), 0.1587, count)
    # A quarter of a standard deviation: 9.87 % are nearer to 1 on one side.
    assert within(((factor > 1) & (factor < 1.0625)).mean(), 0.0987, count)
    assert angle.min() == -60 and angle.max() == 60
    assert within((angle == 0).mean(), 0.4, count)
    turned = angle[angle != 0]
    assert within((np.abs(turned) == 60).mean(), 0.0455, len(turned))
    assert within((np.abs(turned) < 30).mean(), 0.6827, len(turned))
    assert within(mirror.mean(), 0.5, count)
    assert set(mirror) == {0, 1}


def test_no_augmentation():
    plain = Augmentation(scale=0, rotation=0, rotation_probability=0, flip_probability=0)
    assert {plain.draw(np.random.default_rng(seed)) for seed in range(20)} == {(1.0, 0.0, False)}


def test_draws_depend_on_the_generator_alone():
    assert Augmentation().draw(np.random.default_rng(3)) == Augmentation().draw(np.random.default_rng(3))


@pytest.mark.parametrize(
    ("argument", "value"),
    [("scale", 1.0), ("scale", -0.1), ("rotation_probability", 1.5), ("flip_probability", -0.5), ("scale", math.nan)],
)
def test_bad_augmentation(argument, value):
    with pytest.raises(InputError, match=rf"`{argument}`.*Received: {value}"):
        Augmentation(**{argument: value})
