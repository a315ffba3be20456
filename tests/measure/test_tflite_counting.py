from __future__ import annotations

import functools

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.counting import count
from tta_lite.measure.counts import NotCountedWarning
from tta_lite.measure.tflite_counting import FREE, MACS, count_tflite
from tta_lite.models.pose import pose_resnet
from tta_lite.types import DYNAMIC, FP32, INT8, InputError

L = keras.layers


# Weights from chance: the converter shares constants that are equal, such as biases that are all zero. Small ones, so
# that int8 can hold what comes out.
net = functools.partial(networks.net, shape=(8, 8, 4), std=0.05)
randomised = functools.partial(networks.randomised, std=0.05)


# By hand: what comes out, how many products each value of it takes; weights and biases.
@pytest.mark.parametrize(
    ("layer", "op", "macs", "params"),
    [
        (L.Conv2D(6, 3, padding="same"), "CONV_2D", 64 * 6 * 36, 9 * 4 * 6 + 6),
        (L.Conv2D(6, 3, padding="same", groups=2), "CONV_2D", 64 * 6 * 18, 9 * 2 * 6 + 6),
        (L.DepthwiseConv2D(5, padding="same"), "DEPTHWISE_CONV_2D", 64 * 4 * 25, 25 * 4 + 4),
        (L.Conv2DTranspose(3, 4, strides=2, padding="same"), "TRANSPOSE_CONV", 64 * 4 * 16 * 3, 16 * 4 * 3 + 3),
    ],
)
def test_one_op_by_hand(layer, op, macs, params):
    counts = count_tflite(export_tflite(net(layer), FP32))
    [one] = [one for one in counts.layers if one.op == op]
    assert (one.macs, one.params, counts.macs) == (macs, params, macs)
    assert one.activation_bytes == 4 * np.prod(one.output_shape)
    # The image, the output, and the weights; TRANSPOSE_CONV reads the shape of its output too.
    shape_bytes = 16 if op == "TRANSPOSE_CONV" else 0
    assert one.traffic_bytes == 4 * (256 + params) + one.activation_bytes + shape_bytes


def test_a_dense_layer_by_hand():
    counts = count_tflite(export_tflite(net(L.Flatten(), L.Dense(7)), FP32))
    assert counts.macs == 256 * 7
    assert counts.params == 256 * 7 + 7


@pytest.mark.parametrize("bottleneck", [pytest.param(None, marks=pytest.mark.slow), 64])
def test_the_file_costs_what_the_network_costs(bottleneck):
    model = randomised(pose_resnet("mobilenet_v2_0.35", input_size=64, bottleneck=bottleneck))
    images = np.random.default_rng(0).normal(size=(4, 1, 64, 64, 3)).astype(np.float32)
    expected = count(model)
    # Batch norm folds into one bias a channel: of its four values one stays.
    norms = sum(layer.params for layer in expected.layers if layer.op == "BatchNormalization")
    for spec, calibration in ((FP32, ()), (DYNAMIC, ()), (INT8, images)):
        counts = count_tflite(export_tflite(model, spec, calibration))
        assert counts.macs == expected.macs
        assert counts.params == expected.params - norms + norms // 4
        assert counts.uncounted == ()
    # Everything but the biases is a byte now, and so are the activations.
    assert counts.activation_bytes < expected.activation_bytes / 3


def test_an_op_that_the_table_does_not_know_says_so():
    recurrent = export_tflite(net(L.Reshape((8, 32)), L.LSTM(4, unroll=False), shape=(8, 8, 4)), FP32)
    with pytest.warns(NotCountedWarning):
        counts = count_tflite(recurrent)
    assert any(layer.macs is None for layer in counts.layers)
    assert "not counted" in counts.table()


def test_bytes_that_are_no_file_are_refused():
    with pytest.raises(InputError, match=r"TFL3 at byte 4\. Received: 7 bytes, b'nothing'"):
        count_tflite(b"nothing")


def test_no_op_is_both_counted_and_free():
    assert not set(MACS) & FREE
