"""After a block left, the layers behind are fitted: without loss where a linear layer can do its work."""

from __future__ import annotations

import numpy as np
import pytest

from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.transforms.depth.repair import repair
from tta_lite.transforms.drop_blocks import drop_blocks
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.types import InputError

L = keras.layers


def pictures(count, seed=1):
    return np.random.default_rng(seed).normal(size=(count, 8, 8, 3)).astype(np.float32)


def network(norm=False, bend=False):
    """Three blocks on one stream and a head; the second is linear, so that others can do its work."""
    image = keras.Input((8, 8, 3), name="image")
    x = L.ReLU(name="stem_relu")(L.Conv2D(6, 3, padding="same", name="stem")(image))
    for name in ("a", "b", "c"):
        y = x if name == "b" and not bend else L.ReLU(name=f"{name}_relu")(L.Conv2D(8, 1, name=f"{name}_expand")(x))
        if name == "c":
            # The third block sees the stream as it is too, and so can add what is missing in it.
            y = L.Concatenate(name="both")([x, y])
        y = L.Conv2D(6, 1, use_bias=not norm, name=f"{name}_project")(y)
        y = L.BatchNormalization(name=f"{name}_bn")(y) if norm else y
        x = L.Add(name=f"{name}_add")([x, y])
    return randomised(keras.Model(image, L.Conv2D(4, 3, padding="same", name="head")(x)))


def error(model, other, images):
    one, two = np.asarray(model(images)), np.asarray(other(images))
    return float(((one - two) ** 2).sum() / (two**2).sum())


@pytest.mark.parametrize("norm", [False, True])
def test_a_linear_block_leaves_without_loss(norm):
    net = network(norm)
    smaller = remove_blocks(net, ["b_add"])
    weights = smaller.get_weights()
    found = repair(net, smaller, ["b_add"], pictures(32))
    assert all(np.array_equal(one, other) for one, other in zip(weights, smaller.get_weights(), strict=True))
    unseen = pictures(8, seed=9)
    assert error(smaller, net, unseen) > 1e-2
    assert error(found, net, unseen) < 1e-6
    # What lies before is as it was.
    for name in ("stem", "a_expand", "a_project"):
        np.testing.assert_array_equal(found.get_layer(name).kernel, net.get_layer(name).kernel)


def test_any_block_leaves_with_less_loss():
    net = network(norm=True, bend=True)
    for name in ("a_add", "b_add", "c_add"):
        smaller, unseen = remove_blocks(net, [name]), pictures(8, seed=9)
        assert error(repair(net, smaller, [name], pictures(32)), net, unseen) < 0.7 * error(smaller, net, unseen)


def test_drop_blocks_repairs_where_it_has_images():
    net, images, unseen = network(), pictures(32), pictures(8, seed=9)
    options = {"blocks": 1, "within": ["b_*"], "images": images}
    assert error(drop_blocks(net, **options).model, net, unseen) < 1e-6
    assert error(drop_blocks(net, repair=False, **options).model, net, unseen) > 1e-2
    assert error(drop_blocks(net, "random", blocks=1, within=["b_*"]).model, net, unseen) > 1e-2
    with pytest.raises(InputError, match="repair=True without images"):
        drop_blocks(net, "random", blocks=1, repair=True)


def test_networks_that_do_not_belong_together_are_refused():
    net = network()
    with pytest.raises(InputError, match="layers differ"):
        repair(net, remove_blocks(net, ["a_add"]), ["b_add"], pictures(4))
