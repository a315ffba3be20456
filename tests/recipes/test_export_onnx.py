"""`tta-lite export_onnx` as a user types it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tests import own_process
from tta_lite.compat import keras

L = keras.layers


def run(*flags: object) -> subprocess.CompletedProcess[str]:
    return own_process.run("recipes.export_onnx", *flags)


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu")(image)
    path = tmp_path_factory.mktemp("network") / "net.keras"
    keras.Model(image, L.Conv2DTranspose(2, 4, strides=2, padding="same", name="maps")(x)).save(path)
    return path


def test_a_network_of_one_s_own(network, tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    done = run(f"--model={network}", "--saved_model", f"--images={tmp_path}/images.npy", f"--out={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run/onnx.json").read_text())
    assert record["parity"]["images"] == 3 and record["parity"]["max_error"] < 1e-5
    assert record["tensorrt"]["command"] in done.stdout and "0 transposes" in done.stdout
    session = onnxruntime.InferenceSession(tmp_path / "run/model.onnx")
    found = session.run(None, {record["input"]["name"]: images[:1].transpose(0, 3, 1, 2)})[0]
    expected = keras.models.load_model(network, compile=False).predict(images[:1], verbose=0)
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, atol=1e-5)
    assert (tmp_path / "run/saved_model/saved_model.pb").is_file()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--model=nothing.tflite",), "a file that exists"),
        (("--model=nothing.keras",), "A network must be a file"),
        (("--model={torn}",), "Received:"),
        (("--model={torn}", "--saved_model"), "needs a .keras network"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, flags, words):
    (tmp_path / "torn.tflite").write_bytes(b"TFL3 no more")
    done = run(*(flag.format(torn=tmp_path / "torn.tflite") for flag in flags), f"--out={tmp_path}/run")
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2 and len(lines) == 1 and words in lines[0], done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "run").exists()
