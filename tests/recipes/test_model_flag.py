"""--model: one way to read it in all recipes, of both Keras, and code in it only if it is trusted."""

from __future__ import annotations

from pathlib import Path

import keras as keras3
import pytest
import tensorflow as tf

from tests.own_process import ROOT
from tests.recipes.in_process import recipe, typed


def network(folder: Path, layer: keras3.Layer) -> Path:
    """-> a file of Keras 3."""
    image = keras3.Input((8, 8, 3))
    net = keras3.Model(image, layer(keras3.layers.Conv2D(4, 3, activation="relu6", name="conv")(image)))
    net.save(folder / "net.keras")
    return folder / "net.keras"


def test_recipes_read_it_in_one_place():
    reading = [path.name for path in sorted((ROOT / "recipes").glob("*.py")) if "load_network" in path.read_text()]
    assert reading == ["_model.py"]


def test_a_file_of_keras_3_and_its_code(tmp_path, capfd):
    with recipe("export_onnx") as module:
        run = typed(module, capfd)
        model = network(tmp_path, keras3.layers.GlobalAveragePooling2D())
        code, _, errors = run(f"--model={model}", f"--out={tmp_path / 'onnx'}")
        assert code == 0, errors
        assert list((tmp_path / "onnx").glob("*.onnx"))
        model = network(tmp_path, keras3.layers.Lambda(lambda x: tf.nn.relu(x), name="code"))
        code, _, errors = run(f"--model={model}", f"--out={tmp_path / 'lambda'}")
        assert code == 2
        assert "'code' is a Lambda" in errors
        code, _, errors = run(f"--model={model}", "--trust_model_code", f"--out={tmp_path / 'lambda'}")
        assert code == 0, errors


@pytest.mark.parametrize("name", ["quantize", "guideline", "scale", "debug_quantization", "remove_channels"])
def test_the_flag_is_shown_by_its_recipes(name):
    with recipe(name) as module:
        from absl import flags

        assert "trust_model_code" in {flag.name for flag in flags.FLAGS.get_key_flags_for_module(module.__name__)}
