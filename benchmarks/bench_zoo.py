"""Every light network as a classifier: parameters, MACs, files, what XNNPACK leaves, and latency in float32 and int8.

    python benchmarks/bench_zoo.py [--networks=mobilenet_v2,squeezenet_1.1] [--rounds=3]

At 224 x 224, EffNet at the 32 x 32 that it is made for; AdderNet has a benchmark of its own. The weights are from
chance: latency does not depend on them. Prints a table in Markdown; the speed-up is over ResNet-50 in float32, in turn
within this run. About five minutes on 2 cores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.counting import count
from tta_lite.measure.machine import summary
from tta_lite.models.classifier import classifier
from tta_lite.types import ExportSpec, InputError

BASELINE = "resnet50"
LIGHT = (
    "resnet18", "mobilenet_v1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v1_g3",
    "shufflenet_v2_0.5", "shufflenet_v2_1.0", "squeezenet_1.0", "squeezenet_1.1", "mnasnet_a1", "mnasnet_b1",
    "densenet121", "effnet",
)  # fmt: skip
SMALL = {"effnet": 32}

_NETWORKS = flags.DEFINE_list("networks", list(LIGHT), "Which.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "The files are timed in turn, so many times.", 1)
_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)


def main(argv: Sequence[str]) -> None:
    """Builds, exports, times, prints."""
    del argv
    rows, files = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name in dict.fromkeys([BASELINE, *_NETWORKS.value]):
            size = SMALL.get(name, 224)
            model = classifier(name, input_size=size, classes=10 if size == 32 else 1000)
            counts = count(model)
            noise = np.random.default_rng(0).normal(size=(4, 1, size, size, 3)).astype(np.float32)
            exports: dict[str, tuple[int, str]] = {}
            for preset in ("fp32", "int8"):
                try:
                    tflite = export_tflite(model, ExportSpec(preset), list(noise) if preset == "int8" else ())
                except InputError as error:
                    exports[preset] = (0, str(error))
                    continue
                left = {op.op for op in undelegated_ops(tflite)}
                exports[preset] = (len(tflite), f"{', '.join(sorted(left)) or 'none'}")
                files[name, preset] = Path(folder, f"{len(files)}.tflite")
                files[name, preset].write_bytes(tflite)
                print(f"{name} {preset}: {len(read_contents(tflite).ops)} ops", flush=True)
            rows[name] = (size, counts, exports)
        comparison = benchmark_together(
            {f"{name} {preset}": path for (name, preset), path in files.items()},
            rounds=_ROUNDS.value, num_threads=_THREADS.value, num_runs=20, min_secs=0.2,
        )  # fmt: skip
    speedups = comparison.speedups(f"{BASELINE} fp32")
    place = comparison[f"{BASELINE} fp32"].measured_on
    print(f"\n{place.runtime}, {place.delegate}, {place.threads} thread(s), {summary()}\n")
    head = (
        "network", "input", "parameters, M", "MACs, M", "fp32, ms", "speed-up", "int8, ms", "speed-up", "int8 file, MB",
        "not taken by XNNPACK: fp32; int8",
    )  # fmt: skip
    print(f"| {' | '.join(head)} |\n|---|{'---:|' * (len(head) - 2)}---|")
    for name, (size, counts, exports) in rows.items():
        cells = [name, str(size), f"{counts.trainable_params / 1e6:.2f}", f"{counts.macs / 1e6:.0f}"]
        for preset in ("fp32", "int8"):
            known = f"{name} {preset}"
            cells += (
                [f"{comparison[known].latency.p50:.1f}", f"{speedups[known].median:.1f}"]
                if known in comparison
                else ["-", "-"]
            )
        cells += [f"{exports['int8'][0] / 1e6:.1f}", f"{exports['fp32'][1]}; {exports['int8'][1]}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    app.run(main)
