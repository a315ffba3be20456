"""Which cheap score ranks networks better than chance: one that needs no training, or a training of an epoch or two?

    python benchmarks/bench_zero_cost.py --out=DIR [--points=48] [--seeds=2] [--short=1,2]

Draws points of a small space: the first four blocks of MnasNet's (tta_lite/search/mnasnet.py), at 16 x 16 pixels.
Each network is scored untrained, then learns from --examples of the 1,797 handwritten digits of UCI (scikit-learn has
them; doubled in size, three equal channels) for each of --short epochs and for --epochs, each time from the same
weights and with a whole schedule of its own, and is scored on the 597 that nobody learns from: with batch norms of all
examples (`tta_lite.training.connectivity.recompute_batch_norm`), and with the moving averages, which lag in so few
steps.

What a score is compared with is the mean accuracy of --seeds more full trainings from other weights: what holds for one
draw of weights only does not count. The full training from the scores' own weights is in the table too: no cheap score
can be expected to agree better than that.

One table: for each score Spearman's and Kendall's rank correlation with that accuracy, with 95 % intervals (bootstrap
over the points). A score whose interval holds 0 is named as no better than chance. Parameters and MACs are the
baselines. A point is a file in --out: a run that was stopped goes on, and more points and short trainings can be asked
for.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.datasets.digits import TRAIN, read_digits
from tta_lite.files import atomic_write, to_json_text
from tta_lite.measure.machine import summary
from tta_lite.search.mnasnet import mnasnet_classifier, mnasnet_space
from tta_lite.search.rank import KINDS, rank_correlation
from tta_lite.search.zero_cost import SCORES
from tta_lite.training.connectivity import recompute_batch_norm
from tta_lite.types import InputError

BLOCKS, SIDE = 4, 16
# Behind the name of a training whose batch norms keep the moving averages that it left.
MOVING = ", moving averages"

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_POINTS = flags.DEFINE_integer("points", 48, "Networks.", 3)
_SEEDS = flags.DEFINE_integer("seeds", 1, "Full trainings of each from other weights, which the scores are held to.", 1)
_SHORT = flags.DEFINE_list("short", ["1", "2"], "Epochs of short trainings.")
_FIRST = flags.DEFINE_integer("first", 0, "Begin with this one: processes side by side take others.", 0)
_EXAMPLES = flags.DEFINE_integer("examples", 400, "That a network learns from.", 10, TRAIN)
_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of each.", 1)
_RATE = flags.DEFINE_float("learning_rate", 3e-3, "Of Adam; it falls to 0 by a cosine.", 0)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 2)
_IMAGES = flags.DEFINE_integer("images", 64, "That the scores look at.", 2, TRAIN)
_SEED = flags.DEFINE_integer("seed", 0, "Of points, weights and order.")


def pictures() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """-> [N, 16, 16, 3] in -1..1 and their classes, to learn from and to score."""
    parts = []
    for part in read_digits():
        images = part.pictures.astype(np.float32) / np.float32(127.5) - 1
        parts.append((images.repeat(2, axis=1).repeat(2, axis=2).repeat(3, axis=3), np.asarray(part.labels)))
    return parts[0], parts[1]


def cell(place: int) -> dict:
    """-> one network's point, scores and accuracies; from its file if it is there."""
    path = Path(_OUT.value) / f"point-{place:03d}.json"
    given = {holder.name: holder.value for holder in (_EXAMPLES, _EPOCHS, _SEEDS, _RATE, _BATCH, _IMAGES, _SEED)}
    wanted = {
        epochs: f"{epochs} of {_EPOCHS.value} epochs" for epochs in sorted({*map(int, _SHORT.value), _EPOCHS.value})
    }
    found = {"given": given, "scores": {}, "seconds": {}}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["given"] != given:
            raise InputError(f"--out must be of the same flags. Received: {path} of {found['given']}")
        if all(name in found["scores"] for name in wanted.values()):
            return found
    small = {f"block{number}" for number in range(1, BLOCKS + 1)}
    point = mnasnet_space().sample(np.random.default_rng([_SEED.value, place]))
    point = {name: value for name, value in point.items() if name.partition(".")[0] in small}
    model = network(point, place, 0)
    (images, labels), test = pictures()
    order = np.random.default_rng([_SEED.value, 1]).permutation(TRAIN)[: _EXAMPLES.value]
    batch, classes = images[: _IMAGES.value], labels[: _IMAGES.value]

    def loss(outputs: tf.Tensor) -> tf.Tensor:
        return keras.losses.sparse_categorical_crossentropy(classes, outputs, from_logits=True)

    scores, seconds = found["scores"], found["seconds"]
    for name, score in SCORES.items():
        if name not in scores:
            began = time.process_time()
            scores[name] = score.of(model, batch if score.needs_images else None, loss if score.needs_loss else None)
            seconds[name] = time.process_time() - began
    training = Training(model, images[order], labels[order], test)
    for epochs, name in wanted.items():
        if name not in scores:
            scores[name], scores[f"{name}{MOVING}"], seconds[name] = training(training.first, epochs)
    if "accuracies" not in found:
        others = (network(point, place, seed).get_weights() for seed in range(1, _SEEDS.value + 1))
        found["accuracies"] = [training(weights, _EPOCHS.value)[0] for weights in others]
    found["point"] = point
    atomic_write(path, to_json_text(found, indent=1))
    keras.backend.clear_session()
    return found


def network(point: Mapping, place: int, seed: int) -> keras.Model:
    """-> a point's network, with weights of their own for each seed."""
    keras.utils.set_random_seed(_SEED.value + place + 100_003 * seed)
    return mnasnet_classifier(point, num_classes=10, input_size=SIDE, blocks=BLOCKS)


class Training:
    """Trains one network again and again; its graph is traced once."""

    def __init__(self, model: keras.Model, images: np.ndarray, labels: np.ndarray, test: tuple) -> None:
        self.first = model.get_weights()
        self._model, self._images, self._labels, self._test = model, tf.constant(images), tf.constant(labels), test
        self._adam = keras.optimizers.Adam(_RATE.value)
        self._adam.build(model.trainable_variables)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        @tf.function(autograph=False)
        def step(batch: tf.Tensor, classes: tf.Tensor) -> None:
            with tf.GradientTape() as tape:
                value = loss(classes, model(batch, training=True))
            weights = model.trainable_variables
            self._adam.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))

        self._step = step
        self._answer = tf.function(lambda batch: model(batch, training=False), autograph=False)

    def __call__(self, weights: Sequence[np.ndarray], epochs: int) -> tuple[float, float, float]:
        """-> accuracy in % after a training from these weights with batch norms of the examples and of the moving
        averages, and the seconds of a core that it took.
        """
        began = time.process_time()
        self._model.set_weights(weights)
        for variable in self._adam.variables:
            variable.assign(tf.zeros_like(variable))
        batches = len(self._labels) // _BATCH.value
        rng = np.random.default_rng([_SEED.value, 2])
        for epoch in range(epochs):
            order = rng.permutation(len(self._labels))
            for number in range(batches):
                done = (epoch * batches + number) / (epochs * batches)
                self._adam.learning_rate = _RATE.value * (1 + math.cos(math.pi * done)) / 2
                chosen = order[number * _BATCH.value : (number + 1) * _BATCH.value]
                self._step(tf.gather(self._images, chosen), tf.gather(self._labels, chosen))
        moving = self._accuracy()
        recompute_batch_norm(self._model, [self._images])
        return self._accuracy(), moving, time.process_time() - began

    def _accuracy(self) -> float:
        images, labels = self._test
        return 100 * float((np.argmax(self._answer(tf.constant(images)), axis=-1) == labels).mean())


def table(found: Sequence[dict]) -> str:
    """-> Markdown."""
    lines = ["| score | " + " | ".join(f"{kind.title()} (95 % interval)" for kind in KINDS) + " | verdict | s |"]
    lines.append("|---|" + "---:|" * len(KINDS) + "---|---:|")
    accuracies = [float(np.mean(one["accuracies"])) for one in found]
    for name in sorted(found[0]["scores"], key=lambda name: int(name.partition(" of ")[0]) if " of " in name else 0):
        # JSON has no infinity: a score that is none is the worst there is.
        scores = [-np.inf if one["scores"][name] is None else one["scores"][name] for one in found]
        ranks = [rank_correlation(scores, accuracies, kind) for kind in KINDS]
        cells = [f"{rank.value:+.2f} ({rank.low:+.2f} to {rank.high:+.2f})" for rank in ranks]
        spent = np.mean([one["seconds"][name.removesuffix(MOVING)] for one in found])
        lines.append(f"| {name} | {' | '.join(cells)} | {ranks[0].verdict} | {spent:.1f} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, prints the table."""
    del argv
    Path(_OUT.value).mkdir(parents=True, exist_ok=True)
    found = []
    for place in range(_FIRST.value, _FIRST.value + _POINTS.value):
        found.append(cell(place))
        print(f"# point {place}: {np.mean(found[-1]['accuracies']):.2f} %", flush=True)
    accuracies = [float(np.mean(one["accuracies"])) for one in found]
    print(
        f"\n{summary()}. {len(found)} networks; {_EXAMPLES.value} examples, {_EPOCHS.value} epochs; accuracy ", end=""
    )
    print(f"{min(accuracies):.1f} to {max(accuracies):.1f} %, median {np.median(accuracies):.1f} %.\n")
    print(table(found))


if __name__ == "__main__":
    app.run(main)
