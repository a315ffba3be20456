"""How much faster are the networks of the case study with their Deconvs as convolutions and DEPTH_TO_SPACE?

    python benchmarks/bench_subpixel.py [--input_size=256] [--rows=none,G1,G1+G2] [--head] [--presets=fp32,int8]
    python benchmarks/bench_subpixel.py --run=runs/lspet --data_dir=lspet

Each network in both forms, exported and timed in turn; --head leaves the backbone out. Latency does not depend on the
values of the weights, so they are not trained. With --run, the trained networks of a run of the case study on LSPET are
taken instead, and both forms are scored through the interpreter on the test people. Prints p50 of both and the ratio
with its range over the rounds.
"""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.datasets.readers import read_train_and_test
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.models.backbones import get_backbone
from tta_lite.models.files import load_network
from tta_lite.models.pose import pose_resnet
from tta_lite.tasks.pose import PoseTask
from tta_lite.transforms.rewrite import graft
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import ExportSpec

_SIZE = flags.DEFINE_integer("input_size", 256, "Side of the picture in pixels.", 32)
_ROWS = flags.DEFINE_list("rows", ["none", "G1", "G1+G2"], "Rows of the case study.")
_HEAD = flags.DEFINE_bool("head", False, "The head alone.")
_RUN = flags.DEFINE_string("run", None, "A run folder of the case study: its trained networks, scored too.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "With --run: the folder of LSPET.")
_PRESETS = flags.DEFINE_list("presets", ["fp32", "int8"], "Presets of the export.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often all files have their turn.", 1)
_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)

NETWORKS = {
    "none": ("resnet50", None),
    "G1": ("mobilenet_v2", None),
    "G1+G2": ("mobilenet_v2", 64),
}


def trained(row: str) -> keras.Model:
    """-> the network of a row as a run has left it."""
    return load_network(next(Path(_RUN.value, "steps").glob(f"*-{row.lower().replace('+', '-')}/model.keras")))


@functools.cache
def task(size: int) -> PoseTask:
    """-> LSPET with crops of that size, normalised as MobileNetV2 expects it."""
    train, test = read_train_and_test("lspet", _DATA_DIR.value, on_bad_example="skip")
    return PoseTask(train, test, get_backbone("mobilenet_v2").normalisation, input_size=size, flip_test=True)


def network(row: str) -> keras.Model:
    """-> the network of a row, or its head."""
    if _RUN.value:
        return trained(row)
    backbone, bottleneck = NETWORKS[row]
    model = pose_resnet(backbone, input_size=_SIZE.value, bottleneck=bottleneck)
    if not _HEAD.value:
        return model
    # The layer that the first PConv or Deconv reads.
    first = "pconv1" if bottleneck else "deconv1"
    features = model.get_layer(first).input
    image = keras.Input(features.shape[1:], name="features")
    return graft(model, [image], [(features, image)])


def main(argv: list[str]) -> None:
    """Builds, exports, times, prints."""
    del argv
    with tempfile.TemporaryDirectory() as folder:
        for row in _ROWS.value:
            old = network(row)
            found = subpixel(old)
            for one in found.moved:
                print(f"{row}: {one.name} as convolutions, DEPTH_TO_SPACE of {one.channels} channels")
            rng = np.random.default_rng(0)
            images = [rng.normal(size=(1, *old.input_shape[1:])).astype(np.float32) for _ in range(8)]
            if _RUN.value:
                scored = dataclasses.replace(
                    task(old.input_shape[1]), normalisation=get_backbone(NETWORKS[row][0]).normalisation
                )
                images = scored.calibration(100)
            for preset in _PRESETS.value:
                files = {}
                for name, model in (("TRANSPOSE_CONV", old), ("subpixel", found.model)):
                    tflite = export_tflite(model, ExportSpec(preset), images if preset == "int8" else ())
                    left = undelegated_ops(tflite)
                    if left:
                        print(f"{row} {preset} {name}: XNNPACK left {', '.join(op.op for op in left)}")
                    files[name] = Path(folder, f"{name}.tflite")
                    files[name].write_bytes(tflite)
                    if _RUN.value:
                        got = scored.score(TFLitePredictor(tflite, num_threads=2))
                        print(f"{row} {preset} {name}: {got.metric} {got.value:.2f} {got.interval}", flush=True)
                comparison = benchmark_together(
                    files, rounds=_ROUNDS.value, num_threads=_THREADS.value, num_runs=20, min_secs=0.5
                )
                ratio = comparison.speedups("TRANSPOSE_CONV")["subpixel"]
                p50 = [comparison[name].latency.p50 for name in files]
                print(
                    f"{row} {preset}: {p50[0]:.2f} ms -> {p50[1]:.2f} ms, {ratio.median:.2f} times as fast "
                    f"({ratio.min:.2f} to {ratio.max:.2f})",
                    flush=True,
                )


if __name__ == "__main__":
    app.run(main)
