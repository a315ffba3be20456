"""How far do models of the RK3399 reproduce the ratios of the report's Table 1, and what does its runtime do otherwise?

    python benchmarks/bench_counts.py --cpu=cortex-a72 --out=counts.json
    python benchmarks/bench_ratios.py --counts=counts.json [--latency_model=host.json or one of --fit --counts]

Beside the report's seconds an image stand: MACs; busy cycles of an emulated Cortex-A72, from counted instructions and
misses; a model of latency of another machine; and MACs where a Deconv is computed as a convolution over an image with
zeros between its pixels, as Arm Compute Library's direct Deconv does it. Seconds.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.checks import as_if_trained
from tta_lite.measure.count_cost import CORTEX_A72
from tta_lite.measure.device.executed import Tally
from tta_lite.measure.latency_model import load_model
from tta_lite.measure.op_features import OpFeatures, read_features
from tta_lite.measure.predict import predict
from tta_lite.models.pose import pose_resnet
from tta_lite.types import FP32

# Table 1: seconds an image. G4 changes no arithmetic of a file in float32.
REPORT = {"none": 1.054, "G1": 0.704, "G1+G2": 0.354}
NETWORKS = {"none": ("resnet50", None), "G1": ("mobilenet_v2", None), "G1+G2": ("mobilenet_v2", 64)}

_COUNTS = flags.DEFINE_string("counts", None, "Of bench_counts.py; none if not given.")
_MODEL = flags.DEFINE_string("latency_model", None, "Of tta-lite predict --fit; none if not given.")


def main(argv: Sequence[str]) -> None:
    """Builds the ladder, counts, prints."""
    del argv
    files = {
        row: export_tflite(as_if_trained(pose_resnet(backbone, input_size=256, bottleneck=bottleneck)), FP32)
        for row, (backbone, bottleneck) in NETWORKS.items()
    }
    ops = {row: read_features(tflite) for row, tflite in files.items()}
    columns = {"report, s": REPORT, "GMAC": {row: sum(op.macs for op in found) / 1e9 for row, found in ops.items()}}
    columns["GMAC, zeros between"] = {row: sum(map(_with_zeros, found)) / 1e9 for row, found in ops.items()}
    if _COUNTS.value:
        tallies = _tallies(Path(_COUNTS.value))
        for place, end in enumerate(("misses hidden", "misses not hidden")):
            columns[f"A72 Mcycles, {end}"] = {row: CORTEX_A72.cycles(one)[place] / 1e6 for row, one in tallies.items()}
    if _MODEL.value:
        model = load_model(_MODEL.value)
        unit = "ms" if model.place.is_time else "M busy cycles"
        columns[f"{unit}, predicted for {model.place.board}"] = {
            row: predict(tflite, model).latency_ms for row, tflite in files.items()
        }
    print("| row | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for row in NETWORKS:
        cells = [f"{values[row]:.3f} ({values[row] / values['none']:.3f})" for values in columns.values()]
        print(f"| {row} | {' | '.join(cells)} |")
    for name in ("GMAC", "GMAC, zeros between"):
        x, y = (np.array([columns[key][row] for row in NETWORKS]) for key in (name, "report, s"))
        slope, start = np.polyfit(x, y, 1)
        off = np.abs(slope * x + start - y) / y
        print(f"report = {start:.3f} s + {name} / {1 / slope:.1f} GMAC/s, off by {off.max():.1%} at most")


def _with_zeros(op: OpFeatures) -> int:
    """-> MACs of a convolution over the image with stride - 1 zeros between its pixels, those with zeros too."""
    return op.macs * op.groups if op.kind == "deconv" else op.macs


def _tallies(path: Path) -> dict[str, Tally]:
    records = json.loads(path.read_text(encoding="utf-8"))
    names = ("instructions", "bytes_loaded", "bytes_stored", "l1_misses", "l2_misses")
    return {
        one["row"]: Tally(**{name: one[name] for name in names})
        for one in records
        if one["preset"] == "fp32" and not one["subpixel"] and one["cpu"] == "cortex-a72"
    }


if __name__ == "__main__":
    app.run(main)
