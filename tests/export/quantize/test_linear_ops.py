from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.linear_ops import bias_of, linear_ops, set_bias
from tta_lite.export.quantize.tensor_values import tensor_values
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32

L = keras.layers
LAYERS = {
    "conv": L.Conv2D(5, 3, 2, "same"),
    "conv_valid": L.Conv2D(5, (3, 2), (2, 1), "valid"),
    "dilated": L.Conv2D(5, 3, 1, "same", dilation_rate=2),
    "grouped": L.Conv2D(6, 3, 1, "same", groups=2),
    "depthwise": L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2),
    "deconv_4": L.Conv2DTranspose(5, 4, 2, "same"),
    "deconv_3": L.Conv2DTranspose(5, 3, 2, "same"),
    "deconv_2": L.Conv2DTranspose(5, 2, 2, "same"),
    "deconv_valid": L.Conv2DTranspose(5, 3, 2, "valid"),
    "dense": L.Dense(5),
}


@pytest.fixture(scope="module")
def every_layer():
    """-> a float file with every layer on one input, and its input [1, 7, 6, 4]."""
    keras.utils.set_random_seed(0)
    image = keras.Input((7, 6, 4))
    outputs = [L.Flatten()(layer(image)) for layer in LAYERS.values()]
    model = keras.Model(image, L.Concatenate()(outputs))
    # Layers of equal weights would share them.
    for number, weights in enumerate(model.weights):
        weights.assign(np.random.default_rng(number).normal(size=weights.shape))
    return export_tflite(model, FP32), np.random.default_rng(9).normal(size=(1, 7, 6, 4)).astype(np.float32)


def test_patches_times_rows_are_what_litert_computes(every_layer):
    tflite, image = every_layer
    edit = GraphEdit(tflite)
    found = linear_ops(edit)
    assert len(found) == len(LAYERS)
    assert {one.kind for one in found} == {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"}
    (values,) = tensor_values(tflite, [image], [edit.text(t) for one in found for t in (one.input, one.output)])
    for one in found:
        weights = edit.value(one.weights)
        rows, patches = one.rows(weights), one.patches(values[edit.text(one.input)])
        computed = np.einsum("gnk,gok->ngo", patches, rows).reshape(len(patches[0]), -1) + bias_of(edit, one)
        wanted = values[edit.text(one.output)].reshape(computed.shape)
        np.testing.assert_allclose(computed, wanted, atol=1e-4, err_msg=f"{one.kind} {one.weights_shape}")
        np.testing.assert_array_equal(one.stored(rows), weights)


def test_a_shared_bias_is_given_to_one_op_only(every_layer):
    edit = GraphEdit(every_layer[0])
    first, second = [one for one in linear_ops(edit) if one.kind == "CONV_2D"][:2]
    second.op.inputs[2] = first.bias
    changed = set_bias(edit, first, bias_of(edit, first) + 1)
    assert changed.bias != first.bias and int(second.op.inputs[2]) == first.bias
    np.testing.assert_array_equal(bias_of(edit, changed), bias_of(edit, first) + 1)
