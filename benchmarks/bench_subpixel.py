"""What does a Deconv cost as TRANSPOSE_CONV, and what as convolutions and DEPTH_TO_SPACE?

    python benchmarks/bench_subpixel.py
    python benchmarks/bench_subpixel.py --input_size=128 --rows=G1+G2 --head

The networks of the case study's rows with random weights, float32 and int8, each as it is and after `subpixel`, timed
in turn. With --head the head alone, from the backbone's features on. Prints p50, and the ratio with its range over the
rounds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.rewrite import graft
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import ExportSpec

_SIZE = flags.DEFINE_integer("input_size", 256, "Side of the picture in pixels.", 32)
_ROWS = flags.DEFINE_list("rows", ["none", "G1", "G1+G2"], "Rows of the case study.")
_HEAD = flags.DEFINE_bool("head", False, "The head alone.")
_PRESETS = flags.DEFINE_list("presets", ["fp32", "int8"], "Presets of the export.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often all files have their turn.", 1)
_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)

NETWORKS = {
    "none": ("resnet50", None),
    "G1": ("mobilenet_v2", None),
    "G1+G2": ("mobilenet_v2", 64),
}


def network(row: str) -> keras.Model:
    """-> the untrained network of a row, or its head."""
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
            for preset in _PRESETS.value:
                files = {}
                for name, model in (("TRANSPOSE_CONV", old), ("subpixel", found.model)):
                    tflite = export_tflite(model, ExportSpec(preset), images if preset == "int8" else ())
                    left = undelegated_ops(tflite)
                    if left:
                        print(f"{row} {preset} {name}: XNNPACK left {', '.join(op.op for op in left)}")
                    files[name] = Path(folder, f"{name}.tflite")
                    files[name].write_bytes(tflite)
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
