"""What a network of bits loses and costs: trained on real digits beside its float twin, packed, exported, timed.

    python benchmarks/bench_binary.py [--width=16] [--epochs=20] [--folds=5]

A Bi-Real-like classifier (`tta_lite.models.bireal`) and its binary forms, by the same rules and from the same first
weights, on the 1,797 handwritten digits of UCI (8 x 8 pixels; scikit-learn has them) in stratified folds, each with a
seed of its own: every digit is tested once. The distance to the float twin is the mean over the folds, with its 95 %
interval (Student's t). Then the bytes of the packed bits and of the .tflite files of the first fold, and the latencies
of those files in turn: stock TFLite has no kernels for bits. About 25 minutes on 2 cores.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
from absl import app, flags
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from tta_lite.compat import keras
from tta_lite.export.binary_packing import pack, packed_size
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.machine import summary
from tta_lite.models.bireal import bireal_classifier
from tta_lite.training.binary import binarize, settled
from tta_lite.types import ExportSpec

_WIDTH = flags.DEFINE_integer("width", 16, "Channels of the first stage.", 4)
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Times over the training pictures.", 1)
_FOLDS = flags.DEFINE_integer("folds", 5, "Parts of the digits, each tested once.", 2, 20)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Pictures a step.", 1)
_RATE = flags.DEFINE_float("learning_rate", 2e-3, "Of Adam; it falls to 0 by a cosine.", 0)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "The files are timed in turn, so many times.", 1)
_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)

TWIN = "float twin"


@dataclasses.dataclass(frozen=True)
class Form:
    """A binary form of the network: what `binarize` is given, and by how much faster than the others it learns."""

    kernels: str
    inputs: str | None = None
    rate: float = 1.0


FORMS = {
    "BinaryConnect, deterministic": Form("sign"),
    "BinaryConnect, stochastic": Form("stochastic_sign", rate=5),
    "XNOR-Net weights (BWN)": Form("scaled_sign"),
    "XNOR-Net, weights and inputs": Form("scaled_sign", "sign"),
    "the same, Bi-Real's gradient": Form("scaled_sign", "approx_sign"),
}


def trained(model: keras.Model, images: np.ndarray, labels: np.ndarray, seed: int, rate: float) -> keras.Model:
    """-> the model, trained in place; if it was drawn, the one that runs."""
    keras.utils.set_random_seed(seed)
    steps = _EPOCHS.value * math.ceil(len(images) / _BATCH.value)
    schedule = keras.optimizers.schedules.CosineDecay(rate * _RATE.value, steps)
    model.compile(keras.optimizers.Adam(schedule), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images, labels, batch_size=_BATCH.value, epochs=_EPOCHS.value, verbose=0)
    drawn = any(getattr(layer, "kernel_quantizer", "") == "stochastic_sign" for layer in model.layers)
    return settled(model, images) if drawn else model


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """-> mean and 95 % interval of it, by Student's t."""
    mean = float(np.mean(values))
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def main(argv: Sequence[str]) -> None:
    """Trains, packs, exports, times, prints."""
    del argv
    found = load_digits()
    images = (found.images[..., None] / 8 - 1).astype(np.float32)
    labels = found.target
    print(f"{len(images)} digits in {_FOLDS.value} folds; {_EPOCHS.value} epochs; {summary()}", flush=True)
    scores: dict[str, list[float]] = {name: [] for name in (TWIN, *FORMS)}
    firsts: dict[str, keras.Model] = {}
    folds = StratifiedKFold(_FOLDS.value, shuffle=True, random_state=0).split(images, labels)
    calibration: list[np.ndarray] = []
    test: tuple[np.ndarray, np.ndarray] = (images, labels)
    for seed, (train, held_out) in enumerate(folds):
        keras.utils.set_random_seed(seed)
        twin = bireal_classifier((8, 8, 1), 10, width=_WIDTH.value)
        models = {TWIN: twin}
        models.update({
            name: binarize(twin, kernels=form.kernels, inputs=form.inputs).model for name, form in FORMS.items()
        })  # fmt: skip
        for name, model in models.items():
            rate = FORMS[name].rate if name in FORMS else 1.0
            models[name] = model = trained(model, images[train], labels[train], seed, rate)
            guesses = model.predict(images[held_out], verbose=0).argmax(-1)
            scores[name].append(100 * float((guesses == labels[held_out]).mean()))
        if not firsts:
            firsts, test = models, (images[held_out], labels[held_out])
            calibration = [image[None] for image in images[train][:100]]
        print(f"fold {seed + 1}: " + ", ".join(f"{name} {score[-1]:.1f}" for name, score in scores.items()), flush=True)
    print("accuracy in percent, and points below the float twin with their 95 % interval")
    for name, score in scores.items():
        losses = [before - after for before, after in zip(scores[TWIN], score, strict=True)]
        far = "" if name == TWIN else "; {:.2f} below ({:.2f} to {:.2f})".format(*interval(losses))
        print(f"{name}: {np.mean(score):.2f}{far}")
    costs(firsts, *test, calibration)


def costs(
    models: dict[str, keras.Model], images: np.ndarray, labels: np.ndarray, calibration: list[np.ndarray]
) -> None:
    """Prints bytes and latencies."""
    files: dict[str, Path] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            if name != TWIN:
                size = packed_size(pack(model))
                print(
                    f"{name}: {size.bits} bits; packed {size.total_bytes} bytes ({size.bit_bytes} of bits, "
                    f"{size.scale_bytes} of scales, {size.float_bytes} of float weights)"
                )
            for preset in ("fp32", "int8"):
                tflite = export_tflite(model, ExportSpec(preset), calibration if preset == "int8" else ())
                right = 100 * float((TFLitePredictor(tflite)(images).argmax(-1) == labels).mean())
                left = len(undelegated_ops(tflite))
                print(f"{name}, {preset}: {len(tflite)} bytes, first fold {right:.1f} %, {left} ops not by XNNPACK")
                files[f"{name}, {preset}"] = Path(folder, f"{len(files)}.tflite")
                files[f"{name}, {preset}"].write_bytes(tflite)
        comparison = benchmark_together(files, rounds=_ROUNDS.value, num_threads=_THREADS.value, min_secs=0.2)
    place = next(iter(comparison.values())).measured_on
    print(f"{place.runtime}, {place.delegate}, {place.threads} thread(s)")
    for name, ratio in comparison.speedups(f"{TWIN}, fp32").items():
        print(
            f"{name}: p50 {comparison[name].latency.p50:.3f} ms, {1 / ratio.median:.2f} times that of the float twin "
            f"({1 / ratio.max:.2f} to {1 / ratio.min:.2f})"
        )


if __name__ == "__main__":
    app.run(main)
