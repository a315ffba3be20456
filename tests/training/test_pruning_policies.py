"""Which layers are pruned, and what is refused before any training."""

from __future__ import annotations

import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tta_lite.compat import keras
from tta_lite.training.pruning import Pruning, layer_sparsities, magnitude_pruned, sparsity
from tta_lite.training.pruning_policies import LayerPolicy, chosen_kernels
from tta_lite.types import InputError

L = keras.layers


class Own(L.Layer, tfmot.sparsity.keras.PrunableLayer):
    """A layer of a user that says itself what can be pruned."""

    def build(self, shape):
        self.weight = self.add_weight("weight", (int(shape[-1]),))

    def call(self, x):
        return x * self.weight

    def get_prunable_weights(self):
        return [self.weight]


@pytest.fixture(scope="module")
def net():
    """Every kind of layer that can be pruned, some that cannot, and a network within."""
    inside = keras.Sequential([L.Conv2D(4, 1, input_shape=(8, 8, 4), name="conv"), L.PReLU(name="prelu")], name="block")
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", name="stem")(image)
    x = L.DepthwiseConv2D(3, padding="same", name="spatial")(x)
    x = inside(L.BatchNormalization(name="norm")(x))
    x = L.SeparableConv2D(4, 3, padding="same", name="separable")(x)
    x = L.Conv2DTranspose(4, 2, name="deconv")(x)
    x = Own(name="own")(x)
    return keras.Model(image, L.Dense(2, name="ending")(x), name="all_kinds")


def names(net, **policy):
    return [kernel.layer for kernel in chosen_kernels(net, LayerPolicy(**policy))]


EVERY = ["stem", "block/conv", "separable", "deconv", "own", "ending"]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, EVERY),
        ({"ends": False}, EVERY[1:-1]),
        ({"depthwise": True}, ["stem", "spatial", *EVERY[1:]]),
        ({"skip": ("block/*", "deconv")}, ["stem", "separable", "own", "ending"]),
        ({"only": ("block/*", "separable")}, ["block/conv", "separable"]),
        # A pattern may hit layers without kernels, and a depthwise one; a name means what it says.
        ({"only": ("s*",)}, ["stem", "separable"]),
        ({"only": ("spatial",)}, ["spatial"]),
        ({"only": ("stem", "deconv"), "ends": False}, ["stem", "deconv"]),
        ({"only": ("s*",), "ends": False}, ["separable"]),
    ],
)
def test_what_is_chosen(net, policy, expected):
    assert names(net, **policy) == expected


def test_which_weights_and_axes(net):
    found = {kernel.layer: (tuple(kernel.variable.shape), kernel.axis) for kernel in chosen_kernels(net)}
    assert found == {
        "stem": ((3, 3, 3, 4), -2),
        "block/conv": ((1, 1, 4, 4), -2),
        # Of a separable one the kernel that has nearly all the weights.
        "separable": ((1, 1, 4, 4), -2),
        # Keras keeps a Deconv's kernel as height, width, output, input.
        "deconv": ((2, 2, 4, 4), -1),
        "own": ((4,), None),
        "ending": ((4, 2), -2),
    }


def test_of_mixed_precision_the_weights_that_learn():
    net = keras.Sequential([L.Dense(2, input_shape=(4,), dtype=keras.mixed_precision.Policy("mixed_bfloat16"))])
    (kernel,) = chosen_kernels(net)
    assert kernel.variable.dtype == tf.float32


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (
            {"only": ("norm",)},
            r"one that can be pruned: .*DepthwiseConv2D.*PrunableLayer. Received: 'norm', a BatchNorm",
        ),
        ({"only": ("block/prelu",)}, r"Received: 'block/prelu', a PReLU"),
        ({"only": ("no_such_*",)}, r"must name layers of the network 'all_kinds'. Received: 'no_such_\*'"),
        ({"skip": ("conv",)}, r"must name layers of the network 'all_kinds'. Received: 'conv'"),
        ({"only": ("stem",), "skip": ("stem",)}, r"must leave a layer of 'all_kinds' to be pruned. Received: LayerPol"),
    ],
)
def test_policies_that_cannot_be(net, policy, message):
    with pytest.raises(InputError, match=message):
        chosen_kernels(net, LayerPolicy(**policy))


@pytest.mark.parametrize(
    ("pruning", "message"),
    [
        (
            Pruning(how="wrappers"),
            r"do not prune a layer of a nested network: .*how='callback'. Received: 'block/conv'",
        ),
        (
            Pruning(how="wrappers", layers=LayerPolicy(("spatial",))),
            r"do not prune a depthwise kernel: .*how='callback'. Received: 'spatial'",
        ),
        (
            Pruning(how="wrappers", pattern="2:4", layers=LayerPolicy(("deconv",))),
            r"output channels of a Deconv.*how='callback'. Received: 'deconv'",
        ),
        (Pruning(pattern="2:4"), r"kernels that sum over input channels. Received: own"),
        (Pruning(pattern="2:4", layers=LayerPolicy(("spatial", "stem"))), r"input channels. Received: spatial"),
    ],
)
def test_what_a_way_of_pruning_cannot_do(net, pruning, message):
    with pytest.raises(InputError, match=message):
        pruning.check(net)


@pytest.mark.parametrize("how", ["callback", "wrappers"])
def test_a_wrapped_network(how):
    net = keras.Sequential([L.Dense(4, input_shape=(4,), name="dense")])
    wrapped = Pruning().wrap(net, 10)
    with pytest.raises(InputError, match=r"after `strip`. Received: layer '.*dense' is in a PruneLowMagnitude"):
        Pruning(how=how).prepared(wrapped, 10)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"how": "by_hand"}, "`how` must be one of callback, wrappers. Received: 'by_hand'"),
        ({"schedule": "linear"}, "`schedule` must be one of polynomial_decay, constant. Received: 'linear'"),
        ({"sparsity": 0.75, "pattern": "2:4"}, "With the pattern 2:4 the sparsity is 0.5. Received: 0.75"),
        ({"pattern": "4:2"}, "0 < N < M. Received: 4:2"),
        ({"pattern": "half"}, "such as 2:4. Received: 'half'"),
    ],
)
def test_settings_that_cannot_be(values, message):
    with pytest.raises(InputError, match=message):
        Pruning(**values)


def test_pruned_at_once(net):
    before = net.get_weights()
    copy = magnitude_pruned(net, 0.75, layers=LayerPolicy(skip=("own",)))
    assert all((old == new).all() for old, new in zip(before, net.get_weights(), strict=True))
    assert layer_sparsities(copy) == {name: 0.0 if name in ("spatial", "own") else 0.75 for name in ["spatial", *EVERY]}
    # stem 108, block/conv 16, separable 16, deconv 64, ending 8 and own 4, which keeps its.
    assert sparsity(copy) == pytest.approx(0.75 * 212 / 216)
    kernel, pruned = (one.get_layer("stem").get_weights()[0] for one in (net, copy))
    assert abs(kernel[pruned == 0]).max() <= abs(pruned[pruned != 0]).min()
    assert (pruned[pruned != 0] == kernel[pruned != 0]).all()


def test_the_pattern_at_once(net):
    copy = magnitude_pruned(net, 0.5, layers=LayerPolicy(only=("deconv", "stem")), pattern="1:2")
    kernel = copy.get_layer("deconv").get_weights()[0].reshape(2, 2, 4, 2, 2)
    assert ((kernel != 0).sum(axis=-1) == 1).all()
    # Three inputs: one of the first two, and the one that is left.
    assert ((copy.get_layer("stem").get_weights()[0] != 0).sum(axis=2) == 2).all()
