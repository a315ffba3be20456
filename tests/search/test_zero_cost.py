from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tests import networks
from tta_lite.compat import keras
from tta_lite.search.zero_cost import SCORES, grad_norm, hamming_kernel, jacob_cov, naswot, snip, synflow
from tta_lite.types import InputError

L = keras.layers


def dense(*units: int, act: bool = False) -> keras.Model:
    image = x = keras.Input((units[0],))
    for place, count in enumerate(units[1:]):
        x = L.Dense(count, use_bias=False, name=f"dense{place}")(x)
        if act:
            x = L.ReLU(6.0, name=f"act{place}")(L.BatchNormalization(name=f"norm{place}")(x))
    return keras.Model(image, x)


@pytest.mark.parametrize("act", [False, True])
def test_synflow_of_a_chain_by_hand(act):
    # A x = [[1, -2], [3, 4]]: ones give |.| sums 4 and 6 a column; behind it [10, -1]: 4 x 10 + 6 x 1 = 46. Each of the
    # two layers holds all of the flow. Batch norm and the end of ReLU6 do not matter.
    net = dense(2, 2, 1, act=act)
    net.get_layer("dense0").set_weights([np.array([[1.0, -2.0], [3.0, 4.0]])])
    net.get_layer("dense1").set_weights([np.array([[10.0], [-1.0]])])
    if act:
        net.get_layer("norm0").set_weights([np.full(2, value) for value in (3.0, -7.0, 0.5, 2.0)])
    before = [array.copy() for array in net.get_weights()]
    assert math.exp(synflow(net)) == pytest.approx(2 * 46)
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))


def test_synflow_of_convolutions_by_hand():
    # 1 x 1 on 2 x 2 pixels, then a depthwise layer: each pixel gives 2 x 3 = 6 and 5 x 4 = 20, four times.
    image = keras.Input((2, 2, 1))
    x = L.Conv2D(2, 1, use_bias=False, name="conv")(image)
    net = keras.Model(image, L.DepthwiseConv2D(1, use_bias=False, name="depthwise")(x))
    net.get_layer("conv").set_weights([np.array([-2.0, 5.0]).reshape(1, 1, 1, 2)])
    net.get_layer("depthwise").set_weights([np.array([3.0, -4.0]).reshape(1, 1, 2, 1)])
    assert math.exp(synflow(net)) == pytest.approx(2 * 4 * 26)


def test_synflow_stays_a_number_where_float32_would_not():
    net = dense(2, *[2] * 10)
    net.set_weights([np.full((2, 2), 1e5)] * 10)
    # Each layer multiplies by 2e5: 2e5^10 = 1e53, twice, in each of 10 layers.
    assert synflow(net) == pytest.approx(10 * math.log(2e5) + math.log(2 * 10))


def test_a_gate_keeps_its_end():
    # x relu6(x + 3) / 6: with x = 100 the gate is 1, and the output 100.
    image = keras.Input((1, 1, 1))
    x = L.Conv2D(1, 1, use_bias=False, name="conv")(image)
    gate = L.ReLU(6.0, name="gate")(L.Rescaling(1.0, 3.0, name="shift")(x))
    net = keras.Model(image, L.Multiply(name="swish")([x, L.Rescaling(1 / 6, name="sixth")(gate)]))
    net.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 100.0)])
    assert math.exp(synflow(net)) == pytest.approx(100, rel=1e-6)


def test_synflow_of_nothing_is_refused():
    with pytest.raises(InputError, match="kernels of a network"):
        synflow(networks.net(L.ReLU(name="act"), shape=(2, 2, 1)))


def test_the_hamming_kernel_by_brute_force():
    rng = np.random.default_rng(0)
    codes = [rng.random((5, units)) > 0.4 for units in (7, 3)]
    whole = np.concatenate(codes, axis=1)
    expected = [[int(sum(whole[a, k] == whole[b, k] for k in range(10))) for b in range(5)] for a in range(5)]
    assert hamming_kernel(codes).tolist() == expected


def test_naswot_by_hand():
    # Without batch norm: pictures 1 and -1 differ in both ReLUs' signs, 2 units; K = [[2, 0], [0, 2]].
    image = keras.Input((1,))
    x = L.Dense(2, use_bias=False, name="dense")(image)
    net = keras.Model(image, L.Dense(1, name="scores")(L.ReLU(name="act")(x)))
    net.get_layer("dense").set_weights([np.array([[1.0, -1.0]])])
    assert naswot(net, np.array([[1.0], [-1.0]])) == pytest.approx(math.log(4))
    # Two that no unit tells apart.
    assert naswot(net, np.array([[1.0], [2.0]])) == -math.inf


def test_naswot_takes_the_statistics_of_its_images_and_moves_nothing():
    image = keras.Input((1,))
    x = L.BatchNormalization(name="norm")(L.Dense(1, use_bias=False, name="dense")(image))
    net = keras.Model(image, L.Activation("relu", name="act")(x))
    net.get_layer("dense").set_weights([np.array([[1.0]])])
    before = [array.copy() for array in net.get_weights()]
    # 1 and 2 lie on both sides of their mean, whatever the moving averages are.
    assert naswot(net, np.array([[1.0], [2.0]])) == pytest.approx(0.0)
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))


def test_naswot_refuses_what_it_cannot_score():
    with pytest.raises(InputError, match=r"two images or more\. Received: 0"):
        naswot(dense(2, 1), None)
    with pytest.raises(InputError, match="signs behind ReLUs"):
        naswot(dense(2, 1), np.ones((2, 2)))


def test_gradients_of_the_loss_by_hand():
    # y = 2 a - 3 b, loss y^2: of (1, 2) y is -4 and the gradient 2 x -4 x (1, 2) = (-8, -16); of (0, 1) y is -3 and the
    # gradient (0, -6). Their mean is (-4, -11).
    net = dense(2, 1)
    net.set_weights([np.array([[2.0], [-3.0]])])
    images = np.array([[1.0, 2.0], [0.0, 1.0]])
    assert grad_norm(net, images, tf.square) == pytest.approx(math.hypot(4, 11))
    assert snip(net, images, tf.square) == pytest.approx(2 * 4 + 3 * 11)
    # A sum over the kernels, not one norm of them all; biases do not count.
    image = keras.Input((1,))
    two = keras.Model(image, L.Dense(1, name="b")(L.Dense(1, name="a")(image)))
    two.set_weights([np.array([[3.0]]), np.zeros(1), np.array([[5.0]]), np.zeros(1)])
    # d(15 x) = 5 by the first weight, 3 by the second.
    assert grad_norm(two, np.ones((1, 1)), lambda y: y) == pytest.approx(5 + 3)
    with pytest.raises(InputError, match="images and a loss"):
        snip(net, images, None)


def test_jacobians_by_hand():
    # A linear network has one Jacobian for all images: their correlations have the eigenvalues 2 and 0.
    net = dense(3, 1)
    net.set_weights([np.array([[1.0], [-2.0], [4.0]])])
    images = np.array([[1.0, 2.0, 3.0], [-1.0, 0.0, 7.0]])
    of_none, of_two = math.log(1e-5) + 1e5, math.log(2.00001) + 1 / 2.00001
    assert jacob_cov(net, images) == pytest.approx(-of_none - of_two)
    # Behind a ReLU one image sees only the first unit, (1, 0, 0), the other one only the second, (0, 1, 0): r = -1/2.
    image = keras.Input((3,))
    x = L.ReLU(name="act")(L.Dense(2, use_bias=False, name="dense")(image))
    gated = keras.Model(image, L.Dense(1, use_bias=False, kernel_initializer="ones", name="sum")(x))
    gated.get_layer("dense").set_weights([np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])])
    found = jacob_cov(gated, np.array([[1.0, -1.0, 0.0], [-1.0, 1.0, 0.0]]))
    assert found == pytest.approx(-sum(math.log(v) + 1 / v for v in (0.5, 1.5)), abs=1e-4)
    assert found > jacob_cov(net, images)
    with pytest.raises(InputError, match=r"two images or more\. Received: 1"):
        jacob_cov(net, images[:1])


def test_the_baselines_count():
    net = networks.net(L.Conv2D(8, 3, padding="same", name="conv"), shape=(10, 10, 8))
    assert SCORES["parameters"].of(net, None) == 8 * 9 * 8 + 8
    assert SCORES["macs"].of(net, None) == 100 * 72 * 8
