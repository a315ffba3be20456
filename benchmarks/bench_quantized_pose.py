"""What do presets, back ends, range rules and repairs cost a pose network, and how certain is that?

  python benchmarks/bench_quantized_pose.py --model=net.keras --data=lspet:/data/lspet --pixels=-1..1
  python benchmarks/bench_quantized_pose.py --model=net.keras --data=lspet:/data/lspet --pixels=-1..1 \
    --settings="int8;int8 per_tensor;int8 per_tensor equalize"

A row a setting: PCKh@0.5 of the file with its 95 % interval, the difference to the float file with an interval of its
own (the same people are drawn for both: 2,000 bootstrap draws), bytes, and seconds to quantise once the float file and
its statistics are there. A setting is words: a preset, then of back ends, range rules, repairs, `per_tensor`, and
`worst_float=N` or `worst_16x8=N` for the N layers that lose most. Some 15 s a row for 500 people at 128 x 128 on two
cores.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from absl import flags

from recipes import _app
from tta_lite.types import BACKENDS, PRESETS, RANGE_RULES, REPAIR_NAMES, ExportSpec, InputError

SETTINGS = (
    "fp16;dynamic;weight_only_int8;weight_only_int4;int8;int8 litert_quantizer;int8 moving_average;int8 percentile;"
    "int8 mse;int8 entropy;int8 per_tensor;int16x8"
)

_MODEL = flags.DEFINE_string("model", None, "The trained pose network, a .keras file.", required=True)
_DATA = flags.DEFINE_string("data", None, "<data set>:PATH, as --task=pose: takes it.", required=True)
_PIXELS = flags.DEFINE_string("pixels", "-1..1", "What the network expects of its pixels.")
_SETTINGS = flags.DEFINE_string("settings", SETTINGS, "With ; between them.")
_IMAGES = flags.DEFINE_integer("calibration_images", 200, "That fix the ranges.", 1)


def parsed(text: str) -> tuple[ExportSpec, dict[str, int]]:
    """-> the spec of a setting, and how many of the worst layers are kept in which type."""
    words = text.split()
    values: dict[str, object] = {"calibration_images": _IMAGES.value}
    kept = {}
    repairs = []
    for word in words:
        name, _, count = word.partition("=")
        if word in PRESETS:
            values["preset"] = word
        elif word in BACKENDS:
            values["backend"] = word
        elif word in RANGE_RULES:
            values["ranges"] = word
        elif word in REPAIR_NAMES:
            repairs.append(word)
        elif word == "per_tensor":
            values["per_tensor"] = True
        elif name in ("worst_float", "worst_16x8"):
            kept[name] = int(count)
        else:
            raise InputError(f"A setting is made of presets, back ends, range rules and repairs. Received: {word!r}")
    return ExportSpec(**values, repairs=tuple(repairs)), kept  # type: ignore[arg-type]


def main(argv: Sequence[str]) -> None:
    """Scores, prints."""
    from pose_pairs import difference, scored

    from tta_lite.export.quantize.debug import debug_export, worst_ops
    from tta_lite.export.quantize.float_file import FloatFile
    from tta_lite.export.quantize.post_training import PostTraining
    from tta_lite.measure.interpreter import TFLitePredictor
    from tta_lite.models.files import load_network
    from tta_lite.tasks.find import find_task
    from tta_lite.tasks.pose import PoseTask

    settings = {text.strip(): parsed(text) for text in _SETTINGS.value.split(";")}
    model = load_network(_MODEL.value)
    task = find_task(f"pose:{_DATA.value}", model, pixels=_PIXELS.value, flip_test=True)
    assert isinstance(task, PoseTask)
    post = PostTraining(FloatFile.of_model(model), task.calibration(_IMAGES.value, seed=0))
    post.statistics(_IMAGES.value)
    counted, truth, said = scored(task, TFLitePredictor(post.source.tflite, num_threads=2))
    print("| setting | PCKh@0.5 | difference to float | bytes | s |\n|---|---:|---:|---:|---:|")
    print(f"| fp32 | {said} | | {len(post.source.tflite):,} | |", flush=True)
    for text, (spec, kept) in settings.items():
        began = time.monotonic()
        for name, count in kept.items():
            field = "keep_float" if name == "worst_float" else "keep_16x8"
            losses = debug_export(post, spec, list(post.images[:8]))
            spec = dataclasses.replace(spec, **{field: worst_ops(losses, count)})  # type: ignore[arg-type]
        tflite = post.quantize(spec)
        seconds = time.monotonic() - began
        _, correct, said = scored(task, TFLitePredictor(tflite, num_threads=2))
        points, low, high = difference(truth, correct, counted)
        print(
            f"| {text} | {said} | {points:+.2f} ({low:+.2f} to {high:+.2f}) | {len(tflite):,} | {seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    _app.run(main)
