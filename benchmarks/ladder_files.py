"""The case study's ladder as files: none, G1 and G1+G2, with and without subpixel, in fp32, fp16 and int8.

    python benchmarks/ladder_files.py --out=runs/ladder [--input_size=256]

Neither latency nor counts hang on the values of the weights, so the networks are not trained: biases and batch norms
are as if they were. `tta-lite counts` and `tta-lite check-runtime` take the files. About ten minutes;
files that are there already are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from tta_lite.export.tflite import export_tflite
from tta_lite.files import atomic_write
from tta_lite.guideline.checks import as_if_trained
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.subpixel import subpixel
from tta_lite.types import ExportSpec

_INPUT_SIZE = flags.DEFINE_integer("input_size", 256, "Side of the crop in pixels.", 32)
_OUT = flags.DEFINE_string("out", None, "The folder.", required=True)

NETS = {"none": ("resnet50", None), "g1": ("mobilenet_v2", None), "g1_g2": ("mobilenet_v2", 64)}
PRESETS = ("fp32", "fp16", "int8")


def main(argv: Sequence[str]) -> None:
    """Writes <row>[_subpixel].<preset>.tflite."""
    size, out = _INPUT_SIZE.value, Path(_OUT.value)
    rng = np.random.default_rng(0)
    noise = [rng.uniform(-1, 1, (1, size, size, 3)).astype(np.float32) for _ in range(4)]
    for row, (backbone, bottleneck) in NETS.items():
        plain = as_if_trained(pose_resnet(backbone, input_size=size, bottleneck=bottleneck))
        for name, model in ((row, plain), (f"{row}_subpixel", subpixel(plain).model)):
            for preset in PRESETS:
                file = out / f"{name}.{preset}.tflite"
                if not file.exists():
                    images = noise if preset == "int8" else ()
                    atomic_write(file, export_tflite(model, ExportSpec(preset, 4), images))
                    print(file, flush=True)


if __name__ == "__main__":
    app.run(main)
