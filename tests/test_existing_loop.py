"""The worked example of docs/existing_loop.md: eight lines changed, and a pruned, distilled, int8 file at the end."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tta_lite.compat import keras
from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.models.files import load_network

PAGE = Path(__file__).parents[1] / "docs/existing_loop.md"
L = keras.layers


def scripts() -> tuple[str, str]:
    """-> before and after."""
    before, after = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return before, after


def test_eight_lines_at_most_are_new_or_changed():
    before, after = (text.splitlines() for text in scripts())
    new = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert 0 < len(new) <= 8, new


def test_it_ends_with_a_pruned_distilled_int8_file(tmp_path, monkeypatch, capsys):
    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
    keras.utils.set_random_seed(1)
    picture = keras.Input((8, 8, 1))
    x = L.Conv2D(48, 3, activation="relu")(picture)
    x = L.Flatten()(L.Conv2D(48, 3, activation="relu")(x))
    heavy = keras.Model(picture, L.Dense(10)(x))
    heavy.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    heavy.fit(images[:1200], labels[:1200], epochs=4, verbose=0)
    heavy.save(tmp_path / "heavy.keras")
    monkeypatch.chdir(tmp_path)
    exec(compile(scripts()[1], str(PAGE), "exec"), {"EPOCHS": 6})
    out = capsys.readouterr().out
    # It learnt from the teacher: the distance to its answers fell.
    distances = [float(text) for text in re.findall(r" kd: ([\d.]+)", out)]
    assert len(distances) == 6 and distances[-1] < 0.5 * distances[0]
    student = load_network("digits.keras")
    assert [type(layer).__name__ for layer in student.layers][-1] == "Dense" and student.count_params() == 5130
    for kernel in (one for one in student.get_weights() if one.ndim > 1):
        assert np.mean(kernel == 0) >= 0.45
    flat = Path("digits.tflite").read_bytes()
    predictor = TFLitePredictor(flat)
    assert {edge.dtype for edge in (predictor.input, predictor.output)} == {np.dtype("int8")}
    right = (predictor(images[1200:]).argmax(axis=1) == labels[1200:]).mean()
    said = float(re.search(r"^accuracy: ([\d.]+)", out, re.MULTILINE).group(1))
    assert said > 0.6 and abs(right - said) < 0.03
