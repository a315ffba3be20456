from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from recipes import verify as recipe
from tta_lite.export.bundle import write_bundle

ROOT = Path(recipe.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    weights = tf.constant(np.random.default_rng(0).random((12, 3), np.float32))
    function = tf.function(lambda x: tf.nn.relu(tf.reshape(x, (1, 12)) @ weights))
    tflite = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(tf.TensorSpec((1, 2, 2, 3)))]
    ).convert()
    images = np.random.default_rng(1).random((2, 2, 2, 3), np.float32)
    folder = tmp_path_factory.mktemp("run") / "artifact"
    return write_bundle(folder, tflite, name="small", normalisation=None, golden_inputs=images, labels=["a", "b", "c"])


def _run(*words, options=()):
    command = [sys.executable, *options, "-m", "recipes.cli", "verify", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def test_a_right_artifact_by_path_and_by_flag_and_without_tensorflow(artifact):
    done = _run(artifact, options=("-X", "importtime"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok    files: ") and f"{artifact} is right: " in lines[-1]
    imported = {row.rsplit("|", 1)[1].strip().split(".")[0] for row in done.stderr.splitlines() if "|" in row}
    assert "ai_edge_litert" in imported and not imported & {"tensorflow", "tf_keras"}
    assert _run(f"--artifact={artifact}").stdout == done.stdout


def test_a_wrong_one_is_a_line_a_fault_and_exit_code_2(artifact):
    extra = artifact / "golden" / "extra.bin"
    extra.write_bytes(b"x")
    try:
        done = _run(artifact)
    finally:
        extra.unlink()
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == "FAIL  files: golden/extra.bin: extra: MANIFEST.json does not list it"
    (line,) = [row for row in done.stderr.splitlines() if row.startswith("error: ")]
    assert line.startswith("error: The artifact is not right: 1 of 2 checks failed") and "Received: " in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Expected one artifact folder. Received: none"),
        (("a", "--artifact=b"), "Expected one artifact folder. Received: a, b"),
        (("a", "b"), "A recipe takes flags only"),
        (("nowhere",), "must be a folder with a MANIFEST.json. Received: nowhere"),
    ],
)
def test_mistakes_are_one_line(words, said):
    done = _run(*words)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and said in line
