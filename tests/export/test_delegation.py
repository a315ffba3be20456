from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.export.convert import CONVERSIONS, convert_function
from tta_lite.export.delegation import check_delegation, undelegated_ops
from tta_lite.types import PRESETS

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 3, 3)).astype(np.float32)


def conv(x):
    return tf.nn.conv2d(x, KERNEL, 1, "SAME")


def convert(graph, shape=(1, 8, 8, 3)) -> bytes:
    function = tf.function(graph).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    return convert_function(function, CONVERSIONS["fp32"])


@pytest.mark.parametrize("preset", [preset for preset in PRESETS if preset not in ("weight_only_int4", "int16x8")])
def test_every_preset_is_taken_whole(files, preset):
    assert undelegated_ops(files[preset]) == []
    assert check_delegation(files[preset]) == ""


def test_what_the_delegate_leaves_of_the_other_presets(files):
    assert {op.op for op in undelegated_ops(files["weight_only_int4"])} == {"DEQUANTIZE", "CONV_2D"}
    assert len(undelegated_ops(files["int16x8"])) == len(undelegated_ops(files["int8"])) + 9
    assert "XNNPACK does not compute in int16" in check_delegation(files["int16x8"])


def test_an_open_batch_leaves_the_deconvs_behind(net):
    file = convert(lambda x: net(x, training=False), (None, 64, 64, 3))
    left = undelegated_ops(file)
    # Both Deconvs, and the three ops that compute each one's output shape; none of the convolutions.
    assert [op.op for op in left] == ["SHAPE", "STRIDED_SLICE", "PACK", "TRANSPOSE_CONV"] * 2
    assert "deconv1" in left[3].outputs[0]
    assert all("open batch dimension" in op.why for op in left)
    text = check_delegation(file)
    assert text.startswith("XNNPACK did not take 8 of 15 ops.")
    assert "slower" in text and "fixed batch of 1" in text and "TRANSPOSE_CONV -> " in text


@pytest.mark.parametrize(
    ("graph", "index"),
    [
        (lambda x: tf.cumsum(x, axis=1), 0),
        (lambda x: tf.cumsum(conv(x), axis=1), 1),
        (lambda x: conv(tf.cumsum(conv(x), axis=1)), 1),
        # The op lies between two delegated pieces, and one tensor goes around it.
        (lambda x: (lambda y: conv(y) + conv(tf.cumsum(y, axis=1)))(conv(x)), 2),
    ],
    ids=["alone", "last", "between", "beside"],
)
def test_an_op_that_xnnpack_does_not_know(graph, index):
    (op,) = undelegated_ops(convert(graph))
    assert (op.index, op.op) == (index, "CUMSUM")
    assert op.why.startswith("XNNPACK has no kernel for CUMSUM with float32")


def test_int16_activations_are_not_taken_at_all(net, calibration):
    function = tf.function(lambda x: net(x, training=False)).get_concrete_function(
        tf.TensorSpec((1, 64, 64, 3), tf.float32)
    )
    converter = tf.lite.TFLiteConverter([function], None)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8]
    converter.representative_dataset = lambda: ([image] for image in calibration[:2])
    left = undelegated_ops(converter.convert())
    # The nine ops of the net, quantise and dequantise at the edges.
    assert len(left) == 11
    assert all("does not compute in int16" in op.why for op in left)
