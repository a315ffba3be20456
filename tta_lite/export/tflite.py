"""Keras model -> ``.tflite``: fixed batch of 1, named signature, one of the presets (G3, clause 6.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.types import ExportSpec


def export_tflite(model: keras.Model, spec: ExportSpec, calibration: Sequence[np.ndarray] = ()) -> bytes:
    """-> the flatbuffer, with signature ``serving_default`` whose names are those of the Keras input and output.

    Inputs and outputs are float32, those of ``int8`` are int8 and those of ``int16x8`` int16. The batch is fixed to 1:
    with an open one XNNPACK refuses every Deconv.

    Args:
      model: one input and one output, float32; it is not changed. One from
        `tta_lite.training.quantization_aware.quantization_aware` needs no calibration and becomes ``int8``.
      spec: the preset, and how many of the calibration images it takes.
      calibration: training images, each [1, H, W, C] float32, normalised as for the model; for presets that
        `tta_lite.types.ExportSpec.needs_images` says it of.

    Raises:
      InputError: a model or calibration images that cannot be exported.
    """
    if any(type(layer).__name__.startswith("QuantizeWrapper") for layer in model.layers):
        # Needs TensorFlow Model Optimization, which takes a second to load.
        from tta_lite.export.quantization_aware import export_trained

        return export_trained(model, spec, calibration)
    return PostTraining(FloatFile.of_model(model), calibration).quantize(spec)
