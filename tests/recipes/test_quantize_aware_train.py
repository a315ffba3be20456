"""``tta-lite quantize-aware-train``: what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import own_process
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.runner import TFLitePredictor
from tta_lite.training.quantization_aware import is_quantization_aware
from tta_lite.training.quantization_files import load_trained

L = keras.layers


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Bright on the left or on the right."""
    folder = tmp_path_factory.mktemp("sides")
    rng = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 6)):
        for side in ("left", "right"):
            (folder / part / side).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (16, 16, 3), np.uint8)
                pixels[:, 8:] += np.uint8(100 * (side == "right"))
                pixels[:, :8] += np.uint8(100 * (side == "left"))
                Image.fromarray(pixels).save(folder / part / side / f"{number}.png")
    return folder


def net(path: Path, *, odd: bool = False) -> Path:
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = L.BatchNormalization(name="norm")(L.Conv2D(16, 3, 2, "same", use_bias=False, name="conv")(image))
    x = L.PReLU(name="odd")(x) if odd else L.ReLU(name="relu")(x)
    x = L.Flatten(name="flat")(L.AveragePooling2D(2, name="pool")(x))
    keras.Model(image, L.Dense(2, activation="softmax", name="sides")(x), name="sides").save(path)
    return path


def run(pictures: Path | None, *more: object) -> subprocess.CompletedProcess[str]:
    task = [f"--task=image_folder:{pictures}", "--pixels=-1..1", "--nomirror", "--batch_size=8"] if pictures else []
    quick = ("--calibration_images=8", "--rounds=1", "--num_runs=2", "--min_secs=0")
    return own_process.run("recipes.quantize_aware_train", *task, *quick, *more)


def test_it_writes_three_rows_and_a_network_that_is_read_back(pictures, tmp_path):
    out = tmp_path / "run"
    command = (f"--model={net(tmp_path / 'net.keras')}", f"--out={out}", "--sparsity=0.5", "--epochs=2")
    done = run(pictures, *command)
    assert done.returncode == 0, done.stderr
    assert "02-g3-aware/ has the network (model.keras) and the file (model.tflite)" in done.stdout
    rows = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["none", "G3", "G3 aware"]
    assert all(row["verdict"] == "taken" and row["report"]["latency_ms"] for row in rows)
    assert rows[2]["report"]["zip_bytes"] < rows[1]["report"]["zip_bytes"] < rows[0]["report"]["zip_bytes"]
    assert rows[2]["report"]["params"] == rows[0]["report"]["params"]
    assert "50.0% of the weights of convolutions are zero" in rows[2]["details"]["note"]
    step = out / "steps/02-g3-aware"
    tflite = (step / "model.tflite").read_bytes()
    assert not read_contents(tflite).float_ops()
    again = load_trained(step / "model.keras")
    assert is_quantization_aware(again)
    batch = np.random.default_rng(1).uniform(-1, 1, (8, 16, 16, 3)).astype(np.float32)
    # SOFTMAX has a scale of 1/256 always.
    assert np.abs(TFLitePredictor(tflite)(batch) - again(batch).numpy()).max() <= 3 / 256


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "--task must be given"),
        (("--task=image_folder:/nowhere", "--clusters=2"), "`clusters` must be 3..255"),
        (("--task=image_folder:/nowhere", "--sparsity=1"), "`sparsity` must be between 0 and 1"),
    ],
)
def test_flags_that_cannot_be(tmp_path, flags, text):
    done = run(None, f"--model={tmp_path}/net.keras", f"--out={tmp_path}/run", *flags)
    assert done.returncode == 2 and text in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_layer_that_cannot_be_quantised_is_named_and_nothing_is_trained(pictures, tmp_path):
    done = run(pictures, f"--model={net(tmp_path / 'net.keras', odd=True)}", f"--out={tmp_path}/run")
    assert done.returncode == 2 and "`odd` (PReLU)" in done.stderr
    assert not (tmp_path / "run" / "steps").exists()
