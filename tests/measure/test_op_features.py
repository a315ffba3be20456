"""What is read of each op against hand arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.op_features import NONE, OpFeatures, file_dtype, read_features
from tta_lite.types import DYNAMIC, FP16, FP32, INT8, ExportSpec, InputError

L = keras.layers


def features(*layers: keras.layers.Layer, shape: tuple[int, ...], spec: ExportSpec = FP32) -> tuple[OpFeatures, ...]:
    """-> of the ops of a chain of layers."""
    images = np.random.default_rng(0).normal(size=(2, 1, *shape)).astype(np.float32)
    return read_features(export_tflite(networks.net(*layers, shape=shape), spec, list(images) if spec is INT8 else ()))


def facts(op: OpFeatures) -> tuple[object, ...]:
    return (op.kind, op.macs, op.rows, op.inner, op.columns, op.groups, op.taps)


# The layer, the size of its input, and: kind, MACs, rows, inner, columns, groups, taps.
CASES = {
    "stem": (L.Conv2D(20, 3, 2, padding="same"), (9, 9, 3), ("stem", 25 * 27 * 20, 25, 27, 20, 1, 9)),
    "3 x 3": (L.Conv2D(6, 3, padding="same"), (5, 7, 8), ("conv", 35 * 72 * 6, 35, 72, 6, 1, 9)),
    "1 x 1": (L.Conv2D(6, 1), (5, 7, 8), ("conv_1x1", 35 * 8 * 6, 35, 8, 6, 1, 1)),
    "1 x 1, stride 2": (L.Conv2D(6, 1, 2), (6, 6, 8), ("conv", 9 * 8 * 6, 9, 8, 6, 1, 1)),
    "one pixel": (L.Conv2D(6, 1), (1, 1, 8), ("dense", 48, 1, 8, 6, 1, 1)),
    "groups": (L.Conv2D(12, 3, groups=2, padding="valid"), (5, 5, 8), ("grouped_conv", 9 * 36 * 12, 9, 36, 6, 2, 9)),
    "depthwise": (L.DepthwiseConv2D(3, padding="same"), (5, 7, 8), ("depthwise", 35 * 9 * 8, 0, 0, 8, 1, 9)),
    # Each of the 2 x 2 places of an output pixel sees 2 x 2 of the 4 x 4 taps.
    "deconv": (
        L.Conv2DTranspose(6, 4, 2, padding="same"), (5, 5, 8), ("deconv", 25 * 16 * 8 * 6, 25, 4 * 8, 6, 4, 4),
    ),
    "dense": (L.Dense(6), (8,), ("dense", 48, 1, 8, 6, 1, 1)),
    "max_pool": (L.MaxPooling2D(3, 2), (7, 7, 4), ("max_pool", 0, 0, 0, 0, 1, 9)),
    "average_pool": (L.AveragePooling2D(2), (6, 6, 4), ("average_pool", 0, 0, 0, 0, 1, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_one_op_computes(name):
    layer, shape, expected = CASES[name]
    [op] = [op for op in features(layer, shape=shape) if op.kind != NONE and not op.op.startswith("RESHAPE")]
    assert facts(op) == expected
    if op.kind in ("stem", "conv", "conv_1x1", "grouped_conv"):
        assert op.groups * op.rows * op.inner * op.columns == op.macs


def test_bytes_are_those_of_input_weights_and_output():
    [op] = features(L.Conv2D(6, 3, padding="same"), shape=(5, 7, 8))
    assert (op.read_bytes, op.written_bytes) == (5 * 7 * 8 * 4, 5 * 7 * 6 * 4)
    # A bias of zeros is written too, or left out.
    assert op.weight_bytes in (9 * 8 * 6 * 4, (9 * 8 * 6 + 6) * 4)
    assert op.bytes == op.read_bytes + op.written_bytes + op.weight_bytes
    assert (op.values, op.outputs) == (5 * 7 * 8, 5 * 7 * 6)
    [op] = features(L.Conv2D(6, 3, padding="same"), shape=(5, 7, 8), spec=INT8)
    assert (op.dtype, op.read_bytes, op.written_bytes) == ("int8", 5 * 7 * 8, 5 * 7 * 6)


@pytest.mark.parametrize(("spec", "dtype"), [(FP32, "fp32"), (FP16, "fp32"), (DYNAMIC, "dynamic"), (INT8, "int8")])
def test_the_type_is_that_of_the_arithmetic(spec, dtype):
    ops = features(L.Conv2D(32, 3), L.ReLU(), L.Conv2D(32, 1), shape=(8, 8, 16), spec=spec)
    computing = [op for op in ops if op.macs]
    assert [op.dtype for op in computing] == [dtype, dtype]
    assert file_dtype(ops) == dtype
    # Weights of 16 bits are unpacked when the file is loaded.
    assert {op.kind for op in ops if op.op == "DEQUANTIZE"} <= {NONE}
    if spec is FP16:
        assert computing[0].weight_bytes >= 9 * 16 * 32 * 4


def test_a_padding_costs_nothing_where_a_convolution_takes_it():
    # The converter itself takes one that is as wide on all sides as the convolution's own.
    padded = features(L.ZeroPadding2D(((1, 2), (1, 2))), L.Conv2D(4, 3), shape=(6, 6, 8))
    assert [(op.op, op.kind) for op in padded] == [("PAD", NONE), ("CONV_2D", "conv")]
    pooled = features(L.Conv2D(8, 1), L.ZeroPadding2D(1), L.MaxPooling2D(3), shape=(7, 7, 8))
    assert [op.kind for op in pooled] == ["conv_1x1", "copy", "max_pool"]


def test_a_new_shape_costs_nothing_where_no_one_needs_the_old_one():
    image = keras.Input((4, 4, 8), name="image")
    first = L.Conv2D(8, 1, name="first")(image)
    shape = L.Reshape((2, 8, 8), name="shape")
    alone = networks.randomised(keras.Model(image, L.Conv2D(8, 1)(shape(first))))
    assert [op.kind for op in read_features(export_tflite(alone, FP32))] == ["conv_1x1", NONE, "conv_1x1"]
    both = L.Add()([L.Conv2D(8, 1)(shape(first)), L.Conv2D(8, 3, padding="same")(shape(first))])
    shared = networks.randomised(keras.Model(image, both))
    assert [op.kind for op in read_features(export_tflite(shared, FP32)) if op.op == "RESHAPE"] == ["copy"]


def test_an_activation_after_an_addition_is_a_second_pass():
    image = keras.Input((4, 4, 8), name="image")
    total = L.Add(name="add")([L.Conv2D(8, 1)(image), L.Conv2D(8, 3, padding="same")(image)])
    models = (networks.randomised(keras.Model(image, y)) for y in (total, L.ReLU()(total)))
    plain, clamped = (
        next(op for op in read_features(export_tflite(model, FP32)) if op.op == "ADD") for model in models
    )  # fmt: skip
    written = 4 * 4 * 8 * 4
    assert not plain.clamped and plain.bytes == 3 * written
    assert clamped.clamped and clamped.bytes == 5 * written


def test_the_layers_name_is_there():
    ops = features(L.Conv2D(4, 3, name="first"), L.Conv2D(4, 1, name="second"), shape=(6, 6, 8))
    assert ops[0].layer == "first"


def test_what_is_no_model_is_told():
    with pytest.raises(InputError, match="TFL3"):
        read_features(b"no flatbuffer")
