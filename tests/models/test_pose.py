from __future__ import annotations

import functools

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.pose import pose_resnet
from tta_lite.types import InputError

NARROW = "mobilenet_v1_0.25"
HEAD = [f"deconv{i}{part}" for i in (1, 2, 3) for part in ("", "_bn", "_relu")] + ["heatmaps"]


@functools.cache
def narrow(**options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return pose_resnet(NARROW, input_size=64, **options)


def test_pose_resnet_50_has_34_million_parameters():
    model = pose_resnet("resnet50", joints=16, input_size=256)
    assert model.output_shape == (None, 64, 64, 16)
    # torchvision's ResNet-50 without classifier; Deconvs of 4 x 4 kernels; two numbers a channel in their batch norms;
    # the last convolution with its bias. The paper gives 34.0 million.
    backbone = 25_557_032 - 2_049_000
    head = 16 * 256 * (2048 + 256 + 256) + 3 * 2 * 256 + 257 * 16
    assert backbone + head == 33_999_440
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == backbone + head


def test_layer_names_and_flat_graph():
    model = narrow()
    names = [layer.name for layer in model.layers]
    assert names[0] == "image"
    assert names[-10:] == HEAD
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert model.name == "pose_mobilenet_v1_0.25"
    assert model.output_names == ["heatmaps"]


def test_bottleneck_cuts_the_input_of_each_deconv():
    model = narrow(bottleneck=64)
    names = [layer.name for layer in model.layers]
    first = names.index("pconv1")
    expected = [f"{kind}{i}{part}" for i in (1, 2, 3) for kind in ("pconv", "deconv") for part in ("", "_bn", "_relu")]
    assert names[first:] == [*expected, "heatmaps"]
    for i, channels in ((1, 256), (2, 256), (3, 256)):
        # Keras: Conv [H, W, in, out], Deconv [H, W, out, in].
        assert [tuple(w.shape) for w in model.get_layer(f"pconv{i}").weights] == [(1, 1, channels, 64)]
        assert [tuple(w.shape) for w in model.get_layer(f"deconv{i}").weights] == [(4, 4, 256, 64)]


def test_deconv_filters():
    model = narrow(joints=14, deconv_filters=(32, 16))
    assert model.output_shape == (None, 8, 8, 14)
    assert [model.get_layer(f"deconv{i}").filters for i in (1, 2)] == [32, 16]


def test_head_starts_as_the_reference():
    model = narrow()
    assert model.get_layer("deconv1").get_weights()[0].std() == pytest.approx(0.001, rel=0.01)
    kernel, bias = model.get_layer("heatmaps").get_weights()
    assert kernel.std() == pytest.approx(0.001, rel=0.05)
    assert not bias.any()


@pytest.mark.parametrize(("backbone", "file"), [("mobilenet_v3_small_0.25", "model.keras"), (NARROW, "model.h5")])
def test_saved_and_read_back(tmp_path, backbone, file):
    model = pose_resnet(backbone, joints=3, input_size=32, bottleneck=8, deconv_filters=(16, 16, 16))
    # Heat maps near 0, as they are at the start, would be equal by themselves.
    model.get_layer("heatmaps").set_weights([np.full((1, 1, 16, 3), 1.0), np.arange(3.0)])
    image = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    expected = model(image, training=False).numpy()
    assert expected.std() > 0.1
    model.save(tmp_path / file)
    again = keras.models.load_model(tmp_path / file, compile=False)
    np.testing.assert_allclose(again(image, training=False), expected, rtol=0, atol=1e-6)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_heatmaps_stay_float32_under_mixed_precision():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = pose_resnet(NARROW, input_size=32)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert model.output.dtype == "float32"
    assert model.get_layer("deconv3").compute_dtype == "bfloat16"
    assert model.get_layer("deconv3").variable_dtype == "float32"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "vgg16"}, r"Unknown backbone.*'vgg16'"),
        ({"input_size": 100}, r"multiple of 32 pixels\. Received: 100"),
        ({"input_size": 0}, r"`input_size` must be a whole number, 1 or more\. Received: 0"),
        ({"input_size": 64.0}, r"`input_size` must be a whole number.*Received: 64\.0"),
        ({"joints": 0}, r"`joints` .*Received: 0"),
        ({"bottleneck": 0}, r"`bottleneck` .*Received: 0"),
        ({"deconv_filters": ()}, r"`deconv_filters` .*Received: \(\)"),
        ({"deconv_filters": (256, -1)}, r"`deconv_filters` .*Received: -1"),
        ({"backbone": "resnet18", "weights": "imagenet"}, r"no ImageNet weights to download for resnet18"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        pose_resnet(**{"backbone": NARROW, "input_size": 64, **options})
