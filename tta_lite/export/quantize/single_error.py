"""The error of one op by itself: a float file in which the weights or the output of that op alone are rounded.

An op's errors come from its weights and from the tensor that it writes; each tensor's error is counted once, with the
op that writes it. A file of a back end in which one op is int8 would not tell this: such an op rounds its input, too,
and so bears the blame of the op before. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.contents import read_contents
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.compare import Grid
from tta_lite.export.quantize.names import WEIGHTS

# The place of the bias among an op's inputs.
BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
# Of weights in int8: -128 is left out.
CODES = 255
_TYPES = {-128: schema.TensorType.INT8, -32768: schema.TensorType.INT16}


@dataclasses.dataclass(frozen=True)
class Weights:
    """The weights of one op in both files.

    Attributes:
      true: as in the float file.
      codes: as the quantised file stores them.
      scales: [1] or [channels].
      axis: along which the scales go.
      channels: the axis of the output channels.
      real: what the codes stand for.
      bias: what the quantised file's bias stands for, for repairs may have moved it; None if it is not in int32.
    """

    true: np.ndarray
    codes: np.ndarray
    scales: np.ndarray
    axis: int
    channels: int
    real: np.ndarray
    bias: np.ndarray | None = None

    def per_channel(self) -> np.ndarray:
        """-> [channels, weights] codes; channels are those of the output, and so the last axis of a DWConv."""
        return np.moveaxis(self.codes, self.channels, 0).reshape(self.codes.shape[self.channels], -1)

    def reached(self) -> float:
        """-> the share of the codes between the smallest and the largest that a channel uses, the mean of them all.

        The codes are -127 to 127: weights have no zero point. Nine weights cannot use 255 codes, but they can reach
        from one end to the other.
        """
        codes = self.per_channel().astype(np.int32)
        return float(np.mean(codes.max(axis=1) - codes.min(axis=1) + 1) / CODES)


def quantised_weights(float_edit: GraphEdit, quantised: GraphEdit, op: str) -> Weights | None:
    """-> the weights of the op that writes the tensor `op`; None if it has none, or they are not in int8."""
    ours, theirs = _writer(float_edit, op), _writer(quantised, op)
    if ours is None or theirs is None or (name := float_edit.name(ours)) not in WEIGHTS:
        return None
    if quantised.name(theirs) != name:
        return None
    place = int(theirs.inputs[WEIGHTS[name]])
    true, codes = float_edit.value(int(ours.inputs[WEIGHTS[name]])), quantised.value(place)
    scales, zero_points = quantised.quantisation(place)
    if true is None or codes is None or not len(scales) or codes.dtype != np.int8 or codes.shape != true.shape:
        return None
    axis = int(quantised.graph.tensors[place].quantization.quantizedDimension)
    along = [1] * codes.ndim
    along[axis] = len(scales)
    shift = zero_points if len(zero_points) == len(scales) else np.zeros(len(scales))
    real = (codes.astype(np.float32) - shift.reshape(along)) * scales.reshape(along)
    bias = int(theirs.inputs[BIAS[name]]) if len(theirs.inputs) > BIAS[name] else -1
    moved, (unit, _) = quantised.value(bias) if bias >= 0 else None, quantised.quantisation(max(bias, 0))
    whole = None if moved is None or moved.dtype != np.int32 or not len(unit) else moved * unit
    return Weights(
        true=true.astype(np.float32),
        codes=codes,
        scales=scales,
        axis=axis,
        channels=3 if name == "DEPTHWISE_CONV_2D" else 0,
        real=real.astype(np.float32),
        bias=whole,
    )


def with_weights(float_tflite: bytes, op: str, weights: Weights) -> bytes:
    """-> the float file with the rounded weights in the op that writes the tensor `op`; other ops keep theirs."""
    if (patched := _patched(float_tflite, op, weights)) is not None:
        return patched
    edit = GraphEdit(float_tflite)
    writer = _writer(edit, op)
    assert writer is not None
    inputs = [int(place) for place in writer.inputs]
    name = edit.name(writer)
    inputs[WEIGHTS[name]] = edit.constant(f"{op}/rounded", weights.real)
    if weights.bias is not None:
        inputs = [*inputs, *[-1] * (BIAS[name] + 1 - len(inputs))]
        inputs[BIAS[name]] = edit.constant(f"{op}/moved", weights.bias.astype(np.float32))
    writer.inputs = np.array(inputs, np.int32)
    return edit.to_bytes()


def _patched(float_tflite: bytes, op: str, weights: Weights) -> bytes | None:
    """-> the same, written over the old weights, which is much faster; None if another op reads them, too."""
    contents = read_contents(float_tflite)
    writer = next(one for one in contents.ops if op in [contents.tensors[place].name for place in one.outputs])
    new = {WEIGHTS[writer.name]: weights.real}
    if weights.bias is not None:
        new[BIAS[writer.name]] = weights.bias.astype(np.float32)
    if max(new) >= len(writer.inputs):
        return None
    file = bytearray(float_tflite)
    model = schema.Model.GetRootAs(file)
    graph = model.Subgraphs(0)
    buffers = [graph.Tensors(place).Buffer() for place in range(graph.TensorsLength())]
    read = [buffers[place] for one in contents.ops for place in one.inputs]
    for place, values in new.items():
        buffer = buffers[writer.inputs[place]]
        held = model.Buffers(buffer).DataAsNumpy()
        if read.count(buffer) > 1 or np.size(held) != values.nbytes:
            return None
        # A view of `file`.
        held[:] = np.frombuffer(values.tobytes(), np.uint8)
    return bytes(file)


def with_output(float_tflite: bytes, tensor: str, grid: Grid) -> bytes:
    """-> the float file in which one tensor passes through QUANTIZE and DEQUANTIZE before anything reads it."""
    edit = GraphEdit(float_tflite)
    place = next(number for number in range(len(edit.graph.tensors)) if edit.text(number) == tensor)
    codes = edit.tensor(f"{tensor}/codes", edit.shape(place), like=place)
    stored = edit.graph.tensors[codes]
    stored.type = _TYPES[grid.first]
    stored.quantization = schema.QuantizationParametersT()
    stored.quantization.scale = np.array([grid.scale], np.float32)
    stored.quantization.zeroPoint = np.array([grid.zero_point], np.int64)
    rounded = edit.tensor(f"{tensor}/rounded", edit.shape(place), like=place)
    for op in edit.read_by(place):
        op.inputs = np.array([rounded if int(one) == place else int(one) for one in op.inputs], np.int32)
    edit.graph.outputs = np.array([rounded if one == place else one for one in edit.outputs], np.int32)
    for signature in edit.model.signatureDefs or ():
        for entry in signature.outputs:
            entry.tensorIndex = rounded if entry.tensorIndex == place else entry.tensorIndex
    inserted = [
        edit.op("QUANTIZE", [place], [codes], schema.QuantizeOptionsT()),
        edit.op("DEQUANTIZE", [codes], [rounded], schema.DequantizeOptionsT(), version=2),
    ]
    ops = edit.graph.operators
    at = next((number + 1 for number, op in enumerate(ops) if place in [int(one) for one in op.outputs]), 0)
    ops[at:at] = inserted
    return edit.to_bytes()


def _writer(edit: GraphEdit, tensor: str) -> schema.OperatorT | None:
    return next((op for op in edit.ops if any(edit.text(int(one)) == tensor for one in op.outputs)), None)
