"""Slimmable and multi-resolution networks on handwritten digits, against networks that were trained alone.

  python benchmarks/bench_many_in_one.py --out=runs/many

The 1,797 digits of UCI (8 x 8; scikit-learn has them): 1,200 to learn from, 597 to score. Each seed trains one network
in each form, `switchable` and `universal` at four widths, `resolution` for three sizes of picture, and each of their
widths and sizes alone, with as many epochs, the same start, examples and order. A row a mode: accuracy, its points
above the network alone with the 95 % interval of the paired differences over the seeds (Student's t), MACs, the float32
file, and its latency through LiteRT, all files timed in turn. A seed is a file in --out: a run that was stopped goes
on. About two minutes of one core a seed.
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

from tta_lite.compat import keras
from tta_lite.datasets.digits import TRAIN, read_digits
from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_write, to_json_text
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.counting import count
from tta_lite.measure.machine import summary
from tta_lite.training.many_in_one import ManyInOne
from tta_lite.training.resolutions import MultiResolution, resized
from tta_lite.training.slimmable import SWITCHABLE, UNIVERSAL, Slimmable
from tta_lite.types import FP32, InputError

L = keras.layers
RESOLUTION = "resolution"
WIDTHS, SIZES = (0.75, 0.5, 0.25), (6, 4)

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 5, "How many.", 2)
_EPOCHS = flags.DEFINE_integer("epochs", 40, "Of each network.", 1)
_RATE = flags.DEFINE_float("learning_rate", 3e-3, "Of Adam; it falls to 0 by a cosine.", 0)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 2)
_FILTERS = flags.DEFINE_integer("filters", 16, "Of the first block of the widest network.", 8)


def network() -> keras.Model:
    """[B, 8, 8, 1] -> [B, 10] logits."""
    image = x = keras.Input((8, 8, 1), name="image")
    for block, filters in enumerate((_FILTERS.value, 2 * _FILTERS.value)):
        for place in range(2):
            strides = 2 if block and not place else 1
            x = L.Conv2D(filters, 3, strides, "same", use_bias=False, name=f"conv{block}_{place}")(x)
            x = L.ReLU(name=f"relu{block}_{place}")(L.BatchNormalization(name=f"norm{block}_{place}")(x))
    return keras.Model(image, L.Dense(10, name="scores")(L.GlobalAveragePooling2D()(x)), name="net")


def forms(model: keras.Model) -> dict[str, tuple[type[ManyInOne], tuple, dict]]:
    """-> name -> what makes it of a network."""
    return {
        SWITCHABLE: (Slimmable, (model, WIDTHS), {"how": SWITCHABLE, "round_to": 4, "floor": 4}),
        UNIVERSAL: (Slimmable, (model, WIDTHS), {"how": UNIVERSAL, "round_to": 4, "floor": 4}),
        RESOLUTION: (MultiResolution, (model, SIZES), {}),
    }


def seed_of(seed: int) -> dict:
    """-> form -> mode -> what was reached, together and alone; from its file if it is there."""
    out = Path(_OUT.value)
    path = out / f"seed-{seed}.json"
    given = {"epochs": _EPOCHS.value, "rate": _RATE.value, "batch_size": _BATCH.value, "filters": _FILTERS.value}
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["given"] != given:
            raise InputError(f"--out must be of the same flags. Received: {path} of {found['given']}")
        return found
    learn, test = read_digits()
    pictures, others = (np.float32(part.pictures) / np.float32(127.5) - 1 for part in (learn, test))
    labels, wanted = (np.asarray(part.labels) for part in (learn, test))
    rng, steps = np.random.default_rng(seed), TRAIN // _BATCH.value
    order = np.concatenate([rng.permutation(TRAIN)[: steps * _BATCH.value] for _ in range(_EPOCHS.value)])
    data = tf.data.Dataset.from_tensor_slices((pictures[order], labels[order])).batch(_BATCH.value)

    def trained(model: keras.Model, size: int = 8) -> keras.Model:
        rate = keras.optimizers.schedules.CosineDecay(_RATE.value, steps * _EPOCHS.value)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(rate), loss)
        model.fit(data if size == 8 else data.map(lambda x, y: (resized(x, size), y)), verbose=0)
        return model

    def accuracy(model: keras.Model) -> float:
        x = resized(others, model.input_shape[1])
        return 100 * float((np.argmax(model(x, training=False), axis=-1) == wanted).mean())

    def start() -> keras.Model:
        keras.utils.set_random_seed(seed)
        return network()

    modes: dict[str, dict[str, dict]] = {}
    alone: dict[tuple, float] = {}
    for form, (kind, arguments, options) in forms(start()).items():
        began = time.process_time()
        many = trained(kind(*arguments, **options))
        many.recalibrate([pictures[at : at + 200] for at in range(0, TRAIN, 200)])
        spent = time.process_time() - began
        modes[form] = {}
        for key in many.keys:
            net = many.network(key)
            shape = tuple(tuple(weight.shape) for weight in net.weights), net.input_shape
            if shape not in alone:
                # Its start is the wide network's, as it is in the form.
                first = kind(start(), arguments[1], **options).network(key)
                alone[shape] = accuracy(trained(first, net.input_shape[1]))
            modes[form][f"{key:g}"] = {"together": accuracy(net), "alone": alone[shape], "macs": count(net).macs}
            if seed == 0:
                atomic_write(out / f"{form}-{key:g}.tflite", export_tflite(net, FP32))
        modes[form]["1" if form != RESOLUTION else "8"]["processor_s"] = spent
        print(
            f"# seed {seed}, {form}: " + ", ".join(f"{k}: {m['together']:.1f}" for k, m in modes[form].items()),
            flush=True,
        )
    found = {"given": given, "modes": modes}
    atomic_write(path, to_json_text(found, indent=1))
    keras.backend.clear_session()
    return found


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, times the files, prints the table."""
    del argv
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    found = [seed_of(seed)["modes"] for seed in range(_SEEDS.value)]
    files = {f"{form}-{key}": out / f"{form}-{key}.tflite" for form, modes in found[0].items() for key in modes}
    timed = benchmark_together(files, num_threads=1, rounds=5, num_runs=200, min_secs=0.2)
    speedups = timed.speedups(f"{SWITCHABLE}-1")
    print(f"\n{summary()}; {timed[f'{SWITCHABLE}-1'].measured_on}; {len(found)} seeds, {_EPOCHS.value} epochs\n")
    print("| form | mode | MACs | accuracy, % | points above it alone (95 % interval) | times as fast | file, KB |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for form, modes in found[0].items():
        for key, mode in modes.items():
            together, alone = (np.array([one[form][key][what] for one in found]) for what in ("together", "alone"))
            apart = together - alone
            half = scipy.stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart))
            size = files[f"{form}-{key}"].stat().st_size / 1e3
            print(
                f"| {form} | {key} | {mode['macs']:,} | {together.mean():.2f} | {apart.mean():+.2f} "
                f"({apart.mean() - half:+.2f} to {apart.mean() + half:+.2f}) | "
                f"{speedups[f'{form}-{key}'].median:.2f} | {size:.1f} |"
            )


if __name__ == "__main__":
    app.run(main)
