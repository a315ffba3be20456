"""Brings a float32 file onto XNNPACK's sparse path by rewrites that leave its outputs as they are.

Three rules keep networks of this project off it, see `tta_lite.export.sparse_path`:

- TensorFlow pads a stride of 2 on an even size below and to the right only; XNNPACK's kernels on planes take the same
  on each side. A 3 x 3 depthwise kernel becomes the lower right part of a 5 x 5 one, which starts two pixels earlier:
  25 multiplications for 9, in four layers of MobileNetV2. On an odd size both are the same, and are written so.
- A cluster begins with a stem of 3 channels. Where the network's own cannot be it, pixels become planes further on:
  DEPTH_TO_SPACE makes 3 channels of 12, on four times as many pixels, and a 3 x 3 convolution of stride 2 whose kernel
  has a single one for each channel takes them back.
- A cluster ends with a mean or a DEPTH_TO_SPACE. A SPACE_TO_DEPTH behind the latter takes it back.

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.sparse_nodes import DEPTHWISE_PADDING, Node, read_nodes
from tta_lite.types import InputError

# Channels that one stem of 3 channels takes over: those of 2 x 2 pixels.
AT_ONCE = 12


@dataclasses.dataclass(frozen=True)
class Rewritten:
    """A file whose 1 x 1 convolutions XNNPACK can run by sparse kernels once enough of their weights are zero.

    Attributes:
      tflite: the file.
      begin: the layer behind which planes begin; empty: the network's own stem does it.
      end: the layer behind which they end; empty: the network's own mean or DEPTH_TO_SPACE does it.
      padded: layers whose padding is written out as the same on each side.
      enlarged: depthwise layers that are 5 x 5 now.
      extra_macs: multiplications and additions that the rewrites add.
    """

    tflite: bytes
    begin: str
    end: str
    padded: tuple[str, ...]
    enlarged: tuple[str, ...]
    extra_macs: int


@dataclasses.dataclass(frozen=True)
class _Step:
    """An op of a run of ops that can compute on planes.

    Attributes:
      place: in the file.
      layer: of it.
      is_cut: whether the ops behind it read nothing of before but its output.
      saved: multiplications that sparse kernels leave out of it.
    """

    place: int
    layer: str
    is_cut: bool
    saved: float


def onto_sparse_path(tflite: bytes, *, zeros: float | None = None) -> Rewritten:
    """-> the file with the longest of its parts that can be brought onto the path brought there.

    Its outputs are the same but for the order of sums in the depthwise layers that become 5 x 5. Pruning comes before
    or after it: no weights of a 1 x 1 convolution change.

    Args:
      tflite: float32, with a fixed batch.
      zeros: share of zeros that its 1 x 1 convolutions will have, 0..1, by which the best place for the beginning is
        chosen; None: that which they have.

    Raises:
      InputError: no part of it can be brought there.
    """
    edit = GraphEdit(tflite)
    padded, enlarged, extra = _even_paddings(edit)
    runs = _runs(edit, zeros)
    if not runs:
        raise InputError("A file is brought onto the path that has 1 x 1 convolutions in float. Received: none")
    run = max(runs, key=lambda steps: sum(one.saved for one in steps))
    if not sum(one.saved for one in run):
        run = max(runs, key=len)
    ops = edit.ops
    nodes = {node.index: node for node in read_nodes(edit.to_bytes())}
    first, last = nodes[run[0].place], nodes[run[-1].place]
    end = _end(edit, run, ops) if not last.leaves else None
    begin = _begin(edit, run, ops, end or run[-1]) if not first.enters else None
    # The later place first, so that those before it stay where they are.
    if end is not None:
        _leave(edit, ops[end.place])
    if begin is not None:
        extra += _enter(edit, ops[begin.place])
    return Rewritten(edit.to_bytes(), begin.layer if begin else "", end.layer if end else "", padded, enlarged, extra)


def with_zeros(tflite: bytes, share: float) -> bytes:
    """-> the file with that share of the smallest weights of each 1 x 1 convolution zero, 0..1.

    For the question what sparse kernels would bring: nothing is trained, and the accuracy is lost.
    """
    edit = GraphEdit(tflite)
    for op in edit.ops:
        value = edit.value(int(op.inputs[1])) if edit.name(op) == "CONV_2D" else None
        if value is not None and value.shape[1:3] == (1, 1):
            kernel = value.reshape(-1).copy()
            kernel[np.argsort(np.abs(kernel), kind="stable")[: math.ceil(share * kernel.size)]] = 0
            edit.set_value(int(op.inputs[1]), kernel.reshape(value.shape))
    return edit.to_bytes()


def _even_paddings(edit: GraphEdit) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Gives strided convolutions the same padding on each side where that is exact. -> padded, enlarged, more MACs."""
    layers = {node.index: node for node in read_nodes(edit.to_bytes())}
    padded, enlarged, extra = [], [], 0
    for place, op in enumerate(edit.ops):
        name = edit.name(op)
        if name not in ("CONV_2D", "DEPTHWISE_CONV_2D") or layers[place].fits:
            continue
        pad, around = _around(edit, op)
        kernel = edit.shape(int(op.inputs[1]))[1:3]
        options = op.builtinOptions
        if around is None or (options.strideH, options.strideW) != (2, 2) or kernel[0] != kernel[1]:
            continue
        wanted = kernel[0] // 2
        if pad is None and set(around) == {wanted} and wanted in DEPTHWISE_PADDING.values():
            _pad(edit, op, int(op.inputs[0]), wanted)
            padded.append(layers[place].layer)
        elif name == "DEPTHWISE_CONV_2D" and kernel == (3, 3) and _can_enlarge(edit, op, pad, around):
            extra += _enlarge(edit, op, pad, around)
            enlarged.append(layers[place].layer)
    return tuple(padded), tuple(enlarged), extra


def _around(edit: GraphEdit, op: Any) -> tuple[Any, tuple[int, int, int, int] | None]:
    """-> the PAD in front of a convolution, and top, bottom, left, right of all its padding; None: not known."""
    source = int(op.inputs[0])
    if op.builtinOptions.padding == schema.Padding.SAME:
        sides: list[int] = []
        kernel, stride = edit.shape(int(op.inputs[1]))[1:3], int(op.builtinOptions.strideH)
        for size, taps in zip(edit.shape(source)[1:3], kernel, strict=True):
            total = max(0, (math.ceil(size / stride) - 1) * stride + taps - size)
            sides += [total // 2, total - total // 2]
        return None, (sides[0], sides[1], sides[2], sides[3])
    pad = next((one for one in edit.ops if edit.name(one) == "PAD" and int(one.outputs[0]) == source), None)
    if pad is None:
        return None, (0, 0, 0, 0)
    value = edit.value(int(pad.inputs[1]))
    if value is None or value[0].any() or value[3].any() or len(edit.read_by(source)) != 1:
        return pad, None
    top, bottom, left, right = (int(one) for one in value[1:3].reshape(-1))
    return pad, (top, bottom, left, right)


def _can_enlarge(edit: GraphEdit, op: Any, pad: Any, around: tuple[int, int, int, int]) -> bool:
    """Whether a 5 x 5 kernel padded by 2 sees the same pixels and gives as many."""
    source = int(op.inputs[0] if pad is None else pad.inputs[0])
    sizes, given = edit.shape(source)[1:3], edit.shape(int(op.outputs[0]))[1:3]
    starts = around[0] <= 2 and around[2] <= 2
    return starts and given == tuple((size - 1) // 2 + 1 for size in sizes)


def _enlarge(edit: GraphEdit, op: Any, pad: Any, around: tuple[int, int, int, int]) -> int:
    kernel = edit.value(int(op.inputs[1]))
    assert kernel is not None
    wide = np.zeros((1, 5, 5, kernel.shape[3]), kernel.dtype)
    top, left = 2 - around[0], 2 - around[2]
    wide[:, top : top + 3, left : left + 3] = kernel
    name = f"{edit.text(int(op.inputs[1]))}/5x5"
    op.inputs[1] = edit.constant(name, wide)
    _pad(edit, op, int(op.inputs[0] if pad is None else pad.inputs[0]), 2)
    if pad is not None:
        edit.replace(pad, [])
    return 16 * math.prod(edit.shape(int(op.outputs[0])))


def _pad(edit: GraphEdit, op: Any, source: int, by: int) -> None:
    """Puts a PAD of the same on each side in front of a convolution; XNNPACK merges the two."""
    batch, height, width, channels = edit.shape(source)
    name = f"{edit.text(source)}/{edit.text(int(op.outputs[0])).split(';')[0]}/Pad"
    wider = edit.tensor(name, (batch, height + 2 * by, width + 2 * by, channels), like=source)
    amounts = edit.constant(f"{name}/paddings", np.array([[0, 0], [by, by], [by, by], [0, 0]], np.int32))
    op.inputs[0] = wider
    op.builtinOptions.padding = schema.Padding.VALID
    edit.replace(op, [edit.op("PAD", [source, amounts], [wider], schema.PadOptionsT()), op])


def _runs(edit: GraphEdit, zeros: float | None) -> list[list[_Step]]:
    """-> the parts of a file that can compute on planes, of ops one after the other, each with a 1 x 1 convolution."""
    nodes = read_nodes(edit.to_bytes())
    last_read: dict[int, int] = {}
    for place, node in enumerate(nodes):
        last_read.update(dict.fromkeys(node.inputs, place))
    runs: list[list[_Step]] = [[]]
    open_until = -1
    for place, node in enumerate(nodes):
        # The input of a network with one is read by nothing behind its first op.
        open_until = max([open_until, *(last_read.get(tensor, -1) for tensor in node.outputs)])
        crossing = {
            tensor
            for one in nodes[: place + 1]
            for tensor in (*one.inputs, *one.outputs)
            if last_read.get(tensor, -1) > place
        }
        is_cut = crossing == set(node.outputs)
        if node.enters:
            runs.append([])
        if not node.fits:
            runs.append([])
            continue
        runs[-1].append(_Step(node.index, node.layer, is_cut, _saved(edit, node, zeros)))
        if node.leaves:
            runs.append([])
    kernels = {node.index for node in nodes if node.kernel is not None and node.op == "CONV_2D"}
    return [run for run in runs if any(step.place in kernels for step in run)]


def _saved(edit: GraphEdit, node: Node, zeros: float | None) -> float:
    if node.kernel is None or node.op != "CONV_2D":
        return 0.0
    height, width = edit.shape(node.outputs[0])[1:3]
    share = node.kernel.zeros / node.kernel.weights if zeros is None else zeros
    return share * node.kernel.weights * height * width


def _end(edit: GraphEdit, run: list[_Step], ops: list[Any]) -> _Step:
    """-> the last op of a run behind which planes can end."""
    for step in reversed(run):
        shape = edit.shape(int(ops[step.place].outputs[0]))
        if step.is_cut and len(shape) == 4 and shape[3] % 4 == 0:
            return step
    raise InputError(
        "Planes end where a single tensor with a multiple of 4 channels goes on. Received: a part without, from "
        f"{run[0].layer} to {run[-1].layer}"
    )


def _begin(edit: GraphEdit, run: list[_Step], ops: list[Any], end: _Step) -> _Step:
    """-> the op of a run behind which planes cost least to begin: what that adds, and what is not saved before."""
    best: tuple[float, _Step] | None = None
    lost = 0.0
    for step in run:
        if step.place >= end.place:
            break
        lost += step.saved
        shape = edit.shape(int(ops[step.place].outputs[0]))
        if step.is_cut and len(shape) == 4:
            cost = lost + _macs_of_stems(shape)
            if best is None or cost < best[0]:
                best = cost, step
    if best is None:
        raise InputError(
            "Planes begin where a single tensor goes on. Received: a part without, from "
            f"{run[0].layer} to {run[-1].layer}"
        )
    return best[1]


def _macs_of_stems(shape: tuple[int, ...]) -> int:
    _, height, width, channels = shape
    return math.ceil(channels / AT_ONCE) * 27 * channels * height * width


def _enter(edit: GraphEdit, op: Any) -> int:
    """Turns an op's output into planes. -> MACs."""
    source = int(op.outputs[0])
    batch, height, width, channels = edit.shape(source)
    name = f"{edit.text(source).split(';')[0]}/to_planes"
    readers = edit.read_by(source)
    count = math.ceil(channels / AT_ONCE)
    new = []
    wide = source
    if count * AT_ONCE > channels:
        wide = edit.tensor(f"{name}/more", (batch, height, width, count * AT_ONCE), like=source)
        more = np.zeros((4, 2), np.int32)
        more[3, 1] = count * AT_ONCE - channels
        new.append(edit.op("PAD", [source, edit.constant(f"{name}/by", more)], [wide], schema.PadOptionsT()))
    large = (batch, 2 * height, 2 * width)
    shuffled = edit.tensor(f"{name}/shuffle", (*large, 3 * count), like=source)
    new.append(edit.op("DEPTH_TO_SPACE", [wide], [shuffled], _block(schema.DepthToSpaceOptionsT())))
    bias = edit.constant(f"{name}/bias", np.zeros(channels, np.float32))
    around = edit.constant(f"{name}/paddings", np.array([[0, 0], [1, 1], [1, 1], [0, 0]], np.int32))
    total = -1
    for group in range(count):
        part = shuffled
        if count > 1:
            part = edit.tensor(f"{name}/part{group}", (*large, 3), like=source)
            start = edit.constant(f"{name}/start{group}", np.array([0, 0, 0, 3 * group], np.int32))
            size = edit.constant(f"{name}/size{group}", np.array([*large, 3], np.int32))
            new.append(edit.op("SLICE", [shuffled, start, size], [part], schema.SliceOptionsT()))
        wider = edit.tensor(f"{name}/padded{group}", (batch, 2 * height + 2, 2 * width + 2, 3), like=source)
        new.append(edit.op("PAD", [part, around], [wider], schema.PadOptionsT()))
        planes = edit.tensor(f"{name}/stem{group}", (batch, height, width, channels), like=source)
        kernel = edit.constant(f"{name}/kernel{group}", _picks(channels, count, group))
        new.append(edit.op("CONV_2D", [wider, kernel, bias], [planes], _strided()))
        if total >= 0:
            added = edit.tensor(f"{name}/sum{group}", (batch, height, width, channels), like=source)
            new.append(edit.op("ADD", [total, planes], [added], schema.AddOptionsT()))
            planes = added
        total = planes
    edit.replace(op, [op, *new])
    _read_instead(readers, source, total)
    return _macs_of_stems((batch, height, width, channels))


def _picks(channels: int, count: int, group: int) -> np.ndarray:
    """-> [channels, 3, 3, 3], a single one for each channel that the group holds.

    DEPTH_TO_SPACE puts channel ``(2 a + b) * 3 count + d`` at row a and column b of its 2 x 2 pixels, in channel d; the
    kernel's window begins a pixel before them.
    """
    kernel = np.zeros((channels, 3, 3, 3), np.float32)
    for channel in range(channels):
        corner, plane = divmod(channel, 3 * count)
        if plane // 3 == group:
            kernel[channel, 1 + corner // 2, 1 + corner % 2, plane % 3] = 1
    return kernel


def _strided() -> Any:
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 2, 2
    options.dilationHFactor = options.dilationWFactor = 1
    return options


def _leave(edit: GraphEdit, op: Any) -> None:
    """Turns an op's output back into pixels."""
    source = int(op.outputs[0])
    batch, height, width, channels = edit.shape(source)
    name = f"{edit.text(source).split(';')[0]}/to_pixels"
    readers = edit.read_by(source)
    large = edit.tensor(f"{name}/shuffle", (batch, 2 * height, 2 * width, channels // 4), like=source)
    back = edit.tensor(f"{name}/back", edit.shape(source), like=source)
    edit.replace(
        op,
        [
            op,
            edit.op("DEPTH_TO_SPACE", [source], [large], _block(schema.DepthToSpaceOptionsT())),
            edit.op("SPACE_TO_DEPTH", [large], [back], _block(schema.SpaceToDepthOptionsT())),
        ],
    )
    _read_instead(readers, source, back)
    edit.graph.outputs = np.array([back if tensor == source else tensor for tensor in edit.outputs], np.int32)
    for signature in edit.model.signatureDefs or ():
        for entry in signature.outputs:
            entry.tensorIndex = back if entry.tensorIndex == source else entry.tensorIndex


def _read_instead(readers: list[Any], old: int, new: int) -> None:
    for reader in readers:
        reader.inputs = np.array([new if tensor == old else tensor for tensor in reader.inputs], np.int32)


def _block(options: Any) -> Any:
    options.blockSize = 2
    return options
