"""What would 8-bit floats cost? A float flatbuffer, run op by op, with every number between the ops rounded to FP8.

Micikevicius et al., *FP8 Formats for Deep Learning*, 2022, https://arxiv.org/abs/2209.05433: E4M3 has 4 bits of
exponent, 3 of mantissa and no infinity; E5M2 has 5 and 2. A tensor is divided by a scale, so that its largest value
becomes the format's largest finite one, and rounded to the nearest, ties to even; what lies outside saturates (section
3). Sums stay float32, as in hardware that has FP8, and so do biases.

It answers the question and ships nothing: no board of this house's profiles, and no TFLite kernel, computes in FP8.
Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.names import WEIGHTS
from tta_lite.export.quantize.ranges import Ranges, choose_ranges
from tta_lite.export.quantize.statistics import activations, collect
from tta_lite.export.runner import load
from tta_lite.export.single_op import single_op
from tta_lite.types import InputError

# The axis of the output channels among a weight's axes.
_CHANNELS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0}


class Format:
    """An 8-bit float type.

    Attributes:
      dtype: of `ml_dtypes`.
      largest: finite value.

    Example:
      >>> rounded, saturated = FORMATS["e4m3"].rounded(np.array([1.06, 1.07, 1000.0, -0.001], np.float32))
      >>> rounded.tolist(), saturated
      ([1.0, 1.125, 448.0, -0.001953125], 1)
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.largest = float(ml_dtypes.finfo(dtype).max)
        # All 256 numbers: to look them up is ten times as fast as to convert them.
        self._values = np.arange(256, dtype=np.uint8).view(self.dtype).astype(np.float32)

    def rounded(self, values: np.ndarray, scale: np.ndarray | float = 1.0) -> tuple[np.ndarray, int]:
        """-> the values of the format nearest to float32 ones, and how many of these lay outside it.

        Args:
          values: finite, of any shape.
          scale: what one unit of the format stands for; one number, or an array that fits `values`.
        """
        units = values / np.asarray(scale, np.float32)
        saturated = 0
        if max(units.max(initial=0), -units.min(initial=0)) > self.largest:
            # Such a float becomes NaN in E4M3 and infinity in E5M2, if it is let.
            saturated = int(np.count_nonzero(np.abs(units) > self.largest))
            np.clip(units, -self.largest, self.largest, out=units)
        codes = units.astype(self.dtype).view(np.uint8)
        if np.ndim(scale):
            return np.take(self._values, codes) * np.asarray(scale, np.float32), saturated
        return np.take(self._values * np.float32(scale), codes), saturated

    def scale(self, largest: np.ndarray | float) -> np.ndarray | float:
        """-> the scale by which the largest absolute value of a tensor, or of each channel, becomes the format's."""
        return np.where(np.asarray(largest) > 0, largest, self.largest).astype(np.float32) / np.float32(self.largest)


# Only these two have kernels anywhere, and the names that papers give them.
FORMATS: dict[str, Format] = {"e4m3": Format(ml_dtypes.float8_e4m3fn), "e5m2": Format(ml_dtypes.float8_e5m2)}


@dataclasses.dataclass(frozen=True)
class _Op:
    """One op as an interpreter of its own, and the tensors of the file that it reads and writes."""

    interpreter: Any
    places: tuple[int, ...]
    reads: tuple[int, ...]
    results: tuple[int, ...]
    writes: tuple[int, ...]


class Fp8Predictor:
    """A float file as a function in which weights and activations are FP8; see `fp8_predictor`.

    Attributes:
      format: ``e4m3`` or ``e5m2``.
      saturated: name of a tensor -> how many of its values lay outside the format so far; weights never do.
      total: how many values were rounded so far, the weights not among them.
    """

    def __init__(self, float_tflite: bytes, ranges: Ranges, format: str, per_channel: bool) -> None:
        self.format, self.saturated, self.total = format, {}, 0
        self._format = FORMATS[format]
        edit = GraphEdit(float_tflite)
        if len(edit.graph.inputs) != 1 or len(edit.graph.outputs) != 1:
            raise InputError(
                "FP8 is simulated for a file with one input and one output. "
                f"Received: {len(edit.graph.inputs)} inputs, {len(edit.graph.outputs)} outputs"
            )
        self._scales = self._activation_scales(edit, ranges)
        self._names = {tensor: edit.text(tensor) for tensor in self._scales}
        self.saturated = dict.fromkeys(self._names.values(), 0)
        for op in edit.ops:
            self._round_constants(edit, op, per_channel)
        self._input, self._output = int(edit.graph.inputs[0]), edit.outputs[0]
        self._shape = edit.shape(self._input)
        self._ops = [_alone(edit, op) for op in edit.ops]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images [B, ...] float32 -> [B, ...] float32, one by one.

        Raises:
          InputError: images of another shape than the file's, or none, or a value that is no number.
        """
        images = np.asarray(images, np.float32)
        if images.ndim != len(self._shape) or images.shape[1:] != self._shape[1:] or not len(images):
            raise InputError(
                f"Images must have the shape [B, {', '.join(map(str, self._shape[1:]))}], B 1 or more. "
                f"Received: {list(images.shape)}"
            )
        return np.concatenate([self._run(image[None]) for image in images])

    def _run(self, image: np.ndarray) -> np.ndarray:
        held = {self._input: self._rounded(self._input, image)}
        for op in self._ops:
            for place, tensor in zip(op.places, op.reads, strict=True):
                op.interpreter.set_tensor(place, held[tensor])
            op.interpreter.invoke()
            for place, tensor in zip(op.results, op.writes, strict=True):
                held[tensor] = self._rounded(tensor, op.interpreter.get_tensor(place))
        return held[self._output]

    def _rounded(self, tensor: int, values: np.ndarray) -> np.ndarray:
        # What is not float32, as the shape that a RESHAPE reads, is no activation.
        if tensor not in self._scales:
            return values
        if not np.isfinite(values.sum(dtype=np.float64)):
            raise InputError(
                f"The tensor `{self._names[tensor]}` must hold numbers. Received: NaN or infinity; the weights or the "
                "image's range may be at fault"
            )
        rounded, saturated = self._format.rounded(values, self._scales[tensor])
        self.saturated[self._names[tensor]] += saturated
        self.total += values.size
        return rounded

    def _activation_scales(self, edit: GraphEdit, ranges: Ranges) -> dict[int, float]:
        found = {}
        for tensor in activations(edit):
            if edit.text(tensor) not in ranges:
                raise InputError(
                    f"Argument `ranges` must hold every tensor between the ops. Received: none of `{edit.text(tensor)}`"
                )
            low, high = ranges[edit.text(tensor)]
            found[tensor] = float(self._format.scale(max(abs(low), abs(high))))
        return found

    def _round_constants(self, edit: GraphEdit, op: schema.OperatorT, per_channel: bool) -> None:
        name = edit.name(op)
        inputs = [int(tensor) for tensor in op.inputs]
        for place, tensor in enumerate(inputs):
            values = edit.value(tensor) if tensor >= 0 and edit.dtype(tensor) == np.float32 else None
            # Beside its weights such an op has a bias, which is added to a float32 sum.
            if values is None or place != WEIGHTS.get(name, place):
                continue
            axes: tuple[int, ...] | None = None
            if per_channel and name in WEIGHTS:
                axes = tuple(axis for axis in range(values.ndim) if axis != _CHANNELS[name])
            largest = np.abs(values).max(axis=axes, keepdims=True, initial=0)
            rounded, _ = self._format.rounded(values, self._format.scale(largest))
            inputs[place] = edit.constant(f"{edit.text(tensor)}/fp8", rounded)
        op.inputs = np.array(inputs, np.int32)


def fp8_predictor(
    float_tflite: bytes,
    *,
    ranges: Ranges | None = None,
    images: Sequence[np.ndarray] = (),
    format: str = "e4m3",
    per_channel: bool = True,
) -> Fp8Predictor:
    """-> the network as it would compute in FP8, for ``task.score(...)``.

    Rounded are the weights, other constants that ops read, the input and what each op writes, the output included;
    an op and the ReLU that is fused with it count as one. Biases and sums stay float32.

    Args:
      float_tflite: float32, of fixed shapes, with one input and one output.
      ranges: name of each tensor -> its smallest and largest value, as for int8; or
      images: calibration images, each [1, H, W, C] float32, whose extremes are the ranges.
      format: ``e4m3`` or ``e5m2``.
      per_channel: one scale an output channel of a Conv, DWConv, Deconv or Dense; else one a tensor.

    Raises:
      InputError: an unknown format, neither or both of `ranges` and `images`, or a file that cannot be run so.
    """
    if format not in FORMATS:
        raise InputError(f"Argument `format` must be one of {', '.join(FORMATS)}. Received: {format!r}")
    if (ranges is None) == (len(images) == 0):
        received = "neither" if ranges is None else "both"
        raise InputError(f"FP8 needs the ranges of the tensors, `ranges` or `images`. Received: {received}")
    if ranges is None:
        ranges = choose_ranges(collect(float_tflite, images))
    _check_ranges(ranges)
    return Fp8Predictor(float_tflite, ranges, format, per_channel)


def _check_ranges(ranges: Mapping[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise InputError(f"A range must be two numbers in order. Received: {low} and {high} of `{name}`")


def _alone(edit: GraphEdit, op: schema.OperatorT) -> _Op:
    interpreter = load(single_op(edit.model, op))
    reads = [int(tensor) for tensor in op.inputs if tensor >= 0]
    data = edit.model.buffers
    moving = [tensor for tensor in dict.fromkeys(reads) if not _is_held(data[edit.graph.tensors[tensor].buffer])]
    return _Op(
        interpreter,
        tuple(details["index"] for details in interpreter.get_input_details()),
        tuple(moving),
        tuple(details["index"] for details in interpreter.get_output_details()),
        tuple(int(tensor) for tensor in op.outputs),
    )


def _is_held(buffer: schema.BufferT) -> bool:
    return buffer.data is not None and len(buffer.data) > 0
