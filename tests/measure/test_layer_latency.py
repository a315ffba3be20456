from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests import networks
from tests.measure.device.made_up import event, record
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.device.build import compiler
from tta_lite.measure.device.runner import Run
from tta_lite.measure.device.transport import DeviceError
from tta_lite.measure.layer_latency import HERE, RULES, LayerCosts, costs_of, layer_costs
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.types import DYNAMIC, FP16, FP32, INT8, InputError

L = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(8, 1, 16, 16, 3)).astype(np.float32)
# By hand: places of the output times products for each.
MACS = {
    "stem": 16 * 16 * 8 * 27,
    "side": 16 * 16 * 8 * 9,
    "join": 0,
    # A transposed Conv multiplies each of its inputs with each weight.
    "up": 16 * 16 * 8 * 4 * 16,
    "last": 32 * 32 * 2 * 4,
}


def branching() -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    y = L.DepthwiseConv2D(3, padding="same", name="side")(x)
    x = L.Add(name="join")([x, y])
    x = L.Conv2DTranspose(4, 4, strides=2, padding="same", name="up")(x)
    return networks.randomised(keras.Model(image, L.Conv2D(2, 1, name="last")(x), name="net"))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return branching()


@pytest.fixture(scope="module", params=[FP32, FP16, DYNAMIC, INT8], ids=lambda spec: spec.preset)
def tflite(request, model) -> bytes:
    return export_tflite(model, request.param, IMAGES if request.param is INT8 else ())


@pytest.fixture(scope="module")
def compiled() -> None:
    """Skips where the runner cannot be compiled."""
    import platform

    try:
        compiler(platform.machine())
    except DeviceError as error:
        pytest.skip(str(error))


def run(*profile: list[dict], samples_us: tuple[float, ...] = (1000.0,)) -> Run:
    """A round with these profiled runs."""
    return Run.from_json(json.dumps(record(profile=profile, samples_us=samples_us)), "here")


def operators(*times: float) -> list[dict]:
    """What XNNPACK says of a run of `branching` in float32."""
    names = ["Convolution (NHWC, F32) IGEMM", "Convolution (NHWC, F32) DWConv", "Add (ND)"]
    names += ["Deconvolution (NHWC, F32) Subconv2D", "Fully Connected (NC, F32) GEMM"]
    return [event(name, us, place) for place, (name, us) in enumerate(zip(names, times, strict=True))]


@pytest.fixture(scope="module")
def fp32(model) -> bytes:
    return export_tflite(model, FP32)


def test_a_layer_takes_what_its_kernels_took(fp32):
    first = run(operators(10, 20, 30, 40, 50), operators(12, 22, 32, 42, 52), samples_us=(100.0, 300.0))
    second = run(operators(20, 20, 20, 20, 20), operators(20, 20, 20, 20, 20), samples_us=(200.0, 400.0, 500.0))
    found = costs_of(fp32, [first, second], most=1000)
    assert [(one.layer, one.op, one.macs) for one in found.layers] == [
        ("stem", "CONV_2D", MACS["stem"]),
        ("side", "DEPTHWISE_CONV_2D", MACS["side"]),
        ("join", "ADD", MACS["join"]),
        ("up", "TRANSPOSE_CONV", MACS["up"]),
        ("last", "CONV_2D", MACS["last"]),
    ]
    # Over all four profiled runs the mean of the middle two; and of each round the mean of its two.
    stem, _, join, *_ = found.layers
    assert (stem.latency_ms, stem.low_ms, stem.high_ms) == pytest.approx((0.016, 0.011, 0.020))
    assert (join.latency_ms, join.low_ms, join.high_ms) == pytest.approx((0.025, 0.020, 0.031))
    # Not profiled: 100, 200, 300, 400 and 500 us.
    assert (found.latency_ms, found.rounds) == (0.3, 2)
    assert (found.where, found.threads) == ("4 x Cortex-A53 + 2 x Cortex-A72", 1)


def test_stages_are_sums_of_layers(fp32):
    rounds = [run(operators(10, 20, 30, 40, 50)), run(operators(50, 40, 30, 20, 10))]
    whole = costs_of(fp32, rounds, most=1)
    [stage] = whole.stages
    # Each round took 150 us, however its layers changed.
    assert (stage.latency_ms, stage.low_ms, stage.high_ms) == pytest.approx((0.15, 0.15, 0.15))
    assert whole.macs == sum(MACS.values()) == count_tflite(fp32).macs
    found = costs_of(fp32, rounds, most=3)
    assert 1 < len(found.stages) <= 3
    assert found.profiled_ms == pytest.approx(sum(one.latency_ms for one in found.layers)) == pytest.approx(0.15)
    assert found.macs == whole.macs


def test_costs_of_nothing_or_another_file_are_refused(fp32):
    with pytest.raises(InputError, match=r"Layer costs need one run or more\. Received: none"):
        costs_of(fp32, [])
    with pytest.raises(InputError, match=r"was it run with --profile_runs\? Received: none"):
        costs_of(fp32, [run()])
    with pytest.raises(InputError, match=r"must be one of the file that it is matched with"):
        costs_of(fp32, [run([event("Max Pooling (NHWC, F32)", 10)])])
    with pytest.raises(InputError, match=r"must run the same ops"):
        costs_of(fp32, [run(operators(1, 2, 3, 4, 5)), run(operators(1, 2, 3, 4, 5)[:4])])


def test_all_files_are_profiled_in_one_turn(tmp_path, fp32):
    paths = {name: tmp_path / f"{name}.tflite" for name in ("before", "after")}
    for path in paths.values():
        path.write_bytes(fp32)
    seen = []

    def profile(files, **rules):
        seen.append((dict(files), rules))
        return {"before": [run(operators(1, 2, 3, 4, 5))], "after": [run(operators(2, 2, 2, 2, 2))]}

    found = layer_costs(paths, most=3, run=profile, num_threads=2, rounds=1)
    assert seen == [(paths, {**RULES, **HERE, "num_threads": 2, "rounds": 1})]
    assert {name: one.profiled_ms for name, one in found.items()} == pytest.approx({"before": 0.015, "after": 0.01})


def test_costs_are_kept_as_json(fp32):
    found = costs_of(fp32, [run(operators(10, 20, 30, 40, 50)), run(operators(50, 40, 30, 20, 10))], most=3)
    assert LayerCosts.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_real_file_is_profiled(compiled, tmp_path, tflite):
    path = tmp_path / "net.tflite"
    path.write_bytes(tflite)
    found = layer_costs({"net": path}, most=3, rounds=2, num_runs=10, min_secs=0.0, warmup_runs=5)["net"]
    assert (found.rounds, found.macs) == (2, sum(MACS.values()))
    assert found.stages[0].stage.begin == 0 and found.stages[-1].stage.end == len(read_contents(tflite).ops)
    assert found.profiled_ms == pytest.approx(sum(one.latency_ms for one in found.layers))
    # A wrong unit is off by a thousand; how busy this machine is moves it less.
    assert found.latency_ms / 100 < found.profiled_ms < 100 * found.latency_ms
    # Every layer of Keras by its name, with its own MACs; ops beside them, as of 8-bit edges, have none.
    assert {one.layer: one.macs for one in found.layers if one.macs} == {n: macs for n, macs in MACS.items() if macs}
    assert "join" in {one.layer for one in found.layers}
    assert found.where and found.threads == 1
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]


def test_two_files_of_one_comparison(compiled, tmp_path, fp32):
    larger = export_tflite(networks.net(L.Conv2D(64, 3, name="only"), shape=(32, 32, 32)), FP32)
    files: dict[str, Path] = {}
    for name, content in (("small", fp32), ("large", larger)):
        files[name] = tmp_path / f"{name}.tflite"
        files[name].write_bytes(content)
    found = layer_costs(files, rounds=1, num_runs=10, min_secs=0.0, num_threads=2)
    assert list(found) == ["small", "large"]
    assert [one.layer for one in found["large"].layers] == ["only"]
    assert (found["large"].macs, found["small"].macs) == (30 * 30 * 64 * 9 * 32, sum(MACS.values()))
    assert all(one.profiled_ms > 0 for one in found.values())
    assert found["small"].threads == 2


def test_what_is_no_file_is_refused(compiled, tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_text("this is not a model")
    with pytest.raises(InputError, match="the network did not run there"):
        layer_costs({"broken": broken}, rounds=1)
    with pytest.raises(InputError, match=r"none\.tflite"):
        layer_costs({"none": tmp_path / "none.tflite"}, rounds=1)
