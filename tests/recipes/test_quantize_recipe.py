"""`tta-lite quantize` on what is no Keras network with a task; that one is in test_steps_alone.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from recipes import _app
from tests import networks
from tests.recipes.in_process import recipe, typed
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.saved_model import export_saved_model

L = keras.layers
QUICK = ("--rounds=1", "--num_runs=1", "--min_secs=0")


@pytest.fixture(scope="module")
def subject():
    with recipe("quantize") as module:
        yield module


@pytest.fixture
def run(subject, capfd):
    return typed(subject, capfd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network as .keras, SavedModel and .tflite, and noisy pictures to calibrate it with."""
    folder = tmp_path_factory.mktemp("quantize")
    net = networks.net(
        L.Conv2D(8, 3, padding="same", activation="relu", name="first"),
        L.DepthwiseConv2D(3, padding="same", activation="relu", name="second"),
        L.Conv2D(4, 1, name="last"),
        shape=(16, 16, 3),
    )
    net.save(folder / "net.keras")
    export_saved_model(net, folder / "saved")
    (folder / "net.tflite").write_bytes(FloatFile.of_model(net).tflite)
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for number in range(60):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(folder / f"pictures/{number}.png")
    return folder


@pytest.mark.parametrize("name", ["net.keras", "saved", "net.tflite"])
def test_whatever_the_network_is_the_file_is_the_same(place, tmp_path, run, name):
    code, out, errors = run(
        f"--model={place / name}", f"--calibration={place / 'pictures'}", "--pixels=-1..1",
        f"--out={tmp_path / 'run'}", *QUICK,
    )  # fmt: skip
    assert code == 0, errors
    tflite = (tmp_path / "run/steps/01-g3/model.tflite").read_bytes()
    contents = read_contents(tflite)
    assert {tensor.dtype for tensor in contents.tensors} <= {"int8", "int32"}
    assert [op.name for op in contents.ops] == ["CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D"]
    rows = [json.loads(line) for line in (tmp_path / "run/ledger.jsonl").read_text().splitlines()]
    assert [row["name"] for row in rows] == ["none", "G3"] and rows[1]["clause"] == "6.2.1"
    assert rows[1]["report"]["size_bytes"] == len(tflite) and rows[1]["report"]["latency_ms"]["p50"] > 0
    assert "SQNR" in rows[1]["details"]["note"] and "has the file (model.tflite)" in out


def test_a_kept_layer_stays_in_float(place, tmp_path, run):
    code, _, errors = run(
        f"--model={place / 'net.tflite'}", f"--calibration={place / 'pictures'}", "--pixels=-1..1",
        "--keep_float=second", "--ranges=mse", f"--out={tmp_path / 'run'}", *QUICK,
    )  # fmt: skip
    assert code == 0, errors
    contents = read_contents((tmp_path / "run/steps/01-g3/model.tflite").read_bytes())
    (kept,) = [op for op in contents.ops if op.name == "DEPTHWISE_CONV_2D"]
    assert contents.tensors[kept.inputs[0]].dtype == "float32"
    assert contents.tensors[contents.ops[0].inputs[0]].dtype == "int8"


def test_what_fp8_would_cost_is_scored_and_no_file_is_made(place, tmp_path, run):
    net = networks.net(
        L.Conv2D(4, 3, strides=2, padding="same", activation="relu", name="first"),
        L.GlobalAveragePooling2D(name="mean"),
        L.Dense(2, activation="softmax", name="class"),
        shape=(16, 16, 3),
    )
    net.save(tmp_path / "net.keras")
    for number, file in enumerate(sorted((place / "pictures").iterdir())):
        target = tmp_path / "pictures" / "ab"[number % 2] / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    code, out, errors = run(
        f"--model={tmp_path / 'net.keras'}", f"--task=image_folder:{tmp_path / 'pictures'}", "--pixels=-1..1",
        "--preset=fp8_simulated", "--calibration_images=20", f"--out={tmp_path / 'run'}",
    )  # fmt: skip
    assert code == 0, errors
    scores = json.loads((tmp_path / "run/fp8.json").read_text())
    assert [one["format"] for one in scores] == ["fp32", "e4m3", "e5m2"]
    assert scores[0]["total"] == 0 and scores[1]["total"] > 0
    assert "no kernel computes in FP8" in out
    assert not list((tmp_path / "run").rglob("*.tflite"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model={0}/net.tflite"], "needs pictures for its ranges: --calibration or --task. Received: neither"),
        (["--model={0}/none.tflite"], "a SavedModel's folder or a .tflite file. Received: {0}/none.tflite, which is"),
        (["--model={0}/net.tflite", "--preset=dynamic", "--ranges=mse"], "--ranges is of integer presets"),
        (["--model={0}/net.tflite", "--preset=fp16", "--backend=converter"], "back end litert_quantizer. Received"),
        (["--model={0}/net.tflite", "--preset=fp8_simulated"], "answers with scores and needs --task"),
        (["--model={0}/net.tflite", "--batch_size=3"], "--batch_size means something only with --task"),
        (["--model={0}/net.tflite", "--preset=fp16", "--finetune_epochs=1"], "with a --task and a Keras network"),
        (["--model={0}/net.tflite", "--calibration={0}/pictures"], "normalis"),
        (["--model={0}/net.tflite", "--keep_float=third"], "must name layers of the network: first, second, last"),
        (["--model={0}/net.tflite", "--keep_16x8=first", "--backend=converter", "--calibration={0}/pictures",
          "--pixels=-1..1"], "can be made by the back end litert_quantizer with ops kept at 16x8"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_no_folder(place, tmp_path, run, words, said):
    code, _, errors = run(*(word.format(place) for word in words), f"--out={tmp_path / 'run'}", *QUICK)
    assert code == _app.USER_MISTAKE
    (line,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert said.format(place) in line
    assert not list((tmp_path / "run").glob("steps/01*/model.tflite"))
