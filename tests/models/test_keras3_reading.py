"""Files that Keras 3 wrote, read as networks of `tf_keras`."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import tta_lite
from tests.models.keras3_nets import ACTIVATIONS, LAYERS, OPS, L, difference, draw, inputs, keras3, outputs, saved
from tta_lite.compat import keras
from tta_lite.models.keras3.archive import open_archive
from tta_lite.types import InputError

# Within a layer: one that both have, one by another name, and two that become layers of their own.
WITHIN = ("gelu", "silu", "relu6", "hard_sigmoid")


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """-> what Keras 3, the network that was read and the one that was given back say, by what the branch holds."""
    found = {}
    for title, make in (
        ("layer", lambda x, y: {name: build()(x) for name, build in LAYERS.items()}),
        ("activation", lambda x, y: {name: L.Activation(name)(x) for name in ACTIVATIONS}),
        ("within", lambda x, y: {name: L.Conv2D(2, 1, activation=name)(x) for name in WITHIN}),
        ("op", lambda x, y: {name: build(x, y) for name, build in OPS.items()}),
    ):
        folder = tmp_path_factory.mktemp(title)
        x, y = L.Input((8, 8, 6), name="x"), L.Input((8, 8, 6), name="y")
        made = make(x, y)
        # One reads both inputs in any case.
        net = draw(keras3.Model([x, y], [*made.values(), L.Add()([x, y])]))
        batch = inputs(net)
        read = tta_lite.load_model(saved(net, folder))
        back = keras3.saving.load_model(tta_lite.to_keras3(read, folder / "back.keras"), safe_mode=True)
        answers = zip(*(outputs(one, batch) for one in (net, read, back)), strict=True)
        found.update({f"{title}: {name}": three for name, three in zip(made, answers, strict=False)})
    return found


@pytest.mark.parametrize("name", [
    *(f"layer: {name}" for name in LAYERS),
    *(f"activation: {name}" for name in ACTIVATIONS),
    *(f"within: {name}" for name in WITHIN),
    *(f"op: {name}" for name in OPS),
])  # fmt: skip
def test_it_says_the_same_here_and_when_it_is_given_back(both, name):
    wanted, read, back = both[name]
    assert wanted.std() > 0
    assert difference([wanted], [read]) < 1e-6
    assert difference([wanted], [back]) < 1e-6


def test_hard_sigmoid_is_that_of_keras_3(both, tmp_path):
    image = L.Input((3,))
    read = tta_lite.load_model(saved(keras3.Model(image, L.Activation("hard_sigmoid")(image)), tmp_path))
    # relu6(x + 3) / 6; clip(0.2 x + 0.5, 0, 1), that of Keras 2, is 0.3 at -1.
    assert read(np.array([[-1.0, 0.0, 2.7]], np.float32)).numpy()[0] == pytest.approx([1 / 3, 0.5, 0.95])


def nested() -> Any:
    """Two inputs, two outputs by name, a nested model that is used twice, one in another, a layer that is shared."""
    deep = keras3.Sequential([L.Input((8, 8, 4)), L.Conv2D(4, 3, padding="same"), L.BatchNormalization()], name="deep")
    at = L.Input((8, 8, 4))
    inner = keras3.Model(at, L.Add()([deep(at), L.Conv2D(4, 1)(at)]), name="inner")
    left, right = L.Input((8, 8, 3), name="left"), L.Input((8, 8, 3), name="right")
    shared, last = L.Conv2D(4, 3, padding="same", activation="relu6", name="shared"), L.Dense(4, name="last")
    x = L.Concatenate()([inner(shared(left)), inner(inner(shared(right)))])
    x = last(x + 1.0)
    return keras3.Model([left, right], {"sum": last(L.Dense(8)(x)), "inner": inner(x)}, name="nest")


def test_nested_models_and_layers_that_are_shared(tmp_path):
    net = draw(nested())
    batch = inputs(net)
    read = tta_lite.load_model(saved(net, tmp_path))
    wanted, found = net(batch), read(batch)
    assert set(found) == {"sum", "inner"}
    assert all(difference([np.asarray(wanted[key])], [found[key].numpy()]) < 1e-6 for key in wanted)
    assert read.name == "nest"
    assert [type(one).__name__ for one in read.layers].count("Functional") == 1
    # One layer for both calls, as there.
    assert read.count_params() == net.count_params()
    back = keras3.saving.load_model(tta_lite.to_keras3(read, tmp_path / "back.keras"))
    assert all(difference([np.asarray(wanted[key])], [np.asarray(back(batch)[key])]) < 1e-6 for key in wanted)
    assert back.count_params() == net.count_params()


def test_a_sequential_model_is_read_and_learns(tmp_path):
    net = keras3.Sequential([
        L.Input((8, 8, 3)), L.RandomFlip(), L.Rescaling(1 / 255), L.Conv2D(4, 3, activation="swish"),
        L.Dropout(0.5), L.GlobalAveragePooling2D(), L.Dense(2, activation="softmax"),
    ])  # fmt: skip
    net.compile("adam", "categorical_crossentropy")
    batch = inputs(draw(net), 4)
    read = tta_lite.load_model(saved(net, tmp_path))
    assert difference(outputs(net, batch), outputs(read, batch)) < 1e-6
    assert read.optimizer is None
    # Keras 3 notes `training` of the layer's first call; it must not stay so.
    assert np.abs(read(batch[0], training=True).numpy() - read(batch[0], training=False).numpy()).max() > 0
    read.compile("sgd", "categorical_crossentropy")
    read.fit(batch[0], np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], verbose=0)
    read.save(tmp_path / "again.keras")
    again = tta_lite.load_model(tmp_path / "again.keras")
    assert difference(outputs(read, batch), outputs(again, batch)) < 1e-6


def test_what_training_needs_is_kept(tmp_path):
    image = L.Input((8, 8, 3))
    x = L.Conv2D(
        4, 3, name="conv", trainable=False, kernel_regularizer=keras3.regularizers.L1L2(0.1, 0.2),
        kernel_initializer=keras3.initializers.VarianceScaling(2.0, "fan_out", seed=5),
        bias_constraint=keras3.constraints.NonNeg(),
    )(image)  # fmt: skip
    read = tta_lite.load_model(saved(keras3.Model(image, x), tmp_path)).get_layer("conv")
    assert not read.trainable
    assert read.kernel_regularizer.get_config() == pytest.approx({"l1": 0.1, "l2": 0.2})
    assert read.kernel_initializer.get_config()["mode"] == "fan_out"
    assert isinstance(read.bias_constraint, keras.constraints.NonNeg)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_mixed_precision_is_read_in_float32_and_says_so(tmp_path, caplog, policy):
    image = L.Input((8, 8, 3))
    net = draw(keras3.Model(image, L.Conv2D(2, 3, dtype=policy)(image)))
    read = tta_lite.load_model(saved(net, tmp_path))
    assert {layer.dtype_policy.name for layer in read.layers[1:]} == {"float32"}
    assert read.output.dtype == "float32"
    assert f"was saved in {policy}; it is read in float32" in caplog.text
    for wanted, found in zip(net.get_weights(), read.get_weights(), strict=True):
        assert np.array_equal(np.asarray(wanted, np.float32), found)


def refused(net: Any, folder: Path) -> str:
    """-> the message of the refusal."""
    with pytest.raises(InputError) as caught:
        tta_lite.load_model(saved(net, folder))
    assert "Received:" in str(caught.value)
    return str(caught.value)


@keras3.saving.register_keras_serializable("mine")
class Own(L.Layer):
    """A user's layer."""

    def call(self, x: Any) -> Any:
        """See the class."""
        return x


@keras3.saving.register_keras_serializable("mine")
class Subclass(keras3.Model):
    """A user's model."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self.dense = L.Dense(2)

    def call(self, x: Any) -> Any:
        """See the class."""
        return self.dense(x)


def test_what_is_not_known_is_refused_by_name(tmp_path):
    image = L.Input((8, 8, 6))
    said = {
        "channels_first": L.MaxPooling2D(data_format="channels_first", name="this"),
        "class LSTM": L.TimeDistributed(L.LSTM(2), name="this"),
        "class RMSNormalization": L.RMSNormalization(name="this"),
        "class Own": Own(name="this"),
        "rms_scaling": L.LayerNormalization(rms_scaling=True, name="this"),
        "pad_to_aspect_ratio": L.Resizing(4, 4, pad_to_aspect_ratio=True, name="this"),
        "an activation among": L.Activation("celu", name="this"),
    }
    for what, layer in said.items():
        message = refused(keras3.Model(image, layer(image)), tmp_path)
        assert "'this'" in message
        assert what.replace("class LSTM", "TimeDistributed").replace("class ", "") in message
    message = refused(keras3.Model(image, keras3.ops.cumsum(image)), tmp_path)
    assert "'cumsum'" in message
    net = Subclass()
    net(np.ones((1, 3), np.float32))
    assert "subclass" in refused(net, tmp_path)
    unbuilt = keras3.Sequential([L.Dense(2)])
    with pytest.warns(UserWarning, match="not yet been built"):
        assert "built" in refused(unbuilt, tmp_path)


def changed(path: Path, folder: Path, **parts: Any) -> Path:
    """-> the same file with other members."""
    target = folder / "changed.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            key = name.partition(".")[0]
            new.writestr(name, parts.get(key, old.read(name)))
    return target


@pytest.fixture(scope="module")
def simple(tmp_path_factory) -> Path:
    """-> a file of a small network."""
    image = L.Input((4, 4, 3))
    return saved(keras3.Model(image, L.Conv2D(2, 1, name="conv")(image)), tmp_path_factory.mktemp("simple"))


def test_damaged_files_are_refused(simple, tmp_path):
    whole = simple.read_bytes()
    (tmp_path / "torn.keras").write_bytes(whole[: len(whole) * 2 // 3])
    config = json.loads(zipfile.ZipFile(simple).read("config.json"))
    wrong = {
        "torn": tmp_path / "torn.keras",
        "json": lambda: changed(simple, tmp_path, config=b"{wrong"),
        "utf8": lambda: changed(simple, tmp_path, config=b"\xff\xfe"),
        "deep": lambda: changed(simple, tmp_path, config=b"[" * 100_000),
        "list": lambda: changed(simple, tmp_path, config=b"[1, 2]"),
        "layers": lambda: changed(simple, tmp_path, config=json.dumps({**config, "config": {"name": "x"}})),
        "weights": lambda: changed(simple, tmp_path, model=b"no hdf5"),
    }
    for what, make in wrong.items():
        with pytest.raises(InputError, match="Received:"):
            tta_lite.load_model(make() if callable(make) else make)
            pytest.fail(what)


def test_members_that_lead_out_of_the_archive_or_grow_are_refused(simple, tmp_path):
    for name in ("../evil.py", "/etc/evil", "assets\\..\\..\\evil"):
        path = tmp_path / "out.keras"
        shutil.copy(simple, path)
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, "x")
        with pytest.raises(InputError, match="leads out of the archive"):
            tta_lite.load_model(path)
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (1 << 25))
    with pytest.raises(InputError, match="would grow"):
        tta_lite.load_model(tmp_path / "bomb.keras")


def weights_with(folder: Path, simple: Path, change: Any) -> Path:
    """-> the file with a changed model.weights.h5."""
    place = folder / "weights.h5"
    place.write_bytes(open_archive(simple).weights())
    with h5py.File(place, "a") as file:
        change(file)
    return changed(simple, folder, model=place.read_bytes())


def test_weights_that_are_elsewhere_or_do_not_fit_are_refused(simple, tmp_path):
    def link(file: h5py.File) -> None:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = h5py.ExternalLink("/etc/passwd", "x")

    def soft(file: h5py.File) -> None:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = h5py.SoftLink("/layers/conv2d/vars/1")

    def large(file: h5py.File) -> None:
        del file["layers/conv2d/vars/0"]
        file.create_dataset("layers/conv2d/vars/0", (1 << 20, 1 << 20), chunks=(64, 64), dtype="f4")

    def shape(file: h5py.File) -> None:
        del file["layers/conv2d/vars/1"]
        file["layers/conv2d/vars/1"] = np.zeros(3, np.float32)

    def gone(file: h5py.File) -> None:
        del file["layers/conv2d"]

    def other(file: h5py.File) -> None:
        file["layers/conv2d/vars"].attrs["name"] = "another"

    for change in (link, soft, large, shape, gone, other):
        with pytest.raises(InputError, match="conv") as caught:
            tta_lite.load_model(weights_with(tmp_path, simple, change))
        assert "Received:" in str(caught.value), change


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """-> the way to each value in a config."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, one in inner for place in places(one, (*path, key))]


def test_a_config_with_anything_in_the_place_of_anything_is_read_or_refused(simple, tmp_path):
    rng = np.random.default_rng(0)
    text = zipfile.ZipFile(simple).read("config.json")
    every = places(json.loads(text))
    refusals = 0
    for _ in range(150):
        config = json.loads(text)
        *way, last = every[rng.integers(len(every))]
        owner = config
        for key in way:
            owner = owner[key]
        owner[last] = [None, [], {}, "x", -3, 2.5, ["conv", 7, 0], {"class_name": "x"}][rng.integers(8)]
        try:
            tta_lite.load_model(changed(simple, tmp_path, config=json.dumps(config)))
        except InputError as error:
            assert "Received:" in str(error)
            refusals += 1
    # Most of what a config holds has a meaning.
    assert 50 < refusals < 150
