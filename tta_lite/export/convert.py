"""Keras model -> flatbuffer by TensorFlow's converter: a fixed batch of 1, and no SavedModel on disk if that goes."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tta_lite.compat import keras
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.signature import SERVING_DEFAULT
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Conversion:
    """What the converter does to the weights on the way.

    Attributes:
      optimise: whether weights are made smaller at all.
      weights: the type that they are stored in, if the converter shall not choose it op by op.
      integer: int8 at the edges, by the fake quantisation in the network.
    """

    optimise: bool = False
    weights: tf.DType | None = None
    integer: bool = False


# What TensorFlow's converter makes of a network in one go; the other presets start from the file of fp32.
CONVERSIONS: dict[str, Conversion] = {
    "fp32": Conversion(),
    "fp16": Conversion(optimise=True, weights=tf.float16),
    # Weights of Conv, Deconv and Dense with 1,024 elements or more become int8; the rest stays float32.
    "dynamic": Conversion(optimise=True),
    "quantization_aware": Conversion(optimise=True, integer=True),
}


def serving_function(model: keras.Model) -> Any:
    """-> the model as a concrete function of one image [1, H, W, C] float32, as at inference."""
    shape = (1, *model.inputs[0].shape[1:])
    serve = tf.function(lambda image: model(image, training=False), autograph=False)
    return serve.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))


def convert(function: Any, preset: str, name: str) -> bytes:
    """-> the flatbuffer of a concrete function, without a signature.

    Args:
      function: of tensors with fixed shapes.
      preset: a key of `CONVERSIONS`.
      name: of the network, for messages.

    Raises:
      InputError: it holds an op that TFLite has not.
    """
    try:
        return _convert_with_fallback(function, CONVERSIONS[preset])
    except Exception as error:
        raise InputError(
            f"Model `{name}` cannot be converted to TFLite with preset {preset}. "
            f"Every op must have a TFLite kernel. Received: {_reason(error)}"
        ) from error


def _convert_with_fallback(function: Any, conversion: Conversion) -> bytes:
    try:
        return convert_function(function, conversion)
    except Exception as error:
        # The fast route knows no tables and no state; a saved model may hold them. If that fails too, the first
        # error is the one that speaks of the user's network.
        with contextlib.suppress(Exception):
            return convert_saved(function, conversion)
        raise error


def _reason(error: Exception) -> str:
    """The converter tells a story of a hundred lines; what matters are the ops that it could not translate."""
    text = str(error)
    ops = dict.fromkeys(re.findall(r"'(tf\.\w+)' op is neither a custom op", text))
    if ops:
        return f"no kernel for {', '.join(ops)}"
    return " ".join(text.split())[:300] or type(error).__name__


def convert_function(function: Any, conversion: Conversion) -> bytes:
    """The fast route: a concrete function straight into the converter, without a SavedModel on disk."""
    # Without a trackable object the converter freezes the function itself. `from_concrete_functions` does the same,
    # and warns.
    return _run(tf.lite.TFLiteConverter([function], None), conversion)


def convert_calibrated(function: Any, images: Sequence[np.ndarray | Sequence[np.ndarray]], name: str) -> bytes:
    """-> int8 by TensorFlow's own calibrator: of others' fake quantisation, or of a part of a network.

    Where fake quantisation leaves a tensor without a range, the images fix it.

    Args:
      function: concrete, of one image or of several tensors.
      images: each [1, H, W, C] float32, or one such for each argument.
      name: of the network, for messages.

    Raises:
      InputError: it holds an op that TFLite has not.
    """
    converter = tf.lite.TFLiteConverter([function], None)
    converter.representative_dataset = lambda: (
        [np.asarray(one, np.float32) for one in (image if isinstance(image, (list, tuple)) else [image])]
        for image in images
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    try:
        return _run(converter, CONVERSIONS["quantization_aware"])
    except Exception as error:
        raise InputError(f"Model `{name}` cannot be converted to int8. Received: {_reason(error)}") from error


def convert_saved(function: Any, conversion: Conversion) -> bytes:
    """The fallback: the frozen function is saved and read back."""
    frozen = convert_variables_to_constants_v2(function)
    argument = function.inputs[0]
    module = tf.Module()
    module.serve = tf.function(
        lambda image: frozen(image)[0], input_signature=[tf.TensorSpec(argument.shape, argument.dtype, name="image")]
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SERVING_DEFAULT: module.serve.get_concrete_function()})
        return _run(tf.lite.TFLiteConverter.from_saved_model(folder), conversion)


def _run(converter: Any, conversion: Conversion) -> bytes:
    # The converter's own record of the conversion holds a hash of no use to a reader.
    converter.exclude_conversion_metadata = True
    if conversion.optimise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if conversion.weights is not None:
        converter.target_spec.supported_types = [conversion.weights]
    if conversion.integer:
        converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet_converter():
        return converter.convert()


def check_model(model: keras.Model) -> None:
    """Raises an `InputError` for a model that cannot be exported, before anything is converted."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"Model `{model.name}` must have one input and one output to be exported. "
            f"Received: inputs {model.input_names}, outputs {model.output_names}"
        )
    shape = tuple(model.inputs[0].shape)
    if None in shape[1:]:
        raise InputError(
            f"Model `{model.name}` must have a fixed input size to be exported; only the batch may be open. "
            f"Received: {list(shape)}"
        )
    if shape[0] not in (None, 1):
        raise InputError(f"Model `{model.name}` is exported with a batch of 1. Received: {list(shape)}")
    layers = [layer for layer in model.submodules if isinstance(layer, keras.layers.Layer)]
    half = [layer.name for layer in layers if layer.compute_dtype in ("float16", "bfloat16")]
    if half:
        raise InputError(
            f"Model `{model.name}` computes in 16 bits and does not convert. Give it the policy float32 first "
            "(`tta_lite.training.precision.with_policy(model, 'float32')`), then export with preset fp16. "
            f"Received: {len(half)} such layers, the first is `{half[0]}`"
        )
