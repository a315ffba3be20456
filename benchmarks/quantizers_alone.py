"""int8 by other people's quantisers, each as its own guide says: what this project is held against."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.runner import TFLitePredictor


def from_keras_model(model: keras.Model, pictures: np.ndarray) -> bytes:
    """-> int8 as TensorFlow's guide makes it: nothing of this project in it."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture[None]] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet_converter():
        return converter.convert()


def litert_quantizer_alone(tflite: bytes, images: Sequence[np.ndarray]) -> bytes:
    """-> int8 by litert-quantizer with ranges of its own calibration."""
    from litert_quantizer import qtyping, quantizer

    alone = quantizer.Quantizer(tflite)
    every = qtyping.TFLOperationName("*")
    alone.add_static_config(".*", every, 8, 8, qtyping.QuantGranularity.CHANNELWISE)
    name = TFLitePredictor(tflite).input.name
    with quiet_converter():
        found = alone.calibrate(
            {"serving_default": [{name: image} for image in images]}, num_threads=os.cpu_count() or 1
        )
        made = alone.quantize(found, enable_progress_bar=False, enable_progress_report=False).quantized_model
    assert made is not None
    return bytes(made)
