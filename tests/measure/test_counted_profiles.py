"""Counts in the place of profiles: by hand arithmetic on made-up counts of a real file."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.counted_profiles import read_counts
from tta_lite.measure.device.emulated_cores import emulated_core
from tta_lite.measure.device.executed import Counts, OpTally, Tally
from tta_lite.measure.latency_fit import fit_model
from tta_lite.measure.latency_model import CYCLES, load_model
from tta_lite.measure.predict import predict, predict_together
from tta_lite.types import FP32, InputError

L = keras.layers
# XNNPACK's operators of `net`: name, multiply-adds, lines from the second cache, lines from memory.
OPS = (("Convolution (NHWC, F32) IGEMM", 9000, 10, 0), ("Fully Connected (NC, F32) GEMM", 1000, 400, 100))


def net(filters: int) -> bytes:
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(filters, 3, strides=2, activation="relu", name="stem")(image)
    return export_tflite(networks.randomised(keras.Model(image, L.Conv2D(8, 1, name="narrow")(x))), FP32)


def counts(ops=OPS, cpu: str = "cortex-a72", times: int = 1) -> Counts:
    tallies = [
        OpTally(place, name, "xnnpack", Tally({"float_multiply_add": n * times}, 0, 0, l1 * times, l2 * times))
        for place, (name, n, l1, l2) in enumerate(ops)
    ]
    values = {field.name: () for field in dataclasses.fields(Counts)}
    values |= {"cpu": cpu, "emulator": "QEMU 0.0", "runtime": "LiteRT 0.0", "kernels": "xnnpack"}
    values |= {"fully_delegated": True, "caches": emulated_core("cortex-a72").caches, "ops": tuple(tallies)}
    return Counts(**{**values, "inference": Tally({}, 0, 0, 0, 0)})


@pytest.fixture
def written(tmp_path):
    def write(*records) -> str:
        path = tmp_path / "counts.json"
        path.write_text(json.dumps({"counts": [{"graph": str(graph), **one.to_json()} for graph, one in records]}))
        return str(path)

    return write


def test_an_op_takes_its_work_or_its_lines(tmp_path, written):
    graph = tmp_path / "small_v1.fp32.tflite"
    graph.write_bytes(net(16))
    (one,), place = read_counts(written((graph, counts())))
    # 9,000 multiply-adds of a cycle each hide 40 cycles of lines; 1,000 do not hide 400 x 4 + 100 x 23.
    assert [time for time in one.times_us if time] == [9.0, 3.9]
    assert one.latency_us == pytest.approx(12.9) and (one.name, one.family) == ("small_v1.fp32", "small_v1")
    assert [op.layer for op, time in zip(one.features, one.times_us, strict=True) if time] == ["stem", "narrow"]
    assert (place.unit, place.is_time, place.machine["cpu"]) == (CYCLES, False, "cortex-a72")


def test_a_model_of_cycles_predicts_no_latency(tmp_path, written):
    records = []
    for family in ("a", "b", "c"):
        for filters in (8, 16, 32):
            graph = tmp_path / f"{family}{filters}.fp32.tflite"
            graph.write_bytes(net(filters))
            # Twice the filters, twice the work of both layers.
            records.append((graph, counts(times=filters)))
    model = fit_model(*read_counts(written(*records)))
    model.save(tmp_path / "a72.json")
    model = load_model(tmp_path / "a72.json")
    assert not model.place.is_time
    # 12.9 thousand cycles a filter.
    assert predict(net(24), model).latency_ms == pytest.approx(24 * 12.9e-3, rel=0.15)
    with pytest.raises(InputError, match=r"fitted to times\. Received: one of thousands of busy cycles"):
        predict_together({"net": tmp_path / "a8.fp32.tflite"}, model=model)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ops": ()}, r"op by op \(--ops\).* Received: none in"),
        ({"ops": (dataclasses.replace(counts().ops[0], kind="builtin"),)}, r"all of them by XNNPACK\. Received: none"),
        ({"cpu": "cortex-a53"}, "must be of one of the cores cortex-a72.* Received: cortex-a53"),
    ],
)
def test_counts_that_cannot_be_fitted_to(tmp_path, written, change, said):
    graph = tmp_path / "net.tflite"
    graph.write_bytes(net(8))
    with pytest.raises(InputError, match=said):
        read_counts(written((graph, dataclasses.replace(counts(), **change))))


def test_one_that_cannot_be_fitted_to_is_left_out_and_told(tmp_path, written):
    graphs = [tmp_path / "a.tflite", tmp_path / "b.tflite"]
    for graph in graphs:
        graph.write_bytes(net(8))
    said = []
    path = written((graphs[0], counts()), (graphs[1], dataclasses.replace(counts(), ops=())))
    found, _ = read_counts(path, write=said.append)
    assert [one.name for one in found] == ["a"]
    assert said == ["b is left out: its ops were not counted (--ops), or cannot be told apart"]


def test_files_that_are_no_counts(tmp_path, written):
    for text in ("{", "[]", '{"counts": [{}]}', '{"counts": [{"graph": "a"}]}'):
        (tmp_path / "no.json").write_text(text)
        with pytest.raises(InputError, match=r"tta-lite counts --ops --out"):
            read_counts(tmp_path / "no.json")
    with pytest.raises(InputError, match=r"must lie where it was counted\. Received: .*gone\.tflite"):
        read_counts(written((tmp_path / "gone.tflite", counts())))
    with pytest.raises(InputError, match="Received: none in"):
        read_counts(written())
