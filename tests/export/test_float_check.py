from __future__ import annotations

import numpy as np
import pytest

from tests.single_op_files import File
from tta_lite.compat import keras
from tta_lite.export.float_check import check_finite_weights, check_float_tflite
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.types import InputError


def test_a_float_file_may_be_quantised(files):
    check_float_tflite(files["fp32"])


@pytest.mark.parametrize(
    ("preset", "said"),
    [
        ("int8", r"quantised already.*Received: \d+ of \d+ tensors in int8, as image"),
        ("dynamic", r"quantised already.*Received: \d+ of \d+ tensors in int8"),
        ("fp16", r"of 16 bits.*Received: \d+ tensors in float16"),
    ],
)
def test_one_that_is_smaller_already_is_refused(files, preset, said):
    with pytest.raises(InputError, match=said):
        check_float_tflite(files[preset])


def dense(weights, shape=(1, 4), signature=None, inputs=1, dtype="float32"):
    file = File()
    reads = [file.tensor(shape, dtype) for _ in range(inputs)]
    result = file.tensor([shape[0], len(weights)])
    if signature:
        file.graph.tensors[reads[0]].shapeSignature = np.array(signature, np.int32)
    file.op("FULLY_CONNECTED", [reads[0], file.constant(weights), -1], [result], kind="FullyConnectedOptions")
    return file.to_bytes(reads, [result])


def test_weights_that_are_no_numbers_are_named():
    weights = np.ones((3, 4), np.float32)
    check_float_tflite(dense(weights))
    weights[0, 1], weights[1, 1:3] = np.nan, np.inf
    with pytest.raises(
        InputError, match=r"must be finite.*Received: 1 that are not: net/layer2/op \(1 NaN, 2 infinite\)"
    ):
        check_float_tflite(dense(weights))


def test_a_file_has_a_fixed_size_and_one_float_input():
    weights = np.ones((3, 4), np.float32)
    # Files of TensorFlow's own converter leave the batch open.
    check_float_tflite(dense(weights, signature=[-1, 4]))
    with pytest.raises(InputError, match=r"fixed size.*Received: input net/layer0/op of the shape \[-1, -1\]"):
        check_float_tflite(dense(weights, signature=[-1, -1]))
    with pytest.raises(InputError, match=r"batch of 1.*Received: .* of the shape \[2, 4\]"):
        check_float_tflite(dense(weights, shape=(2, 4)))
    with pytest.raises(InputError, match=r"Received: 2 inputs, 1 outputs"):
        check_float_tflite(dense(weights, inputs=2))
    with pytest.raises(InputError, match=r"float32 input. Received: net/layer0/op in int32"):
        check_float_tflite(dense(weights, dtype="int32"))
    with pytest.raises(InputError, match="TFL3"):
        check_float_tflite(b"no file")


def test_layers_of_a_model_with_bad_weights_are_named():
    image = keras.Input((4, 4, 3))
    net = keras.Model(image, keras.layers.Conv2D(2, 3, name="first")(image))
    check_finite_weights(net)
    net.get_layer("first").bias.assign([np.nan, 1.0])
    with pytest.raises(InputError, match=r"finite.*Received: 1 that are not: first/bias:0 \(1 NaN, 0 infinite\)"):
        check_finite_weights(net)


def test_a_saved_model_with_bad_weights_is_refused_after_its_conversion(tmp_path):
    image = keras.Input((4, 4, 3))
    net = keras.Model(image, keras.layers.Conv2D(2, 3, name="first")(image))
    net.export(tmp_path / "good")
    FloatFile.of_saved_model(tmp_path / "good")
    net.get_layer("first").kernel.assign(np.full((3, 3, 3, 2), np.inf))
    net.export(tmp_path / "bad")
    with pytest.raises(InputError, match=r"finite.*Received: 1 that are not: .*\(0 NaN, 54 infinite\)"):
        FloatFile.of_saved_model(tmp_path / "bad")


def test_the_largest_number_of_all_stands_for_infinity_in_weights_alone():
    weights = np.ones((3, 4), np.float32)
    weights[2, 3] = -np.finfo(np.float32).max
    with pytest.raises(InputError, match=r"\(0 NaN, 1 infinite\)"):
        check_float_tflite(dense(weights))
    # One number by itself is what a maximum is padded with.
    check_float_tflite(dense(weights[2:, 3:], shape=(1, 1)))
