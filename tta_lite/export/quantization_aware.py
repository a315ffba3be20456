"""A quantisation-aware network -> the full-integer ``.tflite`` file that computes what it computes (G3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.export.convert import check_model, convert, convert_calibrated, serving_function
from tta_lite.export.quantize.post_training import check_integer_only
from tta_lite.export.quantize.statistics import check_images
from tta_lite.export.signature import set_signature
from tta_lite.training.quantization_aware import PREFIX, wrappers
from tta_lite.training.quantization_fold import folded
from tta_lite.training.quantizers import LayerConfig
from tta_lite.types import ExportSpec, InputError


def export_quantization_aware(model: keras.Model) -> bytes:
    """-> the flatbuffer: int8 throughout, with the grids and ranges of the training; no calibration images.

    Its signature is that of `tta_lite.export.tflite.export_tflite` with preset ``int8``.

    Args:
      model: from `tta_lite.training.quantization_aware.quantization_aware`, trained or not; it is not changed.

    Raises:
      InputError: another model, one that does not convert, or an op that would stay float.
    """
    check_model(model)
    plain = folded(model)
    tflite = convert(serving_function(plain), "quantization_aware", model.name)
    check_integer_only(tflite, model.name)
    return set_signature(tflite, model.input_names, [name.removeprefix(PREFIX) for name in model.output_names])


def export_trained(model: keras.Model, spec: ExportSpec, calibration: Sequence[np.ndarray] = ()) -> bytes:
    """-> the file of a quantisation-aware network that `spec` describes.

    Args:
      model: of this house, or with wrappers that the user's own code has put in.
      spec: ``int8``.
      calibration: for the latter alone: training images that fix what its fake quantisation leaves open.

    Raises:
      InputError: it asks for what post-training quantisation does, or for another preset.
    """
    if spec != ExportSpec("int8", spec.calibration_images):
        raise InputError(
            "A quantisation-aware network is exported as int8 with the ranges that it has learnt. Expected: preset "
            "int8 without ranges, repairs or kept ops, or the plain network "
            f"(`tta_lite.training.quantization_aware.float_network`). Received: {spec}"
        )
    if all(type(wrapper.quantize_config) is LayerConfig for wrapper in wrappers(model)):
        return export_quantization_aware(model)
    check_model(model)
    images = list(calibration[: spec.calibration_images])
    check_images(images, (1, *model.inputs[0].shape[1:]))
    tflite = convert_calibrated(serving_function(model), images, model.name)
    check_integer_only(tflite, model.name)
    return set_signature(tflite, model.input_names, model.output_names)
