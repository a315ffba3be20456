from __future__ import annotations

import functools

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.scaling import scale
from tta_lite.types import InputError

L, A = keras.layers, keras.applications


def test_a_model_in_another_resolution_keeps_its_weights_and_saves_macs():
    old = pose_resnet("mobilenet_v1_0.25", input_size=64, joints=3)
    new = scale(old, resolution=96)
    assert new.output_shape == (None, 24, 24, 3)
    for one, other in zip(old.get_weights(), new.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # A convolution costs by its pixels: (96 / 64)^2.
    assert count(new).macs == pytest.approx(2.25 * count(old).macs, rel=0.001)
    assert old.input_shape == (None, 64, 64, 3)


def test_a_builder_is_called_with_what_is_wanted():
    def build(width=1.0, resolution=224):
        return A.MobileNet(alpha=width, input_shape=(resolution, resolution, 3), weights=None)

    whole, half = count(build()), count(scale(build, width=0.5, resolution=160))
    # Howard et al. 2017, tables 6 and 7: 569 M at 1.0 and 224; 0.5 at 224 takes 149 M, and 160 pixels take (160/224)^2.
    assert whole.macs / 1e6 == pytest.approx(569, abs=1)
    assert half.macs / 1e6 == pytest.approx(149 * (160 / 224) ** 2, rel=0.02)


def test_names_of_the_zoo():
    # torchvision's mnasnet0_5 and shufflenet_v2_x2_0.
    half = count(scale("mnasnet_b1", width=0.5))
    assert (half.trainable_params, round(half.macs / 1e6)) == (2_218_512, pytest.approx(105, abs=5))
    assert count(scale("shufflenet_v2_1.0", width=2.0)).trainable_params == 7_393_996
    # 4, 8 and 4 units become 2, 4 and 2.
    names = {layer.name.split("_pconv1")[0] for layer in scale("shufflenet_v2_0.5", depth=0.5, resolution=64).layers}
    units = sorted(name for name in names if name.startswith("stage") and "_block" in name and name.count("_") == 1)
    assert units == [f"stage{s}_block{b}" for s, n in ((2, 2), (3, 4), (4, 2)) for b in range(1, n + 1)]


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        ("mobilenet_v2", {"depth": 0.5}, r"cannot change its depth; mnasnet_a1, .* can. Received: depth=0\.5"),
        ("resnet50", {"width": 0.5}, "Width and depth can be changed of mobilenet_v1, .*'resnet50' with width=0"),
        ("mobilenet_v9", {"width": 0.5}, "Unknown backbone"),
        ("shufflenet_v2_1.0", {"width": 0.7}, "`width` must be one of 0.5, 1.0"),
        (lambda: A.MobileNet(weights=None), {"depth": 0.5}, "must take `depth`.*it takes none"),
        (lambda **all: A.MobileNet(weights=None), {"width": 0}, "`width` must be a number above 0. Received: 0"),
    ],
)
def test_a_builder_that_cannot_is_named(network, options, said):
    with pytest.raises(InputError, match=said):
        scale(network, **options)


def test_a_model_that_cannot_is_named():
    image = keras.Input((8, 8, 3), name="image")
    flat = keras.Model(image, L.Dense(2, name="head")(L.Flatten()(image)))
    with pytest.raises(InputError, match="weights of layer 'head' do not fit"):
        scale(flat, resolution=16)
    with pytest.raises(InputError, match=r"resolution only.*its width"):
        scale(flat, width=0.5)
    with pytest.raises(InputError, match="one image"):
        scale(keras.Sequential([keras.Input((4,)), L.Dense(2)]), resolution=16)
    assert scale(flat) is flat
    assert functools.partial(scale, flat)().name == flat.name
