"""The functions that callbacks measure with, in a training and against the interpreter by hand."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tta_lite.compat import keras
from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.guideline import for_callbacks
from tta_lite.tasks.arrays import ArrayTask
from tta_lite.tasks.classification import PIXELS
from tta_lite.training.callbacks import BudgetWatch, TFLiteExport
from tta_lite.training.precision import with_policy
from tta_lite.training.pruning import Pruning
from tta_lite.types import FP32, ExportSpec, InputError

L = keras.layers
INT8 = ExportSpec("int8", calibration_images=8)


@pytest.fixture(scope="module")
def task():
    """Pictures whose class is the half that is bright."""
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 2
    pictures = rng.integers(0, 160, (96, 8, 8, 1), np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[:, 4 * label : 4 * label + 4] += 40
    parts = (slice(48), slice(48, 96))
    sets = [PictureArrays("halves", pictures[part], labels[part], ("left", "right")) for part in parts]
    return ArrayTask(*sets, PIXELS["0..1"], (8, 8), from_logits=True, batch_size=16, channels=1)


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(2)
    image = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(4, 3, activation="relu", name="conv")(image)
    return keras.Model(image, L.Dense(2, name="scores")(L.Flatten()(x)))


def accuracy_by_hand(file, task):
    """Of an int8 file, with nothing of the house but the pictures."""
    interpreter = Interpreter(model_content=file)
    interpreter.allocate_tensors()
    given, wanted = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = given["quantization"]
    right = []
    for picture, label in zip(task.test.pictures, task.test.labels, strict=True):
        values = np.clip(np.round(picture[None] / 255.0 / scale) + zero, -128, 127)
        interpreter.set_tensor(given["index"], values.astype(np.int8))
        interpreter.invoke()
        right.append(interpreter.get_tensor(wanted["index"])[0].argmax() == label)
    return 100 * np.mean(right)


def test_a_training_keeps_the_file_that_is_best_as_int8(task, net, tmp_path):
    export, score = for_callbacks.export_and_score(task, INT8)
    best = TFLiteExport(tmp_path / "best.tflite", export, score, write=lambda line: None)
    watch = BudgetWatch(
        {
            "size_bytes": (for_callbacks.size_bytes(for_callbacks.exporter()), 1e6),
            "macs": (for_callbacks.macs(), 1e6),
        },
        every=3,
    )
    net.compile(keras.optimizers.Adam(0.02), task.loss())
    history = net.fit(
        task.train_data(seed=0), steps_per_epoch=3, epochs=3, verbose=0, callbacks=[watch, best]
    ).history  # fmt: skip
    file = (tmp_path / "best.tflite").read_bytes()
    assert accuracy_by_hand(file, task) == pytest.approx(max(history["int8_accuracy"])) == best.best["value"]
    assert best.best["epoch"] == int(np.argmax(history["int8_accuracy"]))
    # 6 x 6 positions of 9 taps for 4 channels, and 144 x 2.
    assert history["macs"] == [6 * 6 * 9 * 4 + 144 * 2] * 3
    assert history["size_bytes"][0] == len(for_callbacks.exporter()(net)) > 4 * (40 + 290)


def test_what_learns_in_16_bits_or_in_wrappers_is_exported_as_it_is(net):
    whole = for_callbacks.exporter(FP32)(net)
    assert for_callbacks.plain(net) is net
    assert for_callbacks.exporter(FP32)(with_policy(net, "mixed_bfloat16")) == whole
    wrapped, _ = Pruning(0.5, how="wrappers").prepared(net, 10)
    assert [type(layer).__name__ for layer in for_callbacks.plain(wrapped).layers] == [
        type(layer).__name__ for layer in net.layers
    ]


def test_integers_need_images():
    with pytest.raises(InputError, match=r"int8 needs images .* Received: no `calibration`"):
        for_callbacks.exporter(INT8)


def test_a_latency_comes_from_the_benchmark(net, monkeypatch):
    asked = []

    def together(paths, **rules):
        asked.append((paths["model"].read_bytes()[4:8], rules))
        latency = type("Latency", (), {"p50": 1.5})
        return {"model": type("Row", (), {"latency": latency})}

    monkeypatch.setattr(for_callbacks, "benchmark_together", together)
    assert for_callbacks.latency_ms(for_callbacks.exporter(), num_threads=2)(net) == 1.5
    assert asked == [(b"TFL3", {"num_threads": 2})]
