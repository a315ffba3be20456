"""A once-for-all network on handwritten digits, against networks of the same settings that were trained alone.

  python benchmarks/bench_once_for_all.py --out=runs/once

The 1,797 digits of UCI (8 x 8; scikit-learn has them): 1,200 to learn from, 597 to score. Each seed trains one small
network in the manner of MobileNetV3 (two stages of a block that changes the shape and two residual ones; kernels of
5 x 5; squeeze-and-excite in the second) by progressive shrinking, and some networks within it alone, from the same
start, with Adam and a rate that falls by one cosine. A row a setting: accuracy, its points above the network alone with
the 95 % interval of the paired differences over the seeds (Student's t), MACs, the float32 file, and its latency by
LiteRT, all files timed in turn; above it what both took. A seed is two files in --out: a run that was stopped goes on.
About three minutes of one core a seed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
from tta_lite.models.mnasnet import squeeze_excite
from tta_lite.training.once_for_all import OnceForAll
from tta_lite.training.progressive_shrinking import ProgressiveShrinking, phases
from tta_lite.transforms.elastic.extract import extract
from tta_lite.transforms.elastic.find import elastic_space
from tta_lite.transforms.elastic.space import ElasticSpace, Setting
from tta_lite.types import FP32, InputError

L = keras.layers
STAGES = 2

_OUT = flags.DEFINE_string("out", None, "A folder.", required=True)
_SEEDS = flags.DEFINE_integer("seeds", 3, "How many; 1 has no intervals.", 1)
_PHASES = flags.DEFINE_list("phases", ["8", "4", "4", "14"], "Epochs: full, kernel, depth, width.")
_SANDWICH = flags.DEFINE_bool("sandwich", True, "The smallest network learns in each step.")
_EPOCHS = flags.DEFINE_integer("epochs", 20, "Of each network alone.", 1)
_RATE = flags.DEFINE_float("learning_rate", 5e-3, "Of Adam; it falls to 0 by a cosine.", 0)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Examples a step.", 2)
_DRAWN = flags.DEFINE_integer("drawn", 4, "Settings by chance whose batch norms are looked at.", 1)
_FILTERS = flags.DEFINE_integer("filters", 8, "Of the first stage.", 4)


def network() -> keras.Model:
    """[B, 8, 8, 1] -> [B, 10] logits."""
    image = keras.Input((8, 8, 1), name="image")
    x = _normed(L.Conv2D(_FILTERS.value, 3, padding="same", use_bias=False, name="stem")(image), "stem", act=True)
    for stage in range(1, STAGES + 1):
        filters = stage * _FILTERS.value
        for block in range(1, 4):
            name, came_in = f"stage{stage}_block{block}", x
            y = L.Conv2D(4 * x.shape[-1], 1, use_bias=False, name=f"{name}_expand")(x)
            y = _normed(y, f"{name}_expand", act=True)
            strides = 2 if block == 1 and stage > 1 else 1
            y = L.DepthwiseConv2D(5, strides, "same", use_bias=False, name=f"{name}_dw")(y)
            y = _normed(y, f"{name}_dw", act=True)
            if stage == STAGES:
                y = squeeze_excite(y, filters // 4, name=f"{name}_se")
            y = L.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(y)
            y = _normed(y, f"{name}_project", act=False)
            x = y if block == 1 else L.Add(name=f"{name}_add")([came_in, y])
    return keras.Model(image, L.Dense(10, name="scores")(L.GlobalAveragePooling2D()(x)), name="net")


def _normed(x: tf.Tensor, name: str, *, act: bool) -> tf.Tensor:
    x = L.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return L.ReLU(6.0, name=f"{name}_act")(x) if act else x


def space_of(model: keras.Model) -> ElasticSpace:
    """-> what is elastic in it."""
    return elastic_space(model, round_to=4, floor=4)


def chosen(space: ElasticSpace) -> dict[str, Setting]:
    """-> settings across the range: each direction alone, and all of them."""
    kernels, depths, widths = len(space.kernels), len(space.stages), len(space.widths)
    wanted = {"full": (5, 2, 1.0), "kernel 3": (3, 2, 1.0), "width 1/2": (5, 2, 0.5), "depth 0": (5, 0, 1.0)}
    wanted |= {"half way": (3, 1, 0.75), "smallest": (3, 0, 0.5)}
    return {
        name: space.check(Setting((size,) * kernels, (depth,) * depths, (share,) * widths))
        for name, (size, depth, share) in wanted.items()
    }


@dataclasses.dataclass(frozen=True)
class Seed:
    """What all trainings of a seed share."""

    number: int

    def start(self) -> keras.Model:
        """-> the network before it has learnt."""
        keras.utils.set_random_seed(self.number)
        return network()

    def trained(self, model: Any, epochs: int, callbacks: Sequence = ()) -> Any:
        """-> the model, after so many epochs in the order of the seed."""
        rng, steps = np.random.default_rng(self.number), TRAIN // _BATCH.value
        pictures, labels = _scaled(0)
        order = np.concatenate([rng.permutation(TRAIN)[: steps * _BATCH.value] for _ in range(epochs)])
        data = tf.data.Dataset.from_tensor_slices((pictures[order], labels[order])).batch(_BATCH.value)
        rate = keras.optimizers.schedules.CosineDecay(_RATE.value, steps * epochs)
        model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        # As one data set, whose order goes on from epoch to epoch.
        model.fit(data.repeat(), epochs=epochs, steps_per_epoch=steps, callbacks=list(callbacks), verbose=0)
        return model

    def kept(self, name: str, given: dict, make: Callable[[], dict]) -> dict:
        """-> what a training gave; from its file if it is there."""
        path = Path(_OUT.value) / f"{name}-{self.number}.json"
        given = {"rate": _RATE.value, "batch_size": _BATCH.value, "filters": _FILTERS.value, **given}
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            if found["given"] != given:
                raise InputError(f"--out must be of the same flags. Received: {path} of {found['given']}")
            return found
        found = {"given": given, **make()}
        atomic_write(path, to_json_text(found, indent=1))
        keras.backend.clear_session()
        return found

    def once(self) -> dict:
        """-> what the once-for-all network reached; its files if it is the first."""
        each = [int(count) for count in _PHASES.value]

        def make() -> dict:
            began = time.process_time()
            shrinking, model = ProgressiveShrinking(phases(*each)), self.start()
            many = OnceForAll(model, space_of(model), sandwich=_SANDWICH.value, seed=self.number)
            self.trained(many, shrinking.epochs, [shrinking])
            spent = time.process_time() - began
            batches = [_scaled(0)[0][at : at + 200] for at in range(0, TRAIN, 200)]
            settings = chosen(many.space)
            many.choose(settings.values())
            many.recalibrate(batches)
            modes = {}
            for name, setting in settings.items():
                net = many.network(setting)
                modes[name] = {"setting": str(setting), "accuracy": accuracy(net), "macs": count(net).macs}
                if self.number == 0:
                    atomic_write(Path(_OUT.value) / f"{setting}.tflite", export_tflite(net, FP32))
            # What is drawn and not chosen, without and with statistics of its own.
            rng = np.random.default_rng(self.number)
            drawn = [many.space.sample(rng) for _ in range(_DRAWN.value)]
            before = []
            for one in drawn:
                with many.at(one):
                    before.append(accuracy(many))
            many.recalibrate(batches, drawn)
            after = [accuracy(many.network(one)) for one in drawn]
            print(
                f"# seed {self.number}: " + ", ".join(f"{k} {m['accuracy']:.1f}" for k, m in modes.items()), flush=True
            )
            return {"modes": modes, "processor_s": spent, "drawn": [before, after], "size": many.space.size()}

        return self.kept("once", {"phases": each, "sandwich": _SANDWICH.value}, make)

    def alone(self) -> dict:
        """-> what the networks reached that were trained alone."""

        def make() -> dict:
            space = space_of(self.start())
            reached = {}
            began = time.process_time()
            for name, setting in chosen(space).items():
                # Its start is the large network's, as it is in the form.
                reached[name] = accuracy(self.trained(extract(self.start(), space, setting), _EPOCHS.value))
                print(f"# seed {self.number}, alone: {name} {reached[name]:.1f}", flush=True)
            return {"reached": reached, "processor_s": time.process_time() - began}

        return self.kept("alone", {"epochs": _EPOCHS.value}, make)


@functools.cache
def _scaled(part: int) -> tuple[np.ndarray, np.ndarray]:
    """-> pictures in -1..1 and classes, of what is learnt from (0) or scored (1)."""
    found = read_digits()[part]
    return np.float32(found.pictures) / np.float32(127.5) - 1, np.asarray(found.labels)


def accuracy(model: Any) -> float:
    """-> in percent, on the test part."""
    pictures, labels = _scaled(1)
    return 100 * float((np.argmax(model(pictures, training=False), axis=-1) == labels).mean())


def main(argv: Sequence[str]) -> None:
    """Trains what is not there yet, times the files, prints the table."""
    del argv
    out = Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    seeds = [Seed(number) for number in range(_SEEDS.value)]
    found, alone = zip(*[(seed.once(), seed.alone()) for seed in seeds], strict=True)
    modes = found[0]["modes"]
    files = {name: out / f"{mode['setting']}.tflite" for name, mode in modes.items()}
    timed = benchmark_together(files, num_threads=1, rounds=5, num_runs=200, min_secs=0.2)
    speedups = timed.speedups("full")
    print(f"\n{summary()}; {timed['full'].measured_on}; {len(found)} seeds, epochs {found[0]['given']['phases']}")
    spent, other = (np.mean([one["processor_s"] for one in each]) for each in (found, alone))
    print(f"{found[0]['size']:,} settings; processor seconds a seed: {spent:.0f}; the networks alone: {other:.0f}")
    before, after = (np.mean([one["drawn"][place] for one in found]) for place in range(2))
    print(
        f"{_DRAWN.value} settings drawn a seed: {before:.1f} % with the largest's statistics, {after:.1f} % with own\n"
    )
    print("| setting | MACs | accuracy, % | points above it alone (95 % interval) | times as fast | file, KB |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, mode in modes.items():
        reached = np.array([one["modes"][name]["accuracy"] for one in found])
        without = np.array([one["reached"][name] for one in alone])
        apart = reached - without
        interval = ""
        if len(apart) > 1:
            half = scipy.stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / math.sqrt(len(apart))
            interval = f" ({apart.mean() - half:+.2f} to {apart.mean() + half:+.2f})"
        print(
            f"| {name}, `{mode['setting']}` | {mode['macs']:,} | {reached.mean():.2f} | {apart.mean():+.2f}{interval} "
            f"| {speedups[name].median:.2f} | {files[name].stat().st_size / 1e3:.1f} |"
        )


if __name__ == "__main__":
    app.run(main)
