"""The back end of TensorFlow's own converter: its MLIR quantiser on a float flatbuffer that holds ranges.

`tf.lite.TFLiteConverter` calibrates by writing a range into every tensor of the float flatbuffer and then calls the
same function; so ranges that were found elsewhere go in the same way, and nothing is converted twice.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.ranges import Ranges
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.signature import with_signature_of
from tta_lite.types import InputError


def fp16(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights in float16; the network is converted anew, for the converter reads no flatbuffer for this."""
    return _anew(source, "fp16")


def dynamic(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights of 1,024 elements or more in int8; the network is converted anew."""
    return _anew(source, "dynamic")


def _anew(source: FloatFile, preset: str) -> bytes:
    if source.convert is None:
        raise InputError(
            f"The back end converter makes {preset} from a Keras model or a SavedModel; from a flatbuffer the back end "
            f"litert_quantizer does. Received: {source.name}"
        )
    return source.convert(preset)


def int8(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights and activations in int8, int8 at the edges."""
    import tensorflow as tf
    from tensorflow.lite.python import convert

    # Its int16 is not offered: it leaves the biases of DWConv in int32, and the interpreter refuses the file.
    with quiet_converter():
        tflite = convert.mlir_quantize(
            with_ranges(source.tflite, ranges),
            disable_per_channel=options.per_tensor,
            fully_quantize=True,
            input_data_type=tf.int8,
            output_data_type=tf.int8,
            denylisted_nodes=list(options.keep_float) or None,
        )
    return with_signature_of(tflite, source.tflite)


def with_ranges(tflite: bytes, ranges: Ranges) -> bytes:
    """-> the same file with a range in each tensor that has one, as the converter's calibrator leaves them."""
    edit = GraphEdit(tflite)
    for number, tensor in enumerate(edit.graph.tensors):
        if (found := ranges.get(edit.text(number))) is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.min = np.array([found[0]], np.float32)
            tensor.quantization.max = np.array([found[1]], np.float32)
    return edit.to_bytes()
