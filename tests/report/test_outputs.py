from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.report.outputs import output_names


@pytest.fixture(scope="module")
def tflite():
    function = tf.function(lambda x: tf.nn.relu(x) * 2.0).get_concrete_function(tf.TensorSpec((1, 3), tf.float32))
    return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()


def _task(**test):
    return SimpleNamespace(test=SimpleNamespace(**test))


@pytest.mark.parametrize(
    ("task", "names"),
    [
        (_task(classes=("cat", "cow", "dog")), ("cat", "cow", "dog")),
        (_task(joint_set=SimpleNamespace(names=("head", "neck", "hip"))), ("head", "neck", "hip")),
        # Of something else than the three outputs, or no names.
        (_task(classes=("cat", "cow")), None),
        (_task(classes=3), None),
        (_task(classes=(1, 2, 3)), None),
        (_task(classes=np.arange(3)), None),
        (_task(), None),
        (SimpleNamespace(), None),
    ],
)
def test_names_of_classes_and_joints(task, names, tflite):
    assert output_names(task, tflite) == names
