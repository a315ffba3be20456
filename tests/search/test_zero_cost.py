from __future__ import annotations

import math

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.search.zero_cost import SCORES, hamming_kernel, naswot, synflow
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


def test_the_baselines_count():
    net = networks.net(L.Conv2D(8, 3, padding="same", name="conv"), shape=(10, 10, 8))
    assert SCORES["parameters"].of(net, None) == 8 * 9 * 8 + 8
    assert SCORES["macs"].of(net, None) == 100 * 72 * 8
