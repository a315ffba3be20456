"""Ops that are kept at 16x8 or in float32, on a network that plain int8 ruins by the range of one tensor."""

from __future__ import annotations

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.parity import measure
from tta_lite.export.quantize.debug import debug_export, worst_ops
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import ExportSpec

L = keras.layers
LARGE = 300.0
IMAGES = [np.random.default_rng(seed).uniform(-1, 1, (1, 12, 12, 3)).astype(np.float32) for seed in range(6)]


@pytest.fixture(scope="module")
def post() -> PostTraining:
    """One channel is hundreds of times larger than the others, and nothing reads it."""
    net = networks.net(
        L.Conv2D(8, 3, padding="same", activation="relu", name="fine"),
        L.Conv2D(8, 3, padding="same", activation="relu", name="uneven"),
        L.Conv2D(8, 1, activation="relu", name="reader"),
        L.Conv2D(4, 1, name="last"),
        shape=(12, 12, 3),
    )
    kernel, bias = net.get_layer("uneven").get_weights()
    kernel[..., 0], bias[0] = 0, LARGE
    net.get_layer("uneven").set_weights([kernel, bias])
    kernel, bias = net.get_layer("reader").get_weights()
    kernel[:, :, 0] = 0
    net.get_layer("reader").set_weights([kernel, bias])
    return PostTraining(FloatFile.of_model(net), IMAGES)


def sqnr(post: PostTraining, spec: ExportSpec) -> float:
    batch = np.concatenate(IMAGES)
    return measure(TFLitePredictor(post.source.tflite)(batch), TFLitePredictor(post.quantize(spec))(batch)).sqnr_db


def test_the_worst_op_kept_at_16x8_or_in_float_brings_the_network_back(post):
    plain = ExportSpec("int8", 6, backend="litert_quantizer")
    worst = worst_ops(debug_export(post, plain, IMAGES), 1)
    # The harm is in the range of what it writes, so that what reads it is kept with it.
    assert len(worst) == 2
    lost = sqnr(post, plain)
    fine = sqnr(post, ExportSpec("int8", 6, backend="litert_quantizer", keep_16x8=worst))
    whole = sqnr(post, ExportSpec("int8", 6, backend="litert_quantizer", keep_float=worst))
    assert lost < 15, "plain int8 must fail"
    assert fine > lost + 10 and whole > lost + 10


def test_what_is_kept_has_that_type_and_nothing_else_has(post):
    worst = worst_ops(debug_export(post, ExportSpec("int8", 6), IMAGES), 1)
    for name, dtype in (("keep_16x8", "int16"), ("keep_float", "float32")):
        contents = read_contents(post.quantize(ExportSpec("int8", 6, **{name: worst})))
        types = [contents.tensors[op.inputs[0]].dtype for op in contents.ops if op.name == "CONV_2D"]
        assert types == ["int8", dtype, dtype, "int8"]
