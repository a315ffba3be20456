"""Residual blocks leave: found from the graph, scored, and gone, against models that are written down by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.networks import randomised
from tests.transforms.removal import check_useful
from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.backbones import BACKBONES
from tta_lite.transforms.depth.blocks import NO_IDENTITY, TWO_SHAPES, residual_blocks
from tta_lite.transforms.depth.criteria import CRITERIA, block_scores
from tta_lite.transforms.drop_blocks import drop_blocks
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.types import InputError

L = keras.layers
mse = keras.losses.MeanSquaredError()


def branch(x, name, filters=4):
    x = L.ReLU(name=f"{name}_relu")(L.Conv2D(6, 1, name=f"{name}_expand")(x))
    return L.BatchNormalization(name=f"{name}_bn")(
        L.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv")(x)
    )


def network(blocks=("a", "b", "c"), size=8):
    """stem, blocks as in ResNet v1, a head; by hand, so that the one with fewer blocks is known."""
    image = keras.Input((size, size, 3), name="image")
    x = L.ReLU(name="stem_relu")(L.Conv2D(4, 3, padding="same", name="stem")(image))
    for name in blocks:
        x = L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([x, branch(x, name)]))
    x = L.Conv2D(5, 3, strides=2, padding="same", name="head")(x)
    return randomised(keras.Model(image, x, name="by_hand"))


def with_weights_of(model, other):
    """Gives each layer the weights of the layer of the same name."""
    for layer in model.layers:
        layer.set_weights(other.get_layer(layer.name).get_weights())
    return model


def silence(model, *names):
    """Branches that give 0: the factor and the shift of their last batch norm are 0."""
    for name in names:
        _, _, mean, variance = model.get_layer(f"{name}_bn").get_weights()
        model.get_layer(f"{name}_bn").set_weights([0 * mean, 0 * mean, mean, variance])


def pictures(count=6, size=8):
    return np.random.default_rng(1).normal(size=(count, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def net():
    return network()


# 8 x 8 places: 4 x 6 products of the 1 x 1 convolution, 6 x 4 x 9 of the 3 x 3.
BLOCK_MACS = 64 * (24 + 216)
# Kernel and bias, kernel, and four numbers for each of four channels of batch norm.
BLOCK_PARAMS = 24 + 6 + 216 + 16
STEM_MACS, HEAD_MACS = 64 * 27 * 4, 16 * 36 * 5


def test_blocks_are_found_with_what_they_cost(net):
    found = residual_blocks(net)
    assert [block.name for block in found] == ["a_add", "b_add", "c_add"]
    for block, name in zip(found, "abc", strict=True):
        # The ReLU behind leaves too: what came in has passed one.
        parts = ("expand", "relu", "conv", "bn", "add", "out")
        assert block.layers == tuple(f"{name}_{part}" for part in parts)
        assert (block.macs, block.params, block.shape, block.why_fixed) == (
            BLOCK_MACS,
            BLOCK_PARAMS,
            (None, 8, 8, 4),
            "",
        )
    assert [block.input for block in found[1:]] == [block.output for block in found[:-1]]


def test_what_is_left_is_the_network_without_the_block(net):
    before = net.get_weights()
    smaller, x = remove_blocks(net, ["b_add"]), pictures()
    by_hand = with_weights_of(network("ac"), net)
    assert [layer.name for layer in smaller.layers] == [layer.name for layer in by_hand.layers]
    np.testing.assert_array_equal(smaller(x), by_hand(x))
    assert np.abs(smaller(x) - net(x)).max() > 1e-2
    assert all(np.array_equal(one, other) for one, other in zip(before, net.get_weights(), strict=True))


def test_blocks_that_give_nothing_leave_without_a_trace():
    net = network()
    silence(net, "a", "c")
    x = pictures()
    np.testing.assert_allclose(remove_blocks(net, ["c_add", "a_add"])(x), net(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("criterion", [name for name in CRITERIA if name != "random"])
def test_a_block_that_gives_nothing_is_worth_nothing(criterion):
    net, x = network(), pictures()
    silence(net, "b")
    batches = [(x[at : at + 3], np.ones((3, 4, 4, 5), np.float32)) for at in (0, 3)]
    scores = block_scores(net, criterion, images=x, batches=batches, loss=mse)
    assert scores["b_add"] == pytest.approx(0, abs=1e-7)
    assert min(scores["a_add"], scores["c_add"]) > 1e-4


def test_scores_against_arithmetic():
    image = keras.Input((1, 1, 2))
    x = L.Add(name="add")([image, L.Conv2D(2, 1, use_bias=False, name="conv")(image)])
    net = keras.Model(image, x)
    net.set_weights([np.array([[[[1.0, 2.0], [0.0, 1.0]]]], np.float32)])
    x = np.array([[[[1.0, 0.0]]], [[[0.0, 3.0]]]], np.float32)
    # (1, 0) becomes (2, 2), and (0, 3) becomes (0, 6).
    assert block_scores(net, "block_influence", images=x)["add"] == pytest.approx((1 - 0.5**0.5) / 2)
    assert block_scores(net, "relative_change", images=x)["add"] == pytest.approx((5**0.5 + 1) / 2)
    assert block_scores(net, "output_change", images=x)["add"] == pytest.approx((1 + 4 + 9) / (4 + 4 + 36))
    # The loss is the sum of the outputs: its change with the branch is the sum of what the branch gives, 3 and 3.
    batches = [(one[None], np.zeros((1, 1, 1, 2), np.float32)) for one in x]
    total = lambda y, predicted: 2 * predicted  # noqa: E731
    assert block_scores(net, "taylor", batches=batches, loss=total)["add"] == pytest.approx(9)


def test_the_least_leaves_until_the_target_is_met(net):
    silenced = network()
    silence(silenced, "a", "b")
    whole = STEM_MACS + HEAD_MACS + 3 * BLOCK_MACS
    found = drop_blocks(silenced, macs=whole - BLOCK_MACS - 1, images=pictures())
    assert found.removed == ("a_add", "b_add")
    assert (found.macs_before, found.macs_after) == (whole, whole - 2 * BLOCK_MACS)
    real = count(found.model)
    assert (real.macs, real.params) == (found.macs_after, found.params_after)
    assert found.params_before - found.params_after == 2 * BLOCK_PARAMS
    rows = found.table().splitlines()
    assert rows[2].split()[:3] == ["a_add", f"{BLOCK_MACS:,}", str(BLOCK_PARAMS)] and rows[2].endswith("left")
    assert not rows[4].endswith("left") and rows[-1].split()[:2] == ["after", f"{found.macs_after:,}"]


def two_sizes(small, large):
    """A block with a 1 x 1 convolution and one with a 3 x 3, whose weights are multiplied by so much."""
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", name="stem")(image)
    for name, kernel in (("small", 1), ("large", 3)):
        x = L.Add(name=f"{name}_add")([x, L.Conv2D(4, kernel, padding="same", name=name)(x)])
    net = randomised(keras.Model(image, x))
    for name, value in (("small", small), ("large", large)):
        net.get_layer(name).set_weights([weight * value for weight in net.get_layer(name).get_weights()])
    return net


def test_what_is_lost_is_weighed_by_what_it_frees():
    net = two_sizes(0.1, 0.05)
    options = {"macs": 64 * (27 * 4 + 144), "images": pictures(), "repair": False}
    found = {name: drop_blocks(net, name, **options) for name in ("relative_change", "output_change")}
    assert all(one.scores["small_add"] < one.scores["large_add"] for one in found.values())
    # As in the paper, the least first; but the large one frees nine times as much.
    assert found["relative_change"].removed == ("small_add",)
    assert found["output_change"].removed == ("large_add",)


def test_what_the_target_does_not_need_comes_back():
    # The first to leave is small, the second alone would have been enough.
    net = two_sizes(0, 1e-3)
    found = drop_blocks(net, macs=64 * (27 * 4 + 16), images=pictures())
    assert found.scores["small_add"] < found.scores["large_add"] and found.removed == ("large_add",)


def test_other_targets(net):
    assert len(drop_blocks(net, "random", blocks=2).removed) == 2
    # 1,083 parameters, 262 of them in each block.
    found = drop_blocks(net, "random", params=0.76, seed=1)
    assert len(found.removed) == 1 and found.params_after == found.params_before - BLOCK_PARAMS
    # A latency that counts layers: each block has 6 of them.
    layers = (lambda model: float(len(model.layers)), len(net.layers) - 7.0)
    found = drop_blocks(net, "random", latency=layers)
    assert len(found.removed) == 2 and found.latency_ms == len(net.layers) - 12


def test_within_and_protected(net):
    found = drop_blocks(net, "random", blocks=1, within=["b_*", "c_*"], protected=["c_conv"])
    assert found.removed == ("b_add",)
    assert found.fixed == {"a_add": "not within: a_expand", "c_add": "protected: c_conv"}
    # The share is of the layers within: half of two blocks is one.
    assert len(drop_blocks(net, "random", macs=0.5, within=["b_*", "c_*"]).removed) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"macs": 0.1}, r"least that can be reached is 9,792 of 55,872 \(0.1753\), without all 3 blocks"),
        ({"params": 1}, "least that can be reached"),
        ({"latency": (lambda model: 3.0, 2.0)}, "least that can be reached is 3 ms"),
        ({"blocks": 4}, "least that can be reached is without all 3 blocks"),
        ({"blocks": 0}, "1 or more"),
        ({"macs": 0.5, "blocks": 1}, "One of `macs`, `params`, `latency` and `blocks`"),
        ({}, "Received: none of them"),
        ({"macs": 1.5}, "between 0 and 1"),
        (
            {"macs": 0.9, "protected": ["*_conv"]},
            r"0 blocks that may leave; 3 are fixed, as 'a_add' \(protected: a_conv",
        ),
        ({"blocks": 1, "protected": ["d_*"]}, "Received: 'd_"),
        ({"blocks": 1, "within": ["d_*"]}, "Received: 'd_"),
        ({"blocks": 1, "criterion": "beauty"}, "Received: 'beauty'"),
        ({"blocks": 1, "criterion": "taylor"}, "no batches and loss"),
        ({"blocks": 1, "criterion": "block_influence"}, "needs `images`"),
    ],
)
def test_refusals_come_before_any_work(net, options, message, monkeypatch):
    monkeypatch.setattr("tta_lite.transforms.drop_blocks.block_scores", lambda *args, **kwargs: pytest.fail("work"))
    with pytest.raises(InputError, match=message):
        drop_blocks(net, **{"criterion": "random", **options})


def test_blocks_that_are_not_there_or_must_stay_are_refused():
    image = keras.Input((8, 8, 4))
    x = L.Add(name="projected")([L.Conv2D(4, 1)(image), L.Conv2D(4, 3, padding="same")(image)])
    x = L.Add(name="spread")([x, L.Conv2D(4, 8)(x)])
    x = L.Add(name="plain")([x, L.ReLU()(x)])
    net = keras.Model(image, x)
    assert {block.name: block.why_fixed for block in residual_blocks(net)} == {
        "projected": NO_IDENTITY,
        "spread": TWO_SHAPES,
        # A branch without weights is no block: x + relu(x) is an activation.
        "plain": NO_IDENTITY,
    }
    with pytest.raises(InputError, match="'projected' must stay"):
        remove_blocks(net, ["projected"])
    with pytest.raises(InputError, match=r"it has none.*Received: 'elsewhere'"):
        remove_blocks(net, ["elsewhere"])


def test_other_ways_to_write_a_block():
    image = x = keras.Input((8, 8, 4), name="image")
    # The branch first, by an operator; what comes in passes a dropout; two branches at once; a swish stays.
    x = branch(x, "a") + x
    x = L.Add(name="b")([L.Dropout(0.2, name="drop")(x), branch(x, "b")])
    x = L.Activation("swish", name="swish")(L.Add(name="c")([x, branch(x, "c"), branch(x, "d")]))
    net = randomised(keras.Model(image, x))
    found = residual_blocks(net)
    assert not any(block.why_fixed for block in found) and len(found) == 3
    assert found[2].layers[-1] == "c"
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    smaller = remove_blocks(net, [block.name for block in found])
    assert [layer.name for layer in smaller.layers] == ["image", "drop", "swish"]
    np.testing.assert_allclose(smaller(images), keras.activations.swish(images), atol=1e-6)


def test_a_sum_that_is_an_output_keeps_its_name():
    image = keras.Input((8, 8, 4), name="image")
    x = L.Conv2D(4, 3, padding="same", name="stem")(image)
    net = randomised(keras.Model(image, [x, L.Add(name="refined")([x, branch(x, "a")])]))
    smaller = remove_blocks(net, ["refined"])
    assert smaller.output_names == ["stem", "refined"]
    coarse, refined = smaller(np.ones((1, 8, 8, 4), np.float32))
    np.testing.assert_array_equal(coarse, refined)


def test_blocks_within_blocks_and_within_nested_models():
    image = x = keras.Input((8, 8, 4), name="features")
    inner = L.Add(name="inner")([x, branch(x, "a")])
    x = L.Add(name="outer")([x, branch(inner, "b")])
    body = randomised(keras.Model(image, x, name="body"))
    photo = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(2, 1, name="head")(body(L.Conv2D(4, 1, name="stem")(photo)))
    net = randomised(keras.Model(photo, x, name="whole"))
    found = {block.name: block for block in residual_blocks(net)}
    assert found["body/inner"].macs == BLOCK_MACS and found["body/outer"].macs == 2 * BLOCK_MACS
    only_inner = remove_blocks(net, ["body/inner"])
    assert [layer.name for layer in only_inner.layers] == ["image", "stem", "body", "head"]
    assert "a_conv" not in {layer.name for layer in only_inner.get_layer("body").layers}
    both = drop_blocks(net, "random", blocks=2)
    assert both.macs_after == both.macs_before - 2 * BLOCK_MACS
    assert count(both.model).macs == both.macs_after


def test_frozen_layers_within_nested_models_stay_frozen():
    image = keras.Input((8, 8, 4), name="features")
    x = L.Add(name="first")([image, branch(image, "a")])
    body = keras.Model(image, L.Add(name="second")([x, branch(x, "b")]), name="body")
    photo = keras.Input((8, 8, 3), name="image")
    net = keras.Model(photo, L.Conv2D(2, 1, name="head")(body(L.Conv2D(4, 1, name="stem")(photo))))
    body.get_layer("b_conv").trainable = False
    net.get_layer("stem").trainable = False
    smaller = remove_blocks(net, ["body/first"])
    assert not smaller.get_layer("stem").trainable and smaller.get_layer("head").trainable
    left = {layer.name: layer.trainable for layer in smaller.get_layer("body").layers[1:]}
    assert left == {"b_expand": True, "b_relu": True, "b_conv": False, "b_bn": True, "second": True}


def test_a_block_that_runs_twice_leaves_both_times():
    photo = keras.Input((8, 8, 4), name="image")
    shared = L.Conv2D(4, 3, padding="same", name="shared")
    add = L.Add(name="add")
    x = add([photo, shared(photo)])
    net = randomised(keras.Model(photo, L.Conv2D(2, 1, name="head")(add([x, shared(x)]))))
    (block,) = residual_blocks(net)
    assert block.layers == ("shared", "add") and block.macs == 2 * 64 * 144 and block.params == 148
    images = np.ones((1, 8, 8, 4), np.float32)
    np.testing.assert_allclose(remove_blocks(net, ["add"])(images), net.get_layer("head")(images), atol=1e-6)
    y = np.zeros((1, 8, 8, 2), np.float32)
    assert block_scores(net, "taylor", batches=[(images, y)], loss=mse)["add"] > 0


def test_the_shallower_network_trains_is_saved_and_converts(net, tmp_path):
    check_useful(drop_blocks(net, "random", blocks=1).model, tmp_path)


# Blocks with an identity, of all sums. ResNet 50: all but the first of its 3 + 4 + 6 + 3 (He et al., CVPR 2016, table
# 1); v2: nor the last of the first three stages, which stride. MobileNetV2: 10 of its 17 blocks have a sum at all
# (Sandler et al., CVPR 2018, table 2: one less than each stage has). ConvNeXt Tiny: 3 + 3 + 9 + 3. Xception: the eight
# of the middle flow, of 12 sums. EfficientNet B0: 16 blocks in 7 stages.
PUBLISHED = {
    "ResNet50": (12, 16),
    "ResNet50V2": (9, 16),
    "MobileNetV2": (10, 10),
    "ConvNeXtTiny": (18, 18),
    "Xception": (8, 12),
    "EfficientNetB0": (9, 9),
    # Szegedy et al., AAAI 2017, figure 15: 5, 10 and 5 blocks; Keras has 10, 20 and 10.
    "InceptionResNetV2": (40, 40),
}


FAST = ("ResNet50", "MobileNetV2")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in PUBLISHED]
)
def test_blocks_of_published_networks(name):
    net = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3))
    found = residual_blocks(net)
    assert (sum(not block.why_fixed for block in found), len(found)) == PUBLISHED[name]


# Of the networks of this project, by the tables of their papers: of each stage all blocks but the first may leave, and
# in the first stage of ResNet 18, which keeps channels and size, this one too.
OWN = {
    "resnet18": (5, 8),
    "resnet50": (12, 16),
    "mobilenet_v2": (10, 10),
    "mobilenet_v3_small": (6, 6),
    "mobilenet_v3_large": (10, 10),
    "mnasnet_a1": (9, 9),
    "mnasnet_b1": (10, 10),
    "shufflenet_v1_g3": (13, 13),
    "adder_resnet20": (7, 9),
    # It concatenates.
    "shufflenet_v2_1.0": (0, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_blocks_of_own_networks(name):
    image = keras.Input((64, 64, 3))
    found = residual_blocks(keras.Model(image, BACKBONES[name].build(image, None)))
    assert (sum(not block.why_fixed for block in found), len(found)) == OWN[name]


def test_a_relu_leaves_with_its_block_where_nothing_negative_comes_in():
    image = keras.Input((8, 8, 4), name="image")
    x = L.MaxPooling2D(name="pool")(L.ReLU(name="relu")(image))
    x = L.ReLU(name="last")(L.Add(name="add")([x, L.Conv2D(4, 1, name="conv")(x)]))
    net = randomised(keras.Model(image, L.Conv2D(2, 1, name="head")(x)))
    assert [layer.name for layer in remove_blocks(net, ["add"]).layers] == ["image", "relu", "pool", "head"]
    # A ReLU with a ceiling is another one, and without one before it the values may be negative.
    x = L.ReLU(6.0, name="last")(L.Add(name="add")([image, L.Conv2D(4, 1, name="conv")(image)]))
    net = keras.Model(image, L.Conv2D(2, 1, name="head")(x))
    assert [layer.name for layer in remove_blocks(net, ["add"]).layers] == ["image", "last", "head"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_without_their_blocks(name):
    net = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3))
    found = drop_blocks(net, "random", params=0.999)
    assert count(found.model).params == found.params_after < found.params_before
    assert found.model.output_shape == net.output_shape
