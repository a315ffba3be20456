"""Every network of the zoo as a file: it converts in float32 and int8, and XNNPACK takes every op of it."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.models.backbones import BACKBONES
from tta_lite.models.classifier import classifier
from tta_lite.types import FP32, ExportSpec

# What XNNPACK leaves of a network, in float32 and in int8; of all others nothing. In docs/networks.md too.
EXCEPTIONS = {
    **{f"shufflenet_v1_g{groups}": (set(), {"AVERAGE_POOL_2D"}) for groups in (1, 2, 3, 4, 8)},
    **{f"densenet{depth}": (set(), {"AVERAGE_POOL_2D"}) for depth in (121, 169, 201)},
    **{f"mobilenet_v3_{size}": (set(), {"HARD_SWISH"}) for size in ("small", "large")},
    # Every second pixel, for each tap of a kernel with a stride; and int8 arithmetic on five axes.
    "adder_resnet20": ({"STRIDED_SLICE"}, {"STRIDED_SLICE", "ABS", "SUB"}),
}
IN_EVERY_RUN = ("shufflenet_v1_g3", "shufflenet_v2_0.5", "mnasnet_a1")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in IN_EVERY_RUN else pytest.mark.slow) for name in BACKBONES]
)
def test_it_converts_and_xnnpack_takes_it(name):
    size = 32 if name in ("effnet", "adder_resnet20") else 64
    model = classifier(name, classes=10, input_size=size)
    rng = np.random.default_rng(0)
    images = rng.normal(size=(4, 1, size, size, 3)).astype(np.float32)
    if name.startswith("adder"):
        # Distances are below zero, and batch norm that knows nothing of that leaves only zeros after the ReLU.
        for _ in range(40):
            model(images[:, 0], training=True)
    floats, integers = EXCEPTIONS.get(name, (set(), set()))
    tflite = export_tflite(model, FP32)
    assert {op.op for op in undelegated_ops(tflite)} == floats
    np.testing.assert_allclose(TFLitePredictor(tflite)(images[0]), model(images[0]), rtol=1e-3, atol=1e-4)
    tflite = export_tflite(model, ExportSpec("int8"), images)
    assert {op.op for op in undelegated_ops(tflite)} == integers
