"""What is in a flatbuffer: its ops, and the memory they need. Read from the file; imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

# The boundary that TensorFlow Lite Micro places every tensor of its arena on.
ARENA_ALIGNMENT = 16

_TYPE_NAMES = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
TYPE_BITS = {
    "bool": 8, "int4": 4, "uint4": 4, "int2": 2, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "float16": 16,
    "bfloat16": 16, "float32": 32, "int32": 32, "uint32": 32, "float64": 64, "int64": 64, "uint64": 64,
    "complex64": 64, "complex128": 128,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor of the main graph. ``bytes`` is 0 where the size is not known before it runs."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    is_constant: bool


@dataclasses.dataclass(frozen=True)
class Op:
    """An op of the main graph: its name, the version its kernel must have, and the tensors it reads and writes."""

    index: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class OpCount:
    """How often an op occurs with the same types; constants count as inputs."""

    name: str
    version: int
    count: int
    input_dtypes: tuple[str, ...]
    output_dtypes: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that a runtime needs for tensors.

    Attributes:
      file_bytes: the flatbuffer; usually it stays in flash.
      constant_bytes: weights and other constants in it.
      input_bytes: the inputs.
      output_bytes: the outputs.
      peak_live_bytes: the most that is alive at one op: no arena can be smaller.
      arena_bytes: what a greedy planner needs for the same tensors (see `plan_arena`); scratch buffers of kernels and
        the runtime's own records come on top.
    """

    file_bytes: int
    constant_bytes: int
    input_bytes: int
    output_bytes: int
    peak_live_bytes: int
    arena_bytes: int


@dataclasses.dataclass(frozen=True)
class Contents:
    """The main graph of a file, ops in the order in which they run."""

    ops: tuple[Op, ...]
    tensors: tuple[Tensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    file_bytes: int

    def op_counts(self) -> list[OpCount]:
        """-> one entry for each op with the same types, in the order of first use."""
        counted = Counter((op.name, op.version, self._dtypes(op.inputs), self._dtypes(op.outputs)) for op in self.ops)
        return [OpCount(name, version, n, ins, outs) for (name, version, ins, outs), n in counted.items()]

    def float_ops(self) -> list[Op]:
        """-> the ops that read or write floats, quantise and dequantise among them."""
        floats = {tensor.index for tensor in self.tensors if tensor.dtype.startswith(("float", "bfloat"))}
        return [op for op in self.ops if floats.intersection((*op.inputs, *op.outputs))]

    def memory(self) -> Memory:
        """-> the bytes that a runtime needs for the tensors."""
        size = {tensor.index: tensor.bytes for tensor in self.tensors}
        lives = self.lifetimes()
        live = [
            sum(size[tensor] for tensor, (first, last) in lives.items() if first <= op <= last)
            for op in range(len(self.ops))
        ]
        tensors = [(size[tensor], first, last) for tensor, (first, last) in lives.items()]
        return Memory(
            file_bytes=self.file_bytes,
            constant_bytes=sum(tensor.bytes for tensor in self.tensors if tensor.is_constant),
            input_bytes=sum(size[tensor] for tensor in self.inputs),
            output_bytes=sum(size[tensor] for tensor in self.outputs),
            peak_live_bytes=max(live, default=0),
            arena_bytes=plan_arena(tensors),
        )

    def lifetimes(self) -> dict[int, tuple[int, int]]:
        """-> tensor: (first op, last op) between which it is kept: inputs from the start, outputs to the end."""
        constant = {tensor.index for tensor in self.tensors if tensor.is_constant}
        lives: dict[int, tuple[int, int]] = dict.fromkeys(self.inputs, (0, 0))
        for op in self.ops:
            for tensor in (*op.inputs, *op.outputs):
                if tensor not in constant:
                    lives[tensor] = (lives.get(tensor, (op.index, 0))[0], op.index)
        for tensor in self.outputs:
            if tensor in lives:
                lives[tensor] = (lives[tensor][0], max(0, len(self.ops) - 1))
        return lives

    def _dtypes(self, tensors: Sequence[int]) -> tuple[str, ...]:
        return tuple(self.tensors[tensor].dtype for tensor in tensors)


def read_contents(tflite: bytes) -> Contents:
    """-> what is in the main graph of the file."""
    model = schema.Model.GetRootAs(tflite)
    graph = model.Subgraphs(0)
    return Contents(
        ops=tuple(_op(model, graph, i) for i in range(graph.OperatorsLength())),
        tensors=tuple(_tensor(model, graph, i) for i in range(graph.TensorsLength())),
        inputs=tuple(graph.Inputs(i) for i in range(graph.InputsLength())),
        outputs=tuple(graph.Outputs(i) for i in range(graph.OutputsLength())),
        file_bytes=len(tflite),
    )


def plan_arena(tensors: Sequence[tuple[int, int, int]]) -> int:
    """Bytes of the smallest arena that the greedy planner finds for tensors (bytes, first op, last op).

    The largest is placed first, each at the lowest offset at which it overlaps none that lives at the same time, as in
    Pisarchyk and Lee, *Efficient Memory Management for Deep Neural Net Inference*, 2020, section 5.2 (greedy by size),
    https://arxiv.org/abs/2001.03288, and in TensorFlow Lite Micro's GreedyMemoryPlanner.

    >>> plan_arena([(16, 0, 1), (32, 1, 2), (16, 2, 3)])  # the two small ones share a place
    48
    """
    placed: list[tuple[int, int, int, int]] = []
    for size, first, last in sorted(tensors, key=lambda tensor: -tensor[0]):
        size = math.ceil(size / ARENA_ALIGNMENT) * ARENA_ALIGNMENT
        offset = 0
        for start, end, other_first, other_last in sorted(placed):
            if other_first <= last and first <= other_last and offset + size > start:
                offset = max(offset, end)
        placed.append((offset, offset + size, first, last))
    return max((end for _, end, _, _ in placed), default=0)


def _op(model: schema.Model, graph: schema.SubGraph, index: int) -> Op:
    op = graph.Operators(index)
    code = model.OperatorCodes(op.OpcodeIndex())
    builtin = flatbuffer_utils.get_builtin_code_from_operator_code(code)
    custom = code.CustomCode()
    return Op(
        index=index,
        name=custom.decode() if custom else _BUILTIN_NAMES[builtin],
        version=code.Version(),
        # -1 stands for an optional input that is left out.
        inputs=tuple(tensor for i in range(op.InputsLength()) if (tensor := op.Inputs(i)) >= 0),
        outputs=tuple(op.Outputs(i) for i in range(op.OutputsLength())),
    )


_BUILTIN_NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def _tensor(model: schema.Model, graph: schema.SubGraph, index: int) -> Tensor:
    tensor = graph.Tensors(index)
    shape = tuple(tensor.Shape(i) for i in range(tensor.ShapeLength()))
    dtype = _TYPE_NAMES[tensor.Type()]
    return Tensor(
        index=index,
        name=tensor.Name().decode(),
        shape=shape,
        dtype=dtype,
        bytes=math.ceil(math.prod(shape) * TYPE_BITS.get(dtype, 0) / 8),
        is_constant=model.Buffers(tensor.Buffer()).DataLength() > 0,
    )
