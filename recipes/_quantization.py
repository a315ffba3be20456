"""The flags that say what is quantised and how, shared by the recipes that quantise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _model, _task
from tta_lite.types import (
    BACKENDS,
    CALIBRATED_PRESETS,
    PRESETS,
    RANGE_RULES,
    REPAIR_NAMES,
    ExportSpec,
    InputError,
)

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.export.quantize.float_file import FloatFile
    from tta_lite.types import Task

MODEL = flags.DEFINE_string(
    "model", None, "The trained network: a .keras (of Keras 2 or 3) or .h5 file, a SavedModel, or a float .tflite.",
    required=True,
)  # fmt: skip
# No preset of an export: it makes no file.
FP8 = "fp8_simulated"
PRESET = flags.DEFINE_enum("preset", "int8", (*PRESETS[1:], FP8), "Of the export; fp8_simulated makes no file.")
BACKEND = flags.DEFINE_enum("backend", "auto", BACKENDS, "Which quantiser makes the file; auto: one that can.")
RANGES = flags.DEFINE_enum("ranges", "min_max", RANGE_RULES, "How the range of a tensor follows from what it held.")
REPAIRS = flags.DEFINE_list("repairs", [], f"Of {', '.join(REPAIR_NAMES)}: what is done to the weights before.")
PER_TENSOR = flags.DEFINE_bool("per_tensor", False, "One scale for a whole weight, not one for each output channel.")
KEEP_FLOAT = flags.DEFINE_list("keep_float", [], "Layers that stay in float32.")
KEEP_16X8 = flags.DEFINE_list("keep_16x8", [], "Layers whose activations get 16 bits.")
WEIGHT_BITS = flags.DEFINE_integer(
    "weight_bits", 8, "Fewer: kernels hold fewer different weights, and the file after zip is smaller.", 2, 8
)
CALIBRATION = flags.DEFINE_string(
    "calibration",
    None,
    "A folder of pictures or a .npy file [N, H, W, C] that fixes the ranges; the task's own if none.",
)
CALIBRATION_IMAGES = flags.DEFINE_integer("calibration_images", 100, "Pictures that fix the ranges.", 1)

FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)] + _model.FLAGS
flags.adopt_module_key_flags(_model)
OF_INTEGERS = (RANGES, REPAIRS, KEEP_FLOAT, KEEP_16X8, WEIGHT_BITS, CALIBRATION, CALIBRATION_IMAGES)
KERAS_FILES = (".keras", ".h5", ".hdf5")


def is_keras() -> bool:
    """Whether ``--model`` is a Keras file, by its name."""
    return MODEL.value.lower().endswith(KERAS_FILES)


def source() -> FloatFile:
    """-> the float file of ``--model``, whatever it is.

    Raises:
      InputError: there is no such file, or it is none of the three.
    """
    from tta_lite.export.float_check import check_finite_weights, check_float_tflite
    from tta_lite.export.open_safely import open_safely
    from tta_lite.export.quantize.float_file import FloatFile

    path = Path(MODEL.value)
    if is_keras():
        model = _model.read(path)
        check_finite_weights(model)
        return FloatFile.of_model(model)
    if (path / "saved_model.pb").is_file():
        return FloatFile.of_saved_model(path)
    if path.suffix == ".tflite" and path.is_file():
        # From who knows where: another process looks at it first.
        tflite = open_safely(path).tflite
        check_float_tflite(tflite)
        return FloatFile.of_tflite(tflite, path.name)
    raise InputError(
        f"--model must be a .keras or .h5 file, a SavedModel's folder or a .tflite file. Received: {path}"
        f"{'' if path.exists() else ', which is not there'}"
    )


def spec(source: Callable[[], FloatFile]) -> ExportSpec:
    """-> what the flags ask for.

    Args:
      source: -> the float file, in which the layers that are kept are looked up.

    Raises:
      InputError: flags that do not go together, or a layer that there is not.
    """
    preset = PRESET.value
    if preset not in CALIBRATED_PRESETS:
        for holder in OF_INTEGERS:
            if flags.FLAGS[holder.name].present:
                raise InputError(f"--{holder.name} is of integer presets. Received: --preset={preset}")
    kept = {holder.name: ops_of(source(), holder) if holder.value else () for holder in (KEEP_FLOAT, KEEP_16X8)}
    return ExportSpec(
        preset,
        CALIBRATION_IMAGES.value,
        BACKEND.value,
        RANGES.value,
        tuple(REPAIRS.value),
        PER_TENSOR.value,
        weight_bits=WEIGHT_BITS.value,
        **kept,
    )


def ops_of(source: FloatFile, holder: flags.FlagHolder[list[str]]) -> tuple[str, ...]:
    """-> the ops of the layers that a flag names, each by the tensor that it writes.

    Raises:
      InputError: no op comes from such a layer.
    """
    from tta_lite.export.quantize.names import op_layers

    ops = op_layers(source.tflite)
    found = []
    for wanted in holder.value:
        tensors = [op.tensor for op in ops if wanted in (op.tensor, op.title, *op.fused)]
        if not tensors:
            known = ", ".join(dict.fromkeys(op.title for op in ops))
            raise InputError(f"--{holder.name} must name layers of the network: {known}. Received: {wanted}")
        found += tensors
    return tuple(dict.fromkeys(found))


def images(source: FloatFile, task: Task | None) -> list[np.ndarray]:
    """-> the checked calibration images that the flags name, or the task's; none for presets that need none.

    Raises:
      InputError: there are none, or ranges found with them would be wrong.
    """
    if PRESET.value not in (*CALIBRATED_PRESETS, FP8):
        return []
    from tta_lite.datasets.calibration_checks import check_calibration
    from tta_lite.datasets.calibration_findings import refuse_errors
    from tta_lite.datasets.calibration_folder import read_calibration
    from tta_lite.export.contents import read_contents
    from tta_lite.tasks.calibration import check_images, checked_calibration
    from tta_lite.tasks.classification import PIXELS

    if CALIBRATION.value is None:
        if task is None:
            raise InputError(
                f"--preset={PRESET.value} needs pictures for its ranges: --calibration or --task. Received: neither"
            )
        return checked_calibration(task, CALIBRATION_IMAGES.value, seed=_task.SEED.value)[0]
    contents = read_contents(source.tflite)
    shape = contents.tensors[contents.inputs[0]].shape[1:]
    normalisation = PIXELS[_task.PIXELS.value] if _task.PIXELS.value else None
    found = read_calibration(
        CALIBRATION.value,
        shape,
        normalisation.apply if normalisation else None,
        count=CALIBRATION_IMAGES.value,
        seed=_task.SEED.value,
    )
    if task is not None:
        return check_images(found, task)[0]
    for finding in refuse_errors(check_calibration(found, shape=shape)):
        logging.warning("%s", finding.text)
    return found
