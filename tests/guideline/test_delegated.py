"""The text of `check_delegation` as a reason, word for word, on files that XNNPACK does not take whole."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.export.delegation import check_delegation
from tta_lite.export.tflite import PRESET_SETTINGS, convert_function
from tta_lite.guideline.delegated import as_reason
from tta_lite.guideline.reasons import ENGLISH, Reason, spoken


def codes(said: Reason) -> set[str]:
    within = [codes(value) for value in said.values.values() if isinstance(value, Reason)]
    return {said.code}.union(*within)


@pytest.mark.parametrize(
    ("layer", "shape", "code"),
    [
        (lambda x: tf.cumsum(x, axis=1), (1, 8, 8, 2), "delegated_kernel"),
        (lambda x: tf.nn.conv2d_transpose(x, np.ones((2, 2, 2, 2), np.float32), tf.shape(x) * [1, 2, 2, 1], 2),
         (None, 8, 8, 2), "delegated_open"),
    ],
    ids=["no kernel", "open batch"],
)  # fmt: skip
def test_every_line_is_known(layer, shape, code):
    text = check_delegation(convert(layer, shape))
    said = as_reason(text)
    assert isinstance(said, Reason) and str(said) == text
    assert codes(said) == {"note_undelegated", code, "delegated_op", "under"}
    # Nothing is said but by a code: with all sentences emptied but the joints nothing is left.
    empty = {**dict.fromkeys(ENGLISH, ""), "under": "{first}{second}"}
    assert spoken(said, empty) == ""


def test_types_that_are_not_computed_in():
    text = "XNNPACK did not take 1 of 2 ops. So.\nXNNPACK does not compute in int16:\n  op 0, ADD -> a"
    assert as_reason(text) == text, "a head in other words is left alone"
    head = ENGLISH["note_undelegated"].format(count=1, total=2)
    said = as_reason("\n".join([head, *text.split("\n")[1:]]))
    assert isinstance(said, Reason) and "delegated_types" in codes(said)


def convert(function, shape):
    spec = tf.TensorSpec(shape, tf.float32)
    return convert_function(tf.function(function).get_concrete_function(spec), PRESET_SETTINGS["fp32"], [])
