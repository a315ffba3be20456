from __future__ import annotations

import numpy as np
import tensorflow as tf

from tta_lite.export.convert import CONVERSIONS, convert_function
from tta_lite.guideline.delegated import delegation_note


def convert(function, shape):
    spec = tf.TensorSpec(shape, tf.float32)
    return convert_function(tf.function(function).get_concrete_function(spec), CONVERSIONS["fp32"])


def test_the_ops_are_counted_by_name():
    kernel = np.ones((1, 1, 2, 2), np.float32)
    file = convert(lambda x: tf.cumsum(tf.nn.conv2d(tf.cumsum(x, 1), kernel, 1, "SAME"), 2), (1, 8, 8, 2))
    note = str(delegation_note(file))
    assert note.startswith("XNNPACK did not take 2 of 3 ops (2 CUMSUM).")


def test_nothing_is_said_where_it_took_all():
    assert delegation_note(convert(lambda x: x * x, (1, 8, 8, 2))) == ""
