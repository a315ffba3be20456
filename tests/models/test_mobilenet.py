from __future__ import annotations

import functools

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.mobilenet import MOBILENETS, mobilenet
from tta_lite.types import InputError


# Building takes a second; these are only looked at.
@functools.cache
def build_once(family: str, width: float) -> keras.Model:
    return build(family, width=width)


def build(family: str, size: int = 64, **options) -> keras.Model:
    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, mobilenet(image, family, **options))


# What Keras publishes for the networks without top.
@pytest.mark.parametrize(
    ("family", "width", "parameters", "channels"),
    [
        ("mobilenet_v1", 1.0, 3_228_864, 1024),
        ("mobilenet_v1", 0.25, 218_544, 256),
        ("mobilenet_v2", 1.0, 2_257_984, 1280),
        ("mobilenet_v3_small", 1.0, 939_120, 576),
        ("mobilenet_v3_large", 1.0, 2_996_352, 960),
    ],
)
def test_parameters_and_shape(family, width, parameters, channels):
    model = build_once(family, width)
    assert model.count_params() == parameters
    assert model.output_shape == (None, 2, 2, channels)


def test_widths_without_published_weights_can_be_built():
    # V2's last convolution keeps 1280 channels below width 1, and its first one is a multiple of 8.
    model = build("mobilenet_v2", width=0.42)
    assert model.output_shape == (None, 2, 2, 1280)
    assert model.get_layer("Conv1").filters == 16


def batch_norms(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]


@pytest.mark.parametrize("family", MOBILENETS)
def test_batch_norm_momentum(family):
    norms = batch_norms(build_once(family, 1.0))
    assert len(norms) > 20
    assert {layer.get_config()["momentum"] for layer in norms} == {0.9}


def test_batch_norm_momentum_survives_saving(tmp_path):
    model = build_once("mobilenet_v1", 0.25)
    model.save(tmp_path / "model.keras")
    norms = batch_norms(keras.models.load_model(tmp_path / "model.keras", compile=False))
    assert [layer.momentum for layer in norms] == [0.9] * 27


def test_moving_average_moves_by_a_tenth_in_one_step():
    model = build("mobilenet_v1", size=32, width=0.25)
    norm = model.get_layer("conv1_bn")
    norm.moving_mean.assign(np.full(norm.moving_mean.shape, 1000.0))
    model(np.zeros((2, 32, 32, 3), np.float32), training=True)
    # A black image gives the mean 0 after a convolution without bias: 0.9 x 1000 + 0.1 x 0.
    np.testing.assert_allclose(norm.moving_mean.numpy(), 900.0, rtol=1e-5)


def test_names_do_not_depend_on_what_was_built_before():
    first = [layer.name for layer in build_once("mobilenet_v3_small", 1.0).layers]
    second = [layer.name for layer in build("mobilenet_v3_small", size=32).layers]
    assert first == second
    assert first[:4] == ["image", "Conv", "Conv/BatchNorm", "tf.__operators__.add"]
    assert "Conv_1/BatchNorm" in first
    assert not [name for name in first if name.startswith("rescaling")]


def test_within_another_network():
    image = keras.Input((64, 64, 3), name="image")
    y = mobilenet(keras.layers.Conv2D(3, 1, name="before")(image), "mobilenet_v1", width=0.25)
    model = keras.Model(image, y)
    assert model.output_shape == (None, 2, 2, 256)
    assert [layer.name for layer in model.layers][:3] == ["image", "before", "conv1"]


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("mobilenet_v4", {}, r"mobilenet_v3_large\. Received: 'mobilenet_v4'"),
        ("mobilenet_v2", {"width": 0.0}, r"`width` must lie in .*Received: 0\.0"),
        ("mobilenet_v2", {"width": float("nan")}, r"`width` must lie in .*Received: nan"),
        ("mobilenet_v3_small", {"width": 0.5, "weights": "imagenet"}, r"widths 0\.75, 1\.0.*Received: 0\.5"),
        ("mobilenet_v2", {"weights": "nowhere.npz"}, r"file that exists\. Received: 'nowhere\.npz'"),
    ],
)
def test_bad_arguments(family, options, message):
    with pytest.raises(InputError, match=message):
        build(family, size=32, **options)


def test_failed_download_is_an_input_error(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # An address that nobody answers, in place of the download server.
    monkeypatch.setattr(keras.src.applications.mobilenet_v2, "BASE_WEIGHT_PATH", "http://127.0.0.1:9/")
    with pytest.raises(InputError, match=r"could not be downloaded; give a local file"):
        build("mobilenet_v2", size=32, width=0.35, weights="imagenet")
