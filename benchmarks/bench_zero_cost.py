"""Which zero-cost score ranks networks better than chance?

    python benchmarks/bench_zero_cost.py --out=DIR [--points=40]

Draws points of a small space: the first four blocks of MnasNet's (tta_lite/search/mnasnet.py), at 16 x 16 pixels.
Each network is scored untrained, then learns from --examples of the 1,797 handwritten digits of UCI (scikit-learn has
them; doubled in size, three equal channels) for --epochs, and is scored on the 597 that nobody learns from.

One table: for each score Spearman's and Kendall's rank correlation with that accuracy, with 95 % intervals (bootstrap
over the points). A score whose interval holds 0 is named as no better than chance. Parameters and MACs are the
baselines. A cell is a file in --out: a run that was stopped goes on, and more points can be asked for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
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
from tta_lite.types import InputError

BLOCKS, SIDE = 4, 16

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_POINTS = flags.DEFINE_integer("points", 40, "Networks.", 3)
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
    """-> one network's point, scores and accuracy; from its file if it is there."""
    path = Path(_OUT.value) / f"point-{place:03d}.json"
    given = {holder.name: holder.value for holder in (_EXAMPLES, _EPOCHS, _RATE, _BATCH, _IMAGES, _SEED)}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["given"] != given:
            raise InputError(f"--out must be of the same flags. Received: {path} of {found['given']}")
        return found
    small = {f"block{number}" for number in range(1, BLOCKS + 1)}
    point = mnasnet_space().sample(np.random.default_rng([_SEED.value, place]))
    point = {name: value for name, value in point.items() if name.partition(".")[0] in small}
    keras.utils.set_random_seed(_SEED.value + place)
    model = mnasnet_classifier(point, num_classes=10, input_size=SIDE, blocks=BLOCKS)
    (images, labels), (others, other_labels) = pictures()
    order = np.random.default_rng([_SEED.value, 1]).permutation(TRAIN)[: _EXAMPLES.value]
    scores, seconds = {}, {}
    for name, score in SCORES.items():
        began = time.process_time()
        scores[name] = score.of(model, images[: _IMAGES.value] if score.needs_images else None)
        seconds[name] = time.process_time() - began
    began = time.process_time()
    train(model, images[order], labels[order])
    seconds["training"] = time.process_time() - began
    right = np.argmax(model.predict(others, batch_size=256, verbose=0), axis=-1) == other_labels
    found = {
        "given": given,
        "point": point,
        "scores": scores,
        "seconds": seconds,
        "accuracy": 100 * float(right.mean()),
    }
    atomic_write(path, to_json_text(found, indent=1))
    keras.backend.clear_session()
    return found


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Trains in place, in an order that the seed decides."""
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=_SEED.value)
    data = data.batch(_BATCH.value, drop_remainder=True)
    steps = _EPOCHS.value * int(data.cardinality())
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE.value, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(data, epochs=_EPOCHS.value, verbose=0)


def table(found: Sequence[dict]) -> str:
    """-> Markdown."""
    lines = ["| score | " + " | ".join(f"{kind.title()} (95 % interval)" for kind in KINDS) + " | verdict | s |"]
    lines.append("|---|" + "---:|" * len(KINDS) + "---|---:|")
    accuracies = [one["accuracy"] for one in found]
    for name in SCORES:
        # JSON has no infinity: a score that is none is the worst there is.
        scores = [-np.inf if one["scores"][name] is None else one["scores"][name] for one in found]
        ranks = [rank_correlation(scores, accuracies, kind) for kind in KINDS]
        cells = [f"{rank.value:+.2f} ({rank.low:+.2f} to {rank.high:+.2f})" for rank in ranks]
        spent = np.mean([one["seconds"][name] for one in found])
        lines.append(f"| {name} | {' | '.join(cells)} | {ranks[0].verdict} | {spent:.1f} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, prints the table."""
    del argv
    Path(_OUT.value).mkdir(parents=True, exist_ok=True)
    found = []
    for place in range(_FIRST.value, _FIRST.value + _POINTS.value):
        found.append(cell(place))
        print(f"# point {place}: {found[-1]['accuracy']:.2f} %", flush=True)
    accuracies = [one["accuracy"] for one in found]
    print(f"\n{summary()}. {len(found)} networks; {_EXAMPLES.value} examples, {_EPOCHS.value} epochs, ", end="")
    print(f"{np.mean([one['seconds']['training'] for one in found]):.0f} s of one core each; accuracy ", end="")
    print(f"{min(accuracies):.1f} to {max(accuracies):.1f} %, median {np.median(accuracies):.1f} %.\n")
    print(table(found))


if __name__ == "__main__":
    app.run(main)
