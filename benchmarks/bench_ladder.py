"""How much faster each structural step is, at 256 x 256 and one thread: none, G1, G1+G2 and G1+G2+G3.

    python benchmarks/bench_ladder.py [--input_size=256] [--num_threads=1] [--rounds=5]

Latency does not depend on the values of the weights, so the networks are not trained. About two minutes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.export.delegation import check_delegation
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.counting import count
from tta_lite.measure.machine import summary
from tta_lite.models.pose import pose_resnet
from tta_lite.types import FP32, ExportSpec

_INPUT_SIZE = flags.DEFINE_integer("input_size", 256, "Side of the crop in pixels.", 32)
_NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "The files are timed in turn, so many times.", 1)
_NUM_RUNS = flags.DEFINE_integer("num_runs", 50, "Timed inferences a file, at least.", 1)

NETS = {
    "none": ("resnet50", None, FP32),
    "G1": ("mobilenet_v2", None, FP32),
    "G1+G2": ("mobilenet_v2", 64, FP32),
    "G1+G2+G3": ("mobilenet_v2", 64, ExportSpec("int8", 4)),
}


def main(argv: Sequence[str]) -> None:
    """Exports the networks, times them in turn and prints the ratios."""
    size = _INPUT_SIZE.value
    rng = np.random.default_rng(0)
    noise = [rng.uniform(-1, 1, (1, size, size, 3)).astype(np.float32) for _ in range(4)]
    with tempfile.TemporaryDirectory() as folder:
        files, macs = {}, {}
        for name, (backbone, bottleneck, spec) in NETS.items():
            model = pose_resnet(backbone, input_size=size, bottleneck=bottleneck)
            tflite = export_tflite(model, spec, noise)
            left = check_delegation(tflite)
            if left:
                print(f"{name}: {left}")
            files[name], macs[name] = Path(folder, f"{name}.tflite"), count(model).macs
            files[name].write_bytes(tflite)
        found = benchmark_together(
            files, rounds=_ROUNDS.value, num_threads=_NUM_THREADS.value, num_runs=_NUM_RUNS.value
        )
    speedups = found.speedups("none")
    place = found["none"].measured_on
    print(f"{size} x {size}, {place.runtime}, {place.delegate}, {place.threads} thread(s), {summary()}")
    print(f"{'row':10} {'MACs, G':>8} {'p50, ms':>8} {'speed-up: median':>17} {'least':>6} {'most':>6}")
    for name, speedup in speedups.items():
        print(
            f"{name:10} {macs[name] / 1e9:8.2f} {found[name].latency.p50:8.1f} {speedup.median:17.1f} "
            f"{speedup.min:6.1f} {speedup.max:6.1f}"
        )


if __name__ == "__main__":
    app.run(main)
