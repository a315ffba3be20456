"""`tta-lite guideline` as a user types it: mistakes, a whole run, kills at any moment, a full disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import own_process
from tta_lite.compat import keras
from tta_lite.export.runner import TFLitePredictor
from tta_lite.models.files import load_network

ROOT = Path(__file__).parents[2]
L = keras.layers


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder of pictures, stripes along and across, and a network for them."""
    folder = tmp_path_factory.mktemp("guideline")
    rng = np.random.default_rng(0)
    for part, count in (("train", 24), ("test", 10)):
        for name in ("across", "along"):
            (folder / "stripes" / part / name).mkdir(parents=True)
            for number in range(count):
                wave = 127 + 100 * np.sin(np.arange(32) * rng.uniform(0.5, 1.5) + rng.uniform(0, 6))
                picture = np.tile(wave[:, None], (1, 32)) if name == "across" else np.tile(wave, (32, 1))
                pixels = np.clip(picture[..., None] + rng.normal(0, 8, (32, 32, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "stripes" / part / name / f"{number}.png")
    keras.utils.set_random_seed(0)
    image = x = keras.Input((32, 32, 3), name="image")
    for filters in (32, 64, 64):
        x = L.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    net = keras.Model(image, L.Dense(2, activation="softmax", name="class")(L.GlobalAveragePooling2D()(x)), name="net")
    net.save(folder / "net.keras")
    (folder / "run.toml").write_text(
        f"""
model = "{folder}/net.keras"
task = "image_folder:{folder}/stripes"
pixels = "-1..1"
max_size_kib = 60
max_accuracy_drop = 60
backbones = ["resnet18"]
macs = [0.6]
epochs = 1
finetune_epochs = 2
distil_control = false
batch_size = 8
mirror = false
rounds = 1
num_runs = 2
min_secs = 0
"""
    )
    return folder


def start(place: Path, *flags: object, file_limit: int | None = None) -> own_process.Started:
    return own_process.start("recipes.guideline", f"--config={place}/run.toml", *flags, file_limit=file_limit)


def finish(process: own_process.Started) -> tuple[int | None, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def ledger(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(place):
    """A run from beginning to end, started as a user does: sets have another order in it than in the runs below."""
    command = [sys.executable, "-m", "recipes.guideline", f"--config={place}/run.toml", f"--out={place}/whole"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=own_process.LIMIT_S, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_decides_explains_and_stops(place, whole):
    rows = {row["name"]: row for row in ledger(place / "whole")}
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "none": "taken", "G1": "no gain", "G2": "taken", "subpixel": "skipped", "channels": "skipped", "G5": "skipped",
        "G3": "taken", "G4": "skipped",
    }  # fmt: skip
    assert "The budget is met by G3: file" in whole
    taught = "Trained with none as its teacher (distillation, weight 0.5)"
    assert taught in rows["G2"]["details"]["note"] and taught in (place / "whole/report.html").read_text()
    assert "no Deconv of stride 2" in rows["subpixel"]["why"]
    assert "no limit on the latency is broken" in rows["channels"]["why"]
    assert "G3 was taken at" in rows["G4"]["why"]
    assert "do not compute in FP16" in rows["G4"]["why"]
    sizes = [rows[name]["report"]["size_bytes"] for name in ("none", "G2", "G3")]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] <= 60 * 1024
    for name, folder in (("none", "00-none"), ("G2", "02-g2"), ("G3", "06-g3")):
        step = place / "whole/steps" / folder
        assert (step / "model.tflite").stat().st_size == rows[name]["report"]["size_bytes"]
        assert json.loads((step / "report.json").read_text()) == rows[name]["report"]
        assert not (step / "trials").exists()
    manifest = json.loads((place / "whole/artifact/MANIFEST.json").read_text())
    assert manifest["input"]["dtype"] == "int8" and manifest["normalisation"]["std"] == [127.5] * 3
    assert manifest["report"] == {"row": "G3", **rows["G3"]["report"]}
    assert manifest["board"] == "Firefly-RK3399"
    assert manifest["labels"] == ["across", "along"]


def test_the_page_says_all_of_it(place, whole):
    page = (place / "whole/report.html").read_text()
    for text in ("The budget", "file, KiB", "at most 60", "What was tried", "bottlenecks, 60% of the MACs", "CONV_2D",
                 "Where the time goes, layer by layer", "The same pictures, row by row"):  # fmt: skip
        assert text in page
    assert list(json.loads((place / "whole/layers.json").read_text())["costs"]) == ["none", "G3"]
    for row in ledger(place / "whole"):
        assert row["clause"] in page


def test_the_artifact_gives_what_the_network_of_the_row_gives(place, whole):
    model = load_network(place / "whole/steps/06-g3/model.keras")
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 3)).astype(np.float32)
    found = TFLitePredictor((place / "whole/artifact/model.tflite").read_bytes())(images)
    assert np.abs(found - model.predict(images, verbose=0)).max() < 0.1


def test_a_finished_run_does_nothing_again(place, whole):
    before = ledger(place / "whole")
    code, out, err = finish(start(place, f"--out={place}/whole"))
    assert code == 0, err
    assert "epoch" not in out and "scoring" not in out
    assert ledger(place / "whole") == before


def test_killed_at_random_moments_it_ends_the_same(place, whole):
    """Three times ``kill -9`` at a random moment, then to the end."""
    seed = random.SystemRandom().randrange(1000)
    moments = random.Random(seed)
    for _ in range(3):
        process = start(place, f"--out={place}/killed")
        # Until the run folder is there, nothing can be lost.
        for line in process.stdout:
            if line.startswith("run folder"):
                break
        time.sleep(moments.uniform(0, 8))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    code, _, err = finish(start(place, f"--out={place}/killed"))
    assert code == 0, (seed, err)
    for expected, found in zip(ledger(place / "whole"), ledger(place / "killed"), strict=True):
        same = ("name", "clause", "verdict")
        assert [found[key] for key in same] == [expected[key] for key in same], seed
        kept = ("accuracy", "size_bytes", "zip_bytes", "macs", "params")
        assert [found["report"][key] for key in kept] == [expected["report"][key] for key in kept], seed
    files = [place / run / "steps/06-g3/model.tflite" for run in ("whole", "killed")]
    assert files[0].read_bytes() == files[1].read_bytes(), seed
    assert not list((place / "killed").rglob(".tmp-*")), seed


@pytest.mark.slow
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_when_there_is_room(place, whole):
    # No file may grow beyond 100 KiB: the first network does not fit.
    limit = 100 * 1024
    code, _, err = finish(start(place, f"--out={place}/full", file_limit=limit))
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
    assert "Expected: room on the disk" in lines[0]
    assert not list((place / "full/steps").rglob("*.keras"))
    code, _, err = finish(start(place, f"--out={place}/full"))
    assert code == 0, err
    verdicts = [[row["verdict"] for row in ledger(place / run)] for run in ("whole", "full")]
    assert verdicts[0] == verdicts[1]


def test_the_plan_says_what_and_how_long_and_writes_nothing(place):
    code, out, err = finish(start(place, "--dry_run", f"--out={place}/dry"))
    assert code == 0, err
    assert not (place / "dry").exists()
    lines = {line.split(":")[0]: line for line in out.splitlines() if ": " in line}
    assert "at most" in lines["G1"] and "resnet18 (from random weights)" in lines["G1"]
    assert "no Deconv" in lines["subpixel"]
    assert "in all at most" in out


@pytest.mark.parametrize(
    ("flag", "expected"),
    [
        ("--task=image_folder:/nowhere", "must exist"),
        ("--task=my_module:make_task", "No module named 'my_module'"),
        ("--board=rk9999", "A board is one of cortex_m55"),
        ("--leave_out=G7", "G1, G2, subpixel, channels, G5, G3, G4"),
        ("--light_weights=imagenet", "<backbone>=<imagenet or file>"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(place, tmp_path, flag, expected):
    code, _, err = finish(start(place, flag, f"--out={tmp_path}/run"))
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and expected in lines[0] and "Traceback" not in err, err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        ("max_latency = 3", "Received: max_latency"),
        ("max_size_kib = 'many'", "max_size_kib"),
        ("max_size_kib = [1, 2]", "max_size_kib must be one"),
        ("max_size_kib = ", "must be a TOML file"),
        ("task = 'a:b'\nmodel = 'net.keras'\nout = 'run'", "A budget needs one limit"),
        ("max_size_kib = 3", "--model must be given"),
    ],
)
def test_a_config_that_cannot_be_read(tmp_path, toml, expected):
    (tmp_path / "run.toml").write_text(toml)
    code, _, err = finish(start(tmp_path))
    lines = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and expected in lines[0], err
