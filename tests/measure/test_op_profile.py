"""The runtime's list of operators against the file's ops: on made-up lists, on lists that were recorded, and live."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.op_features import NONE
from tta_lite.measure.op_profile import match_ops, typical
from tta_lite.types import DYNAMIC, FP16, FP32, INT8, ExportSpec, InputError

L = keras.layers
# What LiteRT 2.3.0 ran of `many_kinds`, by preset: [kind, place, name], as the runner's profile had it.
RECORDED = Path(__file__).with_name("operators_of_many_kinds.json")
SPECS = {"fp32": FP32, "fp16": FP16, "dynamic": DYNAMIC, "int8": INT8}


def many_kinds() -> keras.Model:
    """Ops that XNNPACK merges, splits, renames, leaves to LiteRT or runs as they are."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(image)
    x = L.Conv2D(16, 3, strides=2, activation="relu", name="stem")(x)
    x = L.Activation("hard_sigmoid", name="gate")(x)
    y = L.DepthwiseConv2D(3, padding="same", name="side")(x)
    x = L.ReLU(name="sum_relu")(L.Add(name="sum")([x, y]))
    x = L.Conv2D(24, 3, padding="same", groups=2, name="groups")(x)
    x = L.Concatenate(name="both")([x, L.Conv2D(8, 1, name="narrow")(x)])
    x = L.AveragePooling2D(2, name="average")(x)
    x = L.Conv2DTranspose(16, 4, strides=2, padding="same", activation="relu", name="up")(x)
    x = L.MaxPooling2D(2, name="most")(x)
    x = L.GlobalAveragePooling2D(name="mean")(x)
    return networks.randomised(keras.Model(image, L.Dense(10, activation="softmax", name="classes")(x), name="net"))


def exported(spec: ExportSpec) -> bytes:
    images = np.random.default_rng(0).normal(size=(4, 1, 16, 16, 3)).astype(np.float32)
    return export_tflite(many_kinds(), spec, list(images) if spec is INT8 else ())


@pytest.fixture(scope="module", params=SPECS)
def case(request) -> tuple[bytes, list[dict[str, Any]]]:
    """-> the file and the operators that ran, of 1, 2, 3, ... microseconds."""
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[request.param]
    ran = [
        {"kind": kind, "place": place, "name": name, "samples_us": [1.0 + index]}
        for index, (kind, place, name) in enumerate(recorded)
    ]
    return exported(SPECS[request.param]), ran


WORK = {
    "CONV_2D": ("Convolution", "Fully Connected"),
    "DEPTHWISE_CONV_2D": ("Convolution", "DEPTHWISE_CONV_2D"),
    "TRANSPOSE_CONV": ("Deconvolution", "TRANSPOSE_CONV"),
    "FULLY_CONNECTED": ("Fully Connected", "FULLY_CONNECTED"),
    "MAX_POOL_2D": ("Max Pooling",),
    "AVERAGE_POOL_2D": ("Average Pooling", "AVERAGE_POOL_2D"),
    "ADD": ("Add",),
    "MEAN": ("Mean",),
    "CONCATENATION": ("Copy", "Concatenate"),
    "SOFTMAX": ("Softmax", "SOFTMAX"),
}


def test_every_operator_finds_its_op(case):
    tflite, ran = case
    found = match_ops(tflite, ran)
    assert sum(op.time_us for op in found) == pytest.approx(sum(op["samples_us"][0] for op in ran))
    assert [name for op in found for name in op.kernels] == [op["name"] for op in ran]
    for op in found:
        # XNNPACK makes one operator of a multiplication and an addition of constants in int8.
        if op.op in WORK and (op.kernels or op.layer != "gate"):
            assert any(name.startswith(WORK[op.op]) for name in op.kernels), op
    by_layer = {op.layer: op for op in found}
    for layer in ("stem", "side", "up", "narrow"):
        assert by_layer[layer].time_us > 0
    assert {op.kind for op in found if op.op == "PAD"} <= {NONE}


def test_builtin_ops_are_told_apart(case):
    tflite, ran = case
    builtin = {op["place"] for op in ran if op["kind"] == "builtin"}
    assert {op.index for op in match_ops(tflite, ran) if op.builtin} == builtin


def test_an_activation_goes_with_its_addition(case):
    tflite, ran = case
    [total] = [op for op in match_ops(tflite, ran) if op.layer.startswith("sum")]
    assert [name.split(" (")[0] for name in total.kernels] == ["Add", "Clamp"]


def test_a_list_of_another_file_is_refused(case):
    tflite, ran = case
    for wrong in (ran + ran, [op for op in ran if not op["name"].startswith("Convolution")]):
        with pytest.raises(InputError, match="must be one of the file"):
            match_ops(tflite, wrong)
    with pytest.raises(InputError, match="profile_runs"):
        match_ops(tflite, [])
    stranger = [{"kind": "builtin", "place": 999, "name": "ADD", "samples_us": [1]}]
    with pytest.raises(InputError, match="must be one of the file"):
        match_ops(tflite, stranger)


def test_an_interruption_is_no_time():
    assert typical([10, 10, 10, 11, 11, 11, 12, 5000]) == pytest.approx(10.75)
    assert typical([7]) == 7


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler as `cc` (Debian's package gcc)")
@pytest.mark.parametrize("preset", ["fp32", "int8"])
def test_what_runs_here_is_matched(tmp_path, preset):
    from tta_lite.measure.device.local import Local
    from tta_lite.measure.profiles import collect, read_profiles

    file = tmp_path / "net.tflite"
    file.write_bytes(exported(SPECS[preset]))
    collect(Local(), [file], tmp_path / "profiles", rounds=1)
    [network] = read_profiles(tmp_path / "profiles").networks
    assert network.name == "net" and network.dtype == preset
    # A wrong unit is off by a thousand; how busy this machine is moves it less.
    assert network.latency_us / 100 < sum(network.times_us) < 100 * network.latency_us
