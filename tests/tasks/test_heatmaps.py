from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.tasks.heatmaps import JointsMSE, gaussian_heat_maps
from tta_lite.tasks.joints import average_with_mirrored, decode_heat_maps

WIDTH, HEIGHT, STRIDE = 20, 16, 4


def reference_targets(joints, weights, sigma):
    """`JointsDataset.generate_target` of the reference, for one person, pixel by pixel.

    joints: [J, 2] in pixels of the crop; weights: [J]. -> [H, W, J] and [J], float64.
    """
    maps, weights = np.zeros((HEIGHT, WIDTH, len(joints))), np.array(weights, np.float64)
    for j, (joint_x, joint_y) in enumerate(joints):
        mu_x, mu_y = int(joint_x / STRIDE + 0.5), int(joint_y / STRIDE + 0.5)
        left, top = mu_x - 3 * sigma, mu_y - 3 * sigma
        right, bottom = mu_x + 3 * sigma + 1, mu_y + 3 * sigma + 1
        if left >= WIDTH or top >= HEIGHT or right < 0 or bottom < 0:
            weights[j] = 0
            continue
        for y in range(max(0, top), min(bottom, HEIGHT)):
            for x in range(max(0, left), min(right, WIDTH)):
                maps[y, x, j] = math.exp(-((x - mu_x) ** 2 + (y - mu_y) ** 2) / (2 * sigma**2))
    return maps, weights


def labels(joints, weights):
    """[J, 2] in pixels of the crop -> [1, J, 3] as the task gives them."""
    return np.concatenate([np.asarray(joints) / STRIDE, np.asarray(weights)[:, None]], axis=1)[None].astype(np.float32)


def compare_with_reference(joints, sigma):
    weights = np.arange(len(joints)) % 4 > 0
    maps, found = gaussian_heat_maps(labels(joints, weights), HEIGHT, WIDTH, sigma)
    expected_maps, expected = reference_targets(joints, weights, sigma)
    np.testing.assert_array_equal(found[0], expected)
    # The reference leaves the map of a joint without weight empty; here it may be anything, for it is not looked at.
    np.testing.assert_allclose(maps[0] * found[0], expected_maps * expected, atol=1e-6)
    return expected


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_targets_are_the_references(sigma):
    # From the top left pixel to well outside the right and lower edge.
    joints = np.random.default_rng(sigma).uniform(-2, 4 * STRIDE * sigma + STRIDE * WIDTH, (300, 2))
    expected = compare_with_reference(joints, sigma)
    assert 0 < expected.sum() < 300 * 3 / 4


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_targets_left_and_above_the_map(sigma):
    # Here the reference's int() rounds towards zero, one pixel away from the nearest one.
    joints = np.random.default_rng(sigma).uniform(-STRIDE * (3 * sigma + 4), 4 * STRIDE, (300, 2))
    expected = compare_with_reference(joints, sigma)
    assert 0 < expected.sum() < 300 * 3 / 4


def test_a_gaussian_by_hand():
    maps, weights = gaussian_heat_maps(np.array([[[7.4, 4.6, 1.0]]], np.float32), HEIGHT, WIDTH, 2.0)
    one = maps[0, :, :, 0].numpy()
    assert one[5, 7] == 1 and one.argmax() == 5 * WIDTH + 7
    assert one[5, 9] == pytest.approx(math.exp(-0.5)) and one[6, 8] == pytest.approx(math.exp(-0.25))
    assert one[5, 13] == pytest.approx(math.exp(-4.5)) and one[5, 14] == 0
    assert np.count_nonzero(one) == 12 * 13  # Row -1 of the patch's 13 is cut off.
    assert weights.numpy().tolist() == [[1.0]]


def test_loss_by_hand():
    # One Gaussian of sigma 1 wholly inside, predicted but for two pixels; the joint without weight is not looked at.
    y_true = np.array([[[10.0, 8.0, 1.0], [3.0, 3.0, 0.0]], [[10.0, 8.0, 0.0], [900.0, 3.0, 1.0]]], np.float32)
    y_pred = np.full((2, HEIGHT, WIDTH, 2), 7.0, np.float32)
    y_pred[0, :, :, 0] = reference_targets([[40.0, 32.0]], [1], 1)[0][:, :, 0]
    y_pred[0, 0, 0, 0] += 0.5
    y_pred[0, 8, 10, 0] -= 0.25
    expected = 0.5 * (0.5**2 + 0.25**2) / (WIDTH * HEIGHT * 2)
    loss = JointsMSE(sigma=1)
    assert loss.call(y_true, tf.constant(y_pred)).numpy() == pytest.approx([expected, 0.0], rel=1e-5)
    assert float(loss(y_true, tf.constant(y_pred))) == pytest.approx(expected / 2, rel=1e-5)


def test_loss_against_a_double_loop():
    rng = np.random.default_rng(0)
    joints, weights = rng.uniform(0, STRIDE * HEIGHT, (3, 5, 2)), rng.random((3, 5)) < 0.7
    y_pred = rng.normal(0, 0.3, (3, HEIGHT, WIDTH, 5)).astype(np.float32)
    # The reference's JointsMSELoss: half the mean squared error of each joint, averaged over the joints.
    total = 0.0
    targets = [reference_targets(joints[b], weights[b], 2)[0] for b in range(3)]
    for j in range(5):
        error = [(y_pred[b, :, :, j] - targets[b][:, :, j]) * weights[b, j] for b in range(3)]
        total += 0.5 * np.mean(np.square(error, dtype=np.float64))
    y_true = np.concatenate([labels(joints[b], weights[b]) for b in range(3)])
    assert float(JointsMSE(2)(y_true, tf.constant(y_pred))) == pytest.approx(total / 5, rel=1e-5)


def test_loss_of_half_precision_is_taken_in_single():
    y_true, y_pred = np.array([[[10.0, 8.0, 1.0]]], np.float32), tf.zeros((1, HEIGHT, WIDTH, 1), tf.float16)
    assert JointsMSE(2)(y_true, y_pred).dtype == tf.float32


def test_loss_is_rebuilt_from_its_config():
    loss = keras.losses.deserialize(keras.losses.serialize(JointsMSE(sigma=3.0)))
    assert isinstance(loss, JointsMSE) and loss.sigma == 3.0


def decoded(points, shape=(8, 10)):
    """{(x, y): value} -> (x, y) and confidence."""
    maps = np.zeros((1, *shape, 1), np.float32)
    for (x, y), value in points.items():
        maps[0, y, x, 0] = value
    places, confidence = decode_heat_maps(maps)
    assert places.dtype == np.float32
    return tuple(places[0, 0].tolist()), float(confidence[0, 0])


@pytest.mark.parametrize(
    ("neighbour", "place"),
    [((5, 4), (4.25, 4)), ((3, 4), (3.75, 4)), ((4, 5), (4, 4.25)), ((4, 3), (4, 3.75)), ((5, 5), (4, 4))],
)
def test_a_quarter_pixel_towards_the_higher_neighbour(neighbour, place):
    assert decoded({(4, 4): 0.75, neighbour: 0.5}) == (place, 0.75)


def test_quarter_pixels_in_both_directions():
    assert decoded({(4, 4): 1, (3, 4): 0.5, (5, 4): 0.4, (4, 3): -0.1, (4, 5): -0.2})[0] == (3.75, 3.75)


@pytest.mark.parametrize(
    ("peak", "moved"),
    [
        ((0, 4), False), ((1, 4), False), ((2, 4), True), ((8, 4), True), ((9, 4), False),
        ((4, 0), False), ((4, 1), False), ((4, 2), True), ((4, 6), True), ((4, 7), False), ((0, 0), False),
    ],
)  # fmt: skip
def test_a_maximum_on_the_border_is_not_moved(peak, moved):
    x, y = peak
    points = {peak: 1.0, (max(x - 1, 0), y): 0.5, (x, max(y - 1, 0)): 0.5}
    points[peak] = 1.0
    assert decoded(points)[0] == ((x - 0.25, y - 0.25) if moved else peak)


def test_of_equal_maxima_the_first_row_and_column_counts():
    assert decoded({(6, 3): 1, (2, 5): 1, (7, 3): 1})[0] == (6.25, 3)


@pytest.mark.parametrize("background", [0.0, -1.0])
def test_a_maximum_that_is_not_above_zero(background):
    places, confidence = decode_heat_maps(np.full((2, 8, 8, 3), background, np.float32))
    assert (places == 0).all() and (confidence == background).all()


def test_every_map_is_decoded_by_itself():
    rng = np.random.default_rng(3)
    maps = rng.normal(size=(4, HEIGHT, WIDTH, 5)).astype(np.float32)
    places, confidence = decode_heat_maps(maps)
    for b in range(4):
        for j in range(5):
            one = maps[b, :, :, j]
            y, x = np.unravel_index(one.argmax(), one.shape)
            assert confidence[b, j] == one[y, x]
            dx = dy = 0.0
            if 1 < x < WIDTH - 1 and 1 < y < HEIGHT - 1:
                dx = math.copysign(0.25, one[y, x + 1] - one[y, x - 1])
                dy = math.copysign(0.25, one[y + 1, x] - one[y - 1, x])
            assert places[b, j].tolist() == [x + dx, y + dy]


@settings(max_examples=40)
@given(st.floats(0, WIDTH - 1, width=32), st.floats(0, HEIGHT - 1, width=32), st.sampled_from([1.0, 2.0, 3.0]))
def test_a_decoded_target_is_the_joint_to_half_a_pixel(x, y, sigma):
    maps, _ = gaussian_heat_maps(tf.constant([[[x, y, 1.0]]]), HEIGHT, WIDTH, sigma)
    places, confidence = decode_heat_maps(maps.numpy())
    assert confidence[0, 0] == 1
    assert np.abs(places[0, 0] - [x, y]).max() <= 0.5 + 1e-5


def test_flip_average_against_loops():
    rng = np.random.default_rng(0)
    maps, mirrored = rng.normal(size=(2, 2, 4, 5, 3)).astype(np.float32)
    order = [1, 0, 2]
    expected = np.zeros((2, 4, 5, 3))
    for b in range(2):
        for y in range(4):
            for x in range(5):
                for j in range(3):
                    # Mirrored back, column x comes from column 4 - x, then from one more to the left, if there is one.
                    source = 4 - max(x - 1, 0)
                    expected[b, y, x, j] = (maps[b, y, x, j] + mirrored[b, y, source, order[j]]) / 2
    np.testing.assert_allclose(average_with_mirrored(maps, mirrored, np.array(order)), expected, rtol=1e-6)


def test_flip_test_of_a_network_that_is_always_right_changes_nothing():
    # What such a network says of a picture and of the mirrored picture, where pixel x has become width - 1 - x.
    rng = np.random.default_rng(1)
    joints = STRIDE * rng.integers([2, 0], [WIDTH - 1, HEIGHT], (6, 2)).astype(np.float64)
    order = np.array([1, 0, 3, 2, 4, 5])
    mirrored_joints = joints[order] * [-1, 1] + [STRIDE * WIDTH - 1, 0]
    maps = reference_targets(joints, np.ones(6), 2)[0][None]
    mirrored = reference_targets(mirrored_joints, np.ones(6), 2)[0][None]
    mean = average_with_mirrored(maps, mirrored, order)
    np.testing.assert_allclose(mean[:, :, 1:], maps[:, :, 1:])
    np.testing.assert_array_equal(decode_heat_maps(mean)[0][0], joints / STRIDE)
