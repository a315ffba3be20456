from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recipes import _app
from recipes import _comparison as recipe
from tta_lite.types import InputError

ROOT = Path(recipe.__file__).resolve().parents[1]


def _product(size):
    weights = tf.constant(np.random.default_rng(0).random((size, size), np.float32))
    return tf.function(lambda x: tf.matmul(x, weights))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    paths = []
    for name, size in (("small", 32), ("large", 512)):
        function = _product(size).get_concrete_function(tf.TensorSpec((1, size)))
        path = folder / f"{name}.tflite"
        path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
        paths.append(path)
    return paths


def _run(*flags):
    command = [sys.executable, "-m", "recipes.benchmark", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_two_files_are_compared_and_written(files, tmp_path):
    out = tmp_path / "benchmark.json"
    small, large = files
    done = _run(f"--graph={large}", f"--graph={small}", "--rounds=2", "--num_runs=4", "--min_secs=0", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert "small.tflite: " in done.stdout and "times as fast as large.tflite" in done.stdout
    assert "Measured on this machine: " in done.stdout
    record = json.loads(out.read_text())
    first, second = record["benchmarks"]
    assert (first["graph"], second["graph"]) == ("large.tflite", "small.tflite")
    assert first["size_bytes"] == large.stat().st_size > 512 * 512 * 4
    assert first["latency_ms"]["runs"] == 4
    assert set(first["latency_ms"]) == {"p50", "p90", "mean", "min", "max", "std", "runs"}
    assert set(first["measured_on"]) == {"board", "runtime", "delegate", "threads", "cpu", "emulated"}
    assert {"init_s", "peak_memory_bytes"} < set(first)
    assert "speedup" not in first
    assert second["speedup"]["over"] == "large.tflite"
    assert second["speedup"]["min"] <= second["speedup"]["median"] <= second["speedup"]["max"]
    assert record["machine"]["cores"] >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["benchmark.json"]


def test_out_is_checked_before_the_measuring(files, tmp_path):
    done = _run(f"--graph={files[0]}", f"--out={tmp_path / 'none' / 'out.json'}")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "Flag --out must name a file in a folder that exists. Received: " in line


def test_same_names_are_told_apart_by_their_folders():
    assert recipe.short_names(["a/m.tflite", "b/m.tflite"]) == {"a/m.tflite": "a/m.tflite", "b/m.tflite": "b/m.tflite"}
    with pytest.raises(InputError, match="must be another file"):
        recipe.short_names(["a/m.tflite", "a/m.tflite"])


def test_guarded_turns_a_users_mistake_into_one_line(capsys):
    def main(argv):
        raise InputError("The file is broken.\n  Received: x")

    assert _app.guarded(main, ["recipe"]) == 2
    assert capsys.readouterr().err == "error: The file is broken. Received: x\n"


def test_guarded_lets_other_errors_through():
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        _app.guarded(main, ["recipe"])


def test_stray_words_are_a_mistake(capsys):
    called = []
    assert _app.guarded(called.append, ["recipe", "model.tflite"]) == 2
    assert not called
    assert capsys.readouterr().err == "error: A recipe takes flags only, as --name=value. Received: model.tflite\n"
