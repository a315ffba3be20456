"""The rewritten file and the given one are both run by LiteRT, which knows nothing of the rewriting."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import single_op_files as one
from tta_lite.boards.profile import get_board
from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.for_runtime import for_runtime
from tta_lite.export.quantize.names import layer_names
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import InputError

ARMNN = get_board("rk3399").runtime("armnn")
SIZES = st.integers(1, 5)


def op_names(tflite: bytes) -> list[str]:
    return [op.name for op in read_contents(tflite).ops]


def same(tflite: bytes, seed: int) -> np.ndarray:
    """-> the difference of the outputs, after shapes and types were found equal."""
    before, after = one.run(tflite, seed), one.run(for_runtime(tflite, ARMNN), seed)
    assert before.shape == after.shape and before.dtype == after.dtype
    return np.abs(before.astype(np.float64) - after)


deconvs = st.fixed_dictionaries(
    {
        "size": st.tuples(SIZES, SIZES),
        "channels": st.tuples(SIZES, SIZES),
        "kernel": st.tuples(SIZES, SIZES),
        "stride": st.integers(1, 3),
        "same": st.booleans(),
        "activation": st.sampled_from([0, 1, 3]),
        "bias": st.booleans(),
        "seed": st.integers(0, 1000),
    }
)


@settings(max_examples=40)
@given(deconvs)
def test_a_float_deconv_keeps_its_outputs(case):
    tflite = one.deconv(**case)
    rewritten = for_runtime(tflite, ARMNN)
    largest = np.abs(one.run(tflite, case["seed"])).max()
    assert same(tflite, case["seed"]).max() <= 1e-6 * largest
    square, divided = len(set(case["kernel"])) == 1, not any(size % case["stride"] for size in case["size"])
    if not square or case["kernel"][0] < case["stride"] or (case["same"] and not divided):
        assert op_names(rewritten).count("CONV_2D") == 1 and "TRANSPOSE_CONV" not in op_names(rewritten)
        return
    if not case["bias"] and not case["activation"]:
        assert rewritten == tflite
        return
    assert op_names(rewritten) == ["TRANSPOSE_CONV", "ADD"]
    deconv, add = flatbuffer_utils.read_model_from_bytearray(rewritten).subgraphs[0].operators
    # What Arm NN's parser would refuse, and what it would silently leave out.
    assert len(deconv.inputs) == 3 and deconv.builtinOptions.fusedActivationFunction == 0
    assert add.builtinOptions.fusedActivationFunction == case["activation"]


@settings(max_examples=60)
@given(deconvs, st.booleans())
def test_an_int8_deconv_is_a_conv_bit_for_bit(case, per_channel):
    tflite = one.deconv(**case, int8=True, per_channel=per_channel)
    rewritten = for_runtime(tflite, ARMNN)
    assert "TRANSPOSE_CONV" not in op_names(rewritten) and op_names(rewritten).count("CONV_2D") == 1
    assert np.array_equal(one.run(tflite, kernels="reference"), one.run(rewritten, kernels="reference"))
    # XNNPACK leaves some Deconvs to other kernels, which round half a code the other way.
    assert same(tflite, case["seed"]).max() <= (1 if undelegated_ops(tflite) else 0)


@settings(max_examples=40)
@given(st.integers(1, 2), SIZES, SIZES, SIZES, st.integers(2, 4), st.booleans())
def test_a_shuffle_without_depth_to_space_moves_the_same_values(batch, height, width, channels, block, int8):
    tflite = one.depth_to_space(batch, height, width, channels, block, int8=int8)
    rewritten = for_runtime(tflite, ARMNN)
    assert set(op_names(rewritten)) == {"SLICE", "RESHAPE", "CONCATENATION"}
    assert np.array_equal(one.run(tflite), one.run(rewritten))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=4, max_size=4), st.integers(-128, 127))
def test_an_int8_pad_lays_its_zero_point_around(pads, zero_point):
    tflite = one.pad((1, 3, 4, 2), pads, zero_point=zero_point)
    rewritten = for_runtime(tflite, ARMNN)
    assert np.array_equal(one.run(tflite), one.run(rewritten))
    # Stored as 0, it is what Arm NN pads with anyway; and nothing to pad is left to it too.
    assert ("PAD" in op_names(rewritten)) == (zero_point == 0 or not any(map(any, pads)))


@pytest.mark.parametrize("axis", [-3, -2, -1])
def test_a_split_is_counted_from_the_start(axis):
    rewritten = for_runtime(one.split(axis), ARMNN)
    assert np.array_equal(one.run(one.split(axis)), one.run(rewritten))
    assert rewritten != one.split(axis) and for_runtime(one.split(axis + 4), ARMNN) == one.split(axis + 4)
    [place] = [tensor for tensor in read_contents(rewritten).ops[0].inputs if "axis" in names_of(rewritten)[tensor]]
    assert one.load(rewritten).get_tensor(place) == axis + 4


def names_of(tflite: bytes) -> list[str]:
    return [tensor.name for tensor in read_contents(tflite).tensors]


def test_the_files_that_are_rewritten_compute_something():
    for int8 in (False, True):
        assert len(np.unique(one.run(one.deconv(int8=int8)))) > 20


def test_a_float_pad_stays():
    tflite = one.pad((1, 3, 4, 2), [(0, 0), (1, 0), (0, 2), (0, 0)], zero_point=None)
    assert for_runtime(tflite, ARMNN) is tflite


@pytest.mark.parametrize("preset", ["fp32", "fp16", "int8"])
def test_a_whole_network(files, images, preset):
    tflite = files[preset]
    rewritten = for_runtime(tflite, ARMNN)
    before, after = TFLitePredictor(tflite), TFLitePredictor(rewritten)
    assert (before.input.name, before.output.name) == (after.input.name, after.output.name) == ("image", "heatmaps")
    a, b = before(images[:3]), after(images[:3])
    assert np.abs(a - b).max() <= (0 if preset == "int8" else 1e-6 * np.abs(a).max())
    assert undelegated_ops(rewritten) == []
    # Nothing that the runtime's own record speaks against.
    contents = read_contents(rewritten)
    assert set(op_names(rewritten)) <= ARMNN.ops
    for op in contents.op_counts():
        assert not set(ARMNN.refused_dtypes.get(op.name, ())) & {op.input_dtypes[0], *op.output_dtypes}
    # Every layer is still called by its name, and no other one came.
    names = [set(layer_names(file, read_contents(file))) - {"DEQUANTIZE"} for file in (tflite, rewritten)]
    assert names[0] == names[1]
    assert rewritten == for_runtime(rewritten, ARMNN)


def test_16_bit_weights_are_unpacked_and_the_packed_ones_go(files):
    rewritten = for_runtime(files["fp16"], ARMNN)
    assert "DEQUANTIZE" not in op_names(rewritten)
    # As large as the float file of the same network, but for names and the like.
    assert abs(len(rewritten) - len(for_runtime(files["fp32"], ARMNN))) < 0.05 * len(rewritten)


def test_int8_is_not_rounded_twice_where_a_bias_is_large():
    # Sums of a bias beyond what one code can hold.
    tflite = one.deconv(int8=True, channels=(1, 4), seed=3)
    assert same(tflite, 3).max() == 0


def test_a_runtime_that_takes_everything_gets_the_bytes_as_they_are(files):
    for tflite in files.values():
        assert for_runtime(tflite, get_board("rk3399").runtime("litert-xnnpack")) is tflite


def test_the_record_says_what_is_rewritten():
    tflite = one.depth_to_space(1, 2, 2, 1, 2)
    takes_it = dataclasses.replace(ARMNN, ops=ARMNN.ops | {"DEPTH_TO_SPACE"})
    assert for_runtime(tflite, takes_it) is tflite
    other = dataclasses.replace(ARMNN, name="some-other")
    assert op_names(for_runtime(one.deconv(), other)) == ["TRANSPOSE_CONV", "ADD"]
    # Of its int8 kernels nothing is known.
    assert for_runtime(one.deconv(int8=True), other) == one.deconv(int8=True)


def test_a_file_with_two_graphs_is_refused():
    model = flatbuffer_utils.read_model_from_bytearray(one.deconv())
    model.subgraphs = [model.subgraphs[0], model.subgraphs[0]]
    with pytest.raises(InputError, match=r"one graph .*Received: 2 graphs"):
        for_runtime(bytes(flatbuffer_utils.convert_object_to_bytearray(model)), ARMNN)


def test_bytes_that_are_no_file_are_refused():
    with pytest.raises(InputError, match="letters TFL3"):
        for_runtime(b"none", ARMNN)
