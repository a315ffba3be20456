"""Does a board take the ops of a network? Expected is what the converter is known to give and the boards' own lists."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.boards.profile import BoardProfile, get_board
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.checks import UnsupportedOpsError, no_fp16, ops_check, unsupported_ops
from tta_lite.transforms.backbone import swap_backbone
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import FP32, InputError

L = keras.layers
RK3399 = get_board("rk3399")


def deconv_net(*, bias_apart: bool = False) -> keras.Model:
    image = keras.Input((8, 8, 4))
    x = L.Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False, name="up")(image)
    x = L.ReLU(name="act")(x) if bias_apart else L.BatchNormalization(name="bn")(x)
    return keras.Model(image, L.MaxPooling2D(name="pool")(x))


# Arm NN's list under another name: a runtime of one's own, which nobody asked what it takes instead.
LISTED = dataclasses.replace(RK3399, runtimes=(dataclasses.replace(RK3399.runtime("armnn"), name="listed"),))


def test_the_bias_of_a_deconv_is_known_before_it_is_trained():
    # An untrained batch norm shifts by zero, and the converter would leave the fourth input out.
    net = deconv_net()
    before = net.get_weights()
    (miss,) = unsupported_ops(net, LISTED, runtime="listed")
    assert (miss.op, miss.layer) == ("TRANSPOSE_CONV", "up")
    assert "with 3 inputs, and this one has 4" in miss.why
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert unsupported_ops(deconv_net(bias_apart=True), LISTED, runtime="listed") == []


def test_subpixel_is_for_runtimes_with_depth_to_space():
    net = subpixel(deconv_net()).model
    assert unsupported_ops(net, RK3399) == []
    (miss,) = unsupported_ops(net, LISTED, runtime="listed")
    assert (miss.op, miss.layer) == ("DEPTH_TO_SPACE", "up_shuffle")


@pytest.mark.parametrize("preset", ["fp32", "int8"])
def test_a_runtime_that_was_asked_gets_ops_that_it_takes(preset):
    # The bias stands apart, or the Deconv is a convolution, and the shuffle is cut and laid together.
    for net in (deconv_net(), subpixel(deconv_net()).model):
        assert unsupported_ops(net, RK3399, runtime="armnn", preset=preset) == []


def test_litert_itself_is_asked():
    image = keras.Input((8, 8, 4))
    # XNNPACK has no kernel for either.
    net = keras.Model(image, L.Conv2D(2, 1, name="last")(keras.backend.reverse(image, axes=1)))
    assert [miss.op for miss in unsupported_ops(net, RK3399)] == ["REVERSE_V2"]


def without(*ops: str) -> BoardProfile:
    """-> the RK3399 with Arm NN alone, and without those ops."""
    armnn = RK3399.runtime("armnn")
    return dataclasses.replace(RK3399, runtimes=(dataclasses.replace(armnn, ops=armnn.ops - set(ops)),))


def test_a_miss_names_op_layer_and_others_before_anything_is_built():
    net = keras.Sequential([L.Conv2D(8, 3, strides=2, input_shape=(32, 32, 3)), L.GlobalAveragePooling2D(), L.Dense(3)])
    others = ("mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v1_0.25")
    check = ops_check(without("HARD_SWISH"), others=others)
    with pytest.raises(
        UnsupportedOpsError, match=r"would pass: mobilenet_v1_0\.25\. Received: 'mobilenet_v3_small'"
    ) as caught:
        swap_backbone(net, "mobilenet_v3_small", check=check)
    assert {miss.op for miss in caught.value.misses} == {"HARD_SWISH"}
    assert swap_backbone(net, "mobilenet_v1_0.25", check=check).model.output_shape == (None, 3)


def test_arm_nn_takes_hard_swish():
    # Arm NN 20.08 of Debian 12 under an emulated Cortex-A72 optimised MobileNetV3-Small for CpuAcc and loaded it.
    image = keras.Input((8, 8, 4))
    x = L.Conv2D(4, 3, name="conv")(image)
    net = keras.Model(image, x * tf.nn.relu6(x + 3.0) / 6.0)
    assert [op.name for op in read_contents(export_tflite(net, FP32)).ops][-1] == "HARD_SWISH"
    assert unsupported_ops(net, RK3399, runtime="armnn") == []


def test_a_version_that_is_too_new_is_a_miss():
    # Weights of 8 bits by channel are version 3 of CONV_2D: tensorflow/lite/tools/versioning/op_version.cc.
    image = keras.Input((8, 8, 4))
    net = keras.Model(image, L.Conv2D(4, 3, name="conv")(image))
    armnn = RK3399.runtime("armnn")
    for newest, said in ((3, []), (2, ["armnn 20.08 has CONV_2D up to version 2, and the file asks for 3"])):
        old = dataclasses.replace(armnn, op_versions={"CONV_2D": newest})
        board = dataclasses.replace(RK3399, runtimes=(old,))
        assert [miss.why for miss in unsupported_ops(net, board, preset="int8")] == said


def test_half_precision_needs_cores_and_kernels():
    assert str(no_fp16(RK3399)).startswith("Cortex-A72 and Cortex-A53 of Firefly-RK3399 do not compute in FP16")
    assert no_fp16(get_board("rk3588")) is None
    said = str(no_fp16(get_board("cortex_m55")))
    assert said.startswith("tflite-micro 0.dev20261023 has no kernels that compute in FP16") and "Cortex-M55" in said


def test_an_int8_file_is_asked_for_where_that_is_the_plan():
    # "Tensors have different data types": CpuAcc takes no Deconv whose weights are quantised by channel.
    (miss,) = unsupported_ops(deconv_net(bias_apart=True), LISTED, runtime="listed", preset="int8")
    assert (miss.op, miss.layer, miss.why) == (
        "TRANSPOSE_CONV",
        "up",
        "listed 20.08 does not take TRANSPOSE_CONV in int8",
    )
    image = keras.Input((8, 8, 4))
    net = keras.Model(image, L.Conv2D(4, 3, activation="relu", name="conv")(image))
    assert unsupported_ops(net, RK3399, runtime="armnn", preset="int8") == []
    with pytest.raises(InputError, match=r"armnn 20\.08 on Firefly-RK3399 runs files of fp32, int8\. Received: 'fp16'"):
        unsupported_ops(deconv_net(), RK3399, runtime="armnn", preset="fp16")
