"""How long does quantising take, part by part, beside TensorFlow's own way with the same images, in one run?

    python benchmarks/bench_quantization_time.py
    python benchmarks/bench_quantization_time.py --model=net.keras --images=calibration.npy

Without flags: the network of the case study (MobileNetV2 with 64-channel PConvs) at 128 x 128 with weights from chance
and 200 smooth pictures. Wanted: 10 s or less for 200 images once the float file exists, and less than 1 s for each
other setting after that. Cost: a minute or two on 2 cores.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import app, flags
from quantizers_alone import from_keras_model

from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.export.quantize.presets import MAKERS
from tta_lite.guideline.checks import as_if_trained
from tta_lite.measure import machine
from tta_lite.models.files import load_network
from tta_lite.models.pose import pose_resnet
from tta_lite.types import PRESETS, RANGE_RULES, ExportSpec, InputError

_MODEL = flags.DEFINE_string("model", None, "A .keras file; the network of the case study if not given.")
_IMAGES = flags.DEFINE_string("images", None, "[N, H, W, C] float32 as the network takes them, a .npy file.")
_SIZE = flags.DEFINE_integer("input_size", 128, "Of the network that is made up.", 32)
_COUNT = flags.DEFINE_integer("count", 200, "Calibration images.", 1)
_CONVERTER_ALONE = flags.DEFINE_bool("converter_alone", True, "Also time from_keras_model.")

BACKENDS = ("converter", "litert_quantizer")


def smooth_pictures(shape: tuple[int, int, int], count: int) -> np.ndarray:
    """-> [count, H, W, C] float32 from -1 to 1: patches of 8 x 8 pixels, for noise would leave later layers idle."""
    height, width, channels = shape
    coarse = np.random.default_rng(0).uniform(-1, 1, (count, -(-height // 8), -(-width // 8), channels))
    return coarse.astype(np.float32).repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]


def read_pictures(path: str, shape: tuple[int, int, int], count: int) -> np.ndarray:
    """-> [count, H, W, C] float32.

    Raises:
      InputError: the file holds other pictures than the network takes, or fewer.
    """
    found = np.load(path, mmap_mode="r")
    if found.ndim != 4 or found.shape[1:] != shape or len(found) < count:
        raise InputError(f"--images must hold {count} pictures of {list(shape)} or more. Received: {list(found.shape)}")
    return np.array(found[:count], np.float32)


class Clock:
    """A table of what took how long."""

    def __init__(self) -> None:
        print(f"| {'part':<52} | seconds | of the processor |\n|{'-' * 54}|--------:|-----------------:|")

    def take(self, part: str, work: Callable[[], Any]) -> tuple[Any, float]:
        """-> what the work gives, and its seconds; a row is printed."""
        wall, used = time.perf_counter(), time.process_time()
        made = work()
        wall, used = time.perf_counter() - wall, time.process_time() - used
        print(f"| {part:<52} | {wall:>7.3f} | {used:>16.3f} |", flush=True)
        return made, wall


def main(argv: Sequence[str]) -> None:
    """Builds, times, prints."""
    del argv
    loads = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{machine.summary()}, {os.cpu_count()} cores, load {loads} before; {_COUNT.value} calibration images")
    model = (
        load_network(_MODEL.value)
        if _MODEL.value
        else as_if_trained(pose_resnet("mobilenet_v2", input_size=_SIZE.value, bottleneck=64))
    )
    shape = tuple(int(size) for size in model.inputs[0].shape[1:])
    pictures = (
        read_pictures(_IMAGES.value, shape, _COUNT.value) if _IMAGES.value else smooth_pictures(shape, _COUNT.value)
    )
    images = [picture[None] for picture in pictures]
    # Nobody shall pay for what TensorFlow sets up once.
    FloatFile.of_model(pose_resnet("mobilenet_v2", input_size=32, bottleneck=8))

    clock = Clock()
    source, float_s = clock.take("float flatbuffer, once", lambda: FloatFile.of_model(model))
    post = PostTraining(source, images)
    statistics_s = clock.take("statistics of all tensors, once", lambda: post.statistics(_COUNT.value))[1]
    first = {}
    for preset in PRESETS[1:]:
        for backend in MAKERS[preset]:
            spec = ExportSpec(preset, _COUNT.value, backend=backend)
            seconds = clock.take(f"{preset} by {backend}", lambda spec=spec: post.quantize(spec))[1]
            if preset == "int8":
                first[backend] = seconds
    again = []
    for backend in BACKENDS:
        for rule in RANGE_RULES[1:]:
            spec = ExportSpec("int8", _COUNT.value, backend=backend, ranges=rule)
            again.append(clock.take(f"int8 by {backend}, ranges {rule}", lambda spec=spec: post.quantize(spec))[1])
        spec = ExportSpec("int8", _COUNT.value, backend=backend, per_tensor=True)
        again.append(clock.take(f"int8 by {backend}, per tensor", lambda spec=spec: post.quantize(spec))[1])
    fastest = min(first, key=lambda backend: first[backend])
    total = statistics_s + first[fastest]
    print(f"\nint8 from the float file, {fastest}: {total:.2f} s (wanted: 10 or less)")
    print(f"again with another setting: {min(again):.2f} to {max(again):.2f} s (wanted: less than 1)")
    if _CONVERTER_ALONE.value:
        print()
        clock = Clock()
        theirs = clock.take("from_keras_model, int8", lambda: from_keras_model(model, pictures))[1]
        print(
            f"\nfrom_keras_model takes {theirs / total:.1f} times as long as int8 from the float file, "
            f"{theirs / (float_s + total):.1f} times with the float file, {theirs / max(again):.0f} times the slowest "
            "other setting"
        )
    print(f"load {', '.join(f'{load:.1f}' for load in os.getloadavg())} after")


if __name__ == "__main__":
    app.run(main)
