from __future__ import annotations

import csv

import numpy as np
import pytest
import tensorflow as tf

from recipes import _precision
from tta_lite.compat import keras
from tta_lite.guideline.export_steps import mixed_trial
from tta_lite.guideline.settings import Settings
from tta_lite.training import precision
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.precision import choose_policy, optimizer_for, training_policy, with_policy
from tta_lite.types import Candidate, InputError

MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}


@pytest.fixture(scope="module")
def net(make_net):
    """With batch norm statistics that are not those of a fresh network."""
    model = make_net()
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).uniform(-1, 1, (4, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("policy", MIXED)
def test_the_same_network_in_16_bits(net, images, same, policy):
    before = [layer.dtype_policy.name for layer in net.layers]
    mixed = with_policy(net, policy)
    assert same(net, mixed)
    for layer in mixed.layers[1:-1]:
        assert layer.compute_dtype == MIXED[policy], layer.name
    assert mixed.layers[-1].compute_dtype == "float32"
    assert {weight.dtype for weight in mixed.weights} == {tf.float32}
    expected, found = net(images).numpy(), mixed(images)
    assert found.dtype == tf.float32
    # 11 or 8 bits of mantissa.
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < error < {"mixed_float16": 0.005, "mixed_bfloat16": 0.04}[policy]
    assert [layer.dtype_policy.name for layer in net.layers] == before == ["float32"] * len(net.layers)


def test_there_and_back(net, images, same):
    back = with_policy(with_policy(net, "mixed_bfloat16"), "float32")
    assert same(net, back)
    assert {layer.compute_dtype for layer in back.layers} == {"float32"}
    np.testing.assert_array_equal(net(images), back(images))


@pytest.mark.parametrize("policy", MIXED)
def test_nested_models_follow(policy):
    inner = keras.Sequential([keras.layers.Conv2D(4, 3, name="conv"), keras.layers.ReLU(name="relu")], name="inner")
    image = keras.Input((8, 8, 3))
    head_in = keras.Input((6, 6, 4))
    head = keras.Model(
        head_in, keras.layers.Conv2D(2, 1, name="out")(keras.layers.ReLU(name="first")(head_in)), name="head"
    )
    net = keras.Model(image, head(inner(image)))
    mixed = with_policy(net, policy)
    found = {
        layer.name: layer.compute_dtype for part in ("inner", "head") for layer in mixed.get_layer(part).layers[-2:]
    }
    assert found == {"conv": MIXED[policy], "relu": MIXED[policy], "first": MIXED[policy], "out": "float32"}
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(with_policy(mixed, "float32")(images), net(images))


def test_a_copy_has_weights_of_its_own(net, same):
    copy = with_policy(net, "float32")
    copy.get_layer("heatmaps").bias.assign_add([1.0, 1.0, 1.0])
    assert not same(net, copy)


def test_unknown_policy(net):
    with pytest.raises(InputError, match=r"`policy` must be one of float32, .* Received: 'float16'"):
        with_policy(net, "float16")


def test_only_float16_needs_loss_scaling():
    for policy, scaled in {"float32": False, "mixed_bfloat16": False, "mixed_float16": True}.items():
        optimizer = optimizer_for(policy, keras.optimizers.Adam(0.5))
        assert isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer) == scaled
        assert float(optimizer.learning_rate) == 0.5


@pytest.mark.parametrize(("gpus", "policy"), [([], "mixed_bfloat16"), (["GPU:0"], "mixed_float16")])
def test_policy_for_this_machine(monkeypatch, gpus, policy):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: gpus)
    chosen, why = training_policy()
    assert chosen == policy and "float16" in why


def test_the_flag_chooses(monkeypatch):
    monkeypatch.setattr(precision.tf.config, "list_physical_devices", lambda kind: [])
    assert _precision.CHOICES == precision.CHOICES
    assert choose_policy() == choose_policy("auto") == training_policy()
    for policy in precision.POLICIES:
        assert choose_policy(policy) == (policy, "as was asked for")
    for wrong in (choose_policy, lambda precision: Settings(precision=precision)):
        with pytest.raises(InputError, match=r"`precision` must be one of auto, float32, .* Received: 'float16'"):
            wrong("float16")
    # It comes to the training of the trial.
    assert mixed_trial(Candidate(None), 2, 0.3, "mixed_float16").precision == "mixed_float16"


@pytest.mark.parametrize("policy", MIXED)
def test_a_few_steps(net, make_task, same, tmp_path, policy):
    task, seen = make_task(batch_size=8), {}

    def look(logs):
        model = watcher.model
        seen.update(
            model=model, optimizer=model.optimizer, dtypes={layer.compute_dtype for layer in model.layers[1:-1]}
        )

    watcher = keras.callbacks.LambdaCallback(on_train_end=look)
    settings = FitSettings(epochs=2, precision=policy, tensorboard=False)
    trained = fit(Candidate(net), task, settings, tmp_path, callbacks=[watcher], write=lambda line: None).model

    assert seen["dtypes"] == {MIXED[policy]}
    scaled = isinstance(seen["optimizer"], keras.mixed_precision.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    if scaled:
        assert seen["optimizer"].dynamic and float(seen["optimizer"].loss_scale) == 2**15
    assert int(seen["optimizer"].iterations) == 2

    # The first step's loss is that of float32, but for the precision.
    ((images, labels),) = task.train_data(seed=0).take(1).as_numpy_iterator()
    expected = float(task.loss()(labels, with_policy(net, "float32")(images, training=True)))
    with (tmp_path / "history.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[0] == pytest.approx(expected, rel=0.02)
    assert losses[1] < losses[0]

    # The master weights come back, in a network of float32 alone.
    assert same(trained, seen["model"]) and not same(trained, net)
    assert {layer.dtype_policy.name for layer in trained.layers} == {"float32"}
    assert {weight.dtype for weight in trained.weights} == {tf.float32}
