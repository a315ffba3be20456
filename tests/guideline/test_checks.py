"""Does a board take the ops of a network? Expected is what the converter is known to give and the boards' own lists."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.guideline.checks import UnsupportedOpsError, ops_check, unsupported_ops
from tta_lite.transforms.backbone import swap_backbone
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import InputError

L = keras.layers
RK3399 = get_board("rk3399")


def deconv_net(*, bias_apart: bool = False) -> keras.Model:
    image = keras.Input((8, 8, 4))
    x = L.Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False, name="up")(image)
    x = L.ReLU(name="act")(x) if bias_apart else L.BatchNormalization(name="bn")(x)
    return keras.Model(image, L.MaxPooling2D(name="pool")(x))


def test_the_bias_of_a_deconv_is_known_before_it_is_trained():
    # An untrained batch norm shifts by zero, and the converter would leave the fourth input out.
    net = deconv_net()
    before = net.get_weights()
    (miss,) = unsupported_ops(net, RK3399, runtime="armnn")
    assert (miss.op, miss.layer) == ("TRANSPOSE_CONV", "up")
    assert "with 3 inputs, and this one has 4" in miss.why
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert unsupported_ops(deconv_net(bias_apart=True), RK3399, runtime="armnn") == []


def test_subpixel_is_for_litert_and_not_for_armnn():
    net = subpixel(deconv_net()).model
    assert unsupported_ops(net, RK3399) == []
    (miss,) = unsupported_ops(net, RK3399, runtime="armnn")
    assert (miss.op, miss.layer) == ("DEPTH_TO_SPACE", "up_shuffle")


def test_litert_itself_is_asked():
    image = keras.Input((8, 8, 4))
    # XNNPACK has no kernel for either.
    net = keras.Model(image, L.Conv2D(2, 1, name="last")(keras.backend.reverse(image, axes=1)))
    assert [miss.op for miss in unsupported_ops(net, RK3399)] == ["REVERSE_V2"]


def test_a_miss_names_op_layer_and_others_before_anything_is_built():
    net = keras.Sequential([L.Conv2D(8, 3, strides=2, input_shape=(32, 32, 3)), L.GlobalAveragePooling2D(), L.Dense(3)])
    check = ops_check(RK3399, runtime="armnn", others=("mobilenet_v3_small", "mobilenet_v3_large", "mobilenet_v1_0.25"))
    with pytest.raises(
        UnsupportedOpsError, match=r"would pass: mobilenet_v1_0\.25\. Received: 'mobilenet_v3_small'"
    ) as caught:
        swap_backbone(net, "mobilenet_v3_small", check=check)
    assert {miss.op for miss in caught.value.misses} == {"HARD_SWISH"}
    assert swap_backbone(net, "mobilenet_v1_0.25", check=check).model.output_shape == (None, 3)


def test_an_int8_file_is_asked_for_where_that_is_the_plan():
    assert unsupported_ops(deconv_net(bias_apart=True), RK3399, runtime="armnn", preset="int8") == []
    with pytest.raises(InputError, match=r"armnn 20\.08 on Firefly-RK3399 runs files of fp32, int8\. Received: 'fp16'"):
        unsupported_ops(deconv_net(), RK3399, runtime="armnn", preset="fp16")
