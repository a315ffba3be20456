"""What is predicted, what is refused, and that no prediction passes for a measurement."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.count_cost import CORTEX_A72
from tta_lite.measure.device.executed import Tally
from tta_lite.measure.latency_model import KindCost, LatencyModel, NetworkCost, Place, Sizes, load_model
from tta_lite.measure.op_features import OpFeatures
from tta_lite.measure.predict import predict
from tta_lite.types import FP32, INT8, InputError

L = keras.layers


def by_values(value_us: float, ops: int = 5) -> KindCost:
    """-> nothing but so many microseconds a value."""
    return KindCost(0.0, (value_us,), 0.0, 0.0, 0.0, 1.0, ops, 1e9)


def by_macs(mac_us: float) -> KindCost:
    return KindCost(0.0, (mac_us, 0.0, 0.0), 0.0, 0.0, 0.0, 1.0, 5, 1e9)


MODEL = LatencyModel(
    Place("a made-up board", "LiteRT", 1, {"cpu": "a made-up core"}),
    ("net1", "net2"),
    {"fp32": Sizes(1, 1, 1 << 30)},
    {"fp32": {"conv": by_macs(1e-3), "conv_1x1": by_macs(2e-3), "add_mul": by_values(0.5), "other": by_values(0.25)}},
    {"fp32": NetworkCost(1.5, 100.0, 0.05, 1.2, 0.9, 20)},
)


def net(*more: keras.layers.Layer) -> keras.Model:
    """10 x 10 x 8 -> 100 x 72 x 8 MACs, then 100 x 8 x 6."""
    return networks.net(
        L.Conv2D(8, 3, padding="same", name="wide"), L.Conv2D(6, 1, name="narrow"), *more, shape=(10, 10, 8)
    )  # fmt: skip


@pytest.fixture(scope="module")
def tflite() -> bytes:
    return export_tflite(net(), FP32)


def test_a_prediction_is_the_sum_of_its_ops(tflite):
    found = predict(tflite, MODEL)
    wide, narrow = 1.5 * 57_600 * 1e-3 / 1e3, 1.5 * 4_800 * 2e-3 / 1e3
    assert [(op.op.layer, op.op.macs) for op in found.ops] == [("wide", 57_600), (found.ops[1].op.layer, 4_800)]
    assert [op.time_ms for op in found.ops] == pytest.approx([wide, narrow])
    assert found.latency_ms == pytest.approx(wide + narrow + 0.1)
    assert (found.low_ms, found.high_ms) == pytest.approx((found.latency_ms / 1.2, found.latency_ms * 1.2))
    assert sum(op.share for op in found.ops) == pytest.approx(1 - 0.1 / found.latency_ms)
    assert found.coverage == 0.9 and found.warnings == ()
    assert found.to_json()["predicted"] is True


def test_a_type_outside_the_fit_is_refused():
    images = list(np.random.default_rng(0).normal(size=(2, 1, 10, 10, 8)).astype(np.float32))
    with pytest.raises(InputError, match=r"of the types fp32.*Received: one of type int8"):
        predict(export_tflite(net(), INT8, images), MODEL)


def test_macs_of_a_kind_outside_the_fit_are_refused():
    with pytest.raises(InputError, match=r"says nothing of some ops.*DEPTHWISE_CONV_2D of 'side'"):
        predict(export_tflite(net(L.DepthwiseConv2D(3, name="side"), L.Conv2D(2, 1)), FP32), MODEL)


def test_ops_without_macs_outside_the_fit_are_told_or_refused():
    softmax = export_tflite(net(L.Softmax(name="end")), FP32)
    cheap = dataclasses.replace(MODEL, kinds={"fp32": {**MODEL.kinds["fp32"], "other": by_values(1e-4)}})
    [warning] = predict(softmax, cheap).warnings
    assert "SOFTMAX in fp32" in warning
    # A quarter of a microsecond for each of 600 values, 0.225 ms when scaled, beside 0.1008 + 0.1.
    with pytest.raises(InputError, match="Ops that the fit has not seen would take 53% of the time"):
        predict(softmax, MODEL)


def test_an_op_far_larger_than_any_in_the_fit_is_told(tflite):
    small = dataclasses.replace(by_macs(1e-3), most_work=1000.0)
    model = dataclasses.replace(MODEL, kinds={"fp32": {**MODEL.kinds["fp32"], "conv": small}})
    assert "larger than any in the fit: wide" in predict(tflite, model).warnings[0]


def test_columns_are_rounded_up_to_what_a_kernel_takes(tflite):
    model = dataclasses.replace(MODEL, sizes={"fp32": Sizes(16, 1, 1 << 30)})
    plain, rounded = predict(tflite, MODEL), predict(tflite, model)
    # 8 columns become 16, and so do 6.
    factors = [after.time_ms / before.time_ms for before, after in zip(plain.ops, rounded.ops, strict=True)]
    assert factors == pytest.approx([2.0, 16 / 6])


def test_memory_counts_where_it_is_the_larger(tflite):
    bound = KindCost(0.0, (1e-9, 0.0, 0.0), 1e-2, 0.0, 5e-2, 8.0, 5, 1e9)
    model = dataclasses.replace(MODEL, kinds={"fp32": {"conv": bound, "conv_1x1": bound}})
    wide = predict(tflite, model).ops[0]
    values, weights = (800 + 800) * 4, wide.op.weight_bytes
    assert weights >= 72 * 8 * 4
    assert wide.time_ms == pytest.approx(1.5 * (values * 1e-2 + weights * 5e-2) / 1e3, rel=1e-3)


def test_a_comparison_by_prediction(tmp_path, tflite):
    heavy = tmp_path / "heavy.tflite"
    heavy.write_bytes(export_tflite(net(L.Conv2D(64, 3, name="more")), FP32))
    light, model = tmp_path / "light.tflite", tmp_path / "model.json"
    light.write_bytes(tflite)
    MODEL.save(model)
    told: list[tuple[int, int, str]] = []
    found = benchmark_together(
        {"heavy": heavy, "light": light}, latency_model=model, progress=lambda *words: told.append(words)
    )
    one = found["light"]
    assert one.latency.p50 == pytest.approx(predict(tflite, MODEL).latency_ms)
    assert one.latency.runs == 0 and math.isnan(one.latency.p90)
    assert one.init_s is None and one.peak_memory_bytes is None
    assert one.measured_on.board.startswith("predicted for a made-up board")
    assert one.measured_on.runtime.startswith("predicted")
    assert one.predicted is not None and one.predicted.coverage == 0.9
    assert one.to_json()["predicted"]["low_ms"] < one.latency.p50
    speedup = found.speedups("heavy")["light"]
    assert speedup.rounds == 0
    assert speedup.median == pytest.approx(found["heavy"].latency.p50 / one.latency.p50)
    assert (speedup.min, speedup.max) == pytest.approx((speedup.median / 1.2, speedup.median * 1.2))
    assert found.speedups("heavy")["heavy"].min == 1.0
    assert told == [(1, 2, "heavy"), (2, 2, "light")]


def test_measured_and_predicted_do_not_go_together(tmp_path, tflite):
    light, model = tmp_path / "light.tflite", tmp_path / "model.json"
    light.write_bytes(tflite)
    MODEL.save(model)
    with pytest.raises(InputError, match="not both"):
        benchmark_together({"light": light}, latency_model=model, connect="local")
    with pytest.raises(InputError, match=r"for 1 thread\(s\). Received: 2"):
        benchmark_together({"light": light}, latency_model=model, num_threads=2)


def test_a_model_survives_its_file(tmp_path):
    MODEL.save(tmp_path / "model.json")
    assert load_model(tmp_path / "model.json") == MODEL


DAMAGE = {
    "no JSON": lambda record: None,
    "another file": lambda record: record.pop("what"),
    "a newer one": lambda record: record.update(format=2),
    "a part is gone": lambda record: record.pop("kinds"),
    "one more part": lambda record: record.update(more=1),
    "not a number": lambda record: record["kinds"]["fp32"]["conv"].update(byte_us="fast"),
    "a negative cost": lambda record: record["kinds"]["fp32"]["conv"].update(byte_us=-1.0),
    "an unknown cost": lambda record: record["kinds"]["fp32"]["conv"].update(overhead_us=None),
    "too few amounts": lambda record: record["kinds"]["fp32"]["conv"].update(work_us=[1.0]),
    "a power below 1": lambda record: record["kinds"]["fp32"]["conv"].update(power=0.5),
    "types apart": lambda record: record["sizes"].update(int8=record["sizes"].pop("fp32")),
    "no size": lambda record: record["sizes"]["fp32"].update(columns=0),
    "an interval inside out": lambda record: record["networks"]["fp32"].update(factor=0.8),
    "no coverage": lambda record: record["networks"]["fp32"].update(coverage=0.0),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "model.json"
    MODEL.save(path)
    record = json.loads(path.read_text())
    DAMAGE[damage](record)
    path.write_text(json.dumps(record) if damage != "no JSON" else '{"what": ')
    with pytest.raises(InputError, match="must be a file that `tta-lite predict --fit` wrote"):
        load_model(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"Received: .*none.json"):
        load_model(tmp_path / "none.json")


def test_an_op_that_takes_no_time_takes_none():
    assert MODEL.op_us(OpFeatures(0, "PAD", "pad", "none", "fp32", values=1000)) == 0.0


def test_busy_cycles_are_those_of_the_busiest_part():
    loads = Tally({"load_simd": 90, "float_multiply_add": 60, "branch": 10}, 0, 0, 0, 0)
    assert CORTEX_A72.cycles(loads) == (90.0, 90.0)
    # Three are decoded a cycle.
    mixed = Tally(dict.fromkeys(("load", "store", "branch", "float_multiply_add", "other", "system"), 100), 0, 0, 0, 0)
    assert CORTEX_A72.cycles(mixed)[0] == 200
    missing = Tally({"float_multiply_add": 60}, 0, 0, 100, 10)
    assert CORTEX_A72.cycles(missing) == (60.0, 60.0 + 100 * CORTEX_A72.l1_miss + 10 * CORTEX_A72.l2_miss)
