from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.backbones import BACKBONES, Normalisation, get_backbone
from tta_lite.types import InputError


def test_names():
    assert set(BACKBONES) == {
        *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
        *("mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
        *(f"shufflenet_v1_g{groups}" for groups in (1, 2, 3, 4, 8)),
        *(f"shufflenet_v2_{width}" for width in (0.5, 1.0, 1.5, 2.0)),
        *("squeezenet_1.0", "squeezenet_1.1", "mnasnet_a1", "mnasnet_b1", "effnet", "adder_resnet20"),
        *(f"densenet{depth}" for depth in (121, 169, 201)),
    }
    assert all(name == backbone.name for name, backbone in BACKBONES.items())
    others = {name: backbone.stride for name, backbone in BACKBONES.items() if backbone.stride != 32}
    assert others == {"squeezenet_1.0": 16, "squeezenet_1.1": 16, "effnet": 8, "adder_resnet20": 4}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v1_0.25", "mobilenet_v2_0.35", "mobilenet_v3_small_0.75"])
def test_stride_is_32(name):
    image = keras.Input((96, 96, 3))
    assert get_backbone(name).build(image, None).shape[1:3] == (3, 3)


def test_width_suffix():
    image = keras.Input((32, 32, 3))
    # V1's last layer has 1024 channels times the width.
    assert get_backbone("mobilenet_v1_0.5").build(image, None).shape[-1] == 512
    assert get_backbone("mobilenet_v1_0.5").name == "mobilenet_v1_0.5"


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v2_", "mobilenet_v2_x", "resnet50_0.5", "", "mobilenet_v2_-1"])
def test_unknown_name_lists_the_known(name):
    with pytest.raises(InputError, match=r"resnet18, .*mobilenet_v3_large.*Received: ") as error:
        get_backbone(name)
    assert str(error.value).endswith(f"Received: {name!r}")


def test_resnet_has_no_imagenet_weights_to_download():
    with pytest.raises(InputError, match=r"resnet50.*weights=None.*\.npz.*load_torch_pose_resnet"):
        get_backbone("resnet50").build(keras.Input((32, 32, 3)), "imagenet")


def test_resnet_weights_within_another_network(tmp_path):
    image = keras.Input((32, 32, 3))
    source = keras.Model(image, get_backbone("resnet18").build(image, None))
    source.save_weights(tmp_path / "resnet18.weights.h5")
    image = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(3, 1, name="before")(image)
    target = keras.Model(image, get_backbone("resnet18").build(x, tmp_path / "resnet18.weights.h5"))
    for name in ("stem_conv", "stage3_block1_shortcut_conv", "stage4_block2_conv2"):
        np.testing.assert_array_equal(target.get_layer(name).get_weights()[0], source.get_layer(name).get_weights()[0])


def test_resnet_normalisation_is_torchvisions():
    pixels = np.array([[[0, 0, 0], [255, 128, 1]]], np.uint8)
    # torchvision: ToTensor divides by 255, Normalize subtracts the mean and divides by the deviation.
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (pixels.astype(np.float64) / 255 - mean) / std
    received = BACKBONES["resnet50"].normalisation.apply(pixels)
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"])
def test_mobilenet_normalisation(name):
    pixels = np.arange(256, dtype=np.uint8).reshape(-1, 1).repeat(3, axis=1)
    received = get_backbone(name).normalisation.apply(pixels)
    np.testing.assert_allclose(received, np.arange(256)[:, None].repeat(3, 1) / 127.5 - 1, atol=1e-6)
    assert pixels[255, 0] == 255


def test_bad_normalisation():
    with pytest.raises(InputError, match="three positive standard deviations"):
        Normalisation((0, 0, 0), (1, 0, 1))
    with pytest.raises(InputError, match=r"3 channels, last\. Received: shape \(3, 4, 4\)"):
        Normalisation((0, 0, 0), (1, 1, 1)).apply(np.zeros((3, 4, 4), np.uint8))
