"""The kit as a firmware engineer uses it: two commands here, one on the board."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recipes import cli
from tests.measure.device.conftest import IMAGES, tiny
from tta_lite.export.bundle import write_bundle
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.device.build import compiler
from tta_lite.measure.device.transport import DeviceError
from tta_lite.models.backbones import Normalisation
from tta_lite.report import boards
from tta_lite.types import FP32

ROOT = Path(cli.__file__).resolve().parents[1]
SETTINGS = {"PATH": "/usr/bin:/bin", "ROUNDS": "2", "COOL_DOWN": "0", "PROFILE_RUNS": "5"}


def tta_lite(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "recipes.cli", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run folder: an artifact, and a page."""
    try:
        compiler(platform.machine())
    except DeviceError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("board") / "run"
    folder.mkdir()
    write_bundle(
        folder / "artifact",
        export_tflite(tiny(), FP32),
        name="Tiny net",
        normalisation=Normalisation((127.5,) * 3, (127.5,) * 3),
        golden_inputs=IMAGES[:1],
        report={"row": "G1"},
    )
    (folder / "report.html").write_text(f'<html lang="en">{boards.section(folder)}</html>')
    return folder


@pytest.fixture(scope="module")
def kit(run) -> Path:
    """Made by its command, carried elsewhere, and run there."""
    done = tta_lite("board-kit", "--board=host", "--noown_libc", run / "artifact", folder=run.parent)
    assert done.returncode == 0, done.stderr
    said, last = done.stdout.splitlines()
    # What the board needs is said first.
    assert (
        said.startswith("LiteRT ") and "needs glibc 2." in said and said.endswith("the board's own C library serves.")
    )
    assert last == "kit: kit-host (its README.txt says how to go on)"
    board = Path(shutil.move(run.parent / "kit-host", run.parent / "on the board"))
    ran = subprocess.run([board / "run.sh", "--min_secs=0"], cwd="/", env=SETTINGS, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return board


def test_what_the_board_measured_comes_into_the_report(run, kit):
    before = (run / "report.html").read_text()
    shown = tta_lite("import-results", kit / "results.json", folder=run.parent)
    assert shown.returncode == 0, shown.stderr
    # Without the run nothing is kept, and nobody knows the layers' names.
    assert "outputs as expected" in shown.stdout and "Deconvolution" in shown.stdout
    assert (run / "report.html").read_text() == before and not (run / "boards").exists()
    kept = tta_lite("import-results", kit / "results.json", f"--run={run}", folder=run.parent)
    assert kept.returncode == 0, kept.stderr
    assert kept.stdout.splitlines()[-1] == f"report: {run / 'report.html'}"
    for text in (kept.stdout, (run / "report.html").read_text()):
        assert "Deconvolution" not in text
        for layer, op in (("stem", "CONV_2D"), ("side", "DEPTHWISE_CONV_2D"), ("up", "TRANSPOSE_CONV")):
            assert layer in text and op in text
    assert "On boards" in (run / "report.html").read_text()
    [record] = boards.read_records(run)
    turns = json.loads((kit / "results.json").read_text())["runs"]
    times = sorted(sample for turn in turns for sample in turn["result"]["samples_us"])
    # By hand: the middle of all runs.
    middle = (times[len(times) // 2] + times[~(len(times) // 2)]) / 2e3
    assert record["groups"][0]["latency_ms"]["p50"] == pytest.approx(middle)
    assert record["groups"][0]["latency_ms"]["runs"] == len(times) == 2 * 50


def test_mistakes_are_one_line(run, kit, tmp_path):
    (tmp_path / "torn.json").write_text((kit / "results.json").read_text()[:500])
    other = json.loads((kit / "results.json").read_text())
    other["kit"]["model_sha256"] = "cd" * 32
    (tmp_path / "other.json").write_text(json.dumps(other))
    before = (run / "report.html").read_text()
    for words, said in (
        (["import-results"], "Expected one results.json. Received: none"),
        (["import-results", tmp_path / "torn.json", f"--run={run}"], "copied whole? Received: "),
        (["import-results", tmp_path / "other.json", f"--run={run}"], "must be of the network in "),
        (["board-kit", "--board=host"], "Expected one artifact folder. Received: none"),
        (["board-kit", "--board=pc", run / "artifact"], "A board is one of "),
        (["board-kit", "--board=host", "--noown_libc", tmp_path], "An artifact must be a folder"),
        (["board-kit", "--board=cortex_m7", run / "artifact"], "a microcontroller runs TensorFlow Lite Micro"),
    ):
        done = tta_lite(*words, folder=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("error: ") and said in done.stderr
    assert (run / "report.html").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.json", "torn.json"]
