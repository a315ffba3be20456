"""From an op back to the layers of the Keras network, whatever the converter has merged."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.names import layer_names, op_layers
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.types import ExportSpec

L = keras.layers


@pytest.fixture(scope="module")
def network() -> keras.Model:
    inner = keras.Sequential(
        [keras.Input((8, 8, 8)), L.Conv2D(8, 1, name="inside"), L.ReLU(name="inside_act")], name="block"
    )
    image = keras.Input((8, 8, 3), name="image")
    x = L.ReLU(6.0, name="act")(L.BatchNormalization(name="bn")(L.Conv2D(8, 3, padding="same", name="conv")(image)))
    y = L.BatchNormalization(name="wide_bn")(L.DepthwiseConv2D(3, padding="same", name="wide")(x))
    x = L.Add(name="sum")([inner(x), y])
    x = L.ReLU(name="up_act")(L.Conv2DTranspose(8, 4, strides=2, padding="same", name="up")(x))
    return networks.randomised(keras.Model(image, L.ReLU(name="last_act")(L.Conv2D(2, 1, name="last")(x)), name="net"))


FUSED = {
    "conv": ("conv", "bn", "act"),
    "wide": ("wide", "wide_bn"),
    "block/inside": ("block/inside", "block/inside_act"),
    "sum": ("sum",),
    "up": ("up", "up_act"),
    # Its tensor is called as the output is; the bias bears the names.
    "last": ("last", "last_act"),
}


def test_each_op_is_called_by_the_layer_that_computes_and_has_all_that_were_fused(network):
    found = op_layers(FloatFile.of_model(network).tflite)
    assert {one.layer: one.fused for one in found} == FUSED
    assert all(one.title == one.layer for one in found)


@pytest.mark.parametrize("backend", ["converter", "litert_quantizer"])
def test_both_back_ends_keep_names_and_layers(network, backend):
    source = FloatFile.of_model(network)
    images = list(np.random.default_rng(0).normal(size=(4, 1, 8, 8, 3)).astype(np.float32))
    tflite = PostTraining(source, images).quantize(ExportSpec("int8", 4, backend))
    ours, theirs = op_layers(source.tflite), op_layers(tflite)
    assert [(one.tensor, one.layer) for one in theirs] == [(one.tensor, one.layer) for one in ours]


def test_known_layers_decide(network):
    # With the network at hand, a network within it is one layer.
    names = [layer.name for layer in network.layers]
    found = op_layers(FloatFile.of_model(network).tflite, names)
    assert [one.layer for one in found if one.op == "CONV_2D"] == ["conv", "block", "last"]


def test_a_file_without_layers_is_told_by_its_tensors():
    weights = tf.constant(np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32))
    function = tf.function(lambda x: tf.nn.softmax(tf.reshape(x, (1, 12)) @ weights))
    tflite = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(tf.TensorSpec((1, 2, 2, 3)))]
    ).convert()
    found = op_layers(tflite)
    assert all(one.layer == "" and one.title == one.tensor for one in found)
    from tta_lite.export.contents import read_contents

    contents = read_contents(tflite)
    assert layer_names(tflite, contents) == [op.name for op in contents.ops]
