"""What a network learns from a teacher: the formulas against float64, one step by hand, and nothing left behind."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.datasets.image_folder import ImageSet
from tta_lite.models.backbones import MINUS_ONE_TO_ONE
from tta_lite.tasks.classification import ClassificationTask
from tta_lite.tasks.heatmaps import JointsMSE
from tta_lite.training.distillation import Distillation, softened_divergence
from tta_lite.training.distillation_terms import AttentionTransfer, Hint
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.pruning import Pruning, sparsity
from tta_lite.types import Candidate, InputError

L = keras.layers
TWO = FitSettings(epochs=2, tensorboard=False)


def silent(line):
    pass


def shades(count: int = 12) -> ClassificationTask:
    """Dark and bright pictures of 8 x 8."""
    pixels = np.random.default_rng(0).integers(0, 100, (count, 8, 8, 3)).astype(np.uint8)
    pixels[1::2] += np.uint8(120)
    labels = np.arange(count, dtype=np.int32) % 2
    images = ImageSet(
        "shades", tuple(map(Path, map(str, range(count)))), labels, ("dark", "bright"), pixels.__getitem__
    )
    return ClassificationTask(images, images, MINUS_ONE_TO_ONE, (8, 8), from_logits=True, batch_size=4)


def classes(seed: int, *, softmax: bool = False, penalty: float = 0.0, filters: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 3), name="image")
    keep = keras.regularizers.L2(penalty) if penalty else None
    x = L.Conv2D(filters, 3, activation="relu", kernel_regularizer=keep, name="conv")(image)
    last = "softmax" if softmax else None
    return keras.Model(image, L.Dense(2, activation=last, name="scores")(L.GlobalAveragePooling2D()(x)), name="small")


def history(folder) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


logits = st.lists(st.floats(-20, 20, width=32), min_size=3, max_size=3)


@settings(max_examples=40, deadline=None)
@given(taught=logits, found=logits, temperature=st.sampled_from([1.0, 2.0, 4.0, 20.0]))
def test_the_divergence_and_its_gradient_are_hinton_s(taught, found, temperature):
    """In float64; the gradient of T^2 times a cross-entropy of softened classes is T (q - p)."""
    soft = [np.exp(np.array(z, np.float64) / temperature) for z in (taught, found)]
    p, q = (one / one.sum() for one in soft)
    with tf.GradientTape() as tape:
        z = tf.constant([found], tf.float32)
        tape.watch(z)
        value = softened_divergence(tf.constant([taught], tf.float32), z, temperature)
    assert float(value[0]) == pytest.approx(temperature**2 * np.sum(p * np.log(p / q)), rel=1e-3, abs=2e-4)
    np.testing.assert_allclose(tape.gradient(value, z)[0], temperature * (q - p), rtol=1e-3, atol=1e-5 * temperature)


@pytest.mark.parametrize("ends", [(True, True), (True, False), (False, True)])
def test_probabilities_teach_what_their_logits_do(ends):
    """A network that ends in a softmax is the same network: only its outputs are told otherwise."""
    images = tf.constant(np.random.default_rng(1).normal(size=(5, 8, 8, 3)), tf.float32)
    found = []
    for teacher_softmax, softmax in ((False, False), ends):
        teacher, model = classes(1, softmax=teacher_softmax), classes(2, softmax=softmax)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
        found.append(Distillation(teacher, temperature=3.0).distance(model, loss)(teacher(images), model(images)))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-5)
    assert float(tf.reduce_min(found[0])) > 1e-4


def test_heat_maps_learn_from_all_joints_as_from_the_labels():
    maps = np.random.default_rng(2).normal(size=(2, 4, 8, 8, 3)).astype(np.float32)
    expected = 0.5 * np.mean((maps[0].astype(np.float64) - maps[1]) ** 2, axis=(1, 2, 3))
    image = keras.Input((8, 8, 3))
    net = keras.Model(image, L.Conv2D(3, 1)(image))
    distance = Distillation(net).distance(net, JointsMSE())
    np.testing.assert_allclose(distance(maps[0], maps[1]), expected, rtol=1e-5)
    # Of any other loss: the mean.
    distance = Distillation(net).distance(net, keras.losses.MeanAbsoluteError())
    np.testing.assert_allclose(distance(maps[0], maps[1]), 2 * expected, rtol=1e-5)


def test_one_step_is_that_of_the_weighted_sum(tmp_path):
    """(1 - w) loss + w divergence + penalties, by a gradient tape of our own."""
    task = dataclasses.replace(shades(4), batch_size=4)
    teacher, net = classes(1), classes(2, penalty=0.1)
    step = FitSettings(epochs=1, drops=(), tensorboard=False, distillation=Distillation(teacher, 0.25, 2.0))
    after = fit(Candidate(net), task, step, tmp_path, write=silent).model
    ((images, labels),) = task.train_data(seed=0).take(1)
    by_hand = classes(2, penalty=0.1)
    with tf.GradientTape() as tape:
        scores = by_hand(images)
        label = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scores))
        apart = tf.reduce_mean(softened_divergence(teacher(images), scores, 2.0))
        kernel = by_hand.get_layer("conv").kernel
        penalty = 0.1 * tf.reduce_sum(kernel**2)
        total = 0.75 * label + 0.25 * apart + penalty
    gradients = tape.gradient(total, by_hand.trainable_variables)
    keras.optimizers.Adam(1e-3, epsilon=1e-8).apply_gradients(zip(gradients, by_hand.trainable_variables, strict=True))
    for found, expected in zip(after.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    (row,) = history(tmp_path)
    assert float(row["distillation"]) == pytest.approx(float(apart), rel=1e-5)
    assert float(row["loss"]) == pytest.approx(float(label + penalty), rel=1e-5)
    # Validation is of the task alone, and comparable with that of a training without a teacher.
    assert "val_loss" in row and "val_distillation" not in row


@pytest.fixture(scope="module")
def taught(make_net, make_task, tmp_path_factory):
    """-> folder, plan, the teacher's weights before, candidate after two epochs; a regressor learns beside it."""
    folder, teacher = tmp_path_factory.mktemp("taught"), make_net()
    keras.utils.set_random_seed(5)
    teacher.set_weights([weight + np.random.normal(0, 0.05, weight.shape) ** 2 for weight in teacher.get_weights()])
    before = teacher.get_weights()
    plan = Distillation(teacher, terms=(AttentionTransfer(1.0), Hint(0.1)))
    given = dataclasses.replace(TWO, distillation=plan)
    return folder, plan, before, fit(Candidate(make_net()), make_task(), given, folder, write=silent)


def test_the_teacher_is_only_asked(taught, make_net):
    """Its batch norms take the moving statistics and leave them; nothing of it is in what was trained."""
    _, plan, before, after = taught
    teacher = plan.teacher
    assert all(np.array_equal(a, b) for a, b in zip(teacher.get_weights(), before, strict=True))
    assert teacher.trainable_variables
    net = make_net()
    assert [layer.name for layer in after.model.layers] == [layer.name for layer in net.layers]
    assert after.model.count_params() == net.count_params()
    assert "train_step" not in vars(after.model)


def test_a_teacher_changes_what_is_learnt_and_comes_nearer(taught, make_net, make_task, same, tmp_path):
    folder, _, _, after = taught
    alone = fit(Candidate(make_net()), make_task(), TWO, tmp_path, write=silent).model
    assert not same(alone, after.model)
    rows = history(folder)
    assert 0 < float(rows[1]["distillation"]) < float(rows[0]["distillation"])
    assert "distillation" not in history(tmp_path)[0]


def test_the_logged_distance_is_to_the_teacher_as_it_infers(make_net, make_task, tmp_path):
    """A learning rate of nothing: the network stays, and the distance is that of its training pass."""
    teacher, net, task = make_net(), make_net(), make_task(batch_size=8)
    given = FitSettings(1, 1e-30, (), tensorboard=False, distillation=Distillation(teacher))
    fit(Candidate(net), task, given, tmp_path, write=silent)
    ((images, _),) = task.train_data(seed=0).take(1)
    expected = 0.5 * np.mean((teacher(images, training=False) - net(images, training=True)) ** 2)
    assert expected > 1e-6
    assert float(history(tmp_path)[0]["distillation"]) == pytest.approx(float(expected), rel=1e-4)


def test_its_own_double_teaches_nothing(make_net, make_task, same, tmp_path):
    """Without batch norm a network in training is the network: the distance is 0, and so is every step."""
    net = make_net(norm=False)
    given = dataclasses.replace(TWO, distillation=Distillation(make_net(norm=False), 1.0))
    after = fit(Candidate(net), make_task(), given, tmp_path, write=silent).model
    assert same(net, after)
    assert [float(row["distillation"]) for row in history(tmp_path)] == [0.0, 0.0]


def test_the_same_seed_gives_the_same_weights_stopped_or_not(taught, make_net, make_task, same, interrupt, tmp_path):
    folder, plan, _, after = taught
    given = dataclasses.replace(TWO, distillation=plan)
    interrupt(fit, Candidate(make_net()), make_task(), given, tmp_path, epoch=1)
    again = fit(Candidate(make_net()), make_task(), given, tmp_path, write=silent)
    assert same(after.model, again.model)
    kept = ("loss", "distillation", "at", "hint", "val_loss")
    assert [[row[key] for key in kept] for row in history(folder)] == [
        [row[key] for key in kept] for row in history(tmp_path)
    ]


@pytest.mark.parametrize("how", [{"precision": "mixed_bfloat16"}, {"precision": "mixed_float16"}], ids=str)
def test_a_network_in_16_bits_learns_from_a_teacher_in_32(make_net, make_task, tmp_path, how):
    given = FitSettings(1, tensorboard=False, distillation=Distillation(make_net()), **how)
    after = fit(Candidate(make_net()), make_task(), given, tmp_path, write=silent).model
    assert {layer.compute_dtype for layer in after.layers} == {"float32"}
    assert 0 < float(history(tmp_path)[0]["distillation"]) < 1


@pytest.mark.slow
def test_replicas_learn_what_one_device_learns(make_net, make_task, tmp_path):
    given = FitSettings(1, tensorboard=False, distillation=Distillation(make_net()))
    weights = []
    for name in ("none", "mirrored"):
        chosen = dataclasses.replace(given, strategy=name)
        weights.append(
            fit(Candidate(make_net()), make_task(), chosen, tmp_path / name, write=silent).model.get_weights()
        )
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.slow
def test_a_pruned_network_has_a_teacher_too(make_net, make_task, tmp_path):
    given = FitSettings(1, tensorboard=False, pruning=Pruning(0.5), distillation=Distillation(make_net()))
    after = fit(Candidate(make_net()), make_task(), given, tmp_path, write=silent).model
    assert sparsity(after) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"weight": 0}, "weight"), ({"weight": 1.5}, "weight"), ({"temperature": 0.0}, "temperature"),
     ({"teacher": "net.keras"}, "float network"), ({"weight": 0, "terms": ()}, "weight"), ({"terms": ("at",)}, "'at'")],
)  # fmt: skip
def test_a_plan_that_cannot_be(change, words):
    with pytest.raises(InputError, match=words):
        Distillation(**{"teacher": classes(0), **change})


def test_a_teacher_for_other_pictures_or_with_other_answers():
    image = keras.Input((16, 16, 3))
    larger = keras.Model(image, L.Dense(2)(L.GlobalAveragePooling2D()(image)))
    image = keras.Input((8, 8, 3))
    other = keras.Model(image, L.Dense(5)(L.GlobalAveragePooling2D()(image)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for teacher, what in ((larger, "inputs"), (other, "outputs")):
        with pytest.raises(InputError, match=f"the {what} of the network that learns"):
            Distillation(teacher).distance(classes(0), loss)
    with pytest.raises(InputError, match=r"a keras\.losses\.Loss\. Received: 'mse'"):
        Distillation(classes(1)).distance(classes(0), "mse")
