"""What do XNNPACK's sparse kernels bring, on a network that is on their path and on one that is brought there?

    python benchmarks/bench_sparse.py [--zeros=0,0.7,0.8,0.9] [--keep=files]
    python benchmarks/bench_sparse.py --graph=steps/02-g1-g2/model.tflite --zeros=0.7,0.8,0.9

Without --graph: a MobileNet in the manner of Howard et al. (https://arxiv.org/abs/1704.04861) of width 0.5 at 128 x
128, padded by 1 on each side, with a mean at its end. The smallest weights of every 1 x 1 convolution become zero;
nothing is trained, so it is a question of latency and of equal outputs, and none of accuracy.

XNNPACK never takes this path on an x86 processor with AVX. Its record of the processor is therefore changed, in a
child process (sparse_child.py), and every file runs in three ways, in turn:
  all: the record as it is, dense kernels with all that this processor has;
  mixed: only the bit of AVX is taken out, so that sparse kernels of SSE run beside dense ones with AVX-512;
  sse: as on an x86 processor without AVX.
Prints the tenth percentile in milliseconds of processor time (other work then hardly shows) over the rounds, the
median and the least, the ratio to the dense file in the same way with its range over the rounds, and the largest
difference of the outputs to the dense file's.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from tta_lite.compat import keras
from tta_lite.export.sparse_encoding import encode_sparse
from tta_lite.export.sparse_path import sparse_path
from tta_lite.export.sparse_rewrite import onto_sparse_path, with_zeros
from tta_lite.export.tflite import export_tflite
from tta_lite.types import ExportSpec

_GRAPH = flags.DEFINE_string("graph", None, "A float32 .tflite file with a fixed batch.")
_ZEROS = flags.DEFINE_list("zeros", ["0", "0.7", "0.8", "0.9"], "Shares of zeros of the 1 x 1 convolutions.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "How often all have their turn.", 1)
_SECONDS = flags.DEFINE_float("seconds", 1.0, "Of each turn.", 0.05)
_SIDE = flags.DEFINE_integer("input_size", 128, "Side of the picture in pixels, without --graph.", 32)
_WAYS = flags.DEFINE_list("ways", ["all", "mixed", "sse"], "Some of them.")
_KEEP = flags.DEFINE_string("keep", None, "A folder for the files, as for `tta-lite counts`.")
_OUT = flags.DEFINE_string("out", None, "A JSON file for all figures.")

WAYS = {"all": -1, "mixed": ~0x10, "sse": 0x0F}
CHILD = Path(__file__).with_name("sparse_child.py")
# Output channels and stride of each block at width 0.5.
BLOCKS = [(32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), *[(256, 1)] * 5, (512, 2), (512, 1)]


def small_network(side: int) -> bytes:
    """-> a MobileNet that XNNPACK can compute on planes, with weights from chance."""
    layers = keras.layers
    image = x = keras.Input((side, side, 3), batch_size=1, name="image")
    x = layers.Conv2D(16, 3, strides=2, name="stem")(layers.ZeroPadding2D(1)(x))
    x = layers.ReLU(6.0)(x)
    for place, (channels, stride) in enumerate(BLOCKS):
        if stride == 2:
            x = layers.ZeroPadding2D(1)(x)
        padding = "valid" if stride == 2 else "same"
        x = layers.ReLU(6.0)(layers.DepthwiseConv2D(3, stride, padding, name=f"depthwise{place}")(x))
        x = layers.ReLU(6.0)(layers.Conv2D(channels, 1, name=f"pointwise{place}")(x))
    x = layers.Dense(10, name="classes")(layers.GlobalAveragePooling2D()(x))
    return export_tflite(keras.Model(image, x, name="small"), ExportSpec("fp32"))


def main(argv: list[str]) -> None:
    """Builds, times in turn, prints."""
    del argv
    tflite = Path(_GRAPH.value).read_bytes() if _GRAPH.value else small_network(_SIDE.value)
    with tempfile.TemporaryDirectory(prefix="bench_sparse_") as own:
        folder = Path(_KEEP.value or own)
        folder.mkdir(parents=True, exist_ok=True)
        files: dict[tuple[str, str], Path] = {}
        for text in _ZEROS.value:
            dense = with_zeros(tflite, float(text))
            rewritten = onto_sparse_path(dense, zeros=max(float(text), 0.8))
            forms = {"dense": dense}
            if rewritten.tflite != dense and (rewritten.begin or rewritten.enlarged or rewritten.padded):
                forms["rewritten"] = rewritten.tflite
            if float(text):
                forms["sparse"] = encode_sparse(rewritten.tflite)
                found = sparse_path(forms["sparse"])
                print(f"{text}: {found.sparse_weights:.1%} of the weights of 1 x 1 convolutions on the path")
            for form, data in forms.items():
                files[text, form] = folder / f"{text}_{form}.tflite"
                files[text, form].write_bytes(data)
                print(f"{text} {form}: {len(data):,} bytes")
        times: dict[str, list[float]] = {}
        outputs: dict[str, np.ndarray] = {}
        for _ in range(_ROUNDS.value):
            for (zeros, form), file in files.items():
                for way in _WAYS.value:
                    keep = WAYS[way]
                    said = _run(file, keep)
                    times.setdefault(f"{zeros} {form} {way}", []).append(said["p10_ms"])
                    outputs[f"{zeros} {form} {way}"] = np.array(said["output"])
    figures = {}
    print(f"{'zeros':>6} {'form':<10} {'way':<6} {'p10 ms':>8} {'least':>8}  dense / it, in its way  outputs differ by")
    for zeros, form in files:
        for way in _WAYS.value:
            key, first = f"{zeros} {form} {way}", f"{zeros} dense {way}"
            ratios = [a / b for a, b in zip(times[first], times[key], strict=True)]
            reference = outputs[f"{zeros} dense {_WAYS.value[0]}"]
            worst = float(np.abs(outputs[key] - reference).max() / np.abs(reference).max())
            p10 = statistics.median(times[key])
            figures[key] = {"p10_ms": times[key], "ratios": ratios, "worst": worst}
            spread = f"{statistics.median(ratios):5.2f} ({min(ratios):.2f}..{max(ratios):.2f})"
            print(f"{zeros:>6} {form:<10} {way:<6} {p10:8.3f} {min(times[key]):8.3f}  {spread:<28}  {worst:.1e}")
    if _OUT.value:
        Path(_OUT.value).write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _run(file: Path, keep: int) -> dict[str, Any]:
    words = [sys.executable, str(CHILD), str(file), str(keep), str(_SECONDS.value)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    app.run(main)
