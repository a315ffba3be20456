"""ONNX Runtime as a second opinion on what was exported."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.export.onnx import compare_onnx, describe_onnx, export_onnx, trtexec_line
from tta_lite.export.saved_model import export_saved_model
from tta_lite.export.tflite import export_tflite
from tta_lite.models.classifier import classifier
from tta_lite.models.pose import pose_resnet
from tta_lite.types import FP32, INT8, InputError

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(4, 64, 64, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def pose():
    return randomised(pose_resnet("mobilenet_v2_0.35", input_size=64, joints=5, bottleneck=16), std=0.05)


@pytest.fixture(scope="module")
def integers(pose):
    return export_tflite(pose, INT8, [image[None] for image in IMAGES])


@pytest.mark.parametrize("channels_first", [True, False])
def test_floats(pose, channels_first):
    tflite = export_tflite(pose, FP32)
    found = export_onnx(tflite, channels_first=channels_first)
    onnx.checker.check_model(onnx.load_from_string(found.data))
    assert found.input[2] == ((1, 3, 64, 64) if channels_first else (1, 64, 64, 3))
    assert found.output[2] == ((1, 5, 16, 16) if channels_first else (1, 16, 16, 5))
    assert found.transposes == (0 if channels_first else 2)
    scale = float(np.abs(pose.predict(IMAGES, verbose=0)).max())
    assert compare_onnx(found, tflite, IMAGES).max_error < 1e-5 * max(scale, 1.0)
    assert not found.quantised and "--fp16" in trtexec_line(found)[0] and "--int8" not in trtexec_line(found)[0]


def test_grouped_convolutions_survive():
    net = randomised(classifier("shufflenet_v1_g3", classes=4, input_size=64), std=0.05)
    tflite = export_tflite(net, FP32)
    found = export_onnx(tflite)
    groups = {
        attribute.i
        for node in onnx.load_from_string(found.data).graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "group"
    }
    assert 3 in groups
    scale = float(np.abs(net.predict(IMAGES, verbose=0)).max())
    assert compare_onnx(found, tflite, IMAGES).max_error < 1e-5 * max(scale, 1.0)


def test_integers_become_q_and_dq(integers):
    found = export_onnx(integers)
    assert found.quantised and found.ops["ConvTranspose"] == 3
    parity = compare_onnx(found, integers, IMAGES)
    assert parity.step > 0 and parity.max_error <= 3 * parity.step
    line, needs = trtexec_line(found)
    assert "--int8" in line
    # TFLite's activations have zero points of their own.
    assert found.asymmetric > 0 and any("symmetric quantisation only" in need for need in needs)
    said = describe_onnx(found, parity)
    assert said["input"]["dtype"] == "int8" and said["transposes"] == found.transposes


def test_without_onnx_runtime_nothing_is_compared(integers, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    parity = compare_onnx(export_onnx(integers), integers, IMAGES)
    assert parity.version == "" and parity.max_error is None


def test_an_opset_that_is_not_written(integers):
    with pytest.raises(InputError, match=r"13 to 18\. Received: 9"):
        export_onnx(integers, opset=9)


@pytest.mark.slow
def test_a_saved_model_gives_what_the_network_gives(pose, tmp_path):
    import tensorflow as tf

    folder = export_saved_model(pose, tmp_path / "saved")
    assert export_saved_model(pose, folder) == folder
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    found = serve(tf.constant(IMAGES))
    assert set(found) == set(pose.output_names)
    np.testing.assert_allclose(found[pose.output_names[0]], pose.predict(IMAGES, verbose=0), atol=1e-5)


def test_a_folder_that_is_something_else_stays(pose, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="new or empty folder"):
        export_saved_model(pose, tmp_path)
    assert (tmp_path / "mine.txt").exists()


def test_a_network_with_two_inputs_can_be_served(tmp_path):
    import tensorflow as tf

    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    net = keras.Model([a, b], keras.layers.Add(name="sum")([a, b]))
    serve = tf.saved_model.load(str(export_saved_model(net, tmp_path / "two"))).signatures["serving_default"]
    np.testing.assert_array_equal(serve(a=tf.ones((2, 4)), b=tf.ones((2, 4)))["sum"], 2 * np.ones((2, 4)))
