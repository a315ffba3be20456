"""`tta-lite predict` as a user types it, and the guideline by prediction."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import networks, own_process
from tta_lite.boards.profile import get_board
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.program import Request
from tta_lite.measure.latency_model import KindCost, LatencyModel, NetworkCost, Place, Sizes, load_model
from tta_lite.types import FP32, Budget, InputError

L = keras.layers
MATRICES, OTHERS = ("stem", "conv", "conv_1x1", "dense"), ("mean", "other", "copy", "softmax", "quantize")


def made_up_model() -> LatencyModel:
    """A board on which float32 takes 1 us for 1,000 MACs, and int8 a quarter of it."""
    kinds = {
        dtype: {
            **{kind: KindCost(0.0, (mac, 0.0, 0.0), 0.0, 0.0, 0.0, 1.0, 9, 1e12) for kind in MATRICES},
            **{kind: KindCost(0.1, (1e-6,), 0.0, 0.0, 0.0, 1.0, 9, 1e12) for kind in OTHERS},
        }
        for dtype, mac in (("fp32", 1e-3), ("int8", 2.5e-4))
    }
    cost = NetworkCost(1.0, 0.0, 0.05, 1.2, 0.9, 20)
    place = Place("a made-up board", "LiteRT", 1, {"cpu": "a made-up core"})
    return LatencyModel(place, ("net",), dict.fromkeys(kinds, Sizes(1, 1, 1 << 30)), kinds, dict.fromkeys(kinds, cost))


def run(module: str, *words: object) -> subprocess.CompletedProcess[str]:
    return own_process.run(f"recipes.{module}", *words, COLUMNS="160")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A made-up model of latency and a network of 32 x 32 pixels."""
    folder = tmp_path_factory.mktemp("predict")
    made_up_model().save(folder / "board.json")
    net = networks.net(
        L.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="first"),
        L.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="second"),
        L.GlobalAveragePooling2D(name="mean"),
        L.Dense(2, activation="softmax", name="class"),
        shape=(32, 32, 3),
    )
    net.save(folder / "net.keras")
    (folder / "net.tflite").write_bytes(export_tflite(net, FP32))
    return folder


def test_layers_and_the_whole_are_told_as_predicted(place, tmp_path):
    out = tmp_path / "said.json"
    done = run("predict", f"--latency_model={place}/board.json", f"--out={out}", place / "net.tflite")
    assert done.returncode == 0, done.stderr
    # 256 x 27 x 8 and 64 x 72 x 16 MACs.
    assert "0.055" in done.stdout and "0.074" in done.stdout
    assert "predicted 0.129 ms an inference, 90% interval 0.108 to 0.155 ms" in done.stdout
    assert "Predicted, not measured, for a made-up board" in done.stdout
    [record] = json.loads(out.read_text())["predictions"]
    assert record["predicted"] is True and len(record["ops"]) == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Expected --profile, --fit, or .tflite files"),
        (["net.tflite"], "--latency_model must be given"),
        (["--fit"], "--profiles must be given"),
        (["--fit", "--profiles={place}", "--out={place}/new.json"], "must hold <name>.tflite and <name>"),
        (["--latency_model={place}/net.tflite", "net.tflite"], "must be a file that `tta-lite predict --fit` wrote"),
        (["--latency_model={place}/board.json", "{place}/none.tflite"], "A .tflite file that can be read is expected"),
        (["--latency_model={place}/board.json", "{place}/net.keras"], "TFL3"),
    ],
)
def test_a_mistake_is_one_line(place, tmp_path, words, said):
    if "--fit" in words and len(words) > 1:
        place = tmp_path
    done = run("predict", *(word.format(place=place) for word in words))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "new.json").exists()


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler as `cc` (Debian's package gcc)")
def test_from_networks_to_a_prediction(place, tmp_path):
    names = ("one_a", "one_b", "two_a", "two_b")
    for name, width in zip(names, (16, 32, 24, 48), strict=True):
        first = L.Conv2D(width, 3, strides=2, padding="same", activation="relu")
        net = networks.net(first, L.Conv2D(2 * width, 3), L.GlobalAveragePooling2D(), L.Dense(4), shape=(48, 48, 3))
        (tmp_path / f"{name}.tflite").write_bytes(export_tflite(net, FP32))
    files = ",".join(f"{tmp_path}/{name}.tflite" for name in names)
    out = tmp_path / "here.json"
    done = run(
        "predict", f"--profile={files}", f"--profiles={tmp_path}/profiles", "--rounds=1", "--fit", f"--out={out}",
        "--board=this machine",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fp32: 4 networks, median error" in done.stdout
    assert len(list((tmp_path / "profiles").glob("*.json"))) == 4
    model = load_model(out)
    assert model.place.board == "this machine" and model.networks["fp32"].judged == 4
    # One of the four: ops that the fit has not seen may be at most a tenth of the time, and times vary here.
    said = run("predict", f"--latency_model={out}", tmp_path / "one_a.tflite")
    assert said.returncode == 0, said.stderr
    assert "Predicted, not measured, for this machine" in said.stdout


@pytest.fixture(scope="module")
def request_file(place) -> Path:
    """-> a configuration of the guideline: only int8 is tried, and a limit that it keeps and float32 does not."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("test", 4)):
        for name in ("dark", "light"):
            (place / "data" / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 100, (32, 32, 3)) + (120 if name == "light" else 0)
                Image.fromarray(pixels.astype(np.uint8)).save(place / "data" / part / name / f"{number}.png")
    file = place / "run.toml"
    file.write_text(
        f"""
model = "{place}/net.keras"
task = "image_folder:{place}/data"
pixels = "-1..1"
latency_model = "{place}/board.json"
leave_out = ["G1", "G2", "subpixel", "channels", "G5", "G4"]
batch_size = 4
max_accuracy_drop = 100
max_latency_ms = 0.05
"""
    )
    return file


def test_a_dry_run_tells_what_is_predicted(request_file):
    done = run("guideline", f"--config={request_file}", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "predicted for a made-up board, not measured" in done.stdout
    assert "none, the unmodified network: predicted 0.129 ms (0.108 to 0.155, 90% interval)" in done.stdout
    assert "G3, " in done.stdout.split("predicted for")[1]


def test_a_budget_is_decided_by_prediction_and_says_so(request_file, tmp_path):
    done = run("guideline", f"--config={request_file}", f"--out={tmp_path}/run", "--nolive")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    start, int8 = (next(row for row in rows if row["name"] == name) for name in ("none", "G3"))
    assert int8["verdict"] == "taken"
    assert start["report"]["latency_ms"]["p50"] == pytest.approx(0.129, abs=0.001)
    for row in (start, int8):
        place = row["report"]["measured_on"]
        assert place["board"].startswith("predicted") and place["runtime"].startswith("predicted")
        assert row["report"]["init_s"] is None and row["report"]["peak_memory_bytes"] is None
        low, high = (row["details"]["predicted"][end] for end in ("low_ms", "high_ms"))
        assert low < row["report"]["latency_ms"]["p50"] < high
    assert "as predicted (" in int8["why"]
    # The made-up board's model knows nothing of files with weights of 8 bits alone: that setting cannot be used.
    assert "Received: one of type dynamic" in json.dumps(int8["details"])
    for page in ("table.md", "report.html"):
        text = (tmp_path / "run" / page).read_text()
        assert "not measured" in text and "predicted for a made-up board" in text, page


def test_a_limit_on_memory_is_no_matter_of_prediction():
    budget = Budget(max_latency_ms=1.0, max_peak_memory_mib=10.0)
    with pytest.raises(InputError, match="A limit on the peak memory needs measurements"):
        Request(budget, get_board("rk3399"), rules={"latency_model": "board.json"})
