"""Files that would run something when they are read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf

import tta_lite
from tta_lite.compat import OF_APPLICATIONS, keras, load_model
from tta_lite.models.files import load_network
from tta_lite.models.layers import HardSwish
from tta_lite.types import InputError

L = keras.layers
RAN: list[Any] = []


def evil(*args: object, **kwargs: object) -> object:
    """What a file names; a test sees whether it ran."""
    RAN.append((args, kwargs))
    return args[0]


@pytest.fixture(autouse=True)
def nothing_ran():
    RAN.clear()
    yield
    assert RAN == []


def dense(**changes: Any) -> dict[str, Any]:
    """-> the record of a Dense layer."""
    own = {} if "class_name" in changes else {"units": 2}
    config = {"name": "this", **own, **changes.pop("config", {})}
    return {"module": "keras.layers", "class_name": "Dense", "config": config, "registered_name": None, **changes}


def network(layer: dict[str, Any], version: str) -> dict[str, Any]:
    """-> the config of a network of one layer."""
    new = version.startswith("3")
    image = {"name": "image", "dtype": "float32", "sparse": False, "ragged": False}
    image["batch_shape" if new else "batch_input_shape"] = [None, 3]
    tensor = {"shape": [None, 3], "dtype": "float32", "keras_history": ["image", 0, 0]}
    node = {"args": [{"class_name": "__keras_tensor__", "config": tensor}], "kwargs": {}}
    public = {"module": "keras.layers", "class_name": "InputLayer", "config": image, "registered_name": None}
    config = {
        "name": "net", "trainable": True, "input_layers": [["image", 0, 0]], "output_layers": [["this", 0, 0]],
        "layers": [
            {**public, "name": "image", "inbound_nodes": []},
            {**layer, "name": "this", "inbound_nodes": [node if new else [["image", 0, 0, {}]]]},
        ],
    }  # fmt: skip
    module = f"keras.src.{'models' if new else 'engine'}.functional"
    return {"module": module, "class_name": "Functional", "config": config, "registered_name": "Functional"}


def keras_file(folder: Path, layer: dict[str, Any], version: str) -> Path:
    """-> a .keras file of that version."""
    path = folder / "net.keras"
    with h5py.File(folder / "w.h5", "w") as file:
        file.create_group("vars")
        # Keras 2 reads the layers under this name, and each must have a group.
        for place in ("layers/dense", "_layer_checkpoint_dependencies/dense"):
            file[f"{place}/vars/0"] = np.ones((3, 2), np.float32)
            file[f"{place}/vars/1"] = np.ones(2, np.float32)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(network(layer, version)))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", (folder / "w.h5").read_bytes())
    return path


HERE = {"module": __name__, "class_name": "function", "config": "evil", "registered_name": "evil"}
# What a config can name; each of them ran something in some version of Keras.
EVIL = {
    "function as activation": dense(config={"activation": HERE}),
    "builtin as activation": dense(config={"activation": {**HERE, "module": "builtins", "config": "exec"}}),
    "function of Keras": dense(config={"activation": {**HERE, "module": "keras.utils", "config": "get_file"}}),
    "class of another module": dense(module="subprocess", class_name="Popen", config={"args": ["true"]}),
    "class of another module, by registered name": dense(module=__name__, registered_name="evil"),
    "class of another module, called as one of the applications": dense(
        module=__name__, class_name="LayerScale", registered_name="evil"),
    "function of Keras, under another name": dense(config={"activation": {
        **HERE, "module": "keras.src.utils.data_utils", "config": "relu", "registered_name": "get_file"}}),
    "type of another module": dense(config={"activation": {
        **HERE, "class_name": "__typespec__", "spec_name": "evil", "config": [], "registered_name": None}}),
    "class of Keras, none of its layers": dense(module="keras.src.utils.data_utils", class_name="OrderedEnqueuer"),
    "initializer of another module": dense(config={"kernel_initializer": {**HERE, "class_name": "evil", "config": {}}}),
    "Lambda of a function": dense(class_name="Lambda", config={
        "function": HERE, "function_type": "function", "module": __name__, "output_shape": None,
        "output_shape_type": "raw", "output_shape_module": None, "arguments": {"command": "true"},
    }),
    "Lambda of code": dense(class_name="Lambda", config={
        "function": {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}},
        "function_type": "lambda", "arguments": {},
    }),
    "TensorFlow function that writes": dense(class_name="TFOpLambda", config={"function": "io.write_file"}),
    "TensorFlow function that runs Python": dense(class_name="TFOpLambda", config={"function": "py_function"}),
    "op of any kind": dense(class_name="TensorFlowOpLayer", config={"node_def": "{}", "constants": {}}),
    "method": dense(class_name="ClassMethod", config={"cls_symbol": "io.TFRecordWriter", "method_name": "write"}),
}  # fmt: skip


@pytest.mark.parametrize("version", ["2.21.0", "3.15.1"])
@pytest.mark.parametrize("what", EVIL)
def test_nothing_that_a_keras_file_names_is_run(tmp_path, what, version):
    with pytest.raises(InputError, match="this") as caught:
        load_network(keras_file(tmp_path, EVIL[what], version))
    assert "Received:" in str(caught.value)


def test_the_file_itself_is_read(tmp_path):
    """The control: the refusals above are not of the file's form."""
    for version in ("2.21.0", "3.15.1"):
        net = load_network(keras_file(tmp_path, dense(config={"activation": "relu"}), version))
        assert net(np.ones((1, 3), np.float32)).numpy().tolist() == [[4.0, 4.0]]


def test_why_it_must_be_looked_at(tmp_path):
    """What `tf_keras` does with its safe_mode on: it imports the module and calls the function."""
    load_model(keras_file(tmp_path, EVIL["Lambda of a function"], "2.21.0"), safe_mode=True)
    assert RAN
    assert RAN[0][1] == {"command": "true"}
    RAN.clear()


def with_lambda() -> keras.Model:
    """-> a network with Python code in it."""
    image = keras.Input((3,), name="image")
    return keras.Model(image, L.Lambda(lambda x: x * 2, name="code")(image))


@pytest.mark.parametrize("suffix", [".keras", ".h5", ""])
def test_a_lambda_runs_only_if_it_is_trusted(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    with_lambda().save(path)
    with pytest.raises(InputError, match=r"'code' would run Python code.*--trust_model_code"):
        load_network(path)
    net = tta_lite.load_model(path, trust_model_code=True)
    assert net(np.ones((1, 3), np.float32)).numpy().tolist() == [[2.0, 2.0, 2.0]]


def test_a_lambda_of_keras_3_runs_only_if_it_is_trusted(tmp_path):
    import keras as keras3

    image = keras3.layers.Input((3,))
    bias = 0.5
    net = keras3.Model(image, keras3.layers.Lambda(lambda x: tf.nn.relu(x) + bias, name="code")(image))
    net.save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"'code' is a Lambda.*--trust_model_code"):
        load_network(tmp_path / "net.keras")
    read = tta_lite.load_model(tmp_path / "net.keras", trust_model_code=True)
    assert read(np.array([[-1.0, 0.0, 2.0]], np.float32)).numpy().tolist() == [[0.5, 0.5, 2.5]]


def test_what_networks_of_keras_2_hold_passes(tmp_path):
    """All that this house and Keras's applications write; check_config must not be in their way."""
    image = keras.Input((32, 32, 3))
    x = L.Conv2D(4, 3, activation=tf.nn.relu6, kernel_regularizer="l2", kernel_constraint="non_neg")(image)
    x = L.Conv2D(4, 3, activation="swish", kernel_initializer=keras.initializers.Constant(0.1), dtype="mixed_bfloat16")(
        x
    )
    x = tf.nn.relu(tf.reduce_mean(x[:, 1:], axis=1) + 1.0)
    keras.Model(image, L.Dense(2, activation=L.LeakyReLU())(x)).save(tmp_path / "net.h5")
    load_network(tmp_path / "net.h5")
    x = OF_APPLICATIONS["LayerScale"](0.1, 3)(image)
    x = HardSwish()(OF_APPLICATIONS["CustomScaleLayer"](0.2)([x, image]))
    keras.Model(image, L.Dense(2)(x)).save(tmp_path / "net.keras")
    load_network(tmp_path / "net.keras")


def test_a_saved_model_is_read_without_its_graphs(tmp_path, monkeypatch):
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    inner = keras.Sequential([L.Conv2D(4, 3), L.BatchNormalization()], name="inner")
    net = keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(inner(L.Normalization()(image)))))
    net.save(tmp_path / "net")
    for name in ("load", "load_partial"):
        monkeypatch.setattr(tf.__internal__.saved_model if name == "load_partial" else tf.saved_model, name, evil)
    read = load_network(tmp_path / "net")
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    assert np.array_equal(read(x), net(x))


def test_a_saved_model_without_layers_is_refused(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: x, input_signature=[tf.TensorSpec([1], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "graph"))
    with pytest.raises(InputError, match="holds graphs of TensorFlow and no layers"):
        load_network(tmp_path / "graph")


def test_h5_files_that_are_no_network_here(tmp_path):
    image = keras.Input((3,))
    net = keras.Model(image, L.Dense(2, name="dense")(image))
    net.save_weights(tmp_path / "only.h5")
    with pytest.raises(InputError, match="holds weights without a network"):
        load_network(tmp_path / "only.h5")
    net.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as file:
        file.attrs["keras_version"] = "3.15.1"
    with pytest.raises(InputError, match=r"a \.h5 file of Keras 3\.15\.1"):
        load_network(tmp_path / "net.h5")
    net.save(tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "a") as file:
        del file["model_weights/dense/dense/kernel:0"]
        file["model_weights/dense/dense/kernel:0"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(InputError, match="a link to elsewhere"):
        load_network(tmp_path / "net.h5")
