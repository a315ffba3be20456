"""How much of what int8 loses does each repair bring back?

  python benchmarks/bench_repairs.py --model=net.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test

One network as int8 with one scale a weight tensor, where plain int8 fails most often, and with one for each output
channel; each without repairs, with each by itself and with all, and with its worst layers kept at 16x8 or in float32.
Prints for each file the score with its 95 % interval, the error of the outputs (its root mean square as a share of the
float outputs' standard deviation, on other pictures than the calibration's), and the seconds it took to make. A quarter
of an hour on two cores for a pose network of 128 x 128 and 500 test pictures.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from absl import flags, logging

from recipes import _app, _task
from tta_lite.types import BACKENDS, RANGE_RULES, ExportSpec

_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras or .h5 file.", required=True)
_CALIBRATION = flags.DEFINE_integer("calibration_images", 100, "Training pictures that ranges and repairs see.", 2)
_BACKEND = flags.DEFINE_enum("backend", "auto", BACKENDS, "Which quantiser; 16x8 layers need litert_quantizer.")
_RANGES = flags.DEFINE_enum("ranges", "min_max", RANGE_RULES, "Of the activations.")
_WORST = flags.DEFINE_integer("worst", 3, "Layers that are kept.", 1)
_ERROR_IMAGES = flags.DEFINE_integer("error_images", 50, "Further training pictures for the error of the outputs.", 1)
_ONLY = flags.DEFINE_enum("only", "both", ("both", "per_tensor", "per_channel"), "Which half of the table.")
flags.adopt_module_key_flags(_task)

REPAIRS: tuple[tuple[str, ...], ...] = (
    (),
    ("equalize",),
    ("bias_correction",),
    ("adaptive_rounding",),
    ("equalize", "bias_correction"),
    ("equalize", "adaptive_rounding", "bias_correction"),
)
# What the worst layers are kept beside: nothing, and the cheap repairs.
KEPT: tuple[tuple[str, ...], ...] = ((), ("equalize", "bias_correction"))


def main(argv: Sequence[str]) -> None:
    """Makes and scores the files, and prints a line for each as soon as it is known."""
    from tta_lite.export.quantize.debug import debug_export, worst_ops
    from tta_lite.export.quantize.float_file import FloatFile
    from tta_lite.export.quantize.post_training import PostTraining
    from tta_lite.export.runner import TFLitePredictor
    from tta_lite.models.files import load_network

    logging.set_verbosity(logging.WARNING)
    model = load_network(_MODEL.value)
    task = _task.find(model)
    pictures = list(task.calibration(_CALIBRATION.value + _ERROR_IMAGES.value))
    images, others = pictures[: _CALIBRATION.value], np.concatenate(pictures[_CALIBRATION.value :])
    source = FloatFile.of_model(model)
    wanted = TFLitePredictor(source.tflite)(others)

    def line(label: str, tflite: bytes, seconds: float) -> None:
        predict = TFLitePredictor(tflite)
        error = float(np.sqrt(np.mean(np.square(predict(others) - wanted))) / wanted.std())
        score = task.score(predict)
        low, high = score.interval
        print(f"| {label} | {score.value:.1f} ({low:.1f} to {high:.1f}) | {error:.3f} | {seconds:.1f} |", flush=True)

    print("| file | score | error | seconds |\n|---|---|---|---|")
    line("float32", source.tflite, 0.0)
    for per_tensor in (True, False):
        weights = "per_tensor" if per_tensor else "per_channel"
        if _ONLY.value not in ("both", weights):
            continue
        plain = ExportSpec(
            "int8", _CALIBRATION.value, backend=_BACKEND.value, ranges=_RANGES.value, per_tensor=per_tensor
        )
        for repairs in REPAIRS:
            # Each starts afresh, so that the seconds are its own.
            began = time.perf_counter()
            tflite = PostTraining(source, images).quantize(dataclasses.replace(plain, repairs=repairs))
            line(f"{weights}, {' + '.join(repairs) or 'plain'}", tflite, time.perf_counter() - began)
        for repairs in KEPT:
            spec = dataclasses.replace(plain, repairs=repairs)
            post = PostTraining(source, images)
            worst = worst_ops(debug_export(post, spec, images[:8]), _WORST.value)
            kept = {"float32": dataclasses.replace(spec, keep_float=worst)}
            if _BACKEND.value != "converter":
                kept["16x8"] = dataclasses.replace(spec, keep_16x8=worst)
            for kind, changed in kept.items():
                began = time.perf_counter()
                tflite = post.quantize(changed)
                label = f"{weights}, {' + '.join(repairs) or 'plain'}, {_WORST.value} worst in {kind}"
                line(label, tflite, time.perf_counter() - began)


if __name__ == "__main__":
    _app.run(main)
