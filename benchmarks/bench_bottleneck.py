"""What is a bottleneck from trained weights worth, before and after an epoch, beside one from chance?

    python benchmarks/bench_bottleneck.py --model=runs/lspet/steps/01-g1/model.keras --data_dir=lspet

The trained network of the case study's row G1 (MobileNetV2, Deconvs of 256 channels; docs/case_study.md has the
command) gets a bottleneck of 64 channels in each Deconv: by truncated SVD, by the fit to real inputs, and the same
layers with weights from chance (all others stay trained). Each is scored, fine-tuned for one epoch by the same rules,
and scored again; PCKh@0.5 with its 95 % interval. About a minute and a half an epoch on 2 cores, and the scores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.datasets.readers import read_train_and_test
from tta_lite.measure.counting import count
from tta_lite.measure.machine import summary
from tta_lite.models.backbones import get_backbone
from tta_lite.models.files import load_network
from tta_lite.tasks.pose import PoseTask
from tta_lite.training.fit import FitSettings, fit
from tta_lite.transforms.factorize import factorize
from tta_lite.types import Accuracy, Candidate

_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras file.", required=True)
_DATASET = flags.DEFINE_string("dataset", "lspet", "That it was trained on.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Its folder.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "mobilenet_v2", "Whose normalisation the images get.")
_SELECT = flags.DEFINE_string("select", "deconv*", "The layers that get a bottleneck.")
_RANK = flags.DEFINE_integer("rank", 64, "Channels of the bottleneck.", 1)
_IMAGES = flags.DEFINE_integer("images", 96, "Calibration images of the fit.", 1)
_RATES = flags.DEFINE_list("learning_rates", ["1e-3", "1e-4"], "Of Adam; each is tried, constant for the epoch.")
_EPOCHS = flags.DEFINE_integer("epochs", 1, "Of fine-tuning.", 1)
_INPUT_SIZE = flags.DEFINE_integer("input_size", 128, "Side of the crop.", 32)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Examples a step.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of chance, and of the order of the examples.", 0)


def score(model: keras.Model, task: PoseTask) -> Accuracy:
    """-> PCKh@0.5 of a network."""
    predict = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
    return task.score(lambda images: np.asarray(predict(images)))


def told(accuracy: Accuracy) -> str:
    """-> 46.2 (43.6 to 48.7)."""
    low, high = accuracy.interval
    return f"{accuracy.value:.1f} ({low:.1f} to {high:.1f})"


def from_chance(old: keras.Model, new: keras.Model) -> keras.Model:
    """-> a copy of the factorised network whose new layers have their initial weights; the others stay."""
    keras.utils.set_random_seed(_SEED.value)
    kept = {layer.name for layer in old.layers if layer.weights}
    copy = keras.models.clone_model(new)
    for layer in copy.layers:
        source = new.get_layer(layer.name)
        same = layer.name in kept and all(
            a.shape == b.shape for a, b in zip(source.weights, old.get_layer(layer.name).weights, strict=True)
        )
        if same:
            layer.set_weights(source.get_weights())
        elif layer.weights:
            print(f"from chance: {layer.name} {[tuple(weight.shape) for weight in layer.weights]}")
    return copy


def main(argv: Sequence[str]) -> None:
    """Factorises, scores, fine-tunes, scores."""
    del argv
    train, test = read_train_and_test(_DATASET.value, _DATA_DIR.value, on_bad_example="skip")
    task = PoseTask(
        train, test, get_backbone(_BACKBONE.value).normalisation, input_size=_INPUT_SIZE.value,
        batch_size=_BATCH_SIZE.value, flip_test=True,
    )  # fmt: skip
    old = load_network(_MODEL.value)
    images = np.concatenate(task.calibration(_IMAGES.value, seed=_SEED.value))
    by_svd = factorize(old, "bottleneck", _SELECT.value, rank=_RANK.value)
    by_fit = factorize(old, "bottleneck", _SELECT.value, rank=_RANK.value, images=images)
    print(f"{len(train)} people to train, {len(test)} to test; {summary()}")
    print(by_fit.table())
    print(f"MACs {count(old).macs / 1e9:.2f} -> {count(by_svd.model).macs / 1e9:.2f} G")
    networks = {"SVD": by_svd.model, "fit": by_fit.model, "chance": from_chance(old, by_svd.model)}
    print(f"unmodified: {told(score(old, task))}", flush=True)
    for name, model in networks.items():
        print(f"{name}, as it is: {told(score(model, task))}", flush=True)
    for rate in map(float, _RATES.value):
        for name, model in networks.items():
            settings = FitSettings(_EPOCHS.value, rate, drops=(), seed=_SEED.value, tensorboard=False)
            with tempfile.TemporaryDirectory() as folder:
                tuned = fit(Candidate(model), task, settings, folder, label=f"{name} at {rate:g}").model
            print(f"{name}, after {_EPOCHS.value} epoch(s) at {rate:g}: {told(score(tuned, task))}", flush=True)


if __name__ == "__main__":
    app.run(main)
