"""Each step by its own recipe gives the files that it gives within `tta-lite guideline`, bit by bit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import own_process
from tta_lite.compat import keras

# A whole run of the ladder, and four steps beside it. `test_remove_channels_recipe.py` compares one step in a process.
pytestmark = pytest.mark.slow

L = keras.layers
QUICK = ("--rounds=1", "--num_runs=2", "--min_secs=0")
SEED = "--seed=3"


def run(recipe: str, *flags: object) -> str:
    done = own_process.run(f"recipes.{recipe}", *flags)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def task(tmp_path_factory) -> tuple[str, ...]:
    """A folder of pictures, bright on the left or on the right."""
    folder = tmp_path_factory.mktemp("sides")
    rng = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 6)):
        for side in ("left", "right"):
            (folder / part / side).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (32, 32, 3), np.uint8)
                pixels[:, 16:] += np.uint8(100 * (side == "right"))
                pixels[:, :16] += np.uint8(100 * (side == "left"))
                Image.fromarray(pixels).save(folder / part / side / f"{number}.png")
    return (f"--task=image_folder:{folder}", "--pixels=-1..1", "--nomirror", "--batch_size=8")


@pytest.fixture(scope="module")
def ladder(task, tmp_path_factory) -> Path:
    """A run that takes G1, G2, G5 and G3, each with the one setting that the recipes are given below."""
    folder = tmp_path_factory.mktemp("ladder")
    keras.utils.set_random_seed(0)
    image = x = keras.Input((32, 32, 3), name="image")
    for filters in (64, 128, 256):
        x = L.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    x = L.Conv2D(256, 3, padding="same", activation="relu")(x)
    x = L.Conv2D(256, 3, padding="same", activation="relu")(x)
    net = keras.Model(image, L.Dense(2, activation="softmax", name="class")(L.GlobalAveragePooling2D()(x)), name="net")
    net.save(folder / "net.keras")
    words = (
        f"--model={folder}/net.keras", *task, SEED, "--max_zip_kib=10",
        "--max_accuracy_drop=100", "--backbones=mobilenet_v1_0.25", "--macs=0.6", "--sparsities=0.5", "--epochs=1",
        "--finetune_epochs=1", "--nodistil_control", f"--out={folder}/run", *QUICK,
    )  # fmt: skip
    # As a user starts it: sets have another order in it than in the steps below.
    command = [sys.executable, "-m", "recipes.guideline", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=own_process.LIMIT_S, cwd=own_process.ROOT)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (folder / "run/ledger.jsonl").read_text().splitlines()]
    taken = {row["name"] for row in rows if row["verdict"] == "taken"}
    assert taken >= {"none", "G1", "G2", "G5", "G3"}, rows
    return folder


def model(ladder: Path, row: str) -> str:
    return f"--model={ladder}/run/steps/{row}/model.keras"


def same_file(ladder: Path, row: str, out: Path, step: str) -> bool:
    inside = (ladder / "run/steps" / row / "model.tflite").read_bytes()
    return inside == (out / "steps" / step / "model.tflite").read_bytes()


def test_g1(ladder, task, tmp_path):
    out = run(
        "swap_backbone", f"--model={ladder}/net.keras", *task, SEED, "--backbone=mobilenet_v1_0.25", "--epochs=1",
        "--nodistil_control", "--board=rk3399", f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert same_file(ladder, "01-g1", tmp_path / "run", "01-g1")
    assert "G1: taken. asked for: mobilenet_v1_0.25 (from random weights)" in out
    rows = [json.loads(line) for line in (tmp_path / "run/ledger.jsonl").read_text().splitlines()]
    inside = [json.loads(line) for line in (ladder / "run/ledger.jsonl").read_text().splitlines()]
    for alone, within in zip(rows, inside, strict=False):
        assert alone["report"]["accuracy"] == within["report"]["accuracy"]
        assert alone["clause"] == within["clause"]


def test_another_seed_is_another_network(ladder, task, tmp_path):
    run(
        "swap_backbone", f"--model={ladder}/net.keras", *task, "--seed=4", "--backbone=mobilenet_v1_0.25",
        "--epochs=1", f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert not same_file(ladder, "01-g1", tmp_path / "run", "01-g1")


def test_g2(ladder, task, tmp_path):
    run(
        "factorize", model(ladder, "01-g1"), *task, SEED, "--macs=0.6", "--finetune_epochs=1",
        # In a run the first network is the teacher, also of later steps.
        f"--teacher={ladder}/net.keras", "--nodistil_control", f"--out={tmp_path}/run", *QUICK,
    )  # fmt: skip
    assert same_file(ladder, "02-g2", tmp_path / "run", "01-g2")
    assert "bottleneck" in (tmp_path / "run/changes.txt").read_text()


def test_g5(ladder, task, tmp_path):
    run("prune", model(ladder, "02-g2"), *task, SEED, "--sparsity=0.5", "--finetune_epochs=1",
        f"--out={tmp_path}/run", *QUICK)  # fmt: skip
    assert same_file(ladder, "05-g5", tmp_path / "run", "01-g5")


def test_g3(ladder, task, tmp_path):
    rows = [json.loads(line) for line in (ladder / "run/ledger.jsonl").read_text().splitlines()]
    # Which of them is faster may hang on the machine.
    (trial,) = [row["details"]["trial"] for row in rows if row["name"] == "G3"]
    few_bits = ("--preset=int8", "--weight_bits=5", "--repairs=bias_correction")
    flags = few_bits if trial == "int8-5bits" else (f"--preset={trial}",)
    run("quantize", model(ladder, "05-g5"), *task, SEED, *flags, f"--out={tmp_path}/run", *QUICK)
    assert same_file(ladder, "06-g3", tmp_path / "run", "01-g3")
