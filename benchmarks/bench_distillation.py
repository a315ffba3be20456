"""What does each way to learn from a teacher bring a small network that has few examples?

    python benchmarks/bench_distillation.py --out=DIR [--seeds=5]

The 1,797 handwritten digits of UCI (8 x 8 pixels; scikit-learn has them). For each seed: a teacher of 39,000 weights
learns from --teacher_examples of them, a student of 700 weights from --examples of those same ones, once alone and
once in each way; all are scored on the 597 that nobody has learnt from. The student begins with the same weights, sees
the same examples in the same order and takes the same number of steps in every way; `fitnets` takes a third of them in
its first stage (hint) and the rest with kd, `hint` all with the labels and the hint at once.

One table: the mean accuracy, and the points above `none` with the 95 % interval of the paired differences (Student's t
over the seeds). A cell is a file in --out: a run that was stopped goes on, and more seeds or ways can be asked for.
About 6 s of one core a cell.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
import tensorflow as tf
from absl import app, flags

from tta_lite.compat import keras, load_model
from tta_lite.datasets.digits import TRAIN, read_digits
from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.measure.machine import summary
from tta_lite.training.distillation_terms import TERMS
from tta_lite.training.distiller import Distiller, hint_stage
from tta_lite.types import InputError

NONE, FITNETS = "none", "fitnets"
WAYS = (NONE, "kd", "at", "sp", "hint", FITNETS)
# Of the loss of the labels, where the teacher's classes are learnt too.
KD_TASK_WEIGHT = 0.5
# Chosen by powers of ten from 1,000 down for at, 3,000 for sp and hint, by --first_seed=100 --score=validation.
WEIGHTS = {"kd": 0.5, "at": 1.0, "sp": 30.0, "hint": 10.0}

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 5, "Students of each way.", 1)
_FIRST = flags.DEFINE_integer("first_seed", 0, "Others than those of the table, to choose weights with.", 0)
_SCORE = flags.DEFINE_enum(
    "score", "test", ("test", "validation"), "validation: the digits that the teacher learns from and the student not."
)
_WAYS = flags.DEFINE_list("ways", list(WAYS), f"Of {', '.join(WAYS)}.")
_WEIGHTS = flags.DEFINE_list("weights", [f"{name}={weight:g}" for name, weight in WEIGHTS.items()], "Of the terms.")
_EXAMPLES = flags.DEFINE_integer("examples", 200, "That a student learns from.", 10)
_TEACHER_EXAMPLES = flags.DEFINE_integer("teacher_examples", TRAIN, "That a teacher learns from.", 10, TRAIN)
_EPOCHS = flags.DEFINE_integer("epochs", 120, "Of a student.", 3)
_TEACHER_EPOCHS = flags.DEFINE_integer("teacher_epochs", 30, "Of a teacher.", 1)
_RATE = flags.DEFINE_float("learning_rate", 3e-3, "Of Adam; it falls to 0 by a cosine.", 0)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 2)
L = keras.layers


def network(filters: int, convolutions: int, name: str) -> keras.Model:
    """[B, 8, 8, 1] -> [B, 10] logits, over 8 x 8 and 4 x 4."""
    image = x = keras.Input((8, 8, 1), name="image")
    for block, width in enumerate((filters, 2 * filters)):
        for place in range(convolutions):
            x = L.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{block}_{place}")(x)
            x = L.BatchNormalization(name=f"norm{block}_{place}")(x)
            x = L.ReLU(name=f"relu{block}_{place}")(x)
        x = L.MaxPooling2D(name=f"pool{block}")(x)
    return keras.Model(image, L.Dense(10, name="scores")(L.Flatten(name="flat")(x)), name=name)


def loss() -> keras.losses.Loss:
    """-> of logits and the numbers of classes."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def batches(images: np.ndarray, labels: np.ndarray, epochs: int, seed: int) -> tf.data.Dataset:
    """-> full batches of all epochs, in an order that the seed alone decides."""
    rng, steps = np.random.default_rng([seed, 1]), len(images) // _BATCH.value
    order = np.concatenate([rng.permutation(len(images))[: steps * _BATCH.value] for _ in range(epochs)])
    return tf.data.Dataset.from_tensor_slices((images[order], labels[order])).batch(_BATCH.value, drop_remainder=True)


def adam(steps: int) -> keras.optimizers.Optimizer:
    """-> the optimizer of a training of so many steps."""
    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE.value, steps))


def teacher_of(seed: int, images: np.ndarray, labels: np.ndarray) -> keras.Model:
    """-> the teacher of a seed, trained once."""
    path = Path(_OUT.value) / f"teacher-{seed}.keras"
    if not path.is_file():
        keras.utils.set_random_seed(seed)
        model = network(24, 2, "teacher")
        data = batches(images, labels, _TEACHER_EPOCHS.value, seed)
        model.compile(adam(int(data.cardinality())), loss())
        model.fit(data, verbose=0)
        with atomic_path(path) as temporary:
            model.save(temporary)
    return load_model(path)


def learn(way: str, student: keras.Model, teacher: keras.Model, data: tf.data.Dataset) -> dict[str, list[float]]:
    """Trains in place -> distances at the first and the last tenth of the steps."""
    steps, weights = int(data.cardinality()), weights_given()
    stages: list[tuple[keras.Model, str, tf.data.Dataset]] = []
    if way == NONE:
        stages.append((student, "", data))
    elif way == FITNETS:
        first = steps // 3
        stages.append((hint_stage(student, teacher), "hint", data.take(first)))
        stages.append((distiller_of("kd", student, teacher, weights), "kd", data.skip(first)))
    else:
        stages.append((distiller_of(way, student, teacher, weights), way, data))
    found = {}
    for model, term, part in stages:
        count = int(part.cardinality())
        model.compile(adam(count), None if term == "hint" and way == FITNETS else loss())
        tenth = max(count // 10, 1)
        history = model.fit(part.repeat(), epochs=count // tenth, steps_per_epoch=tenth, verbose=0).history
        if count % tenth:
            model.fit(part.skip(count - count % tenth), verbose=0)
        if term:
            found[term] = [history[term][0], history[term][-1]]
    return found


def distiller_of(way: str, student: keras.Model, teacher: keras.Model, weights: dict[str, float]) -> Distiller:
    """-> a student with one term."""
    task_weight = KD_TASK_WEIGHT if way == "kd" else 1.0
    return Distiller(student, teacher, [TERMS[way](weights[way])], task_weight=task_weight)


def weights_given() -> dict[str, float]:
    """-> term -> its weight."""
    try:
        given = {name: float(weight) for name, weight in (one.split("=") for one in _WEIGHTS.value)}
    except ValueError:
        given = {"": 0.0}
    if unknown := sorted(set(given) - set(WEIGHTS)):
        raise InputError(f"--weights must be term=number, of {', '.join(WEIGHTS)}. Received: {unknown[0]!r}")
    return {**WEIGHTS, **given}


def cell(way: str, seed: int) -> dict:
    """-> what one student reached; from its file if it is there."""
    path = Path(_OUT.value) / f"{way}-{seed}.json"
    given = {
        "examples": _EXAMPLES.value, "teacher_examples": _TEACHER_EXAMPLES.value, "epochs": _EPOCHS.value,
        "rate": _RATE.value, "batch_size": _BATCH.value, "teacher_epochs": _TEACHER_EPOCHS.value,
        "weights": weights_given(), "score": _SCORE.value,
    }  # fmt: skip
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["given"] != given:
            raise InputError(f"--out must be of the same flags. Received: {path} of {found['given']}")
        return found
    parts = read_digits()
    pictures, others = (part.pictures / np.float32(127.5) - 1 for part in parts)
    labels, other_labels = (np.asarray(part.labels) for part in parts)
    order = np.random.default_rng([seed, 0]).permutation(TRAIN)
    of_teacher, mine, left = order[: _TEACHER_EXAMPLES.value], order[: _EXAMPLES.value], order[_EXAMPLES.value :]
    if _SCORE.value == "validation":
        others, other_labels = pictures[left], labels[left]
    teacher = teacher_of(seed, pictures[of_teacher], labels[of_teacher])
    keras.utils.set_random_seed(seed)
    student = network(4, 1, "student")
    began = time.process_time()
    distances = learn(way, student, teacher, batches(pictures[mine], labels[mine], _EPOCHS.value, seed))
    spent = time.process_time() - began

    def accuracy(model: keras.Model) -> float:
        return 100 * float((np.argmax(model(others, training=False), axis=-1) == other_labels).mean())

    found = {
        "given": given, "accuracy": accuracy(student), "teacher": accuracy(teacher), "distances": distances,
        "processor_s": spent, "weights": [student.count_params(), teacher.count_params()],
    }  # fmt: skip
    atomic_write(path, to_json_text(found, indent=1))
    keras.backend.clear_session()
    return found


def table(found: dict[str, list[dict]]) -> str:
    """-> Markdown."""
    lines = ["| way | accuracy, % | points above none (95 % interval) | its distance, first and last tenth | s |"]
    lines.append("|---|---:|---:|---:|---:|")
    base = [one["accuracy"] for one in found.get(NONE, [])]
    for way, cells in found.items():
        scores = [one["accuracy"] for one in cells]
        points = "0" if way == NONE else ""
        if base and way != NONE:
            apart = np.subtract(scores, base)
            points = f"{apart.mean():+.2f}"
            if len(apart) > 1:
                t = scipy.stats.t.ppf(0.975, len(apart) - 1)
                half = float(t * apart.std(ddof=1) / math.sqrt(len(apart)))
                points += f" ({apart.mean() - half:+.2f} to {apart.mean() + half:+.2f})"
        distances = "; ".join(
            " to ".join(f"{np.mean([one['distances'][term][k] for one in cells]):.3g}" for k in (0, 1))
            for term in cells[0]["distances"]
        )
        spent = np.mean([one["processor_s"] for one in cells])
        lines.append(f"| {way} | {np.mean(scores):.2f} | {points} | {distances} | {spent:.0f} |")
    return "\n".join(lines)


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, prints the table."""
    del argv
    if wrong := [way for way in _WAYS.value if way not in WAYS]:
        raise InputError(f"--ways must be of {', '.join(WAYS)}. Received: {wrong[0]!r}")
    Path(_OUT.value).mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict]] = {way: [] for way in _WAYS.value}
    for seed in range(_FIRST.value, _FIRST.value + _SEEDS.value):
        for way, cells in found.items():
            cells.append(cell(way, seed))
            print(f"# seed {seed}, {way}: {cells[-1]['accuracy']:.2f} %", flush=True)
    first = found[_WAYS.value[0]]
    print(f"\n{summary()}. {_SEEDS.value} seeds; {_EXAMPLES.value} examples, {_EPOCHS.value} epochs.")
    print("Student and teacher: {:,} and {:,} weights; ".format(*first[0]["weights"]), end="")
    print(f"teachers {np.mean([one['teacher'] for one in first]):.2f} % from {_TEACHER_EXAMPLES.value} examples.\n")
    print(table(found))


if __name__ == "__main__":
    app.run(main)
