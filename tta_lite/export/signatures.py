"""Keras models -> one ``.tflite`` file with a signature for each, over weights that they share.

TensorFlow's own way to several signatures is a SavedModel, which takes ten times as long to convert and leaves open
whether constants are stored twice. Each model goes through the fast route instead, and `joined` puts the files
together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.export.convert import CONVERSIONS, convert, convert_calibrated
from tta_lite.export.joined import join_files
from tta_lite.export.signature import set_signature
from tta_lite.types import InputError

PRESETS = tuple(preset for preset in CONVERSIONS if preset != "quantization_aware")


def export_signatures(models: Mapping[str, keras.Model], preset: str = "fp32") -> bytes:
    """-> one file; its signatures are the keys, and their inputs and outputs have the names that Keras gives them.

    Args:
      models: signature -> a model of float32 tensors whose sizes are fixed but for the batch, which becomes 1. They may
        have several inputs and outputs.
      preset: one of `PRESETS`. Those with integer activations have a scale for each tensor of each graph: files of
        their own are what they can be exported as.

    Raises:
      InputError: a model that cannot be exported, or no such preset.
    """
    return join_files({key: export_part(model, preset) for key, model in models.items()})


def export_part(
    model: keras.Model,
    preset: str = "fp32",
    *,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    calibration: Sequence[Sequence[np.ndarray]] = (),
) -> bytes:
    """-> a file of one model with any number of inputs and outputs, as it goes into that of `export_signatures`.

    Args:
      model, preset: as there; with `calibration` also ``int8``, which is a file of its own.
      inputs: names of the inputs, in the model's order; those that Keras gives them, if none are given.
      outputs: the same of the outputs.
      calibration: examples of ``int8``, each with an array [1, ...] float32 for each input.
    """
    if (preset == "int8") != bool(calibration) or preset not in (*PRESETS, "int8"):
        raise InputError(
            f"Several signatures over shared weights are exported with one of {', '.join(PRESETS)}, and a part alone "
            f"with int8 and calibration images. Received: {preset!r} with {len(calibration)}"
        )
    shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
    if any(None in shape for shape in shapes):
        raise InputError(
            f"Model `{model.name}` must have fixed input sizes to be exported; only the batch may be open. "
            f"Received: {[list(shape) for shape in shapes]}"
        )

    def run(*tensors: tf.Tensor) -> list[tf.Tensor]:
        return tf.nest.flatten(model(tensors[0] if len(tensors) == 1 else list(tensors), training=False))

    specs = [tf.TensorSpec(shape, tf.float32, name=f"input_{place}") for place, shape in enumerate(shapes)]
    function: Any = tf.function(run, autograph=False).get_concrete_function(*specs)
    tflite = (
        convert_calibrated(function, calibration, model.name) if calibration else convert(function, preset, model.name)
    )
    return set_signature(tflite, inputs or model.input_names, outputs or model.output_names)
