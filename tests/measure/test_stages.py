from __future__ import annotations

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.names import layer_names
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.stages import crossing, stages, unpacked
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.models.pose import pose_resnet
from tta_lite.types import DYNAMIC, FP16, FP32, INT8, InputError

L = keras.layers
SPECS = [FP32, FP16, DYNAMIC, INT8]


@pytest.fixture(scope="module", params=SPECS, ids=lambda spec: spec.preset)
def pose_file(request) -> bytes:
    model = networks.randomised(pose_resnet("mobilenet_v2_0.35", input_size=64, bottleneck=64), std=0.05)
    images = np.random.default_rng(0).normal(size=(4, 1, 64, 64, 3)).astype(np.float32)
    return export_tflite(model, request.param, images if request.param is INT8 else ())


@pytest.mark.parametrize("most", [1, 4, 14, 1000])
def test_stages_hold_every_op_once_and_all_macs(pose_file, most):
    found, contents = stages(pose_file, most), read_contents(pose_file)
    assert 1 <= len(found) <= most
    assert [one.begin for one in found] == [0, *(one.end for one in found[:-1])]
    assert found[-1].end == len(contents.ops)
    assert sum(one.macs for one in found) == count_tflite(pose_file).macs
    assert all(one.ops >= 1 and crossing(contents, one.end) for one in found)


def test_the_same_layers_are_cut_the_same_in_every_precision(pose_file):
    found = stages(pose_file)
    assert found[0].first in ("Conv1", "Conv1_pad") and found[-1].last == "heatmaps"
    assert "deconv3" in {one.first for one in found}


def chain(*widths):
    """Convolutions 1 x 1 of 8 x 8 values: 64 x in x out MACs each."""
    layers = [L.Conv2D(width, 1, name=f"part{place}") for place, width in enumerate(widths)]
    return export_tflite(networks.net(*layers, shape=(8, 8, 4)), FP32)


def test_stages_are_as_equal_as_can_be():
    # 64 x (16, 16, 16, 16, 16, 16) MACs.
    found = stages(chain(4, 4, 4, 4, 4, 4), 3)
    assert [(one.first, one.last, one.macs) for one in found] == [
        ("part0", "part1", 2048), ("part2", "part3", 2048), ("part4", "part5", 2048),
    ]  # fmt: skip


def test_a_layer_with_more_than_its_share_stands_alone():
    # 64 x (16, 16, 400, 400, 16).
    assert [(one.first, one.last) for one in stages(chain(4, 4, 100, 4, 4), 4)] == [
        ("part0", "part1"), ("part2", "part2"), ("part3", "part3"), ("part4", "part4"),
    ]  # fmt: skip


def test_cuts_go_where_one_tensor_crosses():
    image = x = keras.Input((8, 8, 4), name="image")
    for block in range(3):
        y = L.Conv2D(4, 1, name=f"block{block}_a", activation="relu")(x)
        y = L.Conv2D(4, 1, name=f"block{block}_b")(y)
        x = L.Add(name=f"block{block}_add")([x, y])
    tflite = export_tflite(networks.randomised(keras.Model(image, x, name="net")), FP32)
    assert [(one.first, one.last) for one in stages(tflite, 3)] == [
        ("block0_a", "block0_add"), ("block1_a", "block1_add"), ("block2_a", "block2_add"),
    ]  # fmt: skip


def test_padding_stays_with_the_convolution_that_reads_it():
    layers = [
        L.ZeroPadding2D(1, name="pad"), L.Conv2D(4, 3, strides=2, name="one"),
        L.ZeroPadding2D(1, name="pad2"), L.Conv2D(16, 3, strides=2, name="two"),
    ]  # fmt: skip
    tflite = export_tflite(networks.net(*layers, shape=(8, 8, 4)), FP32)
    assert [op.name for op in read_contents(tflite).ops] == ["PAD", "CONV_2D"] * 2
    # 16 x 4 x 36 and 4 x 16 x 36 MACs.
    assert [(one.first, one.last, one.macs) for one in stages(tflite, 4)] == [
        ("pad", "one", 2304),
        ("pad2", "two", 2304),
    ]


def test_a_padding_that_the_converter_took_in_does_not_name_the_convolution():
    layers = [L.ZeroPadding2D(1, name="pad"), L.Conv2D(4, 3, name="one"), L.Conv2D(4, 1, name="two")]
    tflite = export_tflite(networks.net(*layers, shape=(8, 8, 4)), FP32)
    assert layer_names(tflite, read_contents(tflite)) == ["one", "two"]


def test_a_net_without_macs_is_cut_by_ops():
    layers = [L.MaxPool2D(2, name="first"), L.MaxPool2D(2, name="second")]
    found = stages(export_tflite(networks.net(*layers, shape=(8, 8, 4)), FP32), 2)
    assert [(one.begin, one.end, one.macs) for one in found] == [(0, 1, 0), (1, 2, 0)]


def test_unpacked_weights_are_not_what_crosses():
    tflite = export_tflite(networks.net(L.Conv2D(4, 1), L.Conv2D(4, 1), shape=(8, 8, 4)), FP16)
    contents = read_contents(tflite)
    assert len(unpacked(contents)) == sum(op.name == "DEQUANTIZE" for op in contents.ops) > 0
    convs = [op for op in contents.ops if op.name == "CONV_2D"]
    assert crossing(contents, convs[0].index + 1) == list(convs[0].outputs)
    assert crossing(contents, len(contents.ops)) == list(contents.outputs)


def test_names_are_those_of_the_layers():
    inner = keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(4, 1, name="conv")], name="inner")
    net = networks.net(
        inner, L.ReLU(6.0, name="act"), L.Conv2D(2, 1, name="last"), L.Softmax(name="out"), shape=(8, 8, 4)
    )
    tflite = export_tflite(net, FP32)
    names = layer_names(tflite, read_contents(tflite))
    assert names == ["inner/conv", "last", "out"]


@pytest.mark.parametrize("wrong", [0, -3])
def test_no_stage_is_refused(wrong):
    with pytest.raises(InputError, match=f"`most`.*Received: {wrong}"):
        stages(chain(4), wrong)
