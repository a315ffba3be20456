"""Networks given back as files of Keras 3, read by a process that has Keras 3 and nothing of this toolkit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tta_lite
from tests.own_process import ROOT
from tta_lite.compat import keras
from tta_lite.export.keras3.write import to_keras3
from tta_lite.models.binary_layers import BinaryConv2D
from tta_lite.models.layers import ChannelShuffle, ChannelSplit, DepthToSpace, HardSwish
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

L = keras.layers


def one(layer: Callable[[Any], Any], shape: tuple[int, ...] = (8, 8, 8)) -> keras.Model:
    """-> a network of one layer."""
    image = keras.Input(shape, name="image")
    return keras.Model(image, layer(image))


def activations(x: Any) -> Any:
    """What Keras 3 names otherwise, or has otherwise."""
    names = ("swish", "hard_sigmoid", "gelu", "elu", "mish", "softmax", tf.nn.relu6, tf.nn.leaky_relu, "exponential")
    return [L.Activation(name)(x) for name in names] + [
        L.Conv2D(2, 1, activation="hard_sigmoid")(x), L.Conv2D(2, 1, activation=L.LeakyReLU(0.3))(x),
        L.ThresholdedReLU(0.4)(x), L.SpatialDropout2D(0.3)(x), L.RandomFlip()(x), L.Dense(3, "swish")(x),
    ]  # fmt: skip


def functions(x: Any) -> Any:
    """TensorFlow functions, as their calls become layers."""
    y = tf.nn.relu(x)
    return [
        x + 1.0, 2.0 - x, x * y, x / 3.0, -x, x**2, tf.abs(x), tf.maximum(x, 0.1), tf.minimum(x, y), tf.nn.relu6(x),
        tf.sqrt(y), tf.exp(x), tf.math.log(y + 1.0), tf.tanh(x), tf.sigmoid(x), tf.nn.silu(x), tf.nn.gelu(x),
        tf.nn.softmax(x, axis=1), tf.nn.leaky_relu(x, 0.1), tf.clip_by_value(x, 0.0, 1.0),
        tf.reduce_mean(x, [1, 2], keepdims=True), tf.reduce_max(x, -1), x[:, ::2, 1:], x[..., 3:], x[:, 2],
        tf.reshape(x, (-1, 8, 64)), tf.transpose(x, (0, 2, 1, 3)), tf.concat([x, y], -1), tf.stack([x, y], 1),
        tf.split(x, 2, -1)[1], tf.split(x, [1, 3, 4], -1)[2], tf.squeeze(tf.expand_dims(x, 1), 1),
        tf.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]]), tf.image.resize(x, (5, 9)), tf.gather(x, [3, 1], axis=-1),
        x + tf.constant([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]), tf.square(x),
    ]  # fmt: skip


def shared() -> keras.Model:
    """Nested, shared, two inputs and two outputs by name, parts that stand in another order than they are made."""
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    at = keras.Input((8, 8, 4))
    inner = keras.Model(at, L.Add()([L.Conv2D(4, 3, padding="same")(at), L.Conv2D(4, 1)(at)]), name="inner")
    deep = keras.Sequential([L.Conv2D(4, 1), L.BatchNormalization(), inner, L.Activation("hard_sigmoid")], name="deep")
    stem, last = L.Conv2D(4, 3, padding="same", name="stem"), L.Dense(4, name="last")
    a, b = deep(stem(left)), inner(inner(stem(right)))
    short = L.Conv2D(4, 1)(b)
    x = L.Concatenate()([L.Conv2D(4, 1)(L.Conv2D(4, 3, padding="same")(a)), short])
    return keras.Model({"left": left, "right": right}, {"z": last(last(L.Dense(4)(x))), "a": deep(x[..., :4])})


def of_house(image: Any) -> Any:
    """The house's own layers."""
    x = HardSwish()(ChannelShuffle(4)(image))
    a, b = ChannelSplit(2)(x)
    return L.Concatenate()([DepthToSpace(2, name="woven")(a), L.UpSampling2D(2)(b)])


def smaller() -> keras.Model:
    """-> a network with a residual that has lost channels."""
    image = keras.Input((8, 8, 3))
    x = L.ReLU(6.0)(L.BatchNormalization()(L.Conv2D(16, 3, padding="same")(image)))
    y = L.Conv2D(16, 1)(L.DepthwiseConv2D(3, padding="same", activation="relu")(L.Conv2D(32, 1)(x)))
    net = keras.Model(image, L.Dense(3)(L.GlobalAveragePooling2D()(L.Add()([x, y]))))
    leaving = {group.name: range(4) for group in channel_groups(net) if not group.why_fixed}
    assert len(leaving) == 2
    return remove_channels(net, leaving)


def drawn(net: keras.Model) -> keras.Model:
    """-> with weights from chance, and variances above zero."""
    rng = np.random.default_rng(0)
    for weight in net.weights:
        if weight.dtype.is_floating:
            low, high = (0.5, 2.0) if "variance" in weight.name else (-0.5, 0.5)
            weight.assign(rng.uniform(low, high, weight.shape))
    return net


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """-> for each network what it says here, and what Keras 3 alone makes of its file."""
    folder = tmp_path_factory.mktemp("files")
    nets = {
        "activations": one(activations), "functions": one(functions), "shared": shared(), "house": one(of_house),
        "sequential": keras.Sequential([
            keras.Input((8, 8, 3)), L.Rescaling([1.0, 2.0, 3.0], 0.5), L.SeparableConv2D(4, 3),
            L.BatchNormalization(scale=False), L.PReLU(shared_axes=[1, 2]), L.Flatten(), L.Dense(2),
        ]),
        "norms": one(lambda x: [L.GroupNormalization(4)(x), L.LayerNormalization(axis=[3, 1])(x),
                                L.Normalization(mean=1.0, variance=2.0)(x)]),
        "channels": smaller(),
    }  # fmt: skip
    rng = np.random.default_rng(1)
    said = {}
    for name, net in nets.items():
        batches = [rng.normal(size=(2, *tensor.shape[1:])).astype(np.float32) for tensor in drawn(net).inputs]
        given = batches[0] if len(batches) == 1 else dict(zip(net.input_names, batches, strict=True))
        found = net(given, training=False)
        said[name] = [one.numpy() for one in tf.nest.flatten(found)]
        to_keras3(net, folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", *batches)
    words = [sys.executable, "-m", "tests.export.keras3_child", str(folder)]
    settings = {**os.environ, "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    settings.pop("TF_USE_LEGACY_KERAS", None)
    done = subprocess.run(words, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("3.")
    found = {}
    for name in nets:
        with np.load(folder / f"{name}.out.npz") as given:
            found[name] = said[name], [given[f"arr_{number}"] for number in range(len(given.files))]
    return found


@pytest.mark.parametrize("name", [
    "activations", "functions", "shared", "house", "sequential", "norms", "channels",
])  # fmt: skip
def test_keras_3_alone_says_the_same(answers, name):
    here, there = answers[name]
    assert [one.shape for one in here] == [one.shape for one in there]
    assert max(np.abs(a - b).max() / np.abs(a).max() for a, b in zip(here, there, strict=True)) < 1e-5
    assert min(one.std() for one in here) > 0


def test_what_was_given_back_comes_home(tmp_path):
    net = drawn(one(lambda x: L.Dense(2)(HardSwish()(L.Conv2D(4, 3)(x)))))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype(np.float32)
    assert np.allclose(tta_lite.load_model(tta_lite.to_keras3(net, tmp_path / "net.keras"))(x), net(x), atol=1e-6)


def test_the_same_network_is_the_same_bytes(tmp_path):
    net = one(L.Dense(2))
    first, second = to_keras3(net, tmp_path / "a.keras"), to_keras3(net, tmp_path / "b.keras")
    assert first.read_bytes() == second.read_bytes()


def test_what_keras_3_has_nothing_like_is_refused_by_name(tmp_path):
    for layer in (
        L.Lambda(lambda x: x, name="this"), L.LocallyConnected2D(2, 3, name="this"), BinaryConv2D(2, 3, name="this"),
        L.Activation(tf.math.erf, name="this"), L.LSTM(2, name="this"),
    ):  # fmt: skip
        flat = isinstance(layer, L.LSTM)
        with pytest.raises(InputError, match=r"'this' of class \w+ cannot be written") as caught:
            to_keras3(one(layer, (8, 8) if flat else (8, 8, 8)), tmp_path / "net.keras")
        assert "Received:" in str(caught.value)
    with pytest.raises(InputError, match=r"tf\.math\.erf"):
        to_keras3(one(tf.math.erf), tmp_path / "net.keras")
    with pytest.raises(InputError, match="a fixed size"):
        to_keras3(one(ChannelShuffle(2), (None, None, 8)), tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"end with \.keras"):
        to_keras3(one(L.Dense(2)), tmp_path / "net.h5")
    # A refusal leaves nothing behind.
    assert list(tmp_path.iterdir()) == []
