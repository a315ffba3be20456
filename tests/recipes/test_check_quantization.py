from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver

from recipes import _app
from tests.recipes import in_process
from tta_lite.compat import keras
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.tflite import export_tflite
from tta_lite.types import ExportSpec

layers = keras.layers


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Name -> path: a network of integers, one with a running sum, one of an open size; and files of the first."""
    folder = tmp_path_factory.mktemp("networks")

    def save(name, build, side=16):
        image = keras.Input((side, side, 3), name="image")
        x = layers.Conv2D(4, 3, 2, "same", name="stem")(image)
        net = keras.Model(image, layers.Conv2D(2, 1, name="last")(build(x)), name=name)
        net.save(folder / f"{name}.keras")
        return net

    whole = save("whole", layers.ReLU(name="relu"))
    save("partly", lambda x: tf.cumsum(x, axis=1))
    save("open", layers.ReLU(name="relu"), None)
    images = [np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)]
    (folder / "float.tflite").write_bytes(FloatFile.of_model(whole).tflite)
    (folder / "int8.tflite").write_bytes(export_tflite(whole, ExportSpec("int8"), images))
    (folder / "half.tflite").write_bytes(FloatFile.of_model(whole).tflite[:700])
    stem = whole.get_layer("stem")
    stem.set_weights([np.full_like(values, np.nan) for values in stem.get_weights()])
    whole.save(folder / "nan.keras")
    return folder


@pytest.fixture
def run(networks, capsys, monkeypatch):
    """-> a function of a network's name and flags: the exit code and what was printed."""
    monkeypatch.setenv("COLUMNS", "160")
    with in_process.recipe("check_quantization") as recipe:

        def call(name, **given):
            given = {"timed": False, **given}
            with flagsaver.flagsaver(model=str(networks / name), **given):
                try:
                    code = _app.guarded(recipe.main, ["check_quantization"])
                except SystemExit as ended:
                    code = ended.code
            said = capsys.readouterr()
            return code, said.out, said.err

        yield call


@pytest.mark.parametrize("name", ["whole.keras", "float.tflite"])
def test_a_network_of_integers_is_0(run, name, tmp_path):
    out = tmp_path / "found.json"
    code, said, _ = run(name, out=str(out))
    assert code == 0
    assert "All 2 ops become integer ops (int8), without a boundary to FP32 (6.2.1)." in said
    record = json.loads(out.read_text())
    assert record["quantisable"] is True and record["file"].endswith(name) and record["ops"] == {"CONV_2D": 2}


def test_one_with_float_ops_is_1_with_a_line_an_op_and_a_boundary(run):
    code, said, _ = run("partly.keras", timed=True)
    assert code == 1
    rows = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert "stays in float32" in rows["CUMSUM"]
    assert "stem -> tf.math.cumsum" in rows["DEQUANTIZE"] and "1280" in rows["DEQUANTIZE"]
    assert "Costs: measured on this machine. One inference: 0.0" in said


def test_16_bit_activations_and_an_open_size(run):
    assert run("whole.keras", preset="int16x8")[0] == 0
    assert run("open.keras", input_size=32)[0] == 0


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("none.keras", {}, "must be a file that exists"),
        ("open.keras", {}, "must be given (--input_size)"),
        ("nan.keras", {}, "Weights must be finite numbers to be quantised. Received: 2 that are not: stem/kernel:0"),
        ("int8.tflite", {}, "The file is quantised already"),
        ("half.tflite", {}, "half.tflite: The .tflite file is damaged"),
        ("float.tflite", {"input_size": 32}, "--input_size is for a Keras model"),
        ("whole.keras", {"runtime": "armnn"}, "needs --board"),
        ("whole.keras", {"board": "no_such"}, "no_such"),
        ("whole.keras", {"out": "/no/such/folder/x.json"}, "--out must name a file in a folder that exists"),
        ("whole.keras", {"latency_model": "/no/such/model.json"}, "/no/such/model.json"),
    ],
)
def test_a_mistake_is_one_line_and_2(run, name, given, said):
    code, _, wrong = run(name, **given)
    lines = [line for line in wrong.splitlines() if line.startswith("error:")]
    assert code == 2 and len(lines) == 1 and said in lines[0]
    assert "Traceback" not in wrong


def test_a_network_must_be_named():
    with in_process.recipe("check_quantization") as recipe:
        assert _app.guarded(recipe.main, ["check_quantization"]) == 2
