"""The presets under one set of names: what each makes of a network, and which back end makes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tta_lite.export.quantize import converter, litert
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.ranges import Ranges
from tta_lite.types import BACKENDS, CALIBRATED_PRESETS, PRESETS, InputError

Make = Callable[[FloatFile, Ranges, Options], bytes]


def fp32(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """The float file itself."""
    return source.tflite


# Preset -> back end -> how; the first back end that can is taken where none is named.
MAKERS: dict[str, dict[str, Make]] = {
    "fp32": {"converter": fp32, "litert_quantizer": fp32},
    "fp16": {"converter": converter.fp16, "litert_quantizer": litert.fp16},
    "dynamic": {"converter": converter.dynamic, "litert_quantizer": litert.dynamic},
    "weight_only_int8": {"litert_quantizer": litert.weight_only_int8},
    "weight_only_int4": {"litert_quantizer": litert.weight_only_int4},
    "int8": {"converter": converter.int8, "litert_quantizer": litert.int8},
    "int16x8": {"litert_quantizer": litert.int16x8},
}
# What the presets of the converter cannot make of a flatbuffer.
FROM_MODEL = ("fp16", "dynamic")


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a preset does, for tables and help texts.

    Attributes:
      weights: type that they are stored in.
      activations: type between the ops.
      calibrated: whether it needs images.
      text: one line.
    """

    weights: str
    activations: str
    calibrated: bool
    text: str


MEANINGS: dict[str, Meaning] = {
    "fp32": Meaning("float32", "float32", False, "as trained"),
    "fp16": Meaning("float16", "float32", False, "half the size; arithmetic in float32 where cores have no FP16 (G4)"),
    "dynamic": Meaning("int8", "float32", False, "a quarter of the size; kernels quantise activations image by image"),
    "weight_only_int8": Meaning("int8", "float32", False, "a quarter of the size; arithmetic in float32"),
    "weight_only_int4": Meaning(
        "int4 (Conv, Dense), int8", "float32", False, "the smallest file; arithmetic in float32"
    ),
    "int8": Meaning("int8", "int8", True, "integers throughout, int8 at the edges (G3)"),
    "int16x8": Meaning("int8", "int16", True, "integers throughout with fine activations; slow kernels on most boards"),
}


def backend_for(preset: str, source: FloatFile, options: Options, backend: str = "auto") -> str:
    """-> the back end that makes a preset of a source.

    Args:
      preset: one of `tta_lite.types.PRESETS`.
      source: a flatbuffer alone, or one that can be converted anew.
      options: what is kept in other types.
      backend: one of `tta_lite.types.BACKENDS`; ``auto``: the converter where it can, for it knows more ops.

    Raises:
      InputError: an unknown preset, or the back end cannot do it.
    """
    if preset not in MAKERS:
        raise InputError(f"Argument `preset` must be one of {', '.join(PRESETS)}. Received: {preset!r}")
    if backend not in BACKENDS:
        raise InputError(f"Argument `backend` must be one of {', '.join(BACKENDS)}. Received: {backend!r}")
    if (options.keep_float or options.keep_16x8) and preset not in CALIBRATED_PRESETS:
        raise InputError(
            f"Ops are kept in other types by the presets {', '.join(CALIBRATED_PRESETS)} only. Received: {preset}"
        )
    able = [name for name in MAKERS[preset] if _can(name, preset, source, options)]
    if backend == "auto":
        return able[0]
    if backend not in able:
        raise InputError(
            f"The preset {preset} of {source.name} can be made by the back end {', '.join(able)}"
            f"{' with ops kept at 16x8' if options.keep_16x8 else ''}. Received: {backend}"
        )
    return backend


def _can(backend: str, preset: str, source: FloatFile, options: Options) -> bool:
    if backend != "converter":
        return True
    if options.keep_16x8 and preset in CALIBRATED_PRESETS:
        return False
    if preset in FROM_MODEL:
        return source.convert is not None and not options.per_tensor
    return True


def make(source: FloatFile, ranges: Ranges, preset: str, options: Options, backend: str = "auto") -> bytes:
    """-> the file of a preset.

    Args:
      source: the float file.
      ranges: of its tensors; empty for presets that need none.
      preset: one of `tta_lite.types.PRESETS`.
      options: how weights are shared out, and what is kept.
      backend: one of `tta_lite.types.BACKENDS`.

    Raises:
      InputError: the preset, the back end or the network does not allow it.
    """
    chosen = backend_for(preset, source, options, backend)
    if preset in CALIBRATED_PRESETS and not ranges:
        raise InputError(f"The preset {preset} needs the ranges of the tensors. Received: none")
    return MAKERS[preset][chosen](source, ranges, options)
