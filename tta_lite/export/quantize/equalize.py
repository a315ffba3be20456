"""Cross-layer equalisation: channels of neighbouring layers are given like ranges, and the outputs stay what they were.

Nagel et al. 2019, *Data-Free Quantization Through Weight Equalization and Bias Correction*, section 4.1: a channel that
a layer divides by s and the next layer multiplies by s changes nothing, if what lies between is positively homogeneous.
With ``s = sqrt(r1 / r2)``, r being the largest absolute weights of the channel on both sides, both get the range
``sqrt(r1 r2)``. It is for weights that share one scale a tensor (`per_tensor`, and each group of a DWConv's successor).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.linear_ops import LinearOp, bias_of, linear_ops, set_bias
from tta_lite.export.quantize.tensor_values import tensor_values

# Ops that give a scaled output for a scaled input, channel by channel.
_HOMOGENEOUS = ("RELU", "LEAKY_RELU", "AVERAGE_POOL_2D", "MAX_POOL_2D", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
# Of scales, at which they count as found, and after so many rounds at the latest.
_CONVERGED, _ROUNDS = 1e-2, 50
# By how much a channel's largest value on the calibration images may be surpassed before ReLU6 clips it.
MARGIN = 1.25
# Of a layer's largest weights, the share that counts as zero.
NOTHING = 1e-4


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """A layer and all that read its output, with only homogeneous ops between.

    Attributes:
      first: whose output channels are divided.
      seconds: whose input channels are multiplied.
      channels: [O of first] the input channel of the seconds that each output channel becomes.
    """

    first: LinearOp
    seconds: tuple[LinearOp, ...]
    channels: np.ndarray


def equalize(tflite: bytes, images: Sequence[np.ndarray], quantise: Callable[[bytes], bytes]) -> bytes:
    """-> the file with equalised channels; it computes what it computed before, but for rounding in float32.

    A ReLU6 stays where it is: a channel that reaches 6 on some image is left alone, and another is scaled so far only
    that its largest value stays `MARGIN` below 6.

    Args:
      tflite: a float file.
      images: for calibration, each [1, H, W, C] float32.
      quantise: not needed here.
    """
    edit = GraphEdit(tflite)
    links = find_links(edit)
    if not links:
        return tflite
    reached = _largest(edit, tflite, images, links)
    limits = [_limits(edit, link, reached[place]) for place, link in enumerate(links)]
    totals = [np.ones(len(low)) for low, _ in limits]
    layers = {id(one): _Layer(edit, one) for link in links for one in (link.first, *link.seconds)}
    for link, seen in zip(links, reached, strict=True):
        silent = _silent(link, layers, seen)
        for second in link.seconds:
            layers[id(second)].multiply_inputs(np.where(silent, 0.0, 1.0))
    for _ in range(_ROUNDS):
        moved = 0.0
        for link, (low, high), total in zip(links, limits, totals, strict=True):
            scale = np.clip(_wanted(link, layers), low / total, high / total)
            moved = max(moved, float(np.abs(np.log(scale)).max()))
            total *= scale
            layers[id(link.first)].divide_outputs(scale[link.channels])
            for second in link.seconds:
                layers[id(second)].multiply_inputs(scale)
        if moved < _CONVERGED:
            break
    for layer in layers.values():
        layer.write(edit)
    return edit.to_bytes()


class _Layer:
    """The ranges of one layer, and by what its channels were scaled so far."""

    def __init__(self, edit: GraphEdit, linear: LinearOp) -> None:
        weights = edit.value(linear.weights)
        assert weights is not None
        self.linear, self.rows, self.bias = linear, linear.rows(weights), bias_of(edit, linear)
        # [g, O / g, C / g], over the pixels of the kernel.
        self.ranges = self._by_pixel(np.abs(self.rows)).max(axis=2).astype(np.float64)
        self.inputs = np.ones(linear.input_shape[-1])
        self.outputs = np.ones(linear.output_shape[-1])

    def _by_pixel(self, rows: np.ndarray) -> np.ndarray:
        groups = self.linear.groups
        return rows.reshape(*rows.shape[:2], -1, self.linear.input_shape[-1] // groups)

    def multiply_inputs(self, scale: np.ndarray) -> None:
        self.inputs *= scale
        self.ranges *= scale.reshape(len(self.ranges), 1, -1)

    def divide_outputs(self, scale: np.ndarray) -> None:
        self.outputs *= scale
        self.ranges /= scale.reshape(len(self.ranges), -1, 1)

    def output_ranges(self) -> np.ndarray:
        return self.ranges.max(axis=2).ravel()

    def input_ranges(self) -> np.ndarray:
        return self.ranges.max(axis=1).ravel()

    def write(self, edit: GraphEdit) -> None:
        groups = self.linear.groups
        rows = self._by_pixel(self.rows) * self.inputs.reshape(groups, 1, 1, -1)
        rows = rows / self.outputs.reshape(groups, -1, 1, 1)
        edit.set_value(self.linear.weights, self.linear.stored(rows.reshape(self.rows.shape)).astype(np.float32))
        if self.linear.bias >= 0:
            set_bias(edit, self.linear, self.bias / self.outputs)


def find_links(edit: GraphEdit) -> list[Link]:
    """-> what can be equalised, in the order in which it runs."""
    linear = linear_ops(edit)
    by_input: dict[int, list[LinearOp]] = {}
    for one in linear:
        by_input.setdefault(one.input, []).append(one)
    found = []
    for first in linear:
        if edit.activation(first.op) not in ("NONE", "RELU", "RELU6"):
            continue
        scaled: set[int] = set()
        ends = _ends(edit, by_input, first.output, np.arange(first.output_shape[-1]), scaled)
        if not ends or any(not np.array_equal(channels, ends[0][1]) for _, channels in ends):
            continue
        # What is multiplied by itself would be scaled twice.
        if any(sum(int(tensor) in scaled for tensor in op.inputs) > 1 for op in edit.ops):
            continue
        found.append(Link(first, tuple(second for second, _ in ends), ends[0][1]))
    return found


def _ends(
    edit: GraphEdit, by_input: dict[int, list[LinearOp]], tensor: int, channels: np.ndarray, scaled: set[int]
) -> list[tuple[LinearOp, np.ndarray]]:
    """-> the layers that a tensor reaches, and which of its channels is which; none if it reaches anything else."""
    scaled.add(tensor)
    readers = edit.read_by(tensor)
    if tensor in edit.outputs or not readers:
        return []
    found = []
    for op in readers:
        second = next((one for one in by_input.get(tensor, ()) if one.op is op), None)
        if second is not None:
            found.append((second, channels))
            continue
        through = _through(edit, op, tensor, channels)
        ends = [] if through is None else _ends(edit, by_input, int(op.outputs[0]), through, scaled)
        if not ends:
            return []
        found += ends
    return found


def _through(edit: GraphEdit, op: schema.OperatorT, tensor: int, channels: np.ndarray) -> np.ndarray | None:
    """-> the channels behind an op; None if scaled channels would not come out scaled."""
    name, read, out = edit.name(op), [int(one) for one in op.inputs], edit.shape(int(op.outputs[0]))
    if edit.activation(op) not in ("NONE", "RELU") or (read[0] != tensor and name != "MUL"):
        return None
    same = out[-1] == edit.shape(tensor)[-1]
    if name in _HOMOGENEOUS and same:
        return channels
    if name == "MUL" and same:
        # By a constant, or by what does not come from here: the gate of squeeze-and-excite.
        return channels
    if name == "MEAN" and same:
        axes = edit.value(read[1])
        rank = len(edit.shape(tensor))
        return channels if axes is not None and (rank - 1) not in [int(axis) % rank for axis in axes.ravel()] else None
    if name == "PAD" and same:
        return channels
    if name == "RESHAPE" and same:
        return channels
    if name == "DEPTH_TO_SPACE":
        return channels % out[-1]
    return None


def _wanted(link: Link, layers: dict[int, _Layer]) -> np.ndarray:
    """-> [C] the scale that gives both sides of each channel one range; 1 for a channel that one side does not use."""
    r2 = np.max([layers[id(second)].input_ranges() for second in link.seconds], axis=0)
    r1 = np.zeros(len(r2))
    np.maximum.at(r1, link.channels, layers[id(link.first)].output_ranges())
    return np.sqrt(np.divide(r1, r2, out=np.ones_like(r1), where=(r1 > 0) & (r2 > 0)))


def _silent(link: Link, layers: dict[int, _Layer], reached: np.ndarray) -> np.ndarray:
    """-> [C] which channels hold nothing but zeros, for their weights are zero for all that matters.

    Training leaves the weights that read them any size, and one of them would be the largest of its tensor.
    """
    first = layers[id(link.first)]
    ranges = first.output_ranges()
    silent = (reached == 0) & (ranges <= NOTHING * ranges.max()) & (first.bias <= 0)
    heard = np.zeros(link.seconds[0].input_shape[-1], bool)
    heard[link.channels[~silent]] = True
    return ~heard


def _largest(edit: GraphEdit, tflite: bytes, images: Sequence[np.ndarray], links: Sequence[Link]) -> list[np.ndarray]:
    """-> for each link [O] the largest absolute value of each output channel of its first layer."""
    names = [edit.text(link.first.output) for link in links]
    largest = [np.zeros(link.first.output_shape[-1]) for link in links]
    for values in tensor_values(tflite, images, names):
        for place, name in enumerate(names):
            np.maximum(largest[place], np.abs(values[name]).reshape(-1, len(largest[place])).max(0), out=largest[place])
    return largest


def _limits(edit: GraphEdit, link: Link, reached: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> [C] the smallest and the largest scale that a channel may get."""
    channels = len(set(link.channels.tolist()))
    low, high = np.zeros(channels), np.full(channels, np.inf)
    # No activation grows beyond the largest of the tensor, which would make that one's codes coarser.
    np.maximum.at(low, link.channels, reached / (reached.max() or 1.0))
    if edit.activation(link.first.op) == "RELU6":
        share = np.zeros(channels)
        np.maximum.at(share, link.channels, MARGIN * reached / 6.0)
        # What comes near the 6 must meet it where it did.
        low = np.maximum(low, np.minimum(share, 1.0))
        high[share >= 1.0] = 1.0
    return low, high
