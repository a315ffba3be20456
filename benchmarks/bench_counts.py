"""What each row of the case study executes on emulated cores: instructions, bytes and cache misses of one inference.

    python benchmarks/bench_counts.py [--input_size=128] [--cpu=cortex-a72,cortex-a76] [--out=counts.json]

Counts do not depend on the values of the weights, so the networks are not trained. Each row in float32 and int8 and
with its Deconvs as they are and as convolutions and DEPTH_TO_SPACE; G4 is float16 weights. Needs what
`tta-lite setup-emulator` says. Five minutes a core at 128 x 128 on an idle machine, and four times that at 256 x 256.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_write
from tta_lite.measure.counting import count
from tta_lite.measure.device.counters import count_model
from tta_lite.measure.device.emulator import Emulated
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import FP16, FP32, ExportSpec

_INPUT_SIZE = flags.DEFINE_integer("input_size", 128, "Side of the crop in pixels.", 32)
_CPU = flags.DEFINE_list("cpu", ["cortex-a72", "cortex-a76"], "The cores.")
_FILES = flags.DEFINE_string("files", None, "A folder that keeps the exported files for another run.")
_OUT = flags.DEFINE_string("out", None, "A JSON file, written after each count.")

INT8 = ExportSpec("int8", 4)
NETWORKS = {"none": ("resnet50", None), "G1": ("mobilenet_v2", None), "G1+G2": ("mobilenet_v2", 64)}
EXPORTS = {"none": (FP32, INT8), "G1": (FP32, INT8), "G1+G2": (FP32, FP16, INT8)}


def files(folder: Path, size: int) -> Iterator[tuple[str, str, bool, int, Path]]:
    """-> row, preset, whether its Deconvs are convolutions, MACs, file."""
    rng = np.random.default_rng(0)
    noise = [rng.uniform(-1, 1, (1, size, size, 3)).astype(np.float32) for _ in range(4)]
    for row, (backbone, bottleneck) in NETWORKS.items():
        model = pose_resnet(backbone, input_size=size, bottleneck=bottleneck)
        for shuffled, one in ((False, model), (True, subpixel(model).model)):
            macs = count(one).macs
            for spec in EXPORTS[row]:
                path = folder / f"{row}{'-subpixel' if shuffled else ''}-{spec.preset}.tflite"
                if not path.exists():
                    atomic_write(path, export_tflite(one, spec, noise))
                yield row, spec.preset, shuffled, macs, path


def main(argv: Sequence[str]) -> None:
    """Exports, counts, prints a Markdown table a core."""
    records: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        made = list(files(Path(_FILES.value or folder), _INPUT_SIZE.value))
        for cpu in _CPU.value:
            with Emulated(cpu) as board:
                print(f"\n{board.title}; {_INPUT_SIZE.value} x {_INPUT_SIZE.value}, millions and MB an inference\n")
                print("| row | preset | Deconvs | MACs | instructions | multiply | other SIMD | load | store | rest "
                      "| MB loaded | MB stored | L1D misses | L2 misses |")  # fmt: skip
                print("| --- | --- | --- |" + " ---: |" * 11)
                for row, preset, shuffled, macs, path in made:
                    tally = count_model(board, path, by_op=False).inference
                    figures = [macs, tally.total, *tally.grouped().values(), tally.bytes_loaded, tally.bytes_stored]
                    figures += [tally.l1_misses, tally.l2_misses]
                    form = "subpixel" if shuffled else "as they are"
                    words = (f"{figure / 1e6:,.1f}" for figure in figures)
                    print(f"| {row} | {preset} | {form} | {' | '.join(words)} |", flush=True)
                    records.append({"row": row, "preset": preset, "subpixel": shuffled, "macs": macs, "cpu": cpu,
                                    "total": tally.total, **vars(tally)})  # fmt: skip
                    if _OUT.value:
                        atomic_write(_OUT.value, json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    app.run(main)
