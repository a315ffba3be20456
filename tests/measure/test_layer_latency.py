from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import TFLitePredictor, load
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import Comparison
from tta_lite.measure.layer_latency import RULES, LayerCosts, cut_after, differences, layer_costs
from tta_lite.measure.stages import Stage, stages
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.types import DYNAMIC, FP16, FP32, INT8, InputError

L = keras.layers
IMAGES = np.random.default_rng(0).normal(size=(8, 1, 16, 16, 3)).astype(np.float32)


def branching() -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    y = L.DepthwiseConv2D(3, padding="same", name="side")(x)
    x = L.Add(name="join")([x, y])
    x = L.Conv2DTranspose(4, 4, strides=2, padding="same", name="up")(x)
    return networks.randomised(keras.Model(image, L.Conv2D(2, 1, name="last")(x), name="net"))


@pytest.fixture(scope="module", params=[FP32, FP16, DYNAMIC, INT8], ids=lambda spec: spec.preset)
def tflite(request) -> bytes:
    return export_tflite(branching(), request.param, IMAGES if request.param is INT8 else ())


def outputs_of(tflite: bytes, image: np.ndarray, **keywords) -> dict[str, np.ndarray]:
    """-> tensor name -> what the file computes."""
    interpreter = load(tflite, **keywords)
    [entry] = interpreter.get_input_details()
    interpreter.set_tensor(entry["index"], image)
    interpreter.invoke()
    return {one["name"]: interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()}


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """A delegate may round otherwise where it has less to run: one step of 8 bits, or the last digits of a float."""
    assert a.dtype == b.dtype and a.shape == b.shape
    return bool(np.abs(a.astype(float) - b).max() <= (1 if a.dtype.kind == "i" else 1e-4 * np.abs(a).max()))


def test_a_cut_file_computes_what_the_whole_one_does_up_to_there(tflite):
    whole = TFLitePredictor(tflite)
    image = whole.input.quantise(IMAGES[0])
    contents, [name] = read_contents(tflite), outputs_of(tflite, image)
    ends = [one.end for one in stages(tflite, 1000)]
    assert len(ends) >= 3
    seen = {}
    for end in ends:
        part = cut_after(tflite, end)
        found = outputs_of(part, image)
        # What stage after stage says of the same tensor never differs.
        for tensor, values in found.items():
            assert close(seen.setdefault(tensor, values), values)
        assert len(read_contents(part).ops) <= end
        assert undelegated_ops(part) == [] or undelegated_ops(tflite)
    assert close(seen[name], whole.run(image))
    assert {contents.tensors[tensor].name for tensor in contents.outputs} <= seen.keys()


def test_a_cut_file_holds_no_weights_of_what_is_cut_off(tflite):
    first = stages(tflite, 1000)[0].end
    assert len(cut_after(tflite, first)) < len(tflite)
    assert count_tflite(cut_after(tflite, first)).macs == 16 * 16 * 8 * 27


def test_both_ends_of_a_branch_come_out():
    tflite = export_tflite(branching(), FP32)
    contents = read_contents(tflite)
    [side] = [op.index for op in contents.ops if op.name == "DEPTHWISE_CONV_2D"]
    assert len(read_contents(cut_after(tflite, side + 1)).outputs) == 2


def test_nothing_to_cut_is_refused():
    tflite = export_tflite(branching(), FP16)
    with pytest.raises(InputError, match=r"whose output is needed\. Received: 0 of"):
        cut_after(tflite, 0)
    # Unpacked weights are not what anybody times.
    assert read_contents(tflite).ops[0].name == "DEQUANTIZE"
    with pytest.raises(InputError, match=r"Received: 1 of"):
        cut_after(tflite, 1)


def three(*macs):
    return [Stage(place, place + 1, f"l{place}", f"l{place}", 1, n) for place, n in enumerate(macs)]


def test_a_stage_took_what_its_file_takes_longer():
    # In the fastest rounds 1, 3 and 3.5 ms; round by round 1 1 2, 2 3 1.5 and 1 -0.5 1.
    found = differences(three(10, 20, 30), [(1.0, 1.0, 2.0), (3.0, 4.0, 3.5), (4.0, 3.5, 4.5)])
    assert [one.latency_ms for one in found.stages] == [1.0, 2.0, 0.5]
    assert [(one.low_ms, one.high_ms) for one in found.stages] == [(1.0, 2.0), (1.5, 3.0), (-0.5, 1.0)]
    assert (found.latency_ms, found.macs, found.hidden, found.rounds) == (3.5, 60, 0, 3)
    assert sum(one.latency_ms for one in found.stages) == found.latency_ms
    assert LayerCosts.from_json(found.to_json()) == found


def test_what_is_less_than_the_noise_is_0_and_said():
    found = differences(three(10, 20, 30), [(1.0, 1.0), (0.5, 0.75), (2.0, 2.0)])
    assert [one.latency_ms for one in found.stages] == [1.0, 0.0, 1.5]
    assert found.stages[1].low_ms == -0.5 and found.hidden == 1
    assert found.latency_ms == 2.0


def test_all_files_are_cut_and_timed_in_one_comparison(tmp_path, tflite):
    paths = {name: tmp_path / f"{name}.tflite" for name in ("before", "after")}
    for path in paths.values():
        path.write_bytes(tflite)
    seen = []

    def compare(files, **rules):
        seen.append((list(files), rules))
        macs = [count_tflite(Path(path).read_bytes()).macs for path in files.values()]
        # As if a million MACs took a millisecond, in both rounds.
        return Comparison({}, {name: (n / 1e6, n / 1e6) for name, n in zip(files, macs, strict=True)})

    found = layer_costs(paths, most=3, compare=compare, num_threads=2)
    assert [rules for _, rules in seen] == [{**RULES, "num_threads": 2}]
    whole = count_tflite(tflite).macs
    for name in paths:
        assert found[name].macs == whole and found[name].latency_ms == whole / 1e6
        # So each stage takes what its MACs are: no op is timed twice or left out.
        assert [one.latency_ms * 1e6 for one in found[name].stages] == pytest.approx(
            [one.stage.macs for one in found[name].stages]
        )
    assert len(seen[0][0]) == 2 * len(found["before"].stages)
    assert not [path for path in map(str, tmp_path.iterdir()) if "-" in path.rpartition("/")[2]]


def test_a_real_file_is_measured(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(export_tflite(branching(), FP32))
    found = layer_costs({"net": path}, most=3, rounds=1, num_runs=1, min_secs=0.0, warmup_runs=0)["net"]
    assert found.macs == count_tflite(path.read_bytes()).macs
    assert found.stages[0].stage.begin == 0 and found.stages[-1].stage.end == len(read_contents(path.read_bytes()).ops)
    assert found.latency_ms > 0
    # Differences that are not negative sum to the whole; those that are only add to it.
    assert sum(one.latency_ms for one in found.stages) >= found.latency_ms * 0.999
