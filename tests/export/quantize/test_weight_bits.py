from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.linear_ops import linear_ops, quantised_weights
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.quantize.weight_bits import spaced, with_weight_bits
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32, ExportSpec, InputError

L = keras.layers
ROWS = arrays.arrays(np.float32, (3, 12), elements=st.floats(-100, 100, width=32, allow_subnormal=False))


@pytest.fixture(scope="module")
def post() -> PostTraining:
    """A Conv, a DWConv, a Deconv and a Dense, half of the large kernels' weights zero."""
    net = networks.net(
        L.Conv2D(16, 3, name="first"),
        L.Conv2D(24, 3, activation="relu", name="wide"),
        L.DepthwiseConv2D(3, name="depthwise"),
        L.Conv2DTranspose(16, 2, strides=2, name="deconv"),
        L.GlobalAveragePooling2D(),
        L.Dense(40, name="hidden"),
        L.Dense(4, name="last"),
        shape=(12, 12, 3),
    )
    for name in ("wide", "deconv"):
        kernel, bias = net.get_layer(name).get_weights()
        kernel[np.abs(kernel) < np.median(np.abs(kernel))] = 0
        net.get_layer(name).set_weights([kernel, bias])
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 12, 12, 3)).astype(np.float32) for _ in range(12)]
    return PostTraining(FloatFile(export_tflite(net, FP32), "net"), images)


def codes(tflite: bytes) -> list[list[int]]:
    """-> how many different codes each output channel of each op with 32 weights a channel and more has."""
    edit, found = GraphEdit(tflite), []
    for op in edit.ops:
        if edit.name(op) not in ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED"):
            continue
        values = edit.value(int(op.inputs[1]))
        assert values.dtype == np.int8
        if values[0].size >= 32:
            found.append([len(np.unique(row)) for row in values])
    return found


@pytest.mark.parametrize("backend", ["converter", "litert_quantizer"])
def test_so_many_codes_a_channel_and_zeros_stay(post, backend):
    plain = post.quantize(ExportSpec("int8", 4, backend=backend))
    fewer = post.quantize(ExportSpec("int8", 4, backend=backend, weight_bits=4))
    # wide, deconv, the wide Dense reads 16 and the last 40.
    assert [len(rows) for rows in codes(plain)] == [24, 16, 4]
    assert min(min(rows) for rows in codes(plain)[:2]) > 2**4
    assert max(max(rows) for rows in codes(fewer)) <= 2**4 - 1
    assert abs(len(fewer) - len(plain)) < 200 and len(zlib.compress(fewer, 9)) < 0.9 * len(zlib.compress(plain, 9))
    before, after = (quantised_weights(GraphEdit(tflite)) for tflite in (plain, fewer))
    for name, weights in before.items():
        assert (after[name][weights == 0] == 0).all()
        if weights[0].size < 32 or "depthwise" in name:
            np.testing.assert_array_equal(after[name], weights)


def test_biases_make_up_for_the_mean_error(post):
    wanted = np.concatenate([TFLitePredictor(post.source.tflite)(one) for one in post.images])

    def error(**chosen) -> float:
        predict = TFLitePredictor(post.quantize(ExportSpec("int8", 12, **chosen)))
        return float(np.abs(np.mean([predict(one)[0] for one in post.images], axis=0) - wanted.mean(0)).max())

    assert error(weight_bits=3, repairs=("bias_correction",)) < 0.5 * error(weight_bits=3)


def test_an_op_in_float32_keeps_its_weights(post):
    edit = GraphEdit(post.source.tflite)
    wide = linear_ops(edit)[1]
    made = GraphEdit(post.quantize(ExportSpec("int8", 4, weight_bits=3, keep_float=(edit.text(wide.output),))))
    kept = [made.value(int(op.inputs[1])) for op in made.ops if made.name(op) == "CONV_2D"]
    assert any(one.dtype == np.float32 and np.array_equal(one, edit.value(wide.weights)) for one in kept)


def test_one_spacing_for_a_whole_kernel(post):
    edit = GraphEdit(with_weight_bits(post.source.tflite, 3, per_tensor=True))
    assert len(np.unique(edit.value(linear_ops(edit)[1].weights))) <= 7


@settings(max_examples=40, deadline=None)
@given(ROWS, st.integers(2, 7))
def test_multiples_of_one_spacing_no_worse_than_the_largest_weight_as_the_last(rows, bits):
    found, steps = spaced(rows, bits).astype(np.float64), 2 ** (bits - 1) - 1
    assert (found[rows == 0] == 0).all() and (found * rows >= 0).all()
    for row, new in zip(rows.astype(np.float64), found, strict=True):
        largest = np.abs(new).max()
        if largest:
            multiples = new / largest * steps
            # Where the last multiple is not taken, the largest that is must be one of the others.
            assert any(
                np.abs(multiples * taken / steps - np.rint(multiples * taken / steps)).max() < 1e-3
                for taken in range(1, steps + 1)
            )
        plain = np.abs(row).max() / steps
        by_largest = np.rint(row / plain) * plain if plain > 1e-30 else np.zeros_like(row)
        assert np.square(new - row).sum() <= np.square(by_largest - row).sum() * (1 + 1e-4) + 1e-9


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"weight_bits": 1}, "a whole number of 2 to 8. Received: 1"),
        ({"weight_bits": 4.0}, "a whole number of 2 to 8. Received: 4.0"),
        ({"weight_bits": 4, "repairs": ("adaptive_rounding",)}, "adaptive_rounding chooses among the codes of 8 bits"),
        ({"weight_bits": 4, "preset": "dynamic"}, "Received: weight_bits with dynamic"),
    ],
)
def test_refused(chosen, message):
    with pytest.raises(InputError, match=message):
        ExportSpec(**{"preset": "int8", **chosen})
