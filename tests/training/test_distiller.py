"""`Distiller` in a `fit` of one's own: one step by hand, every way to train a student, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tests import own_process
from tests.training import small_pair as pair
from tta_lite.compat import keras, load_model
from tta_lite.training import distillation_losses as losses
from tta_lite.training.callbacks import PruneLowMagnitudeStep, QuantizationAwareSchedule, SparsityLogger
from tta_lite.training.distillation_terms import (
    TERMS,
    AttentionTransfer,
    HeatMaps,
    Hint,
    KnowledgeDistillation,
    LinearWeight,
    SimilarityPreserving,
)
from tta_lite.training.distiller import Distiller, hint_stage
from tta_lite.training.precision import with_policy
from tta_lite.training.pruning import Pruning, sparsity, strip
from tta_lite.training.pruning_schedules import constant
from tta_lite.training.quantization_aware import float_network, quantization_aware
from tta_lite.training.teachers import Answer, KerasTeacher, as_teacher
from tta_lite.types import InputError

L = keras.layers
KD = KnowledgeDistillation


def make(net, terms, *, optimizer=None, teacher=None, **options):
    distiller = Distiller(net, teacher or pair.teacher(), terms, **options)
    # Eager steps cost less than compiling them, on networks of this size.
    distiller.compile(optimizer or keras.optimizers.SGD(0.05), pair.loss(), run_eagerly=True)
    return distiller


def fit(distiller, epochs=1, callbacks=(), **options):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    return distiller.fit(pair.IMAGES, pair.LABELS, epochs=epochs, callbacks=list(callbacks), **options).history


def test_two_steps_are_those_of_the_sum():
    """All terms, a weight that changes, a weight of the task and penalties, by a gradient tape of our own."""
    net, by_hand, teacher = pair.student(penalty=0.1), pair.student(penalty=0.1), pair.teacher()
    terms = [
        KD(LinearWeight(0.0, 0.8, steps=2), temperature=2.0), HeatMaps(0.3), AttentionTransfer(5.0),
        SimilarityPreserving(7.0, pairs={"b": "t_a"}), Hint(0.9, pairs=[("a", "t_b")]), HeatMaps(0.2),
    ]  # fmt: skip
    distiller = make(net, terms, teacher=teacher, task_weight=0.25)
    (regressor,) = distiller.regressors
    kernel, bias = (tf.Variable(one) for one in regressor.get_weights())
    assert kernel.shape == (2, 2, 2, 7) and regressor.strides == (2, 2)
    history = fit(distiller)
    optimizer, found = keras.optimizers.SGD(0.05), []
    for step in range(2):
        x, y = pair.IMAGES[8 * step : 8 * step + 8], pair.LABELS[8 * step : 8 * step + 8]
        features = [
            keras.Model(one.inputs, [one.output, one.get_layer(f"{name}a").output, one.get_layer(f"{name}b").output])
            for one, name in ((teacher, "t_"), (by_hand, ""))
        ]
        taught, taught_a, taught_b = features[0](x)
        with tf.GradientTape() as tape:
            scores, a, b = features[1](x)
            task = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))
            parts = [
                losses.softened_divergence(taught, scores, 2.0),
                0.5 * tf.reduce_mean((taught - scores) ** 2, axis=1),
                losses.attention_transfer(taught_a, a) + losses.attention_transfer(taught_b, b),
                losses.similarity_preserving(taught_a, b),
                0.5 * tf.reduce_mean((taught_b - tf.nn.conv2d(a, kernel, 2, "VALID") - bias) ** 2, axis=(1, 2, 3)),
            ]
            found.append([float(tf.reduce_mean(part)) for part in parts])
            weights = [0.4 * step, 0.5, 5.0, 7.0, 0.9]
            total = 0.25 * task + 0.1 * tf.reduce_sum(by_hand.get_layer("a").kernel ** 2)
            total += sum(weight * tf.reduce_mean(part) for weight, part in zip(weights, parts, strict=True))
        variables = [*by_hand.trainable_variables, kernel, bias]
        optimizer.apply_gradients(zip(tape.gradient(total, variables), variables, strict=True))
    assert pair.differences(net, by_hand) < 1e-5
    np.testing.assert_allclose(regressor.get_weights()[0], kernel, atol=1e-5)
    for name, values in zip(("kd", "heat_maps", "at", "sp", "hint"), zip(*found, strict=True), strict=True):
        assert history[name] == pytest.approx([np.mean(values)], rel=1e-3), name
    assert history["heat_maps_2"] == history["heat_maps"]


def test_what_is_scored_and_saved_is_the_student(tmp_path):
    """No weight, layer or byte of a teacher or a regressor."""
    net = pair.student()
    distiller = Distiller(net, pair.teacher(), [KD(), Hint()])
    distiller.compile("sgd", pair.loss(), metrics=["accuracy"], run_eagerly=True)
    fit(distiller)
    alone = keras.models.clone_model(net)
    alone.set_weights(net.get_weights())
    alone.compile("sgd", pair.loss(), metrics=["accuracy"], run_eagerly=True)
    options = {"verbose": 0, "return_dict": True}
    assert distiller.evaluate(pair.IMAGES, pair.LABELS, **options) == pytest.approx(
        alone.evaluate(pair.IMAGES, pair.LABELS, **options)
    )
    np.testing.assert_array_equal(distiller.predict(pair.IMAGES, verbose=0), net.predict(pair.IMAGES, verbose=0))
    assert [layer.name for layer in distiller.layers] == [layer.name for layer in pair.student().layers]
    assert {variable.name.split("/")[0] for variable in distiller.variables} == {"a", "b", "scores", "regressor_b"}
    sizes = []
    for place, model in (("mine", distiller), ("plain", alone)):
        model.save(tmp_path / f"{place}.h5", include_optimizer=False)
        sizes.append((tmp_path / f"{place}.h5").stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 512
    assert pair.differences(load_model(tmp_path / "mine.h5"), net) == 0


# That the steps are right is seen above; these are the same steps for longer.
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TERMS))
def test_each_way_lowers_its_distance(name):
    history = fit(
        make(pair.student(), [TERMS[name](10.0)], optimizer=keras.optimizers.Adam(1e-2)), epochs=4, batch_size=16
    )
    assert history[name][-1] < 0.95 * history[name][0]


def test_the_first_stage_of_fitnets_leaves_what_comes_after():
    net, before = pair.student(), pair.student()
    stage = hint_stage(net, pair.teacher(), Hint(pairs={"a": "t_a"}))
    stage.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    history = stage.fit(pair.IMAGES, epochs=4, batch_size=8, verbose=0).history
    assert history["hint"][-1] < history["hint"][0]
    assert not np.array_equal(net.get_layer("a").kernel, before.get_layer("a").kernel)
    for layer in ("b", "scores"):
        np.testing.assert_array_equal(net.get_layer(layer).kernel, before.get_layer(layer).kernel)
    with pytest.raises(InputError, match="has one pair of layers"):
        hint_stage(net, pair.teacher(), Hint(pairs={"a": "t_a", "b": "t_b"}))


@pytest.mark.parametrize("policy", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "mixed_float16"])
def test_a_student_in_16_bits(policy):
    terms, nets = [KD(), AttentionTransfer(1.0), SimilarityPreserving(1.0), Hint()], []
    for net in (with_policy(pair.student(), policy), pair.student()):
        keras.utils.set_random_seed(4)
        distiller = make(net, terms)
        scaled = isinstance(distiller.optimizer, keras.mixed_precision.LossScaleOptimizer)
        assert scaled == (policy == "mixed_float16" and not nets)
        history = fit(distiller, batch_size=16)
        assert all(np.isfinite(values).all() for values in history.values())
        nets.append(net)
    # The teacher is exact; what differs is the rounding of the student.
    assert 0 < pair.differences(*nets) < 0.1 * pair.differences(nets[1], pair.student())


def test_replicas_learn_what_one_device_learns():
    done = own_process.run("tests.training.replicas")
    assert done.returncode == 0, done.stderr
    said = dict(line.split() for line in done.stdout.splitlines() if " " in line)
    assert said["replicas"] == "2"
    assert float(said["difference"]) < 1e-5 < 1e-3 < float(said["learnt"])


def test_the_callback_prunes_the_student_alone():
    distiller = make(pair.student(), [KD(), Hint()])
    step, logger = PruneLowMagnitudeStep(constant(0.5, begin=1, end=4, frequency=1)), SparsityLogger()
    history = fit(distiller, epochs=2, callbacks=[step, logger])
    assert [kernel.layer for kernel in step.kernels] == ["a", "b", "scores"]
    assert sparsity(distiller.student) == pytest.approx(0.5, abs=0.02) == history["sparsity"][-1]
    assert (distiller.regressors[0].get_weights()[0] != 0).all()


@pytest.mark.slow
def test_wrappers_prune_a_student():
    wrapped = Pruning(0.5, begin=0.0, end=0.5, how="wrappers").wrap(pair.student(), 4)
    # A pair names the layer as it is called without its wrapper.
    distiller = make(wrapped, [KD(), AttentionTransfer(pairs={"a": "t_a"}), Hint()])
    fit(distiller, epochs=2, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
    assert sparsity(strip(wrapped)) == pytest.approx(0.5, abs=0.03)


def test_a_quantised_student_has_a_float_teacher():
    quantised = quantization_aware(pair.student(softmax=True), images=[image[None] for image in pair.IMAGES[:4]])
    before = float_network(quantised)
    distiller = make(quantised, [KD(), AttentionTransfer(), Hint(pairs={"b": "t_b"})])
    distiller.compile(keras.optimizers.Adam(1e-2), keras.losses.SparseCategoricalCrossentropy(), run_eagerly=True)
    taught, found = (
        np.log(tf.nn.softmax(pair.teacher()(pair.IMAGES)) if k else quantised(pair.IMAGES)) for k in (1, 0)
    )
    first = tf.reduce_mean(losses.softened_divergence(taught, found, 4.0))
    schedule = QuantizationAwareSchedule(freeze_batch_norm_epoch=1, freeze_ranges_epoch=1)
    history = fit(distiller, epochs=2, callbacks=[schedule], batch_size=16)
    # Its softmax is seen through the wrapper.
    assert history["kd"][0] == pytest.approx(float(first), rel=0.05)
    assert history["kd"][-1] < history["kd"][0]
    assert pair.differences(float_network(distiller.student), before) > 1e-3


def test_a_checkpoint_goes_on_as_if_nothing_had_been(tmp_path):
    def new():
        keras.utils.set_random_seed(3)
        terms = [KD(LinearWeight(1.0, 0.0, steps=4)), Hint()]
        return make(pair.student(), terms, optimizer=keras.optimizers.Adam(1e-2))

    whole, first, second = new(), new(), new()
    fit(whole, epochs=2)
    fit(first, epochs=1)
    path = tf.train.Checkpoint(model=first).save(str(tmp_path / "state"))
    tf.train.Checkpoint(model=second).restore(path).assert_existing_objects_matched()
    fit(second, epochs=2, initial_epoch=1)
    # Who saves by a callback of Keras is not told that there is nothing to save yet.
    assert new().built
    assert pair.differences(whole.student, second.student) == 0
    assert pair.differences(whole.regressors[0], second.regressors[0]) == 0
    assert pair.differences(first.student, second.student) > 1e-3


def regressor(mine, theirs):
    """-> kernel and strides of the regressor between two layers, which gives numbers."""
    nets = []
    for shape in (mine, theirs):
        image = keras.Input(shape)
        nets.append(keras.Model(image, L.Dense(2)(L.Flatten()(L.ReLU(name="feature")(image)))))
    bound = Hint(pairs={"feature": "feature"}).bind(nets[0], KerasTeacher(nets[1]))
    taught, found = (Answer(None, {"feature": tf.ones([2, *shape])}) for shape in (theirs, mine))
    assert bound.distance(taught, found).shape == (2,)
    return bound.regressors[0].kernel.shape, bound.regressors[0].strides


def test_regressors_fit_the_sizes():
    assert regressor((8, 8, 2), (8, 8, 5)) == ((1, 1, 2, 5), (1, 1))
    assert regressor((8, 8, 2), (2, 4, 5)) == ((4, 2, 2, 5), (4, 2))
    assert regressor((2, 4, 3), (8, 8, 5)) == ((1, 1, 3, 5), (1, 1))
    # One is higher, the other wider: both are pooled.
    assert regressor((8, 2, 3), (4, 4, 5)) == ((1, 1, 3, 5), (1, 1))
    assert regressor((6,), (9,)) == ((1, 1, 6, 9), (1, 1))


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ([AttentionTransfer(pairs={"c": "t_a"})], r"a layer of the student.*Expected: one of.*Received: 'c'"),
        ([AttentionTransfer(pairs={"a": "x"})], r"a layer of the teacher.*Received: 'x'"),
        ([AttentionTransfer(pairs={"pool": "t_a"})], r"'at' needs layers that give maps.*Received: 'pool'"),
        ([AttentionTransfer(pairs="a")], "must be {student layer: teacher layer}"),
        ([], "Received: no losses"),
        (["kd"], "must hold terms.*Received: 'kd'"),
    ],
)
def test_terms_that_do_not_fit(terms, words):
    with pytest.raises(InputError, match=words):
        Distiller(pair.student(), pair.teacher(), terms)


def test_networks_that_do_not_fit():
    with pytest.raises(InputError, match="must be a graph of layers"):
        Distiller(keras.Sequential([L.Dense(3)]), pair.teacher(), [KD()])
    image = keras.Input((8, 8, 1))
    flat = keras.Model(image, L.Dense(3)(L.Flatten()(image)))
    with pytest.raises(InputError, match=r"one height and width.*sizes none of the student, 8x8 4x4 of the teacher"):
        Distiller(flat, pair.teacher(), [SimilarityPreserving()])
    with pytest.raises(InputError, match=r"Received: 'function', which has none"):
        function = tf.function(lambda images: tf.reduce_mean(images, axis=(1, 2)) * tf.ones([3]))
        Distiller(pair.student(), teacher_named(function, "function"), [SimilarityPreserving()])
    wide = keras.Model(image, L.Dense(4)(L.Flatten()(image)))
    with pytest.raises(InputError, match=r"the outputs of the network that learns.*Received: \(None, 4\)"):
        Distiller(pair.student(), wide, [KD()])
    image = keras.Input((4, 4, 1))
    with pytest.raises(InputError, match="the inputs of the network that learns"):
        Distiller(pair.student(), keras.Model(image, L.Dense(3)(L.Flatten()(image))), [KD()])


def teacher_named(function, name):
    return as_teacher(function, pair.IMAGES, name=name)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"weight": -1.0}, "`weight`"), ({"weight": float("nan")}, "`weight`"), ({"temperature": 0.0}, "`temperature`")],
)
def test_figures_out_of_range(change, words):
    with pytest.raises(InputError, match=words):
        KD(**change)
    with pytest.raises(InputError, match="`steps` of 1 or more"):
        LinearWeight(0.0, 1.0, steps=0)
