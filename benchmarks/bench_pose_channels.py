"""Which criterion finds the channels that a pose network can spare?

  python benchmarks/bench_pose_channels.py --model=net.keras --data=lspet:/data/lspet --pixels=-1..1 \
    --epochs=3 --out=runs/channels
  python benchmarks/bench_pose_channels.py ... --criteria=taylor --epochs=10 --out=runs/channels10

A row a criterion: each cuts the same share of the MACs, is fine-tuned for as many epochs by the same rules, distilled
from the network before the cut, and scored as a float32 file. Network Slimming alone needs a training of its own before
the cut, with its penalty (`--slimming_epochs`, which come on top). PCKh@0.5 with its 95 % interval, the difference to
the network before the cut with an interval of its own (the same people are drawn for both), and the latency of all
files, timed in turn. A killed run goes on with the same command. An epoch of 5,000 people at 128 x 128 takes a minute
on two cores.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from recipes import _app
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.tasks.pose import PoseTask

_MODEL = flags.DEFINE_string("model", None, "The trained pose network, a .keras file.", required=True)
_DATA = flags.DEFINE_string("data", None, "<data set>:PATH, as --task=pose: takes it.", required=True)
_PIXELS = flags.DEFINE_string("pixels", "-1..1", "What the network expects of its pixels.")
_CRITERIA = flags.DEFINE_list("criteria", None, "Names of `transforms.channels.criteria.CRITERIA`; all if not given.")
_CUTS = flags.DEFINE_string(
    "cuts",
    "Conv1,expanded_conv*,block_*,Conv_1=0.5;pconv*,deconv*,heatmaps=0.5",
    "Layers (a MobileNetV2 backbone, then its head) and the share of their MACs that is left.",
)
_IMAGES = flags.DEFINE_integer("images", 64, "Training pictures that the criteria and the repair see.", 1)
_REPAIR = flags.DEFINE_bool("repair", True, "Fit the layers that follow by least squares before fine-tuning.")
_DISTIL = flags.DEFINE_float("distil", 0.5, "Share of the loss that comes from the network before the cut.", 0, 1)
_EPOCHS = flags.DEFINE_integer("epochs", 3, "Of fine-tuning.", 0)
_SLIMMING = flags.DEFINE_integer(
    "slimming_epochs", 3, "Of training with Network Slimming's penalty, before its cut.", 0
)
_PENALTY = flags.DEFINE_float("penalty", 0.3, "Network Slimming's; the factors move by it times the learning rate.")
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_BATCH = flags.DEFINE_integer("batch_size", 16, "Examples a step.", 1)
_OUT = flags.DEFINE_string("out", None, "The folder.", required=True)


def cut(model: keras.Model, task: PoseTask, criterion: str) -> tuple[keras.Model, float]:
    """-> the smaller network, and the seconds that it took."""
    from tta_lite.transforms.shrink import shrink

    images = np.concatenate(task.calibration(_IMAGES.value, seed=0))
    batches = _batches(task)
    began = time.monotonic()
    for text in _CUTS.value.split(";"):
        within, _, share = text.partition("=")
        if not share:
            raise InputError(f"--cuts must be like 'block_*,Conv_1=0.5;deconv*=0.5'. Received: {_CUTS.value!r}")
        model = shrink(
            model, criterion, macs=float(share), within=within.split(","), images=images, batches=batches,
            loss=task.loss(), repair=_REPAIR.value,
        ).model  # fmt: skip
    return model, time.monotonic() - began


def _batches(task: PoseTask) -> list[tuple[np.ndarray, np.ndarray]]:
    count = -(-_IMAGES.value // _BATCH.value)
    return [(x.numpy(), y.numpy()) for x, y in task.train_data(seed=0).take(count)]


def main(argv: Sequence[str]) -> None:
    """Cuts, fine-tunes, scores, times, prints."""
    from pose_pairs import difference, scored

    from tta_lite.export.tflite import export_tflite
    from tta_lite.files import atomic_path, atomic_write
    from tta_lite.measure.benchmark import benchmark_together
    from tta_lite.measure.counting import count
    from tta_lite.measure.interpreter import TFLitePredictor
    from tta_lite.models.files import load_network
    from tta_lite.tasks.find import find_task
    from tta_lite.tasks.pose import PoseTask
    from tta_lite.training.distillation import Distillation
    from tta_lite.training.fit import FitSettings, fit
    from tta_lite.training.network_slimming import NetworkSlimming
    from tta_lite.transforms.channels.criteria import CRITERIA
    from tta_lite.types import FP32, Candidate

    names = _CRITERIA.value or list(CRITERIA)
    unknown = sorted(set(names) - set(CRITERIA))
    if unknown:
        raise InputError(f"--criteria must be some of {', '.join(CRITERIA)}. Received: {unknown[0]}")
    out = Path(_OUT.value)
    parent = load_network(_MODEL.value)
    task = find_task(f"pose:{_DATA.value}", parent, pixels=_PIXELS.value, batch_size=_BATCH.value, flip_test=True)
    assert isinstance(task, PoseTask)
    files, told = {}, {}
    for name in ("before the cut", *names):
        place = out / name.replace(" ", "_")
        files[name] = place / "model.tflite"
        if not (place / "row.json").is_file():
            place.mkdir(parents=True, exist_ok=True)
            model, seconds, at_once = parent, 0.0, ""
            if name in names:
                start = place / "start.keras"
                if not start.is_file():
                    larger = parent
                    if name == "network_slimming" and _SLIMMING.value:
                        slimming = FitSettings(_SLIMMING.value, _RATE.value, tensorboard=False)
                        callbacks = [NetworkSlimming(_PENALTY.value)]
                        larger = fit(Candidate(parent), task, slimming, place / "slimming", callbacks=callbacks).model
                    small, seconds = cut(larger, task, name)
                    atomic_write(place / "seconds.json", json.dumps(seconds))
                    with atomic_path(start) as temporary:
                        small.save(temporary)
                model, seconds = load_network(start), json.loads((place / "seconds.json").read_text())
                at_once = scored(task, TFLitePredictor(export_tflite(model, FP32), num_threads=2))[2]
                if _EPOCHS.value:
                    teacher = Distillation(parent, weight=_DISTIL.value) if _DISTIL.value else None
                    settings = FitSettings(_EPOCHS.value, _RATE.value, tensorboard=False)
                    settings = dataclasses.replace(settings, distillation=teacher)
                    model = fit(Candidate(model), task, settings, place / "training", label=name).model
                with atomic_path(place / "model.keras") as temporary:
                    model.save(temporary)
            tflite = export_tflite(model, FP32)
            atomic_write(files[name], tflite)
            counted, right, said = scored(task, TFLitePredictor(tflite, num_threads=2))
            with atomic_path(place / "right.npz") as temporary, open(temporary, "wb") as file:
                np.savez(file, counted=counted, right=right)
            figures = {"pckh": said, "at_once": at_once, "seconds": seconds}
            figures |= {"macs": count(model).macs, "params": count(model).params}
            atomic_write(place / "row.json", json.dumps(figures))
        told[name] = json.loads((place / "row.json").read_text())
        print(f"{name}: {told[name]}", flush=True)
    timed = benchmark_together(files, num_threads=1, rounds=5, num_runs=50, min_secs=1.0)
    speedups = timed.speedups("before the cut")
    truth = np.load(files["before the cut"].parent / "right.npz")
    print("| channels by | at once | fine-tuned | difference | MACs, M | parameters, M | speed-up | s to cut |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in told.items():
        right = np.load(files[name].parent / "right.npz")["right"]
        points, low, high = difference(truth["right"], right, truth["counted"])
        fast = speedups[name]
        print(
            f"| {name} | {row['at_once']} | {row['pckh']} | {points:+.2f} ({low:+.2f} to {high:+.2f}) "
            f"| {row['macs'] / 1e6:.1f} | {row['params'] / 1e6:.2f} | {fast.median:.2f} ({fast.min:.2f} to "
            f"{fast.max:.2f}) | {row['seconds']:.0f} |"
        )
    print(f"{timed['before the cut'].measured_on}")


if __name__ == "__main__":
    _app.run(main)
