"""Keras model -> ``.tflite``: fixed batch of 1, named signature, one of four presets (G3, clause 6.2.1)."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.signature import SERVING_DEFAULT, set_signature
from tta_lite.types import ExportSpec, InputError


@dataclasses.dataclass(frozen=True)
class Preset:
    """How the converter is set.

    Attributes:
      optimise: whether weights are made smaller at all.
      weights: the type that they are stored in, if the converter shall not choose it op by op.
      integer_only: every op in int8, with int8 at the edges, so that the firmware gets a graph without floats.
        The ranges come from calibration images.
    """

    optimise: bool = False
    weights: tf.DType | None = None
    integer_only: bool = False


PRESET_SETTINGS: dict[str, Preset] = {
    "fp32": Preset(),
    "fp16": Preset(optimise=True, weights=tf.float16),
    # Weights of Conv, Deconv and Dense with 1,024 elements or more become int8; the rest stays float32.
    "dynamic": Preset(optimise=True),
    "int8": Preset(optimise=True, integer_only=True),
}


def export_tflite(model: keras.Model, spec: ExportSpec, calibration: Sequence[np.ndarray] = ()) -> bytes:
    """-> the flatbuffer, with signature ``serving_default`` whose names are those of the Keras input and output.

    Inputs and outputs are float32, those of ``int8`` are int8. The batch is fixed to 1: with an open one XNNPACK
    refuses every Deconv.

    Args:
      model: one input and one output, float32; it is not changed.
      spec: the preset, and how many of the calibration images it takes.
      calibration: training images, each [1, H, W, C] float32, normalised as for the model. ``int8`` only.

    Raises:
      InputError: a model or calibration images that cannot be exported.
    """
    _check_model(model)
    preset = PRESET_SETTINGS[spec.preset]
    images = list(calibration[: spec.calibration_images]) if preset.integer_only else []
    if preset.integer_only:
        _check_calibration(model, images)
    function = _serving_function(model)
    try:
        tflite = _convert_with_fallback(function, preset, images)
    except Exception as error:
        raise InputError(
            f"Model `{model.name}` cannot be converted to TFLite with preset {spec.preset}. "
            f"Every op must have a TFLite kernel. Received: {_reason(error)}"
        ) from error
    tflite = set_signature(tflite, model.input_names, model.output_names)
    if preset.integer_only:
        _check_integer_only(model, tflite)
    return tflite


def _convert_with_fallback(function: Any, preset: Preset, images: list[np.ndarray]) -> bytes:
    try:
        return convert_function(function, preset, images)
    except Exception as error:
        # The fast route knows no tables and no state; a saved model may hold them. If that fails too, the first
        # error is the one that speaks of the user's network.
        with contextlib.suppress(Exception):
            return convert_saved(function, preset, images)
        raise error


def _reason(error: Exception) -> str:
    """The converter tells a story of a hundred lines; what matters are the ops that it could not translate."""
    text = str(error)
    ops = dict.fromkeys(re.findall(r"'(tf\.\w+)' op is neither a custom op", text))
    if ops:
        return f"no kernel for {', '.join(ops)}"
    return " ".join(text.split())[:300] or type(error).__name__


def convert_function(function: Any, preset: Preset, images: Sequence[np.ndarray]) -> bytes:
    """The fast route: a concrete function straight into the converter, without a SavedModel on disk."""
    # Without a trackable object the converter freezes the function itself. `from_concrete_functions` does the same,
    # and warns.
    return _convert(tf.lite.TFLiteConverter([function], None), preset, images)


def convert_saved(function: Any, preset: Preset, images: Sequence[np.ndarray]) -> bytes:
    """The fallback: the frozen function is saved and read back."""
    frozen = convert_variables_to_constants_v2(function)
    argument = function.inputs[0]
    module = tf.Module()
    module.serve = tf.function(
        lambda image: frozen(image)[0], input_signature=[tf.TensorSpec(argument.shape, argument.dtype, name="image")]
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={SERVING_DEFAULT: module.serve.get_concrete_function()})
        return _convert(tf.lite.TFLiteConverter.from_saved_model(folder), preset, images)


def _convert(converter: Any, preset: Preset, images: Sequence[np.ndarray]) -> bytes:
    # The converter's own record of the conversion holds a hash of no use to a reader.
    converter.exclude_conversion_metadata = True
    if preset.optimise:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if preset.weights is not None:
        converter.target_spec.supported_types = [preset.weights]
    if preset.integer_only:
        converter.representative_dataset = _representative(images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    with quiet_converter():
        return converter.convert()


def _representative(images: Sequence[np.ndarray]) -> Callable[[], Iterator[list[np.ndarray]]]:
    return lambda: ([np.asarray(image, dtype=np.float32)] for image in images)


def _serving_function(model: keras.Model) -> Any:
    shape = (1, *model.inputs[0].shape[1:])
    serve = tf.function(lambda image: model(image, training=False), autograph=False)
    return serve.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))


def _check_model(model: keras.Model) -> None:
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


def _check_integer_only(model: keras.Model, tflite: bytes) -> None:
    # The converter leaves an op without an int8 kernel in float32 between two conversions, and does not say so.
    contents = read_contents(tflite)
    left = [op for op in contents.float_ops() if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    if left:
        names = [f"{op.name} ({', '.join(contents.tensors[tensor].name for tensor in op.outputs)})" for op in left]
        raise InputError(
            f"Model `{model.name}` does not become a graph of integers: preset int8 needs every op to have an int8 "
            "kernel. Replace these ops, or take preset dynamic or fp16. "
            f"Received: {len(left)} of {len(contents.ops)} ops that stay in float32: {'; '.join(names[:8])}"
            f"{'; ...' if len(names) > 8 else ''}"
        )


def _check_calibration(model: keras.Model, images: Sequence[np.ndarray]) -> None:
    shape = (1, *model.inputs[0].shape[1:])
    wanted = f"training images of shape {list(shape)}, float32 and finite, to fix the ranges"
    if not images:
        raise InputError(f"Argument `calibration`: preset int8 needs {wanted}. Received: no image")
    for number, image in enumerate(images):
        array = np.asarray(image)
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError(
                f"Argument `calibration`, image {number}: preset int8 needs {wanted}. "
                f"Received: {list(array.shape)} {array.dtype}"
                f"{'' if np.issubdtype(array.dtype, np.number) and np.isfinite(array).all() else ', not finite'}"
            )
