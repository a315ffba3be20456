"""Which ops does XNNPACK leave to the slow kernels? Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.runner import edges, load

# Types for which XNNPACK has no arithmetic at all.
_FOREIGN_TYPES = ("int16", "int64", "float64", "complex64", "str")


@dataclasses.dataclass(frozen=True)
class UndelegatedOp:
    """An op that the runtime's own kernels must run.

    Attributes:
      index: its place in the file's list of ops.
      op: its name, as ``TRANSPOSE_CONV``.
      outputs: the names of the tensors it writes.
      why: the likely reason.
    """

    index: int
    op: str
    outputs: tuple[str, ...]
    why: str


def undelegated_ops(tflite: bytes) -> list[UndelegatedOp]:
    """-> the ops of the main graph that XNNPACK did not take, in order; empty: it took every one.

    The runtime does not say which ops a delegate took. It appends a node for the delegate, with the tensors that go in
    and come out; the ops that lie between those were taken.

    Raises:
      InputError: the bytes cannot be run.
    """
    interpreter = load(tflite)
    nodes = interpreter._get_ops_details()
    count = schema.Model.GetRootAs(tflite).Subgraphs(0).OperatorsLength()
    taken = _between(nodes[:count], nodes[count:])
    is_open = any(-1 in edge.shape for edge in edges(interpreter)[0])
    names = {details["index"]: details["name"] for details in interpreter.get_tensor_details()}
    return [
        UndelegatedOp(
            index=node["index"],
            op=node["op_name"],
            outputs=tuple(names.get(int(tensor), "") for tensor in node["outputs"]),
            why=_why(node, is_open),
        )
        for node in nodes[:count]
        if node["index"] not in taken
    ]


def check_delegation(tflite: bytes) -> str:
    """-> a text for the report: what XNNPACK did not take and why that matters; empty if it took every op."""
    left = undelegated_ops(tflite)
    if not left:
        return ""
    total = schema.Model.GetRootAs(tflite).Subgraphs(0).OperatorsLength()
    lines = [
        f"XNNPACK did not take {len(left)} of {total} ops. The runtime's own kernels run them, often several times "
        "slower, and the graph is cut in pieces at each of them."
    ]
    for why in dict.fromkeys(op.why for op in left):
        lines.append(f"{why[0].upper()}{why[1:]}:")
        lines += [f"  op {op.index}, {op.op} -> {', '.join(op.outputs)}" for op in left if op.why == why]
    return "\n".join(lines)


def _between(nodes: list[dict[str, Any]], delegates: list[dict[str, Any]]) -> set[int]:
    producer = {int(tensor): node for node in nodes for tensor in node["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        border = {int(tensor) for tensor in delegate["inputs"]}
        todo = [int(tensor) for tensor in delegate["outputs"]]
        while todo:
            tensor = todo.pop()
            node = producer.get(tensor)
            if tensor in border or node is None or node["index"] in taken:
                continue
            taken.add(node["index"])
            todo.extend(int(source) for source in node["inputs"])
    return taken


def _why(node: dict[str, Any], is_open: bool) -> str:
    types = sorted({np.dtype(kind).name for kind in (*node["operand_types"], *node["result_types"])})
    foreign = [name for name in types if name.startswith(_FOREIGN_TYPES)]
    if is_open:
        return (
            "the file has an open batch dimension (or another open one), so shapes are not known when XNNPACK chooses "
            "its ops; export with a fixed batch of 1"
        )
    if foreign:
        return f"XNNPACK does not compute in {', '.join(foreign)}"
    return f"XNNPACK has no kernel for {node['op_name']} with {', '.join(types)} and these settings"
