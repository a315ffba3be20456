"""Which blocks can a trained pose network spare, without any training after?

    python benchmarks/bench_pose_blocks.py --model=runs/lspet/steps/02-g1-g2/model.keras --data_dir=lspet

The trained pose network of the case study (docs/case_study.md has the command) has a MobileNetV2 backbone with ten
residual blocks. So many of them leave by each criterion (`--blocks`), as they are and with a repair on 128 training
crops; by chance with three seeds. Prints of each PCKh@0.5 with its 95 % interval, what is left of the MACs and the
parameters, and which blocks left; then the speed-up of the float32 files, all timed in turn. No weight is trained.
Networks without the same blocks are scored once.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.datasets.readers import read_train_and_test
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.machine import summary
from tta_lite.models.backbones import get_backbone
from tta_lite.models.files import load_network
from tta_lite.tasks.pose import PoseTask
from tta_lite.transforms.depth.blocks import analyse
from tta_lite.transforms.depth.criteria import CRITERIA, block_scores
from tta_lite.transforms.depth.repair import repair
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import FP32

_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras file.", required=True)
_DATASET = flags.DEFINE_string("dataset", "lspet", "That it was trained on.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Its folder.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "mobilenet_v2", "Whose normalisation the images get.")
_CRITERIA = flags.DEFINE_list("criteria", list(CRITERIA), "Which.")
_BLOCKS = flags.DEFINE_list("blocks", ["1", "2", "4"], "How many leave.")
_IMAGES = flags.DEFINE_integer("images", 128, "Crops for the repair and for the criteria that look at images.", 1)
_BATCHES = flags.DEFINE_integer("batches", 16, "Of 8 crops, for the criterion that looks at gradients.", 1)
_INPUT_SIZE = flags.DEFINE_integer("input_size", 128, "Side of the crop.", 32)


def main(argv: Sequence[str]) -> None:
    """Scores blocks, removes, repairs, measures."""
    del argv
    train, test = read_train_and_test(_DATASET.value, _DATA_DIR.value, on_bad_example="skip")
    task = PoseTask(
        train, test, get_backbone(_BACKBONE.value).normalisation, input_size=_INPUT_SIZE.value, batch_size=8,
        flip_test=True,
    )  # fmt: skip
    net = rewrite(load_network(_MODEL.value), {}, flatten=True)
    found = analyse(net)
    images = np.concatenate(task.calibration(_IMAGES.value, seed=0))
    batches = [(x.numpy(), y.numpy()) for x, y in task.train_data(seed=0).take(_BATCHES.value)]

    def pckh(model: keras.Model) -> str:
        predict = tf.function(lambda images: model(images, training=False), reduce_retracing=True)
        score = task.score(lambda images: np.asarray(predict(images)))
        low, high = score.interval
        return f"{score.value:.1f} ({low:.1f} to {high:.1f})"

    @functools.cache
    def without(names: tuple[str, ...]) -> tuple[keras.Model, str, str]:
        smaller = remove_blocks(net, names)
        fitted = repair(net, smaller, names, images)
        return fitted, pckh(smaller), pckh(fitted)

    print("| blocks less | by | at once | repaired | MACs left | parameters left | which |")
    print("|---:|---|---:|---:|---:|---:|---|")
    print(f"| 0 | | {pckh(net)} | | 100 % | 100 % | |", flush=True)
    whole, files = found.cost(()), {}
    with tempfile.TemporaryDirectory() as folder:
        files["whole"] = Path(folder, "whole.tflite")
        files["whole"].write_bytes(export_tflite(net, FP32))
        runs = [(name, seed) for name in _CRITERIA.value for seed in (range(3) if name == "random" else (0,))]
        scores = {
            f"{name} {seed}" if name == "random" else name: block_scores(
                net, name, images=images, batches=batches, loss=task.loss(), seed=seed
            )
            for name, seed in runs
        }
        for count in map(int, _BLOCKS.value):
            for name, own in scores.items():
                chosen = sorted(own, key=own.__getitem__)[:count]
                names = tuple(block.name for block in found.blocks if block.name in chosen)
                model, at_once, repaired = without(names)
                cost = found.cost(names)
                print(
                    f"| {count} | {name} | {at_once} | {repaired} | {cost.macs / whole.macs:.0%} "
                    f"| {cost.params / whole.params:.0%} | {', '.join(one.removesuffix('_add') for one in names)} |",
                    flush=True,
                )
                file = files.setdefault(f"{count} by {name}", Path(folder, f"{count}_{name}.tflite"))
                file.write_bytes(export_tflite(model, FP32))
        timed = benchmark_together(files, num_threads=1, rounds=5, num_runs=20, min_secs=0.2)
    print("| file | p50, ms | speed-up (lowest to highest of five rounds) |")
    print("|---|---:|---:|")
    for name, speedup in timed.speedups("whole").items():
        low, high = speedup.min, speedup.max
        print(f"| {name} | {timed[name].latency.p50:.2f} | {speedup.median:.2f} ({low:.2f} to {high:.2f}) |")
    print(summary())


if __name__ == "__main__":
    app.run(main)
