from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.bundle import write_bundle
from tta_lite.export.tflite import export_tflite
from tta_lite.report.compare import compare_runs, read_run
from tta_lite.report.run_folder import RunFolder
from tta_lite.types import FP32, InputError, Latency, LedgerEntry, MeasuredOn, Report, Verdict

L = keras.layers
QUICK = {"num_threads": 1, "rounds": 2, "num_runs": 2, "min_secs": 0.0}


def tflite(filters: int) -> bytes:
    image = keras.Input((32, 32, 3))
    return export_tflite(keras.Model(image, L.Conv2D(filters, 3)(L.Conv2D(filters, 3)(image))), FP32)


@pytest.fixture
def runs(tmp_path):
    """Two runs: one took G1, the other skipped it; the second one's file is far larger."""
    for name, filters, flags in (("a", 4, {"epochs": 1, "out": "x"}), ("b", 64, {"epochs": 2, "out": "y"})):
        folder = RunFolder.open(tmp_path / name, {"recipe": "guideline", "flags": flags, "seed": 0})
        place = MeasuredOn("this machine", "LiteRT", "XNNPACK", 1, "cpu")
        entries = []
        for row, ms, accuracy in (("none", 100.0, 80.0), ("G1+G2", 25.0, 78.5)):
            report = Report(accuracy, "points", (accuracy - 1, accuracy + 1), size_bytes=2_000_000, macs=10**9)
            latency = Latency(ms, ms, ms, ms, ms, 0.0, 5)
            report = dataclasses.replace(report, latency_ms=latency, measured_on=place)
            entries.append(LedgerEntry(row, "6.1", Verdict.TAKEN, "", report, 1.0))
        entries.append(LedgerEntry("G3", "6.2.1", Verdict.SKIPPED, "no", Report(), 0.0))
        folder.write_ledger(entries)
        folder.write_bytes("steps/00-none/model.tflite", tflite(filters + 1))
        chosen = tflite(filters)
        folder.write_bytes("steps/01-g1-g2/model.tflite", chosen)
        folder.write_bytes("artifact/model.tflite", chosen)
    return tmp_path


def test_the_chosen_row_is_the_one_whose_file_is_the_artifact(runs):
    run = read_run(runs / "a")
    assert (run.chosen.name, run.first.name) == ("G1+G2", "none")


def test_the_network_is_found_within_its_metadata(runs):
    network = (runs / "a/artifact/model.tflite").read_bytes()
    images = np.zeros((1, 32, 32, 3), np.float32)
    (runs / "a/artifact/model.tflite").unlink()
    write_bundle(runs / "a/artifact", network, name="a", normalisation=None, golden_inputs=images)
    assert (runs / "a/artifact/model.tflite").read_bytes() != network
    assert read_run(runs / "a").chosen.name == "G1+G2"


def test_ratios_within_a_run_and_times_of_one_comparison(runs):
    text = compare_runs([runs / "a", runs / "b"], QUICK, write=lambda line: None)
    lines = text.splitlines()
    chosen = [line.split(" | ") for line in lines if line.startswith(f"| {runs}")]
    assert [cells[2] for cells in chosen] == ["G1+G2", "G1+G2"]
    assert float(chosen[0][7]) < float(chosen[1][7]), "a file of 16 times the channels is slower"
    assert chosen[0][8].startswith("1.00 (1.00 to 1.00)")
    assert f"| G1+G2 | taken, 78.5, 4.0{chr(0xD7)}, 2.0 MB |" in text
    assert "| G3 | skipped | skipped |" in text
    assert "| --epochs | 1 | 2 |" in text and "--out" not in text
    # 25 ms of one run beside those of another would say nothing.
    assert "25.0" not in text


def test_without_timing_there_are_no_times(runs):
    text = compare_runs([runs / "a", runs / "b"])
    assert " ms" not in text


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda runs: [runs / "a"], "Two or more different"),
        (lambda runs: [runs / "a", runs / "a"], "Two or more different"),
        (lambda runs: [runs / "a", runs / "c"], "A run folder with recipe.json"),
        (lambda runs: [runs / "a", spoiled(runs, "artifact/model.tflite", b"other")], "one of the run's rows"),
        (lambda runs: [runs / "a", spoiled(runs, "recipe.json", b"{")], "must be JSON"),
        (lambda runs: [runs / "a", spoiled(runs, "ledger.jsonl", b"")], "has finished"),
    ],
)
def test_runs_that_cannot_be_compared(runs, make, words):
    with pytest.raises(InputError, match=words):
        compare_runs(make(runs))


def spoiled(runs, name, data):
    (runs / "b" / name).write_bytes(data)
    return runs / "b"
