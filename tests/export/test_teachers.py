"""A teacher in any file answers as the network that was exported."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.training import small_pair as pair
from tta_lite.compat import keras
from tta_lite.export.onnx import export_onnx
from tta_lite.export.saved_model import export_saved_model
from tta_lite.export.teachers import folder_digest, load_teacher
from tta_lite.export.tflite import export_tflite
from tta_lite.training.distillation_terms import AttentionTransfer, KnowledgeDistillation
from tta_lite.training.distiller import Distiller
from tta_lite.training.teachers import as_teacher
from tta_lite.types import FP32, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """-> a folder with one network in every format."""
    root = tmp_path_factory.mktemp("teachers")
    net = pair.teacher(softmax=True)
    net.save(root / "net.keras")
    tflite = export_tflite(net, FP32)
    (root / "net.tflite").write_bytes(tflite)
    (root / "net.onnx").write_bytes(export_onnx(tflite).data)
    (root / "last.onnx").write_bytes(export_onnx(tflite, channels_first=False).data)
    export_saved_model(net, root / "saved")
    return root


@pytest.mark.parametrize("name", ["net.keras", "net.tflite", "net.onnx", "last.onnx", "saved"])
def test_a_file_answers_as_the_network(folder, name):
    if name.endswith("onnx"):
        pytest.importorskip("onnxruntime")
    teacher = load_teacher(folder / name)
    assert teacher.output_shape == (None, 3) and teacher.probabilities
    answer = tf.function(lambda images: teacher.ask(images).outputs)(tf.constant(pair.IMAGES[:3]))
    np.testing.assert_allclose(answer, pair.teacher(softmax=True)(pair.IMAGES[:3]), atol=1e-5)
    assert answer.shape == (3, 3) and len(teacher.digest()) == 64


def test_a_student_learns_from_a_flatbuffer_what_it_learns_from_the_network(folder):
    students = []
    for teacher in (load_teacher(folder / "net.tflite"), pair.teacher(softmax=True)):
        distiller = Distiller(pair.student(), teacher, [KnowledgeDistillation()])
        distiller.compile(keras.optimizers.SGD(0.1), pair.loss(), run_eagerly=True)
        distiller.fit(pair.IMAGES, pair.LABELS, batch_size=8, shuffle=False, verbose=0)
        students.append(distiller.student)
    assert pair.differences(*students) < 1e-4 < pair.differences(students[0], pair.student())
    with pytest.raises(InputError, match=r"Features are of teachers that are graphs.*'net.tflite', which has none"):
        Distiller(pair.student(), load_teacher(folder / "net.tflite"), [AttentionTransfer()])


def test_other_files_have_other_digests(folder, tmp_path):
    assert load_teacher(folder / "net.tflite").digest() != load_teacher(folder / "net.keras").digest()
    assert as_teacher(pair.teacher()).digest() == as_teacher(pair.teacher()).digest()
    assert as_teacher(pair.teacher()).digest() != as_teacher(pair.make(6, 9, prefix="t_")).digest()
    (tmp_path / "a").write_text("1")
    before = folder_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert folder_digest(tmp_path) != before


def test_files_that_cannot_teach(folder, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"ends with .tflite, .onnx, .*Received: '.*absent.tflite'"):
        load_teacher(tmp_path / "absent.tflite")
    (tmp_path / "torn.tflite").write_bytes((folder / "net.tflite").read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be run"):
        load_teacher(tmp_path / "torn.tflite")
    with pytest.raises(InputError, match=r"must answer a batch \[2, 9, 9, 1\]"):
        load_teacher(folder / "net.tflite", np.ones([2, 9, 9, 1], np.float32))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"tta_lite\[onnx\]"):
        load_teacher(folder / "net.onnx")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x.sum(), r"with one float tensor.*Received: float32 \[\]"),
        (lambda x: [x, x], "Received: list"),
        (lambda x: x.astype(np.int32), "Received: int32"),
        (lambda x: x[:1], r"Received: float32 \[1, 8, 8, 1\]"),
        (lambda x: x * np.nan, "NaN or infinity"),
        (lambda x: 1 / 0, "Received: ZeroDivisionError: division by zero"),
    ],
)
def test_functions_that_cannot_teach(function, words):
    with pytest.raises(InputError, match=words):
        as_teacher(function, pair.IMAGES[:2])
    with pytest.raises(InputError, match="give as_teacher an `example`"):
        as_teacher(function)


def test_functions_and_networks_of_code_teach():
    class Code(keras.Model):
        def __init__(self):
            super().__init__()
            self.last = keras.layers.Dense(3)

        def call(self, images):
            return self.last(tf.reduce_mean(images, axis=(1, 2)))

    code = Code()
    for source in (code, tf.function(code), lambda images: code(images).numpy()):
        teacher = as_teacher(source, pair.IMAGES[:2])
        assert not teacher.probabilities
        found = tf.function(lambda images, teacher=teacher: teacher.ask(images).outputs)(pair.IMAGES)
        np.testing.assert_allclose(found, code(pair.IMAGES), atol=1e-6)
