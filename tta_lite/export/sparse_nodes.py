"""What XNNPACK sees of a ``.tflite`` file, op by op: which can compute on planes, as its sparse kernels need it.

The rules are those of `xnn_check_nchw_compatibility` and of the fusion of paddings in XNNPACK's ``src/subgraph.c``
(https://github.com/google/XNNPACK), and of ``xnnpack_delegate.cc`` in TensorFlow Lite. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.names import op_layers

# Ops of one input that XNNPACK runs on any layout.
UNARY = (
    "ABS", "CEIL", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGISTIC", "NEG", "RELU", "RELU6",
    "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SQRT", "SQUARE", "TANH",
)  # fmt: skip
# The padding that a depthwise kernel of that size must have on each side.
DEPTHWISE_PADDING = {3: 1, 5: 2}
STEM = "the stem: 3 x 3, stride 2, 3 channels"
SAME = schema.Padding.SAME
NO_PADDING = (0, 0, 0, 0)


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The weights of a 1 x 1 convolution.

    Attributes:
      weights: how many.
      zeros: how many of them are zero.
      is_stored_sparse: whether the file holds the non-zeros alone, and a DENSIFY op restores them.
    """

    weights: int
    zeros: int
    is_stored_sparse: bool


@dataclasses.dataclass(frozen=True)
class Node:
    """An op as XNNPACK sees it, paddings merged into the convolutions behind them.

    Attributes:
      index: the op's place in the file; -1: XNNPACK makes it, the file has none.
      op: as ``CONV_2D``.
      layer: the Keras layer that it comes from, else the op.
      inputs: the tensors that it reads and that another op, or the caller, writes.
      outputs: the tensors that it writes.
      enters: whether it reads pixels and writes planes.
      inside: whether it reads and writes planes.
      leaves: whether it can read planes and write pixels.
      why: the rule by which it does none of these.
      kernel: of a 1 x 1 convolution, else None.
    """

    index: int
    op: str
    layer: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    enters: bool = False
    inside: bool = False
    leaves: bool = False
    why: str = ""
    kernel: Kernel | None = None

    @property
    def fits(self) -> bool:
        """Whether a cluster may hold it."""
        return self.enters or self.inside or self.leaves


def read_nodes(tflite: bytes, left: Collection[int] = ()) -> list[Node]:
    """-> the nodes of a file, in the order in which they run.

    Args:
      tflite: the file.
      left: places of ops that XNNPACK does not take, see `tta_lite.export.delegation`.

    Raises:
      InputError: it is none, or has more than one graph.
    """
    return _Reader(tflite, left).nodes()


class _Reader:
    """Turns the ops of one file into nodes."""

    def __init__(self, tflite: bytes, left: Collection[int]) -> None:
        self.edit = GraphEdit(tflite)
        self.left = left
        self.layers = [one.layer or one.op for one in op_layers(tflite)]
        # What DENSIFY and DEQUANTIZE make of a constant is one too: the delegate unpacks it once.
        self.unpacked = {
            int(op.outputs[0]): int(op.inputs[0])
            for op in self.edit.ops
            if self.edit.name(op) in ("DENSIFY", "DEQUANTIZE") and self._is_stored(int(op.inputs[0]))
        }
        self.merged = {int(op.outputs[0]): op for op in self.edit.ops if self._is_merged(op)}

    def nodes(self) -> list[Node]:
        found: list[Node] = []
        for place, op in enumerate(self.edit.ops):
            if int(op.outputs[0]) in self.unpacked or int(op.outputs[0]) in self.merged:
                continue
            node = self._node(place, op)
            found.append(node)
            if node.leaves and self.edit.name(op) in ("MEAN", "SUM") and not op.builtinOptions.keepDims:
                # XNNPACK keeps the two dimensions of size 1, and takes them away by a reshape of its own.
                kept = -1 - node.outputs[0]
                found[-1] = dataclasses.replace(node, outputs=(kept,))
                why = "XNNPACK reshapes there, which needs pixels"
                found.append(Node(-1, "RESHAPE", node.layer, (kept,), node.outputs, why=why))
        why = "the caller reads it, in pixels"
        return [*found, Node(-1, "OUTPUT", "OUTPUT", tuple(self.edit.outputs), (), why=why)]

    def _node(self, place: int, op: Any) -> Node:
        name = self.edit.name(op)
        read = [int(tensor) for tensor in op.inputs if tensor >= 0 and not self._is_constant(int(tensor))]
        read = [int(self.merged[one].inputs[0]) if one in self.merged else one for one in read]
        node = Node(place, name, self.layers[place], tuple(read), tuple(int(one) for one in op.outputs))
        if place in self.left:
            return dataclasses.replace(node, why="XNNPACK does not take it")
        floats = {self.edit.dtype(one) for one in (*read, *node.outputs)}
        if not floats <= {np.dtype(np.float32), np.dtype(np.float16)}:
            return dataclasses.replace(node, why="it does not compute in float")
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return self._convolution(node, op)
        if name in ("ADD", "MUL"):
            return self._elementwise(node, op)
        if name in ("MEAN", "SUM"):
            return self._if_pictures(node, inside=True, leaves=True)
        if name == "RESIZE_BILINEAR":
            if min(self.edit.shape(int(op.inputs[0]))[1:3]) < 2:
                return dataclasses.replace(node, why="it enlarges a single row or column")
            return dataclasses.replace(node, inside=True)
        if name in UNARY:
            return self._if_pictures(node, inside=True)
        if name == "FULLY_CONNECTED":
            return dataclasses.replace(node, inside=True, kernel=self._kernel(int(op.inputs[1])))
        if name == "DEPTH_TO_SPACE":
            return dataclasses.replace(node, leaves=True)
        return dataclasses.replace(node, why=f"XNNPACK has no {name} on planes")

    def _convolution(self, node: Node, op: Any) -> Node:
        options, shape = op.builtinOptions, self.edit.shape(int(op.inputs[1]))
        kernel, strides = shape[1:3], (int(options.strideH), int(options.strideW))
        depthwise = node.op == "DEPTHWISE_CONV_2D"
        grouped = not depthwise and shape[3] != self.edit.shape(int(op.inputs[0]))[3]
        if max(options.dilationHFactor, options.dilationWFactor) > 1:
            return dataclasses.replace(node, why="it is dilated")
        if grouped or (depthwise and options.depthMultiplier > 1):
            return dataclasses.replace(node, why="it has groups or a depth multiplier")
        padding = self._padding(op, kernel, strides)
        if padding is None:
            return dataclasses.replace(
                node, why=f"SAME with stride {strides[0]} is not a padding of {kernel[0] // 2} on each side"
            )
        if depthwise:
            return _depthwise(node, kernel, strides, padding)
        if kernel == (1, 1):
            if strides != (1, 1) or padding != NO_PADDING:
                return dataclasses.replace(node, why=f"a 1 x 1 convolution of stride {strides[0]}, or a padded one")
            return dataclasses.replace(node, inside=True, kernel=self._kernel(int(op.inputs[1])))
        if kernel != (3, 3) or strides != (2, 2) or shape[3] != 3:
            what = f"a {kernel[0]} x {kernel[1]} convolution of stride {strides[0]} over {shape[3]} channels"
            return dataclasses.replace(node, why=f"{what}; on planes there are 1 x 1 ones, and {STEM}")
        if padding != (1, 1, 1, 1):
            return dataclasses.replace(node, why=f"the stem is padded by {_sides(padding)} and not by 1 on each side")
        return dataclasses.replace(node, enters=True)

    def _elementwise(self, node: Node, op: Any) -> Node:
        shapes = [self.edit.shape(int(one)) for one in op.inputs]
        if any(len(shape) != 4 for shape in shapes):
            return dataclasses.replace(node, why="its inputs do not both have four dimensions")
        # XNNPACK looks at the first input's shape for either of them.
        if any(self._is_constant(int(one)) for one in op.inputs) and sum(size > 1 for size in shapes[0]) > 1:
            return dataclasses.replace(node, why="one of its inputs is a constant")
        return dataclasses.replace(node, inside=True)

    def _if_pictures(self, node: Node, **flags: bool) -> Node:
        if len(self.edit.shape(node.inputs[0])) != 4:
            return dataclasses.replace(node, why="its input does not have four dimensions")
        return dataclasses.replace(node, **flags)  # type: ignore[arg-type]

    def _padding(self, op: Any, kernel: tuple[int, ...], strides: tuple[int, int]) -> tuple[int, ...] | None:
        """-> top, bottom, left, right; None where XNNPACK leaves it to the day it knows the size of the picture."""
        own = NO_PADDING
        if op.builtinOptions.padding == SAME:
            if strides != (1, 1):
                return None
            (top, bottom), (left, right) = (((size - 1) // 2, size // 2) for size in kernel)
            own = (top, bottom, left, right)
        pad = self.merged.get(int(op.inputs[0]))
        if pad is None:
            return own
        around = self._around(pad)
        assert around is not None
        return tuple(a + b for a, b in zip(own, around[1:3].reshape(-1).tolist(), strict=True))

    def _is_merged(self, op: Any) -> bool:
        """Whether XNNPACK merges a padding into the convolution behind it."""
        if self.edit.name(op) != "PAD" or (around := self._around(op)) is None:
            return False
        readers = self.edit.read_by(int(op.outputs[0]))
        if len(readers) != 1 or int(op.outputs[0]) in self.edit.outputs:
            return False
        if self.edit.name(readers[0]) not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            return False
        options = readers[0].builtinOptions
        is_late = options.padding == SAME and max(options.strideH, options.strideW) > 1
        return not is_late and not around[0].any() and not around[3].any()

    def _around(self, op: Any) -> np.ndarray | None:
        value = self.edit.value(int(op.inputs[1]))
        return value if value is not None and value.shape == (4, 2) else None

    def _kernel(self, tensor: int) -> Kernel | None:
        stored = self.unpacked.get(tensor, tensor)
        if not self._is_stored(stored):
            return None
        is_sparse = self.edit.graph.tensors[stored].sparsity is not None
        weights = int(np.prod(self.edit.shape(tensor)))
        dtype = self.edit.dtype(stored)
        data = self.edit.model.buffers[self.edit.graph.tensors[stored].buffer].data
        if dtype is None:
            return Kernel(weights, 0, is_sparse)
        return Kernel(weights, weights - int(np.count_nonzero(np.frombuffer(bytes(data), dtype))), is_sparse)

    def _is_constant(self, tensor: int) -> bool:
        return tensor in self.unpacked or self._is_stored(tensor)

    def _is_stored(self, tensor: int) -> bool:
        data = self.edit.model.buffers[self.edit.graph.tensors[tensor].buffer].data
        return data is not None and len(data) > 0


def _depthwise(node: Node, kernel: tuple[int, ...], strides: tuple[int, int], padding: tuple[int, ...]) -> Node:
    if strides not in ((1, 1), (2, 2)) or kernel[0] != kernel[1] or kernel[0] not in DEPTHWISE_PADDING:
        what = f"{kernel[0]} x {kernel[1]} with stride {strides[0]}"
        return dataclasses.replace(node, why=f"it is {what}; 3 x 3 and 5 x 5 with stride 1 or 2 have a form on planes")
    if set(padding) != {DEPTHWISE_PADDING[kernel[0]]}:
        why = f"it is padded by {_sides(padding)} and not by {DEPTHWISE_PADDING[kernel[0]]} on each side"
        return dataclasses.replace(node, why=why)
    return dataclasses.replace(node, inside=True)


def _sides(padding: tuple[int, ...]) -> str:
    return "{} above, {} below, {} left, {} right".format(*padding)
