"""A real network that full integers ruin: the row says so with the figure, and the run goes on to its end."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.training.conftest import tiny_net, tiny_task
from tta_lite.boards.profile import get_board
from tta_lite.guideline import export_steps, program
from tta_lite.guideline.alone import take_alone
from tta_lite.guideline.export_steps import export_trial
from tta_lite.guideline.settings import Settings
from tta_lite.models.files import load_network
from tta_lite.report.run_folder import RunFolder
from tta_lite.training.fit import FitSettings
from tta_lite.types import FP16, Budget, Candidate, Verdict

RULES = {"num_threads": 1, "rounds": 2, "num_runs": 2, "min_secs": 0}


def outlier(size: float):
    """One channel of an activation is that large, and nobody reads it: in 8 bits the others are all zero."""
    net = tiny_net(norm=False)
    kernel, bias = net.get_layer("narrow").get_weights()
    kernel[..., 0], bias[0] = 0, size
    net.get_layer("narrow").set_weights([kernel, bias])
    kernel, bias = net.get_layer("deconv1").get_weights()
    # A Deconv's kernel is [height, width, output, input].
    kernel[..., 0] = 0
    net.get_layer("deconv1").set_weights([kernel, bias])
    return net


def ran(net, folder, *left_out):
    request = program.Request(
        Budget(max_size_kib=1, max_accuracy_drop=100),
        get_board("rk3399"),
        settings=Settings(left_out=left_out, calibration_images=4),
        fit=FitSettings(1, tensorboard=False),
        rules=RULES,
    )
    return program.run(net, tiny_task(), request, RunFolder(folder), write=lambda line: None)


@pytest.mark.parametrize(
    ("size", "status", "why"),
    [
        (3e3, "too lossy", "SQNR"),
        pytest.param(1e6, "cannot be used", "failed to create XNNPACK runtime", marks=pytest.mark.slow),
    ],
)
def test_a_file_that_is_another_function_or_does_not_run(size, status, why, tmp_path, monkeypatch):
    # What could save it is another test's.
    monkeypatch.setattr(export_steps, "int8_rescues", lambda *arguments, **options: ())
    result = ran(outlier(size), tmp_path, "G1", "G2", "subpixel", "G5")
    rows = {entry.name: entry for entry in result.outcome.entries}
    trials = {one["name"]: one for one in rows["G3"].details["trials"]}
    assert trials["int8"]["status"] == status
    assert why in str(trials["int8"]["why"])
    # With 8-bit weights alone the kernels turn the activations into 8 bits all the same, while they run.
    assert trials["dynamic"]["status"] == "too lossy" and "SQNR" in trials["dynamic"]["why"]
    assert rows["G3"].verdict is Verdict.TOO_LOSSY
    assert rows["G3"].report.accuracy is None and rows["G3"].report.latency_ms is None
    assert not (tmp_path / "steps/06-g3/model.tflite").exists()
    # G4 follows, since G3 was not taken and the size is what is missing.
    assert rows["G4"].verdict is Verdict.TAKEN and result.outcome.chosen == "G4"
    assert np.isfinite(rows["G4"].report.latency_ms.p50)
    assert not result.outcome.met and result.advice
    # By itself, the step gives the same file.
    net = load_network(tmp_path / "steps/00-none/model.keras")
    journal, trial = RunFolder(tmp_path / "alone"), export_trial(Candidate(net), FP16)
    alone = take_alone(
        "G4", net, tiny_task(), trial, journal, FitSettings(1, tensorboard=False), RULES, write=lambda line: None
    )  # fmt: skip
    assert [entry.name for entry in alone] == ["none", "G4"] and alone[-1].clause == "6.2.2"
    files = [tmp_path / folder / "model.tflite" for folder in ("alone/steps/01-g4", "steps/07-g4")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert alone[-1].report.accuracy == rows["G4"].report.accuracy
    written = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    assert [row["verdict"] for row in written][-2:] == ["too lossy", "taken"]


def unbalanced(factor: float):
    """The same function as `tiny_net`, but one channel is that many times larger between two of its layers."""
    net = tiny_net(norm=False)
    kernel, *bias = net.get_layer("stem").get_weights()
    kernel[..., 0] *= factor
    for values in bias:
        values[0] *= factor
    net.get_layer("stem").set_weights([kernel, *bias])
    # A DWConv's kernel is [height, width, channel, 1].
    kernel, *bias = net.get_layer("down").get_weights()
    kernel[:, :, 0] /= factor
    net.get_layer("down").set_weights([kernel, *bias])
    return net


@pytest.mark.slow
def test_what_plain_integers_ruin_is_repaired_without_training(tmp_path):
    result = ran(unbalanced(1e4), tmp_path, "G1", "G2", "subpixel", "G5", "G4")
    row = {entry.name: entry for entry in result.outcome.entries}["G3"]
    statuses = {one["name"]: one["status"] for one in row.details["trials"]}
    assert statuses["int8"] == "too lossy" and row.verdict is Verdict.TAKEN
    assert row.details["trial"] == "int8-equalised" and "quantization-aware" not in statuses
    assert row.details["parity"]["sqnr_db"] > 15
    assert row.report.accuracy is not None and row.report.latency_ms is not None
