"""Post-training quantisation from end to end: float file, calibration images, repairs, preset (G3, clause 6.2.1)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.adaptive_rounding import adaptive_rounding
from tta_lite.export.quantize.bias_correction import bias_correction
from tta_lite.export.quantize.equalize import equalize
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.presets import make
from tta_lite.export.quantize.ranges import choose_ranges
from tta_lite.export.quantize.statistics import Statistics, collect
from tta_lite.export.quantize.weight_bits import with_weight_bits
from tta_lite.types import CALIBRATED_PRESETS, ExportSpec, InputError

# Float file, calibration images, how a float file is quantised here -> a float file that loses less by it.
Repair = Callable[[bytes, Sequence[np.ndarray], Callable[[bytes], bytes]], bytes]
REPAIRS: dict[str, Repair] = {
    "equalize": equalize,
    "adaptive_rounding": adaptive_rounding,
    "bias_correction": bias_correction,
}


class PostTraining:
    """One network and its calibration images, quantised as often as wanted: what is slow is done once.

    Args:
      source: the float file.
      images: each [1, H, W, C] float32, normalised as for the network; none for presets that need no ranges.
    """

    def __init__(self, source: FloatFile, images: Sequence[np.ndarray] = ()) -> None:
        self.source, self.images = source, images
        self._statistics: dict[int, Statistics] = {}
        self._repaired: dict[tuple[object, ...], FloatFile] = {}

    def statistics(self, count: int) -> Statistics:
        """-> what the tensors of the float file held on the first `count` images."""
        if count not in self._statistics:
            self._statistics[count] = collect(self.source.tflite, list(self.images[:count]))
        return self._statistics[count]

    def quantize(self, spec: ExportSpec) -> bytes:
        """-> the file that a spec describes.

        Raises:
          InputError: the spec, the images or the network does not allow it.
        """
        options = Options(spec.per_tensor, spec.keep_float, spec.keep_16x8)
        if spec.preset not in CALIBRATED_PRESETS:
            return make(self.source, {}, spec.preset, options, spec.backend)
        if not spec.repairs:
            ranges = choose_ranges(self.statistics(spec.calibration_images), spec.ranges, self.source.outputs)
            return self._checked(make(self._with_bits(spec), ranges, spec.preset, options, spec.backend), spec)
        repaired = self.repaired(spec)
        inner = PostTraining(repaired, self.images)
        return inner.quantize(dataclasses.replace(spec, repairs=()))

    def repaired(self, spec: ExportSpec) -> FloatFile:
        """-> the float file after the repairs of a spec; a float file still."""
        settings = dataclasses.replace(spec, repairs=())
        key: tuple[object, ...] = (spec.repairs, settings)
        if key not in self._repaired:
            images = list(self.images[: spec.calibration_images])

            def quantise(tflite: bytes) -> bytes:
                return PostTraining(FloatFile(tflite, self.source.name), images).quantize(settings)

            tflite = self.source.tflite
            for name in REPAIRS:
                if name in spec.repairs:
                    tflite = REPAIRS[name](tflite, images, quantise)
            self._repaired[key] = FloatFile(tflite, self.source.name)
        return self._repaired[key]

    def _with_bits(self, spec: ExportSpec) -> FloatFile:
        if spec.weight_bits == 8:
            return self.source
        tflite = with_weight_bits(
            self.source.tflite, spec.weight_bits, per_tensor=spec.per_tensor, keep=spec.keep_float
        )
        return FloatFile(tflite, self.source.name)

    def _checked(self, tflite: bytes, spec: ExportSpec) -> bytes:
        if not spec.keep_float:
            check_integer_only(tflite, self.source.name, spec.preset)
        return tflite


def check_integer_only(tflite: bytes, name: str, preset: str = "int8") -> None:
    """Raises an `InputError` if an op computes in float32: a quantiser leaves one that it has no kernel for."""
    contents = read_contents(tflite)
    left = [op for op in contents.float_ops() if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    if left:
        names = [f"{op.name} ({', '.join(contents.tensors[tensor].name for tensor in op.outputs)})" for op in left]
        raise InputError(
            f"Model `{name}` does not become a graph of integers: preset {preset} needs every op to have an integer "
            "kernel. Replace these ops, or take preset dynamic or fp16. "
            f"Received: {len(left)} of {len(contents.ops)} ops that stay in float32: {'; '.join(names[:8])}"
            f"{'; ...' if len(names) > 8 else ''}"
        )
