"""What a teacher said, from disk: the same weights, no question asked, and no answer to another question."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.training import small_pair as pair
from tta_lite.compat import keras
from tta_lite.training import teacher_cache
from tta_lite.training.callbacks import read_history
from tta_lite.training.distillation import Distillation
from tta_lite.training.distillation_step import Taught
from tta_lite.training.distillation_terms import AttentionTransfer, Hint, KnowledgeDistillation
from tta_lite.training.distiller import Distiller
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.teacher_cache import TaughtTask, cache_teacher
from tta_lite.training.teachers import CallableTeacher, KerasTeacher
from tta_lite.types import Candidate, InputError


def stream(seed: int = 0, batches: int = 4) -> tf.data.Dataset:
    """Noise on the pictures, other noise in each batch; the last batch is a small one."""
    rng = np.random.default_rng(seed)
    images = np.concatenate([pair.IMAGES + rng.normal(size=pair.IMAGES.shape).astype(np.float32) for _ in range(2)])
    labels = np.concatenate([pair.LABELS] * 2)
    return tf.data.Dataset.from_tensor_slices((images, labels)).take(8 * batches - 3).batch(8)


def train(data, teacher):
    keras.utils.set_random_seed(0)
    distiller = Distiller(pair.student(), teacher, [KnowledgeDistillation(), AttentionTransfer(), Hint()])
    distiller.compile(keras.optimizers.SGD(0.05), pair.loss(), run_eagerly=True)
    distiller.fit(data(distiller.teacher_layers), verbose=0)
    return distiller


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """-> path of a cache of seed 0, the teacher, what was trained with it."""
    path, teacher = tmp_path_factory.mktemp("cache") / "taught", pair.teacher()
    return path, teacher, train(lambda layers: cache_teacher(teacher, stream(), path, seed=0, layers=layers), teacher)


def test_a_cache_gives_the_weights_that_the_teacher_gives(cached):
    _, teacher, found = cached
    asked = train(lambda layers: stream(), teacher)
    assert pair.differences(asked.student, found.student) < 1e-6
    assert pair.differences(asked.student, pair.student()) > 1e-3
    # Evaluation knows the labels within.
    scores = [one.evaluate(data, verbose=0) for one, data in ((asked, stream()), (found, _taught(cached)))]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def _taught(cached):
    path, teacher, distiller = cached
    return cache_teacher(teacher, stream(), path, seed=0, layers=distiller.teacher_layers)


def test_nobody_is_asked_twice(cached, monkeypatch):
    path, teacher, first = cached
    written = path.stat().st_mtime_ns

    def ask(self, images, layers=()):
        raise AssertionError("the teacher was asked")

    monkeypatch.setattr(KerasTeacher, "ask", ask)
    again = train(lambda layers: _taught(cached), teacher)
    assert pair.differences(first.student, again.student) == 0
    assert path.stat().st_mtime_ns == written


def test_a_training_that_goes_on_reads_from_its_batch(cached):
    path, teacher, distiller = cached
    whole = list(_taught(cached))
    layers = distiller.teacher_layers[:1]
    rest = list(cache_teacher(teacher, stream().skip(3), path, seed=0, layers=layers, start=3))
    assert [isinstance(batch[1], Taught) for batch in rest] == [True]
    np.testing.assert_array_equal(rest[0][1].answer.outputs, whole[3][1].answer.outputs)
    assert list(rest[0][1].answer.features) == list(layers) and len(rest[0][0]) == 5


def test_a_cache_of_something_else_is_refused(cached):
    path, teacher, _ = cached
    for change, words in (
        ({"seed": 1}, r"the seed 0 instead of 1"),
        ({"teacher": pair.make(6, 3, prefix="t_")}, r"the teacher '\w+' instead of '\w+'"),
        ({"layers": ("t_scores", "t_a")}, "no layer t_scores"),
        ({"batches": 9}, "4 batches instead of 9"),
        ({"dataset": stream().concatenate(stream())}, "4 batches instead of 8"),
        ({"dataset": stream(seed=5)}, "is of others. Received: another batch 0"),
    ):
        given = {"teacher": teacher, "dataset": stream(), "path": path, "seed": 0, **change}
        with pytest.raises(InputError, match=words):
            cache_teacher(**given)
    # Those that part later are found when they do.
    mixed = stream().take(2).concatenate(stream(seed=5).skip(2))
    with pytest.raises(tf.errors.InvalidArgumentError, match="InputError: The examples of a cache must come again"):
        list(cache_teacher(teacher, mixed, path, seed=0))


def test_features_that_are_not_cached_are_missed(cached):
    path, teacher, _ = cached
    with pytest.raises(InputError, match=r"must hold its layers t_a, t_b.*none of t_a, t_b"):
        train(lambda layers: cache_teacher(teacher, stream(), path, seed=0), teacher)


def test_what_is_stopped_leaves_nothing(tmp_path, monkeypatch):
    path, asked = tmp_path / "taught", []

    def answer(images):
        asked.append(len(images))
        if len(asked) == 4:
            raise KeyboardInterrupt
        return images.mean(axis=(1, 2)) * np.ones(3, np.float32)

    teacher = CallableTeacher(answer, name="slow", key="1", example=pair.IMAGES[:2])
    with pytest.raises((KeyboardInterrupt, tf.errors.OpError)):
        cache_teacher(teacher, stream(), path, seed=0)
    assert list(tmp_path.iterdir()) == [] and asked == [2, 8, 8, 8]
    assert len(list(cache_teacher(teacher, stream(), path, seed=0))) == 4
    assert asked[4:] == [8, 8, 8, 5] and [file.name for file in tmp_path.iterdir()] == ["taught"]
    # A file of something else is named, not overwritten.
    path.write_bytes(b"not a cache")
    with pytest.raises(InputError, match="must be a cache that cache_teacher has written"):
        cache_teacher(teacher, stream(), path, seed=0)
    assert path.read_bytes() == b"not a cache"


def test_streams_that_cannot_be_cached(tmp_path):
    teacher = pair.teacher()
    for dataset, options, words in (
        (stream().repeat(), {}, "for a dataset that does not tell it. Received: -1"),
        (stream(), {"batches": 7}, "There must be 7 batches to cache. Received: 4"),
        (stream(), {"start": 2}, "from batch 0 on"),
        (stream().map(lambda x, y: x), {}, r"batches of \(x, y\), x one tensor"),
    ):
        with pytest.raises(InputError, match=words):
            cache_teacher(teacher, dataset, tmp_path / "taught", seed=0, **options)
    nameless = CallableTeacher(lambda images: images[:, 0, :, 0], name="f", example=pair.IMAGES[:2])
    with pytest.raises(InputError, match="key="):
        cache_teacher(nameless, stream(), tmp_path / "taught", seed=0)


def test_a_task_with_a_cache(make_net, make_task, tmp_path, monkeypatch):
    """Its pictures are augmented anew in each epoch: the cache holds all of them, and `fit` reads it from any step."""
    teacher, task = make_net(norm=False), make_task()
    taught = TaughtTask(task, teacher, tmp_path / "taught", epochs=1)
    (batch,) = taught.train_data(seed=3, start_step=1).take(2)
    ((images, joints),) = task.train_data(seed=3, start_step=1).take(1)
    np.testing.assert_array_equal(batch[0], images)
    np.testing.assert_array_equal(batch[1].y, joints)
    np.testing.assert_allclose(batch[1].answer.outputs, teacher(images), atol=1e-6)
    found = dataclasses.asdict(teacher_cache._read_header(tmp_path / "taught"))
    assert found | {"teacher": ""} == {"teacher": "", "seed": 3, "layers": (), "batches": 2, "format": 1}
    monkeypatch.setattr(KerasTeacher, "ask", None)
    # Its two steps cost less than compiling them.
    monkeypatch.setattr(keras.Model, "compile", functools.partialmethod(keras.Model.compile, run_eagerly=True))
    settings = FitSettings(1, seed=3, tensorboard=False, distillation=Distillation(make_net(norm=False), 1.0))
    fit(Candidate(make_net(norm=False)), taught, settings, tmp_path / "run", write=lambda line: None)
    # The student begins as its teacher, and no step moves it.
    assert float(read_history(tmp_path / "run/history.csv")[0]["distillation"]) < 1e-10
