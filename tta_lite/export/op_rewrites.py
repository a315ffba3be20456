"""Ops of a flatbuffer in other ops that compute the same: bit for bit, or in floats to the last digit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit

_NONE = schema.ActivationFunctionType.NONE
# The versions of the converter's own int8 ops; floats are of version 1.
_INT8_VERSIONS = {"CONCATENATION": 2, "CONV_2D": 3, "SLICE": 2}


def unpack_weights(edit: GraphEdit) -> None:
    """16-bit weights and the DEQUANTIZE behind each of them -> float32 weights of the same values. The file grows."""
    for op in edit.ops:
        packed = edit.value(int(op.inputs[0])) if edit.name(op) == "DEQUANTIZE" else None
        old = int(op.outputs[0]) if packed is not None else -1
        if packed is None or packed.dtype != np.float16 or old in edit.outputs:
            continue
        new = edit.constant(edit.text(old), packed.astype(np.float32))
        for reader in edit.read_by(old):
            reader.inputs = np.array([new if tensor == old else tensor for tensor in reader.inputs], np.int32)
        edit.replace(op, [])


def bias_apart(edit: GraphEdit) -> None:
    """A float TRANSPOSE_CONV with a fused bias or activation -> one without them, and an ADD (or a RELU) behind it."""
    for op in edit.ops:
        if edit.name(op) != "TRANSPOSE_CONV" or edit.dtype(int(op.outputs[0])) != np.float32:
            continue
        bias = int(op.inputs[3]) if len(op.inputs) > 3 else -1
        activation = op.builtinOptions.fusedActivationFunction
        if bias < 0 and activation == _NONE:
            continue
        output = int(op.outputs[0])
        middle = edit.tensor(_part(edit, output, "deconv"), edit.shape(output), like=output)
        plain = schema.TransposeConvOptionsT()
        plain.padding = op.builtinOptions.padding
        plain.strideH, plain.strideW = op.builtinOptions.strideH, op.builtinOptions.strideW
        if bias < 0:
            # The sum with nothing: it keeps the activation where every reader of a file looks for it.
            bias = edit.constant(_part(edit, output, "no_bias"), np.zeros(edit.shape(output)[-1], np.float32))
        add = schema.AddOptionsT()
        add.fusedActivationFunction = activation
        edit.replace(op, [
            edit.op("TRANSPOSE_CONV", op.inputs[:3], [middle], plain),
            edit.op("ADD", [middle, bias], [output], add),
        ])  # fmt: skip


def depth_to_space_apart(edit: GraphEdit) -> None:
    """DEPTH_TO_SPACE -> its channels in one part for each row of a block, which are laid under each other."""
    for op in edit.ops:
        if edit.name(op) == "DEPTH_TO_SPACE":
            edit.replace(op, weave(edit, int(op.inputs[0]), int(op.outputs[0]), op.builtinOptions.blockSize))


def pad_apart(edit: GraphEdit) -> None:
    """An int8 PAD whose zero is not stored as 0 -> constants laid beside its input: some runtimes pad with 0."""
    for op in edit.ops:
        if edit.name(op) != "PAD":
            continue
        source, output, pads = int(op.inputs[0]), int(op.outputs[0]), edit.value(int(op.inputs[1]))
        if pads is None or edit.dtype(source) != np.int8 or not _zero(edit, source):
            continue
        sides = [(int(before), int(after)) for before, after in pads]
        if any(map(any, sides)):
            edit.replace(op, surround(edit, source, output, sides))


def split_forwards(edit: GraphEdit) -> None:
    """A SPLIT whose axis is counted from the end -> the same from the start: Arm NN 20.08 crashes on the former."""
    for op in edit.ops:
        axis = edit.value(int(op.inputs[0])) if edit.name(op) == "SPLIT" else None
        if axis is None or axis.item() >= 0:
            continue
        source, options = int(op.inputs[1]), op.builtinOptions
        forwards = np.array(axis.item() + len(edit.shape(source)), np.int32)
        place = edit.constant(_part(edit, int(op.outputs[0]), "axis"), forwards)
        edit.replace(op, [edit.op("SPLIT", [place, source], op.outputs, options, version=edit.version(op))])


def deconv_as_conv(edit: GraphEdit, where: Callable[[GraphEdit, schema.OperatorT], bool]) -> None:
    """A TRANSPOSE_CONV for which `where` holds -> a CONV_2D on the input's grid, whose outputs are woven and cropped.

    Output pixel ``i`` of a Deconv of stride s is the sum over h of x[h] w[i + cut - s h]: the taps that it takes are
    those of its place modulo s, on neighbouring input pixels. A convolution with ceil(k / s) taps over the input and
    its border computes all places; see `tta_lite.transforms.subpixel` for the same on a Keras model. In int8 these are
    the same sums, bit for bit.
    """
    for op in edit.ops:
        if edit.name(op) == "TRANSPOSE_CONV" and where(edit, op):
            weights = edit.value(int(op.inputs[1]))
            if weights is not None and weights.dtype == edit.dtype(int(op.outputs[0])):
                edit.replace(op, _deconv_as_conv(edit, op, weights))


def weave(edit: GraphEdit, source: int, output: int, block: int) -> list[schema.OperatorT]:
    """-> ops for [B, H, W, block x block x C] -> [B, H x block, W x block, C], as DEPTH_TO_SPACE orders them.

    The channels of a pixel are (row of the block, column, C). Those of one row are already what stands side by side in
    the output, so it needs no TRANSPOSE: Arm NN 20.08 hands its order of axes on wrongly for all but a few.
    """
    batch, height, width, channels = edit.shape(source)
    row = channels // block
    parts = [
        edit.tensor(_part(edit, output, f"row{n}"), (batch, height, width, row), like=source) for n in range(block)
    ]
    lines = [
        edit.tensor(_part(edit, output, f"line{n}"), (batch * height, 1, width * row), like=source)
        for n in range(block)
    ]
    laid = edit.tensor(_part(edit, output, "laid"), (batch * height, block, width * row), like=source)
    return [
        *(cut_out(edit, source, part, (0, 0, 0, place * row)) for place, part in enumerate(parts)),
        *(reshape(edit, part, line) for part, line in zip(parts, lines, strict=True)),
        concatenation(edit, lines, laid, axis=1),
        reshape(edit, laid, output),
    ]


def surround(edit: GraphEdit, source: int, output: int, sides: list[tuple[int, int]]) -> list[schema.OperatorT]:
    """-> ops that lay constants of value 0 before and behind `source` along each axis."""
    ops, shape, zero = [], list(edit.shape(source)), _zero(edit, source)
    axes = [axis for axis, side in enumerate(sides) if any(side)]
    for axis in axes:
        beside = []
        for size in sides[axis]:
            fill = [size if place == axis else other for place, other in enumerate(shape)]
            value = np.full(fill, zero, edit.dtype(source))
            beside.append(edit.constant(_part(edit, output, f"zeros{axis}"), value, like=source) if size else None)
        shape[axis] += sum(sides[axis])
        wider = output if axis == axes[-1] else edit.tensor(_part(edit, output, f"wider{axis}"), shape, like=source)
        inputs = [tensor for tensor in (beside[0], source, beside[1]) if tensor is not None]
        ops.append(concatenation(edit, inputs, wider, axis=axis))
        source = wider
    return ops


def reshape(edit: GraphEdit, source: int, output: int) -> schema.OperatorT:
    """-> the op that gives `source` the shape of `output`."""
    shape = np.array(edit.shape(output), np.int32)
    options = schema.ReshapeOptionsT()
    options.newShape = shape
    return edit.op("RESHAPE", [source, edit.constant(_part(edit, output, "shape"), shape)], [output], options)


def concatenation(edit: GraphEdit, sources: list[int], output: int, *, axis: int) -> schema.OperatorT:
    """-> the op that lays `sources` beside each other along an axis."""
    options = schema.ConcatenationOptionsT()
    options.axis = axis
    version = _version(edit, "CONCATENATION", output)
    return edit.op("CONCATENATION", sources, [output], options, version=version)


def cut_out(edit: GraphEdit, source: int, output: int, begin: Sequence[int]) -> schema.OperatorT:
    """-> the op that takes a part of the shape of `output` out of `source`, from `begin` on."""
    where = edit.constant(_part(edit, output, "begin"), np.array(begin, np.int32))
    size = edit.constant(_part(edit, output, "size"), np.array(edit.shape(output), np.int32))
    version = _version(edit, "SLICE", source)
    return edit.op("SLICE", [source, where, size], [output], schema.SliceOptionsT(), version=version)


def _deconv_as_conv(edit: GraphEdit, op: schema.OperatorT, weights: np.ndarray) -> list[schema.OperatorT]:
    source, output, options = int(op.inputs[2]), int(op.outputs[0]), op.builtinOptions
    batch, height, width, _ = edit.shape(source)
    _, tall, wide, filters = edit.shape(output)
    stride = (options.strideH, options.strideW)
    if stride[0] != stride[1]:
        return [op]
    block, kernel = stride[0], weights.shape[1:3]
    taps = [math.ceil(size / block) for size in kernel]
    same = options.padding == schema.Padding.SAME
    cut = [
        max(0, block * (pixels - 1) + size - out) // 2 if same else 0
        for pixels, size, out in zip((height, width), kernel, (tall, wide), strict=True)
    ]
    grid = (batch, height + taps[0] - 1, width + taps[1] - 1)
    if cut[0] + tall > grid[1] * block or cut[1] + wide > grid[2] * block:
        # An output with a margin that no tap reaches.
        return [op]
    # [O, ceil(kh / s), s, ceil(kw / s), s, I]: zeros where the kernel ends within a block. The pixel that a later tap
    # comes from lies before: the taps turn round.
    whole = np.zeros((filters, taps[0] * block, taps[1] * block, weights.shape[3]), weights.dtype)
    whole[:, : kernel[0], : kernel[1]] = weights
    whole = whole.reshape(filters, taps[0], block, taps[1], block, -1)[:, ::-1, :, ::-1]
    # (row of the block, column, O) is the order of DEPTH_TO_SPACE.
    conv_weights = whole.transpose(2, 4, 0, 1, 3, 5).reshape(-1, taps[0], taps[1], weights.shape[3])
    border = [(0, 0), (taps[0] - 1, taps[0] - 1), (taps[1] - 1, taps[1] - 1), (0, 0)]
    ops: list[schema.OperatorT] = []
    if any(map(any, border)):
        wider = [size + sum(side) for size, side in zip(edit.shape(source), border, strict=True)]
        bordered = edit.tensor(_part(edit, output, "bordered"), wider, like=source)
        ops += surround(edit, source, bordered, border)
        source = bordered
    woven_shape = (batch, grid[1] * block, grid[2] * block, filters)
    crops = woven_shape != edit.shape(output)
    woven = edit.tensor(_part(edit, output, "woven"), woven_shape, like=output) if crops else output
    mixed = edit.tensor(_part(edit, output, "places"), (*grid, filters * block**2), like=output) if block > 1 else woven
    ops.append(_conv(edit, op, source, conv_weights, mixed, copies=block**2))
    if block > 1:
        ops += weave(edit, mixed, woven, block)
    if crops:
        ops.append(cut_out(edit, woven, output, (0, *cut, 0)))
    return ops


def _conv(
    edit: GraphEdit, deconv: schema.OperatorT, source: int, weights: np.ndarray, output: int, *, copies: int
) -> schema.OperatorT:
    """-> the CONV_2D with a Deconv's bias, scales and activation, its filters `copies` times."""
    options = schema.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = schema.Padding.VALID, 1, 1
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = deconv.builtinOptions.fusedActivationFunction
    kernel = edit.constant(_part(edit, output, "kernel"), weights)
    fused = edit.value(int(deconv.inputs[3])) if len(deconv.inputs) > 3 else None
    kind = np.int32 if weights.dtype == np.int8 else weights.dtype
    value = np.zeros(len(weights) // copies, kind) if fused is None else fused
    bias = edit.constant(_part(edit, output, "bias"), np.tile(value, copies))
    scales = edit.quantisation(int(deconv.inputs[1]))[0]
    if len(scales):
        edit.scale(kernel, np.tile(scales, copies) if len(scales) > 1 else scales)
        # What the converter gives a bias: the scale of the sums.
        edit.scale(bias, edit.quantisation(source)[0] * edit.quantisation(kernel)[0])
    version = _version(edit, "CONV_2D", output)
    return edit.op("CONV_2D", [source, kernel, bias], [output], options, version=version)


def _zero(edit: GraphEdit, tensor: int) -> int:
    """-> how a tensor stores the value 0."""
    points = edit.quantisation(tensor)[1]
    return int(points[0]) if len(points) else 0


def _version(edit: GraphEdit, name: str, tensor: int) -> int:
    return _INT8_VERSIONS.get(name, 1) if edit.dtype(tensor) == np.int8 else 1


def _part(edit: GraphEdit, tensor: int, what: str) -> str:
    """-> a name for a tensor of the ops that stand for one: its layer is still read from it (`measure.stages`)."""
    name = edit.text(tensor).split(";")[-1]
    # What the graph gives out has no layer in its name, but one in the signature.
    layer = edit.given_out_as(tensor) if name.count("/") < 2 else ""
    return f"graph/{layer}/{name}_{what}" if layer else f"{name}_{what}"
