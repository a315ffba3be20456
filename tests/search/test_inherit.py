from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.search.inherit import inherit
from tta_lite.search.inherit_pose import inherit_pose

L = keras.layers


def net(filters: int, kernel: int = 3, *, classes: int = 3, groups: int = 1, extra: bool = False) -> keras.Model:
    """Every kind of layer that has weights here; all weights, batch norm's too, are different numbers."""
    image = keras.Input((8, 8, 2), name="image")
    x = L.Conv2D(filters, kernel, padding="same", use_bias=False, name="conv")(image)
    x = L.BatchNormalization(name="norm")(x)
    x = L.DepthwiseConv2D(kernel, padding="same", name="depthwise")(x)
    if extra:
        x = L.Conv2D(filters, 1, name="extra")(x)
    x = L.Conv2DTranspose(filters, 4, strides=2, padding="same", name="deconv")(x)
    x = L.Conv2D(4, 1, groups=groups, name="grouped")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, L.Dense(classes, name="scores")(x))
    rng = np.random.default_rng(filters)
    model.set_weights([rng.uniform(0.1, 1, array.shape).astype(np.float32) for array in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def wide() -> keras.Model:
    return net(6)


def arrays(model: keras.Model, name: str) -> list[np.ndarray]:
    return model.get_layer(name).get_weights()


def test_the_same_network_takes_everything_bit_by_bit(wide):
    model = net(6)
    model.set_weights([array + 1 for array in model.get_weights()])
    before = [array.copy() for array in wide.get_weights()]
    found = inherit(model, wide)
    assert found.whole == ("conv", "norm", "depthwise", "deconv", "grouped", "scores")
    assert (found.part, found.fresh, found.share) == ((), (), 1.0)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), wide.get_weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(before, wide.get_weights(), strict=True))


def test_a_narrower_network_takes_the_first_channels(wide):
    model = net(4)
    found = inherit(model, wide)
    assert found.part == ("conv", "norm", "depthwise", "deconv", "grouped")
    assert (found.whole, found.fresh, found.share) == (("scores",), (), 1.0)
    assert np.array_equal(arrays(model, "conv")[0], arrays(wide, "conv")[0][:, :, :, :4])
    for mine, its in zip(arrays(model, "norm"), arrays(wide, "norm"), strict=True):
        assert np.array_equal(mine, its[:4])
    assert np.array_equal(arrays(model, "depthwise")[0], arrays(wide, "depthwise")[0][:, :, :4])
    # Keras: Deconv [H, W, out, in].
    assert np.array_equal(arrays(model, "deconv")[0], arrays(wide, "deconv")[0][:, :, :4, :4])
    assert np.array_equal(arrays(model, "grouped")[0], arrays(wide, "grouped")[0][:, :, :4, :])


def test_a_wider_network_keeps_its_own_numbers_beyond(wide):
    model = net(9)
    own = arrays(model, "conv")[0]
    found = inherit(model, wide)
    assert np.array_equal(arrays(model, "conv")[0][..., :6], arrays(wide, "conv")[0])
    assert np.array_equal(arrays(model, "conv")[0][..., 6:], own[..., 6:])
    # By hand. All: conv 9 x 2 x 9, norm 4 x 9, depthwise 9 x 9 + 9, deconv 16 x 9 x 9 + 9, grouped 9 x 4 + 4, scores
    # 4 x 3 + 3. Taken: the same with 6 instead of each 9 that is not 3 x 3.
    assert found.share == pytest.approx((108 + 24 + 60 + 582 + 28 + 15) / (162 + 36 + 90 + 1305 + 40 + 15))


def test_a_larger_kernel_does_the_same_and_a_smaller_one_is_its_middle(wide):
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype(np.float32)
    larger = net(6, 5)
    inherit(larger, wide)
    assert np.allclose(larger(images), wide(images), rtol=1e-5)
    assert not arrays(larger, "depthwise")[0][0].any()
    smaller = net(6, 1)
    inherit(smaller, wide)
    assert np.array_equal(arrays(smaller, "depthwise")[0], arrays(wide, "depthwise")[0][1:2, 1:2])


def test_what_has_no_counterpart_stays_as_it_is(wide):
    model = net(6, 2, classes=5, groups=2, extra=True)
    before = {name: arrays(model, name) for name in ("conv", "depthwise", "extra", "grouped")}
    found = inherit(model, wide)
    # Even kernels have another middle; [1, 1, 3, 4] of two groups is not the start of [1, 1, 6, 4].
    assert found.fresh == ("conv", "depthwise", "extra", "grouped")
    assert all(np.array_equal(a, b) for name in before for a, b in zip(before[name], arrays(model, name), strict=True))
    assert np.array_equal(arrays(model, "scores")[0][:, :3], arrays(wide, "scores")[0])


def test_another_kind_of_layer_of_the_same_name_gives_nothing():
    image = keras.Input((4,))
    dense = keras.Model(image, L.Dense(4, name="same")(image))
    normed = keras.Model(image, L.BatchNormalization(name="same")(image))
    narrower = keras.Input((3,))
    assert inherit(normed, dense).fresh == ("same",)
    assert inherit(keras.Model(narrower, L.Dense(4, name="same")(narrower)), dense).fresh == ("same",)


def test_a_layer_may_take_from_another_name(wide):
    model = net(6, extra=True)
    found = inherit(model, wide, {"extra": "grouped", "scores": "none"})
    assert (found.part, found.fresh) == (("extra",), ("scores",))
    assert np.array_equal(arrays(model, "extra")[0][..., :4], arrays(wide, "grouped")[0])


def test_a_pose_net_of_another_family_gives_nothing(wide):
    model = net(6, extra=True)
    assert inherit_pose(model, wide).whole == ("conv", "norm", "depthwise", "deconv", "grouped", "scores")
    image = keras.Input((4, 4, 2))
    stranger = keras.Model(image, L.Conv2D(4, 3, name="conv")(image))
    before = arrays(model, "conv")[0]
    assert inherit_pose(model, stranger) is None
    assert np.array_equal(arrays(model, "conv")[0], before)
