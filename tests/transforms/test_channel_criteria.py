from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.networks import randomised
from tests.transforms.channel_nets import branching, pictures, plain
from tta_lite.compat import keras
from tta_lite.transforms.channels.criteria import CRITERIA, score_channels
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.types import InputError

L = keras.layers
mse = keras.losses.MeanSquaredError()


def scores(net, name, **options):
    return score_channels(net, channel_groups(net), name, **options)


@pytest.fixture(scope="module")
def branches():
    return branching()


@pytest.fixture(scope="module")
def labelled(branches):
    images = pictures(12, (12, 12, 3))
    targets = np.random.default_rng(2).normal(size=(12, 7)).astype(np.float32)
    return [(images[at : at + 4], targets[at : at + 4]) for at in range(0, 12, 4)]


@pytest.fixture(scope="module")
def found(branches, labelled):
    """Every criterion's scores of one network."""
    images = pictures(12, (12, 12, 3))
    return {name: scores(branches, name, images=images, batches=labelled, loss=mse) for name in CRITERIA}


@pytest.mark.parametrize("name", CRITERIA)
def test_each_unit_that_may_leave_has_a_score(branches, found, name):
    groups = {group.name: group for group in channel_groups(branches)}
    assert found[name]
    for group, values in found[name].items():
        assert not groups[group].why_fixed
        assert values.shape == (groups[group].size,)
        assert np.isfinite(values).all() and (values >= 0).all() and values.max() > 0
    if name in ("l1_norm", "l2_norm", "random", "taylor"):
        assert set(found[name]) == {group.name for group in groups.values() if not group.why_fixed}


def test_a_criterion_leaves_the_network_as_it_was(branches, found):
    untouched = branching()
    assert len(found) == len(CRITERIA)
    assert all(np.array_equal(a, b) for a, b in zip(untouched.get_weights(), branches.get_weights(), strict=True))


def test_norms_by_hand():
    net = plain((2, 3), shape=(4, 4, 1))
    conv = net.get_layer("conv1")
    kernel = np.zeros((3, 3, 1, 2))
    kernel[0, 0, 0], kernel[2, 1, 0] = [3, -1], [-4, 1]
    conv.kernel.assign(kernel)
    # 7 and 2; 5 and sqrt(2). One layer reads them.
    np.testing.assert_allclose(scores(net, "l1_norm")["conv1"], [7 / 9, 2 / 9])
    np.testing.assert_allclose(scores(net, "l2_norm")["conv1"], np.array([5, 2**0.5]) / (5 + 2**0.5))


def test_the_norms_of_layers_that_are_added_are_brought_to_one_size():
    image = keras.Input((4, 4, 1))
    one = L.Conv2D(2, 1, use_bias=False, name="one")(image)
    other = L.Conv2D(2, 1, use_bias=False, name="other")(image)
    x = L.Add()([one, other])
    net = keras.Model(image, [L.Conv2D(1, 1, name="left")(x), L.Conv2D(1, 1, name="right")(x)])
    net.get_layer("one").kernel.assign(np.reshape([1.0, 3.0], (1, 1, 1, 2)))
    net.get_layer("other").kernel.assign(np.reshape([300.0, -100.0], (1, 1, 1, 2)))
    # Shares (1/4, 3/4) and (3/4, 1/4), and two layers that read.
    np.testing.assert_allclose(scores(net, "l1_norm")["one"], [1.0, 1.0])


def test_a_deconv_is_measured_along_its_outputs():
    image = keras.Input((4, 4, 3))
    x = L.Conv2DTranspose(2, 2, name="deconv")(image)
    net = randomised(keras.Model(image, L.Conv2D(1, 1, name="head")(x)))
    kernel = net.get_layer("deconv").kernel.numpy()
    assert kernel.shape == (2, 2, 2, 3)
    by_hand = np.array([np.abs(kernel[:, :, unit, :]).sum() for unit in range(2)])
    np.testing.assert_allclose(scores(net, "l1_norm")["deconv"], by_hand / by_hand.sum(), rtol=1e-6)


def test_slimming_takes_the_factors_as_they_are(branches, found):
    stem, project = (np.abs(branches.get_layer(f"{name}_bn").gamma.numpy()) for name in ("stem", "project"))
    np.testing.assert_allclose(found["network_slimming"]["stem"], (stem + project) / 2, rtol=1e-6)
    # Without batch norm there is nothing to go by.
    assert "down" not in found["network_slimming"]


def test_slimming_without_batch_norm_is_refused():
    with pytest.raises(InputError, match="gamma"):
        scores(plain(), "network_slimming")


def test_ranks_by_hand():
    image = keras.Input((4, 4, 4))
    x = L.Conv2D(4, 1, use_bias=False, name="maps")(image)
    net = keras.Model(image, L.Conv2D(1, 1, name="head")(x))
    net.get_layer("maps").kernel.assign(np.eye(4).reshape(1, 1, 4, 4))
    row, column = np.array([1.0, 2, 3, 4]), np.array([1.0, -1, 2, 0.5])
    one = np.outer(row, column)
    two = one + np.outer(row[::-1], np.array([0.0, 1, 1, 0]))
    maps = np.stack([np.zeros((4, 4)), one, two, np.diag(row)], axis=-1)
    other = np.stack([one, one, one, two], axis=-1)
    images = np.stack([maps, other]).astype(np.float32)
    # Ranks 0, 1, 2, 4 of the first picture and 1, 1, 1, 2 of the second.
    mean = np.array([0.5, 1, 1.5, 3])
    np.testing.assert_allclose(scores(net, "hrank", images=images)["maps"], mean / mean.sum())


def test_ranks_are_those_behind_the_activation():
    image = keras.Input((4, 4, 2))
    x = L.BatchNormalization(name="norm")(L.Conv2D(2, 1, use_bias=False, name="maps")(image))
    net = keras.Model(image, L.Conv2D(1, 1, name="head")(L.ReLU()(x)))
    net.get_layer("maps").kernel.assign(np.eye(2).reshape(1, 1, 2, 2))
    full = np.random.default_rng(0).uniform(0.1, 1, (1, 4, 4))
    # The second map is all below zero.
    images = np.stack([full, -full], axis=-1).astype(np.float32)
    np.testing.assert_allclose(scores(net, "hrank", images=images)["maps"], [1, 0])


@pytest.mark.parametrize("name", ["reconstruction", "taylor"])
def test_a_unit_that_nobody_hears_is_worth_nothing(branches, labelled, name):
    net = keras.models.clone_model(branches)
    net.set_weights(branches.get_weights())
    for reader in ("project", "grouped"):
        kernel = net.get_layer(reader).kernel.numpy()
        kernel[:, :, 3] = 0
        net.get_layer(reader).kernel.assign(kernel)
    images = pictures(12, (12, 12, 3))
    values = scores(net, name, images=images, batches=labelled, loss=mse)
    for group in ("expand", "down"):
        assert values[group][3] == pytest.approx(0, abs=1e-12)
        assert np.delete(values[group], 3).min() >= 0 and np.delete(values[group], 3).max() > 1e-6


def test_thinet_takes_away_the_set_with_the_least_error():
    """Against all sets of the same size, each tried out."""
    image = keras.Input((6, 6, 5))
    x = L.ReLU(name="relu")(L.Conv2D(5, 1, name="body")(image))
    net = randomised(keras.Model(image, L.Conv2D(4, 3, padding="same", use_bias=False, name="head")(x)), seed=3)
    kernel = net.get_layer("head").kernel.numpy()
    # What channels 1 and 4 give cancels out: neither is small, and together they are nearly nothing.
    body = net.get_layer("body")
    weights, bias = body.get_weights()
    weights[..., 4], bias[4] = weights[..., 1], bias[1]
    body.set_weights([weights, bias])
    kernel[:, :, 4] = -kernel[:, :, 1] + 0.01 * kernel[:, :, 0]
    kernel[:, :, 1] *= 1.001
    net.get_layer("head").kernel.assign(kernel)
    images = pictures(6, (6, 6, 5))
    values = scores(net, "reconstruction", images=images)["body"]
    features = keras.Model(image, net.get_layer("relu").output)(images)

    def error(gone):
        only = np.zeros_like(kernel)
        only[:, :, list(gone)] = kernel[:, :, list(gone)]
        head = L.Conv2D(4, 3, padding="same", use_bias=False)
        head.build(features.shape)
        head.set_weights([only])
        return float((head(features).numpy().astype(np.float64) ** 2).sum())

    order = np.argsort(values, kind="stable")
    # Greedy by hand.
    gone: list[int] = []
    for _ in range(5):
        gone.append(min(set(range(5)) - set(gone), key=lambda unit: error([*gone, unit])))
    assert order.tolist() == gone
    assert values[gone[0]] == pytest.approx(error(gone[:1]) / error(range(5)), rel=1e-3)
    best_pair = min(itertools.combinations(range(5), 2), key=error)
    assert error(best_pair) < 0.1 * min(error([unit]) for unit in range(5))


def test_thinet_finds_planted_copies_that_weigh_nothing():
    net = plain((12, 8))
    head = net.get_layer("conv2")
    kernel = head.kernel.numpy()
    planted = [1, 5, 6]
    kernel[:, :, planted] *= 1e-3
    head.kernel.assign(kernel)
    values = scores(net, "reconstruction", images=pictures(8))["conv1"]
    assert sorted(np.argsort(values)[:3].tolist()) == planted


def test_taylor_is_the_squared_slope_of_the_loss(branches, labelled, found):
    """Against finite differences: the layers that read a unit read it a little louder or softer."""
    groups = {group.name: group for group in channel_groups(branches)}
    # In float64, so that the differences can be small.
    double = {"dtype": "float64"}
    net = keras.models.clone_model(
        branches, clone_function=lambda layer: type(layer).from_config({**layer.get_config(), **double})
    )
    axes = {"project": 2, "expand": 2, "down": 2, "grouped": 2, "separable": 2, "deconv": 3, "head": 0}

    def loss_with(group: ChannelGroup, unit: int, factor: float, x, y) -> float:
        net.set_weights(branches.get_weights())
        for part in group.parts:
            if part.side == "in":
                layer = net.get_layer(part.layer)
                weight = layer.pointwise_kernel if part.layer == "separable" else layer.kernel
                values = np.moveaxis(weight.numpy(), axes[part.layer], 0)
                values[part.units == unit] *= factor
                weight.assign(np.moveaxis(values, 0, axes[part.layer]))
        return float(np.mean((net(x.astype(np.float64), training=False).numpy() - y) ** 2))

    step = 1e-5
    for name, unit in (("stem", 3), ("expand", 5), ("down", 0), ("grouped", 7), ("separable", 2), ("deconv", 11)):
        slopes = [
            (loss_with(groups[name], unit, 1 + step, x, y) - loss_with(groups[name], unit, 1 - step, x, y)) / (2 * step)
            for x, y in labelled
        ]
        assert found["taylor"][name][unit] == pytest.approx(np.mean(np.square(slopes)), rel=1e-3, abs=1e-9), name


def test_taylor_does_not_care_where_a_residual_unit_is_made(branches, labelled):
    # Twice as loud from one maker, half as loud to its readers: the same network, and the same scores.
    net = plain((6, 4))
    images = pictures(4)
    batches = [(images, np.ones((4, 8, 8, 5), np.float32))]
    before = scores(net, "taylor", batches=batches, loss=mse)
    conv1, conv2 = net.get_layer("conv1"), net.get_layer("conv2")
    conv1.set_weights([2 * weight for weight in conv1.get_weights()])
    conv2.kernel.assign(conv2.kernel / 2)
    after = scores(net, "taylor", batches=batches, loss=mse)
    np.testing.assert_allclose(after["conv1"], before["conv1"], rtol=1e-4)


def classifier_with_a_telling_channel():
    """Channel 2 of `body` alone says which class it is; channel 0 is loud and says nothing."""
    image = keras.Input((4, 4, 4), name="image")
    x = L.ReLU(name="body_relu")(L.Conv2D(4, 1, use_bias=False, name="body")(image))
    x = L.Conv2D(4, 1, name="mix")(x)
    x = L.GlobalAveragePooling2D()(x)
    net = keras.Model(image, L.Dense(2, activation="softmax", name="head")(x))
    rng = np.random.default_rng(0)
    net.get_layer("body").kernel.assign(np.eye(4).reshape(1, 1, 4, 4))
    mix = 0.05 * np.eye(4)
    mix[0, 0] = 2.0
    mix[2, 2] = 1.0
    net.get_layer("mix").kernel.assign(mix.reshape(1, 1, 4, 4))
    net.get_layer("head").set_weights([np.array([[0.0, 0], [0, 0], [-2.0, 2.0], [0, 0]]), np.zeros(2)])
    y = np.arange(24) % 2
    x = rng.uniform(0, 0.2, (24, 4, 4, 4))
    # The same for both classes.
    x[..., 0] += np.repeat(rng.uniform(0, 3, 12), 2)[:, None, None]
    x[..., 2] += y[:, None, None]
    return net, [(x[at : at + 8].astype(np.float32), y[at : at + 8]) for at in range(0, 24, 8)]


def test_dcp_asks_for_what_tells_the_classes_apart():
    net, batches = classifier_with_a_telling_channel()
    groups = channel_groups(net)
    loss = keras.losses.SparseCategoricalCrossentropy()
    discrimination = CRITERIA["discrimination"].function
    with_loss = discrimination(net, groups, batches, loss, balance=100.0)["body"]
    without = discrimination(net, groups, batches, loss, balance=0.0)["body"]
    assert with_loss.argmax() == 2
    # The reconstruction error alone asks for the loud one.
    assert without.argmax() == 0
    # Losses at intermediate features or none: the telling one is asked for.
    assert discrimination(net, groups, batches, loss, losses=0, balance=100.0)["body"].argmax() == 2


def test_dcp_without_the_loss_does_not_ask_for_copies():
    """What is in already is fitted to give what a copy would: the copy comes last."""
    net = plain((6, 3), shape=(6, 6, 2))
    conv = net.get_layer("conv1")
    kernel, bias = conv.get_weights()
    kernel[..., 3], bias[3] = kernel[..., 0], bias[0]
    conv.set_weights([kernel, bias])
    images = pictures(8, (6, 6, 2))
    batches = [(images, np.zeros((8, 6, 6, 5), np.float32))]
    values = CRITERIA["discrimination"].function(net, channel_groups(net), batches, mse, balance=0.0, stages=6)["conv1"]
    last, before = np.argsort(values, kind="stable")[:2]
    assert last in (0, 3) and before not in (0, 3)
    assert values[last] < 0.01 * values[before]


def test_chance_has_a_seed(branches):
    one, same, other = (scores(branches, "random", seed=seed)["stem"] for seed in (1, 1, 2))
    assert np.array_equal(one, same) and not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("magnitude", {}, "criterion.*l1_norm.*Received: 'magnitude'"),
        ("hrank", {}, "hrank.*images"),
        ("taylor", {"images": pictures(1)}, "taylor.*batches and loss"),
        ("taylor", {"batches": [(pictures(1), pictures(1))]}, "no loss"),
        ("reconstruction", {"images": pictures(2, (9, 8, 3))}, r"images.*\(2, 9, 8, 3\)"),
        ("reconstruction", {"images": pictures(0)}, "images"),
    ],
)
def test_what_is_missing_is_named(name, options, said):
    with pytest.raises(InputError, match=said):
        scores(plain(), name, **options)
