from __future__ import annotations

import os
from collections import Counter

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx
from ai_edge_litert.interpreter import Interpreter

from tta_lite.compat import keras
from tta_lite.export import convert as subject
from tta_lite.export.quantize import float_file
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP16, FP32, INT8, PRESETS, ExportSpec, InputError


def interpreter(tflite: bytes) -> Interpreter:
    loaded = Interpreter(model_content=tflite)
    loaded.allocate_tensors()
    return loaded


def invoke(tflite: bytes, image: np.ndarray) -> np.ndarray:
    return next(iter(interpreter(tflite).get_signature_runner()(image=image).values()))


def tensors(tflite: bytes, dtype: type) -> list[str]:
    return [t["name"] for t in interpreter(tflite).get_tensor_details() if t["dtype"] == dtype and np.prod(t["shape"])]


@pytest.mark.parametrize("preset", PRESETS)
def test_batch_of_one_and_named_signature(files, preset):
    loaded = interpreter(files[preset])
    assert loaded.get_input_details()[0]["shape_signature"].tolist() == [1, 64, 64, 3]
    assert loaded.get_output_details()[0]["shape_signature"].tolist() == [1, 64, 64, 4]
    assert loaded.get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["heatmaps"]}}
    edge = {"int8": np.int8, "int16x8": np.int16}.get(preset, np.float32)
    assert loaded.get_input_details()[0]["dtype"] == loaded.get_output_details()[0]["dtype"] == edge


def test_types_of_the_tensors(files):
    assert not tensors(files["fp32"], np.float16)
    assert not tensors(files["fp32"], np.int8)
    # One of each: 7 kernels, 7 biases of folded batch norm, kernel and bias of the last layer.
    assert len(tensors(files["fp16"], np.float16)) == 16
    # Kernels with 1,024 elements or more: project, two Deconvs; the smaller ones stay as they are.
    assert len(tensors(files["dynamic"], np.int8)) == 3
    assert not tensors(files["int8"], np.float32)
    assert not tensors(files["int8"], np.float16)


def test_sizes(files):
    assert 0.48 < len(files["fp16"]) / len(files["fp32"]) < 0.56
    assert 0.24 < len(files["int8"]) / len(files["fp32"]) < 0.34


@pytest.mark.parametrize("preset", ["fp32", "int8"])
def test_batch_norm_and_relu_are_folded_into_every_kind_of_convolution(files, preset):
    ops = Counter(op["op_name"] for op in interpreter(files[preset])._get_ops_details())
    ops.pop("DELEGATE")
    # The one ADD is the residual.
    assert ops == {"CONV_2D": 4, "DEPTHWISE_CONV_2D": 2, "ADD": 1, "TRANSPOSE_CONV": 2}


def test_fp32_agrees_with_onnx_runtime(files, net, images):
    signature = [tf.TensorSpec((1, 64, 64, 3), tf.float32, name="image")]
    onnx, _ = tf2onnx.convert.from_keras(net, signature, opset=15)
    session = onnxruntime.InferenceSession(onnx.SerializeToString(), providers=["CPUExecutionProvider"])
    for image in images[:3, None]:
        (expected,) = session.run(None, {"image": image})
        np.testing.assert_allclose(invoke(files["fp32"], image), expected, atol=1e-5)


def test_int8_input_scale_comes_from_the_first_calibration_images(net):
    narrow, wide = (np.full((1, 64, 64, 3), value, np.float32) for value in (1.0, 100.0))
    narrow[0, :32] = -1.0
    file = export_tflite(net, ExportSpec("int8", calibration_images=1), [narrow, wide])
    scale, zero_point = interpreter(file).get_input_details()[0]["quantization"]
    # -1..1 on 255 steps.
    assert scale == pytest.approx(2 / 255, rel=1e-6)
    assert zero_point in (-1, 0)


def test_the_model_is_not_changed(calibration):
    model = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization()])
    before = [w.copy() for w in model.get_weights()]
    export_tflite(model, INT8, calibration)
    assert model.input_shape == (None, 64, 64, 3)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("preset", ["fp16", "int8"])
def test_fallback_gives_the_same_function(files, net, calibration, monkeypatch, preset):
    def refuse(*_):
        raise ValueError("the fast route is closed")

    monkeypatch.setattr(subject, "convert_function", refuse)
    # As if it had not been converted before.
    monkeypatch.setattr(float_file, "_KNOWN", {})
    file = export_tflite(net, ExportSpec(preset), calibration)
    assert interpreter(file).get_signature_list() == {"serving_default": {"inputs": ["image"], "outputs": ["heatmaps"]}}
    image = calibration[0]
    if preset == "int8":
        image = np.zeros((1, 64, 64, 3), np.int8)
    assert np.array_equal(invoke(file, image), invoke(files[preset], image))


def test_two_inputs_are_refused():
    a, b = keras.Input((8, 8, 3), name="left"), keras.Input((8, 8, 3), name="right")
    with pytest.raises(InputError, match=r"one input and one output.*Received: inputs \['left', 'right'\]"):
        export_tflite(keras.Model([a, b], keras.layers.Add()([a, b])), FP32)


def test_open_height_and_fixed_batch_are_refused():
    image = keras.Input((None, 8, 3))
    with pytest.raises(InputError, match=r"fixed input size.*Received: \[None, None, 8, 3\]"):
        export_tflite(keras.Model(image, keras.layers.ReLU()(image)), FP32)
    image = keras.Input((8, 8, 3), batch_size=4)
    with pytest.raises(InputError, match=r"batch of 1. Received: \[4, 8, 8, 3\]"):
        export_tflite(keras.Model(image, keras.layers.ReLU()(image)), FP32)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_refused_with_the_way_out(policy):
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(2, 1, dtype=policy, name="half")(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 1, dtype="float32")(x))
    with pytest.raises(InputError, match=r"policy float32 first.*1 such layers, the first is `half`"):
        export_tflite(model, FP16)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "Received: no image"),
        ([np.zeros((64, 64, 3), np.float32)], r"image 0.*Received: \[64, 64, 3\] float32"),
        ([np.zeros((1, 64, 64, 3), np.uint8)], r"image 0.*Received: \[1, 64, 64, 3\] uint8"),
        (
            [np.zeros((1, 64, 64, 3), np.float32), np.full((1, 64, 64, 3), np.nan, np.float32)],
            r"image 1.*float32, not finite",
        ),
    ],
)
def test_bad_calibration_is_refused(net, images, message):
    with pytest.raises(InputError, match=message):
        export_tflite(net, INT8, images)


def test_ops_without_a_kernel_are_named():
    image = keras.Input((3, 3, 3))
    model = keras.Model(image, keras.layers.Lambda(lambda x: tf.math.erf(tf.linalg.inv(x)))(image), name="inverse")
    with pytest.raises(InputError, match=r"Model `inverse` cannot.*fp32.*Received: no kernel for tf.MatrixInverse"):
        export_tflite(model, FP32)


def test_a_float_island_in_int8_is_refused_and_shown():
    # The converter itself accepts this, and leaves CUMSUM in float32 between DEQUANTIZE and QUANTIZE.
    image = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 1)(image)
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(tf.cumsum(x, axis=1)), name="island")
    with pytest.raises(InputError, match=r"Model `island`.*every op.*Received: 1 of \d ops.* CUMSUM \("):
        export_tflite(model, INT8, [np.ones((1, 4, 4, 3), np.float32)])


def test_conversion_is_silent(net, calibration, capfd, recwarn):
    export_tflite(net, INT8, calibration[:1])
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert not recwarn.list


def test_only_known_noise_is_dropped(capfd):
    with pytest.raises(ValueError, match="broken"), quiet_converter():
        os.write(2, b"fully_quantize: 0, inference_type: 6\nerror: this op is illegal\n")
        raise ValueError("broken")
    assert capfd.readouterr().err == "error: this op is illegal\n"
