"""Can one core feed the training of the light network?

  python benchmarks/bench_pipeline.py
  python benchmarks/bench_pipeline.py --data_dir=/data/lspet

Images per second of the training pipeline (loading, augmentation, crop, labels) on one core, and of training
MobileNetV2 with 64-channel PConvs on all cores, on a batch that is there already. The pipeline should be twice as
fast. Each is measured in a process of its own, after a warm-up. About a minute on two idle cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from absl import flags

from recipes import _app

_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "An LSPET folder, as data/README.md lays it out; none: synthetic only."
)
_INPUT_SIZE = flags.DEFINE_integer("input_size", 128, "Side of the crop in pixels, a multiple of 32.", 32)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples a batch.", 1)
_BATCHES = flags.DEFINE_integer("batches", 30, "Timed batches of the pipeline.", 2)
_STEPS = flags.DEFINE_integer("steps", 10, "Timed training steps.", 2)
_PART = flags.DEFINE_enum("part", None, ("synthetic", "lspet", "training"), "Measure this alone and print JSON.")

WARM_UP = 3
PEOPLE = 512


def time_batches(step: Callable[[], object], count: int) -> dict[str, list[float]]:
    """-> wall and CPU seconds of `count` calls, after a warm-up."""
    seconds: dict[str, list[float]] = {"wall": [], "cpu": []}
    for k in range(WARM_UP + count):
        wall, cpu = time.perf_counter(), time.process_time()
        step()
        if k >= WARM_UP:
            seconds["wall"].append(time.perf_counter() - wall)
            seconds["cpu"].append(time.process_time() - cpu)
    return seconds


def make_task(source: str):
    """-> a `PoseTask` on synthetic people or on LSPET, with the normalisation of MobileNetV2."""
    from tta_lite.datasets.lsp import read_lspet
    from tta_lite.datasets.synthetic import synthetic_pose
    from tta_lite.models.backbones import get_backbone
    from tta_lite.tasks.pose import PoseTask

    people = synthetic_pose(PEOPLE) if source == "synthetic" else read_lspet(_DATA_DIR.value, "train")
    return PoseTask(
        train=people,
        test=people,
        normalisation=get_backbone("mobilenet_v2").normalisation,
        input_size=_INPUT_SIZE.value,
        batch_size=_BATCH_SIZE.value,
    )


def measure_pipeline(source: str) -> dict[str, list[float]]:
    """Seconds a batch on one core. The process is bound to it before TensorFlow makes its threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    batches = iter(make_task(source).train_data(seed=0))
    return time_batches(lambda: next(batches), _BATCHES.value)


def measure_training() -> dict[str, list[float]]:
    """Seconds a training step on all cores; the batch is the same every time."""
    from tta_lite.compat import keras
    from tta_lite.models.pose import pose_resnet

    task = make_task("synthetic")
    model = pose_resnet(
        "mobilenet_v2", joints=len(task.train.joint_set), input_size=_INPUT_SIZE.value, bottleneck=64
    )  # fmt: skip
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=task.loss())
    images, labels = next(iter(task.train_data(seed=0)))
    return time_batches(lambda: model.train_on_batch(images, labels), _STEPS.value)


def measure_in_child(part: str) -> dict[str, list[float]]:
    """Runs this file with `--part`."""
    command = [sys.executable, __file__, *sys.argv[1:], f"--part={part}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1])


def describe(label: str, seconds: dict[str, list[float]]) -> str:
    """-> one line: images a second, and the spread of the batches."""
    rates = _BATCH_SIZE.value / np.array(seconds["wall"])
    figures = ", ".join(f"{name} {getattr(np, name)(rates):.0f}" for name in ("min", "median", "mean", "max", "std"))
    return f"{label}: {overall(seconds, 'wall'):.0f} images/s over {len(rates)} batches (a batch: {figures})"


def overall(seconds: dict[str, list[float]], clock: str) -> float:
    """-> images a second over all batches; single ones of the pipeline come in bursts, for it works ahead."""
    return _BATCH_SIZE.value * len(seconds[clock]) / sum(seconds[clock])


def main(argv: Sequence[str]) -> None:
    """Measures every part in turn and prints the ratios."""
    if _PART.value:
        seconds = measure_training() if _PART.value == "training" else measure_pipeline(_PART.value)
        print(json.dumps(seconds))
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"{cores} cores, load {os.getloadavg()[0]:.1f}; {_INPUT_SIZE.value} pixels, batches of {_BATCH_SIZE.value}")
    training = measure_in_child("training")
    print(describe(f"training mobilenet_v2 + PConv64, {cores} cores", training))
    for source in ("synthetic", "lspet") if _DATA_DIR.value else ("synthetic",):
        pipeline = measure_in_child(source)
        print(describe(f"pipeline {source}, 1 core", pipeline))
        wall = overall(pipeline, "wall") / overall(training, "wall")
        # A busy machine takes time from both, and not evenly; CPU seconds are nearly free of that.
        cpu = overall(pipeline, "cpu") / (overall(training, "cpu") * cores)
        print(f"  {wall:.1f} times as fast as the training; by CPU seconds {cpu:.1f} times (2 are wanted)")


if __name__ == "__main__":
    _app.run(main)
