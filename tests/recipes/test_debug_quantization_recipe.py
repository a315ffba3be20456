"""`tta-lite debug-quantization`: the worst layers by name, the page, the search, and mistakes in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests import networks
from tests.recipes.in_process import recipe, typed
from tta_lite.compat import keras
from tta_lite.export.quantize.float_file import FloatFile

L = keras.layers


@pytest.fixture(scope="module")
def subject():
    with recipe("debug_quantization") as module:
        yield module


@pytest.fixture
def run(subject, capfd):
    return typed(subject, capfd)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A network whose second layer has one channel that is much larger than the rest, and images for it."""
    folder = tmp_path_factory.mktemp("debug")
    net = networks.net(
        L.Conv2D(8, 3, padding="same", activation="relu", name="first"),
        L.Conv2D(16, 3, padding="same", activation="relu", name="second"),
        L.Conv2D(4, 1, name="last"),
        shape=(16, 16, 3),
    )
    kernel, bias = net.get_layer("second").get_weights()
    kernel[..., 0] *= 100
    net.get_layer("second").set_weights([kernel, bias])
    net.save(folder / "net.keras")
    (folder / "net.tflite").write_bytes(FloatFile.of_model(net).tflite)
    np.save(folder / "images.npy", np.random.default_rng(0).uniform(-1, 1, (60, 16, 16, 3)).astype(np.float32))
    return folder


@pytest.mark.parametrize("name", ["net.keras", "net.tflite"])
def test_the_worst_layer_is_named_and_the_search_raises_it(place, tmp_path, run, name):
    out = tmp_path / "run"
    code, printed, errors = run(
        f"--model={place / name}", f"--calibration={place / 'images.npy'}", "--per_tensor", "--debug_images=3",
        f"--out={out}", "--leave_one_out", "--max_size_kib=1000",
    )  # fmt: skip
    assert code == 0, errors
    assert printed.splitlines()[1].split()[:2] == ["second", "weights"]
    record = json.loads((out / "debug.json").read_text())
    assert record["worst"][0] == "second" and record["images"] == 3
    assert all(one["gain"] is not None for one in record["ops"])
    assert "second" in (out / "report.html").read_text() and (out / "plots/second-weights.png").is_file()
    mixed = json.loads((out / "mixed.json").read_text())
    assert "second" in mixed["raised"] and mixed["score"] > mixed["tried"][0]["score"] + 3
    assert (out / "mixed.tflite").stat().st_size == mixed["size_bytes"] <= 1000 * 1024
    assert "second" in next(line for line in printed.splitlines() if line.startswith("raised: "))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preset=dynamic",), "--preset must be int8 or int16x8"),
        (("--preset=int16x8", "--max_size_kib=100"), "begins with --preset=int8"),
        (("--max_size_kib=1",), "must leave room for the file with every layer in int8"),
        (("--latency_model=x.json",), "--latency_model means something only with --max_latency_ms"),
        (("--max_latency_ms=5", "--latency_model=nowhere.json"), "nowhere.json"),
        (("--flip_test",), "--flip_test means something only with --task"),
    ],
)
def test_mistakes_are_one_line(place, tmp_path, run, words, said):
    given = [] if "--preset=dynamic" in words else [f"--calibration={place / 'images.npy'}"]
    code, _, errors = run(f"--model={place / 'net.tflite'}", *given, f"--out={tmp_path / 'run'}", *words)
    assert code == 2
    (line,) = [one for one in errors.splitlines() if one.startswith("error: ")]
    assert said in line and "Traceback" not in errors
    assert not (tmp_path / "run/mixed.tflite").exists()
