"""What does each back end make of an op, preset by preset? Each is asked with files of one op: the table of docs.

    python benchmarks/ask_quantizers.py                      # the ops of networks for pictures
    python benchmarks/ask_quantizers.py --ops=CONV_2D,ADD

The answers: ``integer``: the op computes in integers, and the file's output is within a tenth (rmse over deviation) of
the float file's; ``float``: the op was left in float32; ``wrong``: it runs and is further off; ``refused``: the back
end raises; ``does not run``: LiteRT refuses the file, or crashes. Below, for ops with weights, the type that each
preset stores them in. One shape and one range are asked of each. Cost: five minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from absl import app, flags
from ask_runtimes import IMAGE, ONE, TWO

from tta_lite.export.contents import read_contents
from tta_lite.export.convert import convert
from tta_lite.export.open_safely import open_safely
from tta_lite.export.quantize.float_file import FloatFile, with_different_names
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.presets import MAKERS
from tta_lite.export.quantize.ranges import Ranges, choose_ranges
from tta_lite.export.quantize.statistics import collect
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.signature import set_signature
from tta_lite.types import CALIBRATED_PRESETS, InputError

_OPS = flags.DEFINE_list("ops", [], "Only these.")

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
COLUMNS = [(preset, backend) for preset in CALIBRATED_PRESETS for backend in MAKERS[preset]]
STORED = [(preset, backend) for preset in MAKERS if preset != "fp32" for backend in MAKERS[preset]]
NEAR = 0.1


def functions() -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    """Op -> what makes it of one image; the other image of an op that takes two is the first one's ReLU."""
    table = dict(ONE)
    for op, make in TWO.items():
        table[op] = lambda x, make=make: make(x, tf.nn.relu(x))
    return {op: make for op, make in table.items() if not _OPS.value or op in _OPS.value}


def source_of(op: str, make: Callable[[tf.Tensor], tf.Tensor]) -> FloatFile | None:
    """-> the float file, or None if the converter makes another op, or one without a float output."""

    def file(preset: str) -> bytes:
        function = tf.function(lambda image: make(image), autograph=False)
        concrete = function.get_concrete_function(tf.TensorSpec(IMAGE, tf.float32, name="image"))
        return convert(concrete, preset, op)

    plain = file("fp32")
    contents = read_contents(plain)
    known = {one.name for one in contents.ops}
    if op not in known or len(contents.outputs) != 1 or contents.tensors[contents.outputs[0]].dtype != "float32":
        return None
    return FloatFile(
        with_different_names(set_signature(plain, ["image"], ["out"])),
        op,
        lambda preset: set_signature(file(preset), ["image"], ["out"]),
    )


def images() -> list[np.ndarray]:
    """-> [1, H, W, C] each, above zero: a square root has no other."""
    rng = np.random.default_rng(0)
    return [rng.uniform(0.5, 2.0, IMAGE).astype(np.float32) for _ in range(8)]


def answer(source: FloatFile, ranges: Ranges, preset: str, backend: str, pictures: Sequence[np.ndarray]) -> str:
    """-> as the table says it."""
    try:
        tflite = MAKERS[preset][backend](source, ranges, Options())
    except Exception:
        return "refused"
    try:
        open_safely(tflite)
    except InputError:
        return "does not run"
    contents = read_contents(tflite)
    ops = [one for one in contents.ops if one.name == source.name]
    if not ops:
        ops = [one for one in contents.ops if one.name not in ("QUANTIZE", "DEQUANTIZE")]
    read = {contents.tensors[tensor].dtype for one in ops for tensor in (*one.inputs, *one.outputs) if tensor >= 0}
    if "float32" in read:
        return "float"
    return "integer" if _off(source.tflite, tflite, pictures) < NEAR else "wrong"


def _off(plain: bytes, tflite: bytes, pictures: Sequence[np.ndarray]) -> float:
    batch = np.concatenate(pictures)
    wanted, found = TFLitePredictor(plain)(batch), TFLitePredictor(tflite)(batch)
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / max(wanted.std(), 1e-6))


def stored(source: FloatFile, ranges: Ranges, preset: str, backend: str) -> str:
    """-> the type of the largest constant; ``refused`` if there is no file."""
    try:
        contents = read_contents(MAKERS[preset][backend](source, ranges, Options()))
    except Exception:
        return "refused"
    largest = max((one for one in contents.tensors if one.is_constant), key=lambda one: int(np.prod(one.shape)))
    return largest.dtype


def main(argv: Sequence[str]) -> None:
    """Asks, and prints the tables."""
    del argv
    pictures = images()
    sources: dict[str, tuple[FloatFile, Ranges]] = {}
    print("| op | " + " | ".join(f"{preset}, {backend}" for preset, backend in COLUMNS) + " |")
    print("|---|" + "---|" * len(COLUMNS))
    for op, make in functions().items():
        try:
            source = source_of(op, make)
            ranges = choose_ranges(collect(source.tflite, pictures), "min_max") if source else {}
        except InputError:
            source = None
        if source is None:
            print(f"| {op} | not asked: its float file is of other ops or types |")
            continue
        sources[op] = (source, ranges)
        cells = [answer(source, ranges, preset, backend, pictures) for preset, backend in COLUMNS]
        print(f"| {op} | {' | '.join(cells)} |", flush=True)
    asked = [op for op in WEIGHTED if op in sources]
    if asked:
        print("\n| preset, back end | " + " | ".join(asked) + " |\n|---|" + "---|" * len(asked))
        for preset, backend in STORED:
            cells = [stored(*sources[op], preset, backend) for op in asked]
            print(f"| {preset}, {backend} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    app.run(main)
