"""The line between two networks: 0 on a convex loss, by hand on one that is not, and batch norm's own statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.training.connectivity import Line, interpolate, lines_between, recompute_batch_norm
from tta_lite.types import InputError

L = keras.layers


@pytest.fixture(scope="module")
def scalar():
    """y = w x, one weight."""
    return keras.Sequential([L.Dense(1, use_bias=False, input_shape=(1,))])


def line_between(model, first, second, loss, **options):
    return lines_between(model, first, second, {"loss": loss}, **options)["loss"]


def weight(value):
    return [np.array([[value]], np.float32)]


def test_the_barrier_of_a_convex_problem_is_zero(scalar):
    """The squared error of w x = 3 at x = 1, (w - 3)^2, from w = 0 to w = 4 in five points."""
    line = line_between(scalar, weight(0), weight(4), lambda: (scalar.get_weights()[0].item() - 3) ** 2, points=5)
    assert line.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert line.losses.tolist() == [9, 4, 1, 0, 1]
    assert line.above == 0
    # Its ends differ: the highest is 9, their mean 5.
    assert line.barrier == 4


def test_the_barrier_between_two_minima_by_hand(scalar):
    """(w^2 - 1)^2 has its minima at -1 and 1, and 1 between them."""
    line = line_between(scalar, weight(-1), weight(1), lambda: (scalar.get_weights()[0].item() ** 2 - 1) ** 2)
    assert line.barrier == line.above == 1 and line.losses[[0, -1]].tolist() == [0, 0]
    assert len(line.shares) == 11


@given(
    st.floats(-5, 5), st.floats(-5, 5), st.floats(0.1, 5), st.floats(-5, 5), st.floats(-5, 5)
)  # fmt: skip
def test_no_convex_loss_has_a_barrier(first, second, square, slope, height):
    shares = np.linspace(0, 1, 11)
    w = first + shares * (second - first)
    assert Line(shares, square * w**2 + slope * w + height).above == pytest.approx(0, abs=1e-12)


def test_linear_regression_has_none_either(scalar):
    """A real model and its own loss: convex in its weights."""
    net = keras.Sequential([L.Dense(2, input_shape=(3,))])
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)).astype(np.float32), rng.normal(size=(40, 2)).astype(np.float32)
    ends = [[rng.normal(size=one.shape).astype(np.float32) for one in net.get_weights()] for _ in range(2)]
    before = net.get_weights()
    line = line_between(net, *ends, lambda: float(np.mean((net(x).numpy() - y) ** 2)))
    assert line.above == pytest.approx(0, abs=1e-6) and line.losses.std() > 0
    for one, other in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_ends_are_exact_and_whole_numbers_stay():
    ends = [np.float32([0.1, 0.7]), np.array(3)], [np.float32([0.3, -0.2]), np.array(8)]
    for share, end in ((0, ends[0]), (1, ends[1])):
        for one, other in zip(interpolate(*ends, share), end, strict=True):
            np.testing.assert_array_equal(one, other)
    half = interpolate(*ends, 0.5)
    np.testing.assert_allclose(half[0], [0.2, 0.25], rtol=1e-6)
    assert half[0].dtype == np.float32 and half[1] == 3


def test_statistics_are_the_mean_of_those_of_the_batches():
    net = keras.Sequential([L.BatchNormalization(input_shape=(3,), trainable=False), L.Dropout(0.5), L.Dense(2)])
    rng = np.random.default_rng(1)
    # Large values from an earlier life, which must leave no trace.
    net.layers[0].set_weights([np.ones(3), np.zeros(3), np.full(3, 1e6), np.full(3, 1e6)])
    batches = [rng.normal(2, 3, (16, 3)).astype(np.float32) for _ in range(5)]
    recompute_batch_norm(net, batches)
    _, _, mean, variance = net.layers[0].get_weights()
    np.testing.assert_allclose(mean, np.mean([one.mean(axis=0) for one in batches], axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.mean([one.var(axis=0) for one in batches], axis=0), rtol=1e-4)
    assert net.layers[0].momentum == 0.99 and not net.layers[0].trainable


def test_interpolated_statistics_are_not_those_of_the_network_between():
    """Two networks of opposite signs have equal outputs; between them lies one whose units are all 0."""
    net = keras.Sequential([L.Dense(4, use_bias=False, input_shape=(2,)), L.BatchNormalization(scale=False)])
    rng = np.random.default_rng(2)
    x = rng.normal(1, 1, (64, 2)).astype(np.float32)
    kernel = rng.normal(size=(2, 4)).astype(np.float32)
    ends = []
    for scale in (1, 3):
        net.set_weights([scale * kernel, np.zeros(4), np.zeros(4), np.ones(4)])
        recompute_batch_norm(net, [x])
        ends.append(net.get_weights())
    spread = lambda: abs(float(net(x).numpy().var()) - 1)  # noqa: E731
    # The variance goes with the square: interpolated, (1 + 9) / 2 = 5 where it is 4; the outputs have 4 / 5 of theirs.
    assert line_between(net, *ends, spread, points=3).losses == pytest.approx([0, 0.2, 0], abs=2e-3)
    again = line_between(net, *ends, spread, points=3, batches=lambda: [x])
    assert again.losses == pytest.approx([0, 0, 0], abs=2e-3)


def test_mistakes(scalar):
    with pytest.raises(InputError, match=r"3 points or more\. Received: 2"):
        line_between(scalar, weight(0), weight(1), lambda: 0.0, points=2)
    with pytest.raises(InputError, match="of one network"):
        interpolate(weight(0), [np.zeros(3)], 0.5)
    with pytest.raises(InputError, match="of one network"):
        interpolate(weight(0), [*weight(1), np.zeros(3)], 0.5)
    with pytest.raises(InputError, match="Received: none"):
        recompute_batch_norm(keras.Sequential([L.BatchNormalization(input_shape=(2,))]), [])


def test_several_measures_are_taken_at_every_point(scalar):
    value = lambda: scalar.get_weights()[0].item()  # noqa: E731
    lines = lines_between(scalar, weight(0), weight(2), {"one": value, "square": lambda: value() ** 2}, points=3)
    assert lines["one"].losses.tolist() == [0, 1, 2] and lines["square"].losses.tolist() == [0, 1, 4]
