from __future__ import annotations

import functools

import keras as keras3
import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.mobilenet import mobilenet
from tta_lite.models.resnet import resnet
from tta_lite.models.weights import layers_between, load_layer_weights
from tta_lite.types import InputError

WIDTH = 0.35


def backbone(family: str = "mobilenet_v2", width: float = WIDTH, weights=None) -> keras.Model:
    image = keras.Input((32, 32, 3), name="image")
    return keras.Model(image, mobilenet(image, family, width=width, weights=weights))


def randomise(model) -> None:
    """Every weight random, kernels around 0 and the rest positive, so that they serve as variances too."""
    rng = np.random.default_rng(7)
    model.set_weights(
        [
            rng.normal(scale=0.2, size=old.shape) if old.ndim == 4 else rng.uniform(0.1, 1, size=old.shape)
            for old in model.get_weights()
        ]
    )


def save_npz(path, model) -> None:
    np.savez(path, **{f"{x.name}/{i}": array for x in model.layers for i, array in enumerate(x.get_weights())})


@functools.cache
def classifier(library, family: str = "MobileNetV2"):
    options = {"include_preprocessing": False} if "V3" in family else {}
    model = getattr(library.applications, family)(
        input_shape=(32, 32, 3), alpha=WIDTH, weights=None, classes=5, **options
    )
    randomise(model)
    return model


@functools.cache
def v2() -> keras.Model:
    """Built once; each test that takes it fills it first."""
    return backbone()


def assert_loads(target: keras.Model, path, source) -> None:
    target.set_weights([np.zeros_like(weight) for weight in target.get_weights()])
    load_layer_weights(target.layers, path)
    with_weights = [layer for layer in target.layers if layer.weights]
    assert len(with_weights) > 30
    for layer in with_weights:
        for received, expected in zip(layer.get_weights(), source.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("library", [keras, keras3], ids=["keras2", "keras3"])
def test_files_of_a_classifier(tmp_path, library):
    source, target = classifier(library), v2()
    save_npz(tmp_path / "a.npz", source)
    source.save_weights(tmp_path / "b.weights.h5")
    source.save(tmp_path / "c.h5")
    source.save(tmp_path / "d.keras")
    for name in ("a.npz", "b.weights.h5", "c.h5", "d.keras"):
        assert_loads(target, tmp_path / name, source)


def test_slashes_in_layer_names(tmp_path):
    source, target = classifier(keras, "MobileNetV3Small"), backbone("mobilenet_v3_small")
    save_npz(tmp_path / "a.npz", source)
    source.save_weights(tmp_path / "b.weights.h5")
    source.save_weights(tmp_path / "c.h5")
    for name in ("a.npz", "b.weights.h5", "c.h5"):
        assert_loads(target, tmp_path / name, source)


def test_outputs_are_those_of_the_saved_network(tmp_path):
    source = classifier(keras)
    source.save_weights(tmp_path / "top.h5")
    image = np.random.default_rng(0).uniform(-1, 1, (1, 32, 32, 3)).astype(np.float32)
    features = keras.Model(source.input, source.get_layer("out_relu").output)(image).numpy()
    assert features.std() > 0
    np.testing.assert_array_equal(backbone(weights=str(tmp_path / "top.h5"))(image), features)


def test_resnet_from_npz(tmp_path):
    image = keras.Input((32, 32, 3))
    source = keras.Model(image, resnet(image, 18))
    randomise(source)
    save_npz(tmp_path / "resnet18.npz", source)
    assert_loads(keras.models.clone_model(source), tmp_path / "resnet18.npz", source)


def test_another_width(tmp_path):
    path = tmp_path / "half.npz"
    save_npz(path, backbone(width=0.5))
    with pytest.raises(InputError) as error:
        load_layer_weights(v2().layers, path)
    # Block 1 widens 8 channels to 48 in both; 0.5 x 24 and 0.35 x 24 are 16 and 8 channels in multiples of 8.
    assert str(error.value) == (
        f"{path}: layer 'block_1_project' has other shapes; expected [(1, 1, 48, 8)] (is the width the same?). "
        "Received: [(1, 1, 48, 16)]"
    )


def test_missing_layer_changes_nothing(tmp_path):
    target = v2()
    arrays = {f"{x.name}/{i}": array + 1 for x in target.layers for i, array in enumerate(x.get_weights())}
    del arrays["Conv_1/0"]
    np.savez(tmp_path / "cut.npz", **arrays)
    before = target.get_weights()
    with pytest.raises(
        InputError, match=r"cut\.npz: layer 'Conv_1' is missing; expected.*\(1, 1, 112, 1280\).*Received: "
    ):
        load_layer_weights(target.layers, tmp_path / "cut.npz")
    for old, new in zip(before, target.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_missing_part_of_a_layer(tmp_path):
    arrays = {f"{x.name}/{i}": array for x in v2().layers for i, array in enumerate(x.get_weights())}
    del arrays["bn_Conv1/3"]
    np.savez(tmp_path / "cut.npz", **arrays)
    with pytest.raises(InputError, match=r"layer 'bn_Conv1'.*Received: \[\(16,\), \(16,\), \(16,\)\]"):
        load_layer_weights(v2().layers, tmp_path / "cut.npz")


@pytest.mark.parametrize("name", ["a.npz", "a.h5", "a.weights.h5", "a.keras"])
@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04"])
def test_unreadable_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"not a readable \.\w+ file of weights\. Received: "):
        load_layer_weights([], tmp_path / name)


def test_files_of_another_kind(tmp_path):
    np.savez(tmp_path / "plain.npz", kernel=np.zeros(3))
    with pytest.raises(InputError, match=r"key 'kernel' where <layer>/<i> was expected"):
        load_layer_weights([], tmp_path / "plain.npz")
    (tmp_path / "net.tflite").write_bytes(b"TFL3")
    with pytest.raises(InputError, match=r"must end with one of \.npz, \.h5, \.keras"):
        load_layer_weights([], tmp_path / "net.tflite")


def test_layers_between():
    image = keras.Input((4,), name="image")
    x = keras.layers.Dense(2, name="one")(image)
    y = keras.layers.Dense(2, name="three")(keras.layers.ReLU(name="two")(x))
    assert [layer.name for layer in layers_between(x, y)] == ["two", "three"]
    assert [layer.name for layer in layers_between(image, y)] == ["one", "two", "three"]
