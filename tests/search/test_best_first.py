from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.layers import ChannelShuffle, ChannelSplit
from tta_lite.models.mnasnet import squeeze_excite
from tta_lite.search.inherit import inherit
from tta_lite.search.pose_space import FAMILIES, pose_net
from tta_lite.transforms.channels.best_first import best_first

L = keras.layers


def shaken(model: keras.Model) -> keras.Model:
    """All numbers differ, batch norm's too."""
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.2, 1, array.shape).astype(np.float32) for array in model.get_weights()])
    return model


def images(model: keras.Model) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (2, *model.input_shape[1:])).astype(np.float32)


def net(filters: int) -> keras.Model:
    image = keras.Input((4, 4, 2))
    x = L.Conv2D(4, 3, padding="same", name="stem")(image)
    y = L.ReLU(name="act")(L.BatchNormalization(name="norm")(L.Conv2D(filters, 1, name="expand")(x)))
    y = L.DepthwiseConv2D(3, padding="same", name="depthwise")(y)
    y = squeeze_excite(y, 2, name="se")
    x = L.Add(name="add")([x, L.Conv2D(4, 1, name="project")(y)])
    x = L.Conv2DTranspose(filters, 4, strides=2, padding="same", name="deconv")(x)
    return keras.Model(image, L.Conv2D(3, 1, name="heatmaps")(x))


def test_the_outputs_are_the_same_and_the_best_come_first():
    model = shaken(net(6))
    before = [array.copy() for array in model.get_weights()]
    found = best_first(model)
    assert np.allclose(found(images(model)), model(images(model)), rtol=1e-4)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    old, new = (np.abs(one.get_layer("deconv").get_weights()[0]).sum((0, 1, 3)) for one in (model, found))
    assert new.tolist() == pytest.approx(sorted(old, reverse=True))
    assert new.tolist() != pytest.approx(old.tolist())


def test_a_smaller_network_inherits_what_matters():
    def chain(filters: int) -> keras.Model:
        image = keras.Input((4, 4, 2))
        x = L.BatchNormalization(name="norm")(L.Conv2D(filters, 1, use_bias=False, name="expand")(image))
        return keras.Model(image, L.Conv2D(3, 1, name="project")(x))

    donor, narrow = shaken(chain(6)), chain(4)
    # Nothing makes the first and the third channel, and nothing reads them.
    for name, axis in (("expand", -1), ("project", -2)):
        arrays = donor.get_layer(name).get_weights()
        np.moveaxis(arrays[0], axis, 0)[[0, 2]] = 0
        donor.get_layer(name).set_weights(arrays)
    inherit(narrow, donor)
    assert not np.allclose(narrow(images(donor)), donor(images(donor)), rtol=1e-2)
    inherit(narrow, best_first(donor))
    assert np.allclose(narrow(images(donor)), donor(images(donor)), rtol=1e-4)


def test_what_is_tied_keeps_its_order():
    image = keras.Input((4, 4, 2))
    first, second = ChannelSplit(2, name="split")(L.Conv2D(4, 1, name="conv")(image))
    x = ChannelShuffle(2, name="shuffle")(L.Concatenate(name="cat")([first, L.Conv2D(2, 1, name="branch")(second)]))
    model = shaken(keras.Model(image, L.Conv2D(2, 1, name="head")(x)))
    assert np.allclose(best_first(model)(images(model)), model(images(model)), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_same_heat_maps(family):
    keras.utils.set_random_seed(0)
    model = pose_net({"family": family, "resolution": 64, "head.filters": 16})
    found = best_first(model)
    assert np.allclose(found(images(model)), model(images(model)), atol=1e-5)
    assert any(not np.array_equal(a, b) for a, b in zip(found.get_weights(), model.get_weights(), strict=True))
