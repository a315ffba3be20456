from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tta_lite.export.signature import set_signature
from tta_lite.types import PRESETS, InputError


@pytest.fixture(scope="module")
def nameless():
    """Two inputs and two outputs that cannot be mistaken for one another, without a signature."""

    def graph(a, b):
        return tf.concat([a, b], axis=1) * 2.0, a[:, :1] - 1.0

    specs = [tf.TensorSpec((1, n), tf.float32) for n in (2, 3)]
    return tf.lite.TFLiteConverter([tf.function(graph).get_concrete_function(*specs)], None).convert()


def constants(tflite: bytes) -> list[tuple[int, bytes]]:
    """-> (offset in the file, content) of every buffer."""
    start = np.frombuffer(tflite, np.uint8).__array_interface__["data"][0]
    model = schema.Model.GetRootAs(tflite)
    data = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength()) if model.Buffers(i).DataLength()]
    return [(array.__array_interface__["data"][0] - start, array.tobytes()) for array in data]


def test_names_reach_the_right_tensors(nameless):
    named = set_signature(nameless, ["first", "second"], ["joined", "less"], key="run")
    interpreter = Interpreter(model_content=named)
    interpreter.allocate_tensors()
    assert interpreter.get_signature_list() == {"run": {"inputs": ["first", "second"], "outputs": ["joined", "less"]}}
    result = interpreter.get_signature_runner("run")(second=np.float32([[3, 4, 5]]), first=np.float32([[1, 2]]))
    assert result["joined"].tolist() == [[2, 4, 6, 8, 10]]
    assert result["less"].tolist() == [[0]]


def test_an_older_signature_is_replaced(nameless):
    twice = set_signature(set_signature(nameless, ["a", "b"], ["c", "d"]), ["e", "f"], ["g", "h"])
    signatures = Interpreter(model_content=twice).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["e", "f"], "outputs": ["g", "h"]}}


@pytest.mark.parametrize("names", [["only"], ["same", "same"], ["a", "b", "c"]])
def test_names_that_do_not_fit_are_refused(nameless, names):
    with pytest.raises(InputError, match=r"`inputs` must hold 2 different names.*Received: \["):
        set_signature(nameless, names, ["c", "d"])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_constant_is_aligned_and_unchanged(files, preset):
    before = constants(files[preset])
    assert len(before) > 15
    assert {offset % 16 for offset, _ in before} == {0}
    again = constants(set_signature(files[preset], ["image"], ["heatmaps"]))
    assert [content for _, content in again] == [content for _, content in before]
