"""Early exits and a cascade on handwritten digits, against networks of the same costs that were trained alone.

  python benchmarks/bench_early_exits.py --out=runs/early_exits

Networks of [8, 8, 1] on the digits that come with scikit-learn: 150 to learn from, 600 to tune thresholds on, 597 to
score. Each seed trains a classifier with two exits (their losses summed), its classifier alone, and lighter ones of the
same family; the cascade is the lightest and the heaviest of those. Few are learnt from on purpose: from 900 the light
networks alone are as good as the heavy ones, and nothing is left to be adaptive about. Figures are means over the seeds
with a 95 % interval (Student's t).

Prints, for each mean cost in MACs, what early exits and the cascade reach, and what the networks alone do; the size of
the one file against files for each exit; and the latency of each mode through LiteRT, measured in a process without
TensorFlow. Writes artifact/ of the first seed for `tta-lite adaptive-simulate`. A seed is a file in --out: a run that
was stopped goes on. About 60 s of one core a seed.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.stats
from absl import app, flags

from tta_lite.adaptive.folder import rewrite_policy, write_adaptive
from tta_lite.adaptive.policy import Policy
from tta_lite.adaptive.staged import cascade_stages, early_exit_file, tuned_modes
from tta_lite.adaptive.thresholds import answers, curve, ends
from tta_lite.adaptive.timing import time_in_child, with_latencies
from tta_lite.compat import keras
from tta_lite.datasets.digits import read_digits
from tta_lite.export.signatures import export_part
from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_write, to_json_text
from tta_lite.measure.counting import count
from tta_lite.measure.machine import summary
from tta_lite.tasks.early_exits import joint_losses
from tta_lite.transforms.early_exits import add_exits
from tta_lite.types import FP32

L = keras.layers
AFTER = ("relu0_1", "relu1_1")
WEIGHTS = (0.5, 0.7, 1.0)
# Filters of the networks that are trained alone; the last is the classifier that gets the exits.
FILTERS = (2, 4, 8, 12, 16)
LEARN, TUNE = 150, 600
COSTS = 12

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many.", 1)
_EPOCHS = flags.DEFINE_integer("epochs", 120, "Of each network.", 1)
_RATE = flags.DEFINE_float("learning_rate", 3e-3, "Of Adam; it falls to 0 by a cosine.", 0)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 2)
_RUNS = flags.DEFINE_integer("runs", 2000, "Timed runs of each stage.", 10)
_SIGNAL = flags.DEFINE_enum("signal", "max_softmax", ("max_softmax", "entropy"), "How sure an exit is.")


def network(filters: int, name: str) -> keras.Model:
    """[B, 8, 8, 1] -> [B, 10] logits, over 8 x 8, 4 x 4 and 2 x 2."""
    image = x = keras.Input((8, 8, 1), name="image")
    for block, width in enumerate((filters, 2 * filters, 4 * filters)):
        for place in range(2):
            stride = 2 if block and not place else 1
            x = L.Conv2D(width, 3, stride, padding="same", use_bias=False, name=f"conv{block}_{place}")(x)
            x = L.BatchNormalization(name=f"bn{block}_{place}")(x)
            x = L.ReLU(name=f"relu{block}_{place}")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, L.Dense(10, name="scores")(x), name=name)


def loss() -> keras.losses.Loss:
    """-> of logits and the numbers of classes."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def learn(model: keras.Model, losses: object, images: np.ndarray, labels: np.ndarray, seed: int) -> None:
    """Trains in place."""
    steps = _EPOCHS.value * (len(images) // _BATCH.value)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_RATE.value, steps)), losses)
    rng, whole = np.random.default_rng([seed, 1]), len(images) // _BATCH.value * _BATCH.value
    order = np.concatenate([rng.permutation(len(images))[:whole] for _ in range(_EPOCHS.value)])
    model.fit(images[order], labels[order], batch_size=_BATCH.value, shuffle=False, verbose=0)


def scores(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """-> of each output, [N, 10]."""
    found = model(images, training=False)
    return [np.asarray(one) for one in (found if isinstance(found, list) else [found])]


def seed_of(seed: int) -> dict:
    """-> what the networks of a seed reached; from its file if it is there."""
    path = Path(_OUT.value) / f"seed-{seed}.json"
    given = {"epochs": _EPOCHS.value, "rate": _RATE.value, "batch": _BATCH.value, "signal": _SIGNAL.value}
    first = seed == 0
    if path.is_file() and not (first and not (Path(_OUT.value) / "artifact").is_dir()):
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["given"] == given:
            return found
    train, test = read_digits()
    pictures, others = (part.pictures / np.float32(127.5) - 1 for part in (train, test))
    labels, other_labels = np.asarray(train.labels), np.asarray(test.labels)
    order = np.random.default_rng([seed, 0]).permutation(len(pictures))
    mine, tune = order[:LEARN], order[LEARN : LEARN + TUNE]
    alone: dict[int, keras.Model] = {}
    for filters in FILTERS:
        keras.utils.set_random_seed(seed)
        alone[filters] = network(filters, f"alone{filters}")
        learn(alone[filters], loss(), pictures[mine], labels[mine], seed)
    keras.utils.set_random_seed(seed)
    joint = add_exits(network(FILTERS[-1], "exits"), AFTER, head="conv")
    learn(joint, joint_losses(loss(), WEIGHTS), pictures[mine], labels[mine], seed)
    stages, tflite = early_exit_file(joint)
    pair = [alone[FILTERS[0]], alone[FILTERS[-1]]]
    costs = {"early exits": [stage.macs for stage in stages], "cascade": [count(one).macs for one in pair]}
    outputs = {
        "early exits": (scores(joint, pictures[tune]), scores(joint, others)),
        "cascade": tuple([scores(one, part)[0] for one in pair] for part in (pictures[tune], others)),
    }
    most = count(alone[FILTERS[-1]]).macs
    record: dict = {"given": given, "points": {}, "alone": [], "costs": costs, "exits": []}
    for filters, model in alone.items():
        right = np.argmax(scores(model, others)[0], axis=1) == other_labels
        record["alone"].append({"filters": filters, "macs": count(model).macs, "accuracy": 100 * float(right.mean())})
    record["exits"] = [
        100 * float((np.argmax(one, axis=1) == other_labels).mean()) for one in outputs["early exits"][1]
    ]
    for way, (tuning, scored) in outputs.items():
        record["points"][way] = []
        for target in np.geomspace(min(costs["cascade"][0], costs["early exits"][0]), most, COSTS):
            if target < costs[way][0]:
                continue
            tuned = curve(tuning, labels[tune], costs[way], targets=[float(target)], signal=_SIGNAL.value, logits=True)[
                -1
            ]
            stage = ends(scored, tuned.thresholds, signal=_SIGNAL.value, logits=True)
            right = answers(scored, stage) == other_labels
            record["points"][way].append({
                "target": float(target),
                "macs": float(np.cumsum(costs[way])[stage].mean()),
                "accuracy": 100 * float(right.mean()),
                "shares": (np.bincount(stage, minlength=len(scored)) / len(stage)).tolist(),
            })  # fmt: skip
    if first:
        record |= artifacts(joint, stages, tflite, alone, pictures[tune], labels[tune], others, other_labels)
    atomic_write(path, to_json_text(record, indent=1))
    keras.backend.clear_session()
    return record


def artifacts(joint, stages, tflite, alone, tuning, tuning_labels, others, other_labels) -> dict:
    """Writes the folders of early exits and of the cascade, timed -> sizes and latencies."""
    out = Path(_OUT.value)
    pair = {"light": alone[FILTERS[0]], "heavy": alone[FILTERS[-1]]}
    files = {name: export_tflite(model, FP32) for name, model in pair.items()}
    ways = {
        "artifact": ("early_exit", stages, {"model.tflite": tflite}, [joint]),
        "cascade": ("cascade", cascade_stages(files), {f"{k}.tflite": v for k, v in files.items()}, [*pair.values()]),
    }
    found: dict = {"modes": {}}
    for folder, (kind, parts, content, models) in ways.items():
        tune, test = ([one for model in models for one in scores(model, images)] for images in (tuning, others))
        data = ((tune, tuning_labels), (test, other_labels))
        options = {"signal": _SIGNAL.value, "logits": True}
        policy = Policy("digits", kind, "top-1 accuracy", parts, tuned_modes(parts, *data, **options), **options)
        write_adaptive(out / folder, policy, content, others[:4])
        samples, source = time_in_child(out / folder, runs=_RUNS.value)
        timed = with_latencies(policy, samples, source)
        # Again, for what MACs promise is not what a stage takes.
        timed = Policy(
            "digits",
            kind,
            "top-1 accuracy",
            timed.stages,
            tuned_modes(timed.stages, *data, **options),
            source,
            **options,
        )
        rewrite_policy(out / folder, timed)
        found["modes"][folder] = [
            {"name": mode.name, "accuracy": mode.accuracy, "interval": mode.interval, "macs": timed.macs(mode),
             "latency_ms": timed.latency_ms(mode), "worst_ms": timed.worst_ms(mode), "shares": mode.shares}
            for mode in timed.front()
        ]  # fmt: skip
        found[f"stages of {folder}"] = [
            {"name": stage.name, "macs": stage.macs, "latency_ms": stage.latency_ms} for stage in timed.stages
        ]
        found["source"] = source
    found["sizes"] = sizes(joint, tflite)
    found["alone_ms"] = alone_latencies(alone)
    return found


def sizes(joint, tflite: bytes) -> dict[str, int]:
    """-> bytes of the one file, and of files that each hold the network up to one exit."""
    upto = [export_part(keras.Model(joint.input, scores), "fp32") for scores in joint.outputs]
    return {"one file": len(tflite), "largest of the others": max(map(len, upto)), "others": sum(map(len, upto))}


def alone_latencies(alone) -> dict[str, float]:
    """-> filters -> ms of the network alone, timed as a stage is."""
    files = {f"alone{filters}": export_tflite(model, FP32) for filters, model in alone.items()}
    stages = cascade_stages(files)
    labels = np.zeros(2, int)
    fixed = [np.eye(10)[labels]] * len(files)
    modes = tuned_modes(stages, (fixed, labels), (fixed, labels))
    policy = Policy("alone", "cascade", "none", stages, modes, signal="max_softmax")
    with tempfile.TemporaryDirectory() as folder:
        place = write_adaptive(
            Path(folder) / "alone", policy, {f"{k}.tflite": v for k, v in files.items()}, [np.zeros((8, 8, 1))]
        )
        samples, _ = time_in_child(place, runs=_RUNS.value)
    return {name: float(np.median(values)) for name, values in samples.items()}


def interval(values: Sequence[float]) -> str:
    """-> mean and 95 % interval, Student's t."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:.2f}"
    half = scipy.stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean:.2f} ± {half:.2f}"


def report(found: list[dict]) -> None:
    """Prints the tables."""
    print("\n| network alone, filters | MACs | top-1, % | ms |\n|---|---:|---:|---:|")
    for place, one in enumerate(found[0]["alone"]):
        accuracy = interval([each["alone"][place]["accuracy"] for each in found])
        ms = found[0]["alone_ms"][f"alone{one['filters']}"]
        print(f"| {one['filters']} | {one['macs']:,} | {accuracy} | {ms:.3f} |")
    print("\n| exit, for all images | MACs | top-1, % |\n|---|---:|---:|")
    for place, macs in enumerate(np.cumsum(found[0]["costs"]["early exits"])):
        print(f"| {place + 1} | {macs:,} | {interval([each['exits'][place] for each in found])} |")
    for way, points in found[0]["points"].items():
        print(f"\n| {way}: at most so many MACs when tuned | MACs | top-1, % | answered by each stage, % |")
        print("|---:|---:|---:|---|")
        for place, point in enumerate(points):
            rows = [each["points"][way][place] for each in found]
            macs = np.mean([row["macs"] for row in rows])
            shares = 100 * np.mean([row["shares"] for row in rows], axis=0)
            told = " / ".join(f"{share:.0f}" for share in shares)
            print(f"| {point['target']:,.0f} | {macs:,.0f} | {interval([row['accuracy'] for row in rows])} | {told} |")
    first = found[0]
    for folder, modes in first["modes"].items():
        print(f"\n{folder}, the first seed, {first['source']}: " + ", ".join(
            f"{stage['name']} {stage['latency_ms']:.4f} ms ({stage['macs']:,} MACs)"
            for stage in first[f"stages of {folder}"]
        ))  # fmt: skip
        print("\n| mode | top-1, % | mean ms | worst ms | answered by each stage, % |\n|---|---:|---:|---:|---|")
        for mode in modes:
            told = " / ".join(f"{100 * share:.0f}" for share in mode["shares"])
            print(
                f"| {mode['name']} | {mode['accuracy']:.2f} ({mode['interval'][0]:.1f} to {mode['interval'][1]:.1f}) | "
                f"{mode['latency_ms']:.4f} | {mode['worst_ms']:.4f} | {told} |"
            )
    print("\nbytes: " + ", ".join(f"{name} {size:,}" for name, size in first["sizes"].items()))


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, prints the tables."""
    del argv
    Path(_OUT.value).mkdir(parents=True, exist_ok=True)
    found = []
    for seed in range(_SEEDS.value):
        found.append(seed_of(seed))
        print(
            f"# seed {seed}: alone {found[-1]['alone'][-1]['accuracy']:.2f} %, exits {found[-1]['exits']}", flush=True
        )
    print(f"\n{summary()}; {_SEEDS.value} seeds, {_EPOCHS.value} epochs, {_SIGNAL.value}.")
    report(found)


if __name__ == "__main__":
    app.run(main)
