"""A small residual network without some of its blocks: which criterion finds those that it can spare?

    python benchmarks/bench_block_removal.py

Trains a residual classifier on the 8 x 8 digits that come with scikit-learn (1,397 to learn from, 400 to score): three
stages of four blocks each that may leave, of 16, 32 and 64 channels. Then 3 and 6 of the 12 leave by each criterion,
and by chance with three seeds. Prints a table: correct answers at once, with a repair and after two epochs of
fine-tuning, what is left of the MACs, and the speed-up of the float32 file, all files timed in turn. No teacher, no
search. About three minutes of one core.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.machine import summary
from tta_lite.transforms.depth.blocks import analyse
from tta_lite.transforms.depth.criteria import block_scores
from tta_lite.transforms.depth.repair import repair
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import FP32

L = keras.layers
TEST, EPOCHS, FINETUNE, BATCH = 400, 20, 2, 32
DROPPED = (3, 6)
RUNS = (*((name, 0) for name in ("block_influence", "relative_change", "output_change", "taylor")),
        *(("random", seed) for seed in (0, 1, 2)))  # fmt: skip


def network() -> keras.Model:
    """-> ResNet v1 for small pictures (He et al., CVPR 2016, section 4.2). [B, 8, 8, 1] -> [B, 10]."""

    def conv_bn(x, filters, name, strides=1):
        x = L.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=name)(x)
        return L.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)

    image = keras.Input((8, 8, 1), name="pictures")
    x = image
    for stage, filters in enumerate((16, 32, 64), 1):
        x = L.ReLU(name=f"down{stage}_relu")(conv_bn(x, filters, f"down{stage}", strides=1 if stage == 1 else 2))
        for block in "abcd":
            name = f"{stage}{block}"
            y = L.ReLU(name=f"{name}_relu1")(conv_bn(x, filters, f"{name}_conv1"))
            x = L.ReLU(name=f"{name}_relu2")(L.Add(name=f"{name}_add")([x, conv_bn(y, filters, f"{name}_conv2")]))
    return keras.Model(image, L.Dense(10, name="logits")(L.GlobalAveragePooling2D(name="pool")(x)))


def main() -> None:
    """Trains, removes, repairs, fine-tunes, times, prints."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    x, y = (digits.images[order, :, :, None] / 8 - 1).astype(np.float32), digits.target[order]
    (test_x, test_y), (x, y) = (x[:TEST], y[:TEST]), (x[TEST:], y[TEST:])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def train(model: keras.Model, epochs: int, rate: float) -> None:
        keras.utils.set_random_seed(1)
        steps = epochs * (len(x) // BATCH)
        schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
        model.compile(keras.optimizers.Adam(schedule), loss)
        model.fit(x, y, BATCH, epochs, verbose=0)

    def right(model: keras.Model) -> float:
        return 100 * float((np.argmax(model(test_x, training=False), axis=1) == test_y).mean())

    keras.utils.set_random_seed(0)
    net = network()
    train(net, EPOCHS, 2e-3)
    found = analyse(net)
    batches = [(x[at : at + BATCH], y[at : at + BATCH]) for at in range(0, 8 * BATCH, BATCH)]
    print("| dropped | by | at once | repaired | fine-tuned | MACs left | blocks |")
    print("|---:|---|---:|---:|---:|---:|---|")
    print(f"| 0 | | {right(net):.1f} | | | 100 % | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        files = {"whole": Path(folder, "whole.tflite")}
        files["whole"].write_bytes(export_tflite(net, FP32))
        scores = {
            f"{name} {seed}" if name == "random" else name: block_scores(
                net, name, images=x[:256], batches=batches, loss=loss, seed=seed
            )
            for name, seed in RUNS
        }
        for count in DROPPED:
            for name, own in scores.items():
                names = sorted(sorted(own, key=own.__getitem__)[:count])
                model = remove_blocks(net, names)
                fitted = repair(net, model, names, x[:256])
                tuned = rewrite(fitted, {})
                train(tuned, FINETUNE, 5e-4)
                file = files.setdefault(f"{count} by {name}", Path(folder, f"{count}_{name}.tflite"))
                file.write_bytes(export_tflite(tuned, FP32))
                told = " | ".join(f"{right(one):.1f}" for one in (model, fitted, tuned))
                share = found.cost(names).macs / found.cost(()).macs
                gone = ", ".join(one.removesuffix("_add") for one in names)
                print(f"| {count} | {name} | {told} | {share:.0%} | {gone} |", flush=True)
        timed = benchmark_together(files, num_threads=1, rounds=5, num_runs=50, min_secs=0.1)
    print("| file | p50, ms | speed-up (lowest to highest of five rounds) |")
    print("|---|---:|---:|")
    for name, speedup in timed.speedups("whole").items():
        print(
            f"| {name} | {timed[name].latency.p50:.4f} "
            f"| {speedup.median:.2f} ({speedup.min:.2f} to {speedup.max:.2f}) |"
        )
    print(summary())


if __name__ == "__main__":
    main()
