"""The back end of Google's litert-quantizer, which reads the float flatbuffer and imports no TensorFlow."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.options import Options
from tta_lite.export.quantize.ranges import Ranges
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.signature import with_signature_of
from tta_lite.types import InputError

if TYPE_CHECKING:
    from litert_quantizer.quantizer import Quantizer

ALL = "*"


def fp16(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights in float16."""

    def rules(quantizer: Quantizer) -> None:
        from litert_quantizer import qtyping
        from litert_quantizer import quantizer as api

        kind = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=kind, compute_precision=qtyping.ComputePrecision.FLOAT, explicit_dequantize=True
        )
        # The rule for all ops knows no float16.
        for op in ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED"):
            quantizer.update_quantization_recipe(
                ".*", qtyping.TFLOperationName(op), config, api.AlgorithmName.FLOAT_CASTING
            )

    return _quantise(source, None, options, rules)


def dynamic(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights in int8; activations are quantised by the kernels, image by image."""
    return _quantise(source, None, options, lambda quantizer: quantizer.add_dynamic_config(
        ".*", _op(ALL), 8, _granularity(options)))  # fmt: skip


def weight_only_int8(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights in int8, made float32 again before they are used."""
    return _quantise(source, None, options, lambda quantizer: quantizer.add_weight_only_config(
        ".*", _op(ALL), 8, _granularity(options)))  # fmt: skip


def weight_only_int4(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights of Conv and Dense in int4, of the other layers in int8, made float32 again before they are used."""

    def rules(quantizer: Quantizer) -> None:
        quantizer.add_weight_only_config(".*", _op(ALL), 8, _granularity(options))
        for op in ("CONV_2D", "FULLY_CONNECTED"):
            quantizer.add_weight_only_config(".*", _op(op), 4, _granularity(options))

    return _quantise(source, None, options, rules)


def int8(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights and activations in int8, int8 at the edges."""
    return _static(source, ranges, options, 8)


def int16x8(source: FloatFile, ranges: Ranges, options: Options) -> bytes:
    """Weights in int8, activations in int16, int16 at the edges."""
    return _static(source, ranges, options, 16)


def _static(source: FloatFile, ranges: Ranges, options: Options, bits: int) -> bytes:
    def rules(quantizer: Quantizer) -> None:
        quantizer.add_static_config(".*", _op(ALL), bits, 8, _granularity(options))
        if options.keep_16x8:
            quantizer.add_static_config(_scope(options.keep_16x8), _op(ALL), 16, 8, _granularity(options))

    return _quantise(source, ranges, options, rules)


def _quantise(source: FloatFile, ranges: Ranges | None, options: Options, rules: Callable[[Quantizer], None]) -> bytes:
    from litert_quantizer import quantizer as api

    quantizer = api.Quantizer(source.tflite)
    rules(quantizer)
    if options.keep_float:
        quantizer.update_quantization_recipe(
            _scope(options.keep_float), _op(ALL), algorithm_key=api.AlgorithmName.NO_QUANTIZE
        )
    # It wants them with as many dimensions as the tensors have.
    calibrated: dict[str, Any] | None = None
    if ranges is not None:
        calibrated = {
            name: {"min": np.full((1, 1, 1, 1), low, np.float32), "max": np.full((1, 1, 1, 1), high, np.float32)}
            for name, (low, high) in ranges.items()
        }
    try:
        with quiet_converter(), warnings.catch_warnings():
            # Of weights that are zero throughout, and of what its interpreter keeps.
            warnings.simplefilter("ignore")
            result = quantizer.quantize(calibrated, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, KeyError, NotImplementedError) as error:
        raise InputError(
            f"The back end litert_quantizer cannot quantise {source.name}; the back end converter may. "
            f"Received: {' '.join(str(error).split())[:300]}"
        ) from error
    assert result.quantized_model is not None
    # It keeps the signature, and not the alignment of the constants.
    return with_signature_of(bytes(result.quantized_model), source.tflite)


def _op(name: str) -> Any:
    from litert_quantizer.qtyping import TFLOperationName

    return TFLOperationName(name)


def _granularity(options: Options) -> Any:
    from litert_quantizer.qtyping import QuantGranularity

    return QuantGranularity.TENSORWISE if options.per_tensor else QuantGranularity.CHANNELWISE


def _scope(names: Sequence[str]) -> str:
    # It looks for the expression in the names of an op's outputs, each with a semicolon after it.
    return "|".join(f"^{re.escape(name)};" for name in names)
