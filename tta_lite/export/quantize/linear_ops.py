"""Conv, DWConv, Deconv and Dense of a float flatbuffer as what they are: a matrix times patches, plus a bias."""

from __future__ import annotations

import dataclasses

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit

# Op -> the places of input, weights and bias among what it reads.
_PLACES = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}


@dataclasses.dataclass(frozen=True, eq=False)
class LinearOp:
    """One such op. With g groups, O outputs and K weights an output, it is ``[g, N, K] -> [g, N, O / g]``.

    A Conv has one group or those of a GConv, a DWConv one for each channel, and a Deconv is the Conv of an input with
    zeros between its pixels.

    Attributes:
      op: as the file has it.
      kind: as ``CONV_2D``.
      input, weights, bias, output: tensors; the bias is -1 where there is none.
      input_shape, output_shape: [B, H, W, C], or [B, C] of a Dense.
      weights_shape: as it is stored.
    """

    op: schema.OperatorT
    kind: str
    input: int
    weights: int
    bias: int
    output: int
    input_shape: tuple[int, ...]
    weights_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def groups(self) -> int:
        """-> 1, those of a GConv, or the channels of a DWConv."""
        if self.kind == "DEPTHWISE_CONV_2D":
            return self.input_shape[-1]
        return self.input_shape[-1] // self.weights_shape[-1] if self.kind == "CONV_2D" else 1

    def rows(self, weights: np.ndarray) -> np.ndarray:
        """-> stored weights as [g, O / g, K]: a Deconv's turned round, K counts pixels, then channels."""
        if self.kind == "DEPTHWISE_CONV_2D":
            return weights.reshape(-1, self.groups, weights.shape[3] // self.groups).transpose(1, 2, 0)
        if self.kind == "TRANSPOSE_CONV":
            weights = weights[:, ::-1, ::-1]
        return weights.reshape(self.groups, len(weights) // self.groups, -1)

    def stored(self, rows: np.ndarray) -> np.ndarray:
        """-> the weights as they are stored, of what `rows` gives."""
        if self.kind == "DEPTHWISE_CONV_2D":
            return np.ascontiguousarray(rows.transpose(2, 0, 1)).reshape(self.weights_shape)
        weights = rows.reshape(self.weights_shape)
        return np.ascontiguousarray(weights[:, ::-1, ::-1]) if self.kind == "TRANSPOSE_CONV" else weights

    def patches(self, values: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
        """-> what each output pixel sees of an input [B, ..., C], as [g, N, K]; N counts images, then pixels.

        Args:
          values: the input.
          places: of the output's pixels, those that are wanted; all if None.
        """
        if self.kind == "FULLY_CONNECTED":
            return values.reshape(1, -1, self.weights_shape[1])[:, slice(None) if places is None else places]
        windows = self._windows(values)
        every = np.arange(int(np.prod(self.output_shape[1:3]))) if places is None else places
        # [B, N, C, KH, KW]: only what is wanted is copied.
        seen = windows[:, every // self.output_shape[2], every % self.output_shape[2]]
        batch, count, channels, height, width = seen.shape
        split = seen.reshape(batch, count, self.groups, channels // self.groups, height, width)
        return split.transpose(2, 0, 1, 4, 5, 3).reshape(self.groups, batch * count, -1)

    def _windows(self, values: np.ndarray) -> np.ndarray:
        """[B, H, W, C] -> [B, H', W', C, KH, KW], a view of the padded input."""
        options = self.op.builtinOptions
        same = options.padding == schema.Padding.SAME
        strides, pads, dilations = (options.strideH, options.strideW), [], (1, 1)
        if self.kind == "TRANSPOSE_CONV":
            values = _with_zeros_between(values, strides)
            for axis in (0, 1):
                kernel, out = self.weights_shape[1 + axis], self.output_shape[1 + axis]
                # What the Conv would pad that has this Deconv for its gradient.
                cut = max((self.input_shape[1 + axis] - 1) * strides[axis] + kernel - out, 0) // 2 if same else 0
                before = kernel - 1 - cut
                pads.append((before, out + kernel - 1 - before - values.shape[1 + axis]))
            strides = (1, 1)
        else:
            dilations = (options.dilationHFactor, options.dilationWFactor)
            for axis in (0, 1):
                kernel = (self.weights_shape[1 + axis] - 1) * dilations[axis] + 1
                size, out = self.input_shape[1 + axis], self.output_shape[1 + axis]
                missing = max((out - 1) * strides[axis] + kernel - size, 0) if same else 0
                pads.append((missing // 2, missing - missing // 2))
        # A Deconv whose output is larger than its input reaches is padded; one that is smaller is cut.
        values = np.pad(values, ((0, 0), *((max(0, a), max(0, b)) for a, b in pads), (0, 0)))
        reach = tuple((self.weights_shape[1 + axis] - 1) * dilations[axis] + 1 for axis in (0, 1))
        windows = np.lib.stride_tricks.sliding_window_view(values, reach, axis=(1, 2))
        windows = windows[:, :: strides[0], :: strides[1], :, :: dilations[0], :: dilations[1]]
        return windows[:, : self.output_shape[1], : self.output_shape[2]]


def _with_zeros_between(values: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    batch, height, width, channels = values.shape
    shape = (batch, (height - 1) * strides[0] + 1, (width - 1) * strides[1] + 1, channels)
    spread = np.zeros(shape, values.dtype)
    spread[:, :: strides[0], :: strides[1]] = values
    return spread


def linear_ops(edit: GraphEdit) -> list[LinearOp]:
    """-> those of a float32 graph in the order in which they run, whose weights are constants of their own.

    Left out are ops whose weights another op reads too: what is good for one would be wrong for the other.
    """
    found = []
    for op in edit.ops:
        kind = edit.name(op)
        if kind not in _PLACES:
            continue
        read = [int(tensor) for tensor in op.inputs]
        source, weights, bias = (read[place] if place < len(read) else -1 for place in _PLACES[kind])
        values = edit.value(weights)
        if values is None or values.dtype != np.float32 or len(edit.read_by(weights)) > 1:
            continue
        output = int(op.outputs[0])
        shapes = edit.shape(source), edit.shape(weights), edit.shape(output)
        found.append(LinearOp(op, kind, source, weights, bias, output, *shapes))
    return found


def bias_of(edit: GraphEdit, linear: LinearOp) -> np.ndarray:
    """-> [O] the bias, zeros where there is none."""
    value = edit.value(linear.bias) if linear.bias >= 0 else None
    return np.zeros(linear.output_shape[-1], np.float32) if value is None else value


def set_bias(edit: GraphEdit, linear: LinearOp, bias: np.ndarray) -> LinearOp:
    """-> the op with another bias [O]: of its own, if it had none or shared one."""
    if linear.bias >= 0 and len(edit.read_by(linear.bias)) == 1:
        edit.set_value(linear.bias, bias.astype(np.float32))
        return linear
    tensor = edit.constant(f"{edit.text(linear.output)}/bias", bias.astype(np.float32))
    place = _PLACES[linear.kind][2]
    linear.op.inputs = np.array([*linear.op.inputs[:place], tensor], np.int32)
    return dataclasses.replace(linear, bias=tensor)


def quantised_weights(edit: GraphEdit) -> dict[str, np.ndarray]:
    """-> of a quantised file: name of an op's output -> its weights in real numbers; ops left in float are left out."""
    found = {}
    for name, (values, scale, axis) in _stored(edit).items():
        shape = [1] * values.ndim
        shape[axis] = len(scale)
        found[name] = values.astype(np.float32) * scale.reshape(shape)
    return found


def quantised_scales(edit: GraphEdit) -> dict[str, np.ndarray]:
    """-> of a quantised file: name of an op's output -> [1] or [O] the scales of its weights."""
    return {name: scale for name, (_, scale, _) in _stored(edit).items()}


def _stored(edit: GraphEdit) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    found = {}
    for op in edit.ops:
        kind = edit.name(op)
        if kind not in _PLACES:
            continue
        weights = int(op.inputs[_PLACES[kind][1]])
        values, (scale, _) = edit.value(weights), edit.quantisation(weights)
        if values is not None and len(scale):
            axis = 3 if kind == "DEPTHWISE_CONV_2D" else 0
            found[edit.text(int(op.outputs[0]))] = values, scale, axis
    return found
