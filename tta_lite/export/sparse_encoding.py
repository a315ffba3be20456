"""Zeros left out of a ``.tflite`` file: kernels stored as their non-zeros and where those are (compressed sparse rows).

The format is the schema's ``SparsityParameters`` (tensorflow/compiler/mlir/lite/schema/schema.fbs), after the TACO
compiler: all dimensions but the last are dense, the last is compressed. A DENSIFY op in front of each consumer restores
the kernel when the file is loaded. The file becomes smaller without zip, and XNNPACK looks for zeros at all: see
`tta_lite.export.sparse_path`. Imports no TensorFlow.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.runner import edges, load
from tta_lite.export.sparse_path import sparse_path
from tta_lite.types import InputError

# Ops whose kernel, the second input, may be stored so.
ENCODED = ("CONV_2D", "FULLY_CONNECTED")
# A non-zero takes 4 bytes of value and 1 or 2 of place: below this share of zeros nothing is saved.
LEAST = 0.4


def encode_sparse(tflite: bytes, *, least: float = LEAST) -> bytes:
    """-> the file with its sparse kernels compressed; it computes the same.

    Args:
      tflite: float32, with a fixed batch.
      least: share of zeros, 0..1, from which a kernel is compressed.

    Raises:
      InputError: an open batch, a file that does not compute in float32, no kernel with enough zeros, or a network in
        which XNNPACK would then leave its planes without an end for it, and give wrong numbers.
    """
    inputs, _ = edges(load(tflite))
    if any(size < 1 for edge in inputs for size in edge.shape):
        raise InputError(
            f"Sparse kernels need a fixed batch. Received: inputs of {[list(edge.shape) for edge in inputs]}"
        )
    if any(edge.dtype != np.float32 for edge in inputs):
        raise InputError(
            "XNNPACK's sparse kernels compute in float32. Received: inputs of "
            f"{', '.join(np.dtype(edge.dtype).name for edge in inputs)}"
        )
    edit = GraphEdit(tflite)
    dense: dict[int, int] = {}
    front = []
    for op in edit.ops:
        if edit.name(op) not in ENCODED:
            continue
        tensor = int(op.inputs[1])
        if tensor not in dense:
            value = edit.value(tensor)
            if value is None or value.dtype != np.float32 or (value == 0).mean() < least:
                continue
            dense[tensor] = edit.tensor(f"{edit.text(tensor)}/dense", value.shape, like=tensor)
            _compress(edit, tensor, value)
            front.append(edit.op("DENSIFY", [tensor], [dense[tensor]], schema.DensifyOptionsT()))
        op.inputs = np.array([dense.get(int(one), int(one)) for one in op.inputs], np.int32)
    if not front:
        raise InputError(
            f"A file is encoded that has kernels with {least:.0%} or more zeros in {' or '.join(ENCODED)}. "
            "Received: none"
        )
    edit.graph.operators[:0] = front
    encoded = edit.to_bytes()
    if wrong := sparse_path(encoded).wrong:
        raise InputError(
            "A file is stored sparse in which what XNNPACK computes on planes ends in a mean or a DEPTH_TO_SPACE; "
            "elsewhere it takes planes for pixels and gives wrong numbers, on processors with sparse kernels. "
            f"`onto_sparse_path` may bring it there. Received: a file in which this happens at {', '.join(wrong)}"
        )
    return encoded


def stored_sparse(tflite: bytes) -> list[str]:
    """-> the names of the tensors that a file stores sparse."""
    edit = GraphEdit(tflite)
    return [edit.text(place) for place, tensor in enumerate(edit.graph.tensors) if tensor.sparsity is not None]


def dense_twin(tflite: bytes) -> bytes:
    """-> the file with every sparse tensor stored dense, as TFLite's own kernel restores it.

    Raises:
      InputError: the bytes cannot be run, or a sparse tensor is read by another op than DENSIFY.
    """
    edit = GraphEdit(tflite)
    found = [op for op in edit.ops if edit.name(op) == "DENSIFY"]
    stored = {int(op.outputs[0]): int(op.inputs[0]) for op in found}
    for tensor, value in zip(stored, _restored(tflite, list(stored)) if found else (), strict=True):
        edit.graph.tensors[stored[tensor]].sparsity = None
        edit.store(stored[tensor], value)
    for op in found:
        edit.replace(op, [])
    for op in edit.ops:
        op.inputs = np.array([stored.get(int(one), int(one)) for one in op.inputs], np.int32)
    for tensor in {int(one) for op in edit.ops for one in op.inputs if one >= 0}:
        if edit.graph.tensors[tensor].sparsity is not None:
            raise InputError(
                f"Sparse tensors are read by DENSIFY ops. Received: {edit.text(tensor)}, read by an op that takes its "
                "bytes for dense ones"
            )
    _forget(edit, set(stored))
    return edit.to_bytes()


def _forget(edit: GraphEdit, unread: set[int]) -> None:
    """Takes tensors out of the file that no op reads or writes."""
    kept = [place for place in range(len(edit.graph.tensors)) if place not in unread]
    new = {-1: -1} | {old: place for place, old in enumerate(kept)}
    edit.graph.tensors = [edit.graph.tensors[place] for place in kept]
    for holder in (*edit.ops, edit.graph):
        holder.inputs = np.array([new[int(one)] for one in holder.inputs], np.int32)
        holder.outputs = np.array([new[int(one)] for one in holder.outputs], np.int32)
    for signature in edit.model.signatureDefs or ():
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = new[entry.tensorIndex]


def _restored(tflite: bytes, tensors: list[int]) -> list[np.ndarray]:
    try:
        interpreter = Interpreter(
            model_content=bytes(tflite),
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=True,
        )
        interpreter.allocate_tensors()
        for details in interpreter.get_input_details():
            interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
        interpreter.invoke()
        return [interpreter.get_tensor(tensor).copy() for tensor in tensors]
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"These bytes cannot be run as a .tflite file: {error}. Received: {len(tflite)} bytes"
        ) from error


def _compress(edit: GraphEdit, tensor: int, value: np.ndarray) -> None:
    """Stores a constant as its non-zeros, row by row of its last dimension."""
    rows = value.reshape(-1, value.shape[-1])
    counts = (rows != 0).sum(axis=1)
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = np.arange(value.ndim, dtype=np.int32)
    sparsity.dimMetadata = []
    for size in value.shape[:-1]:
        dense = schema.DimensionMetadataT()
        dense.format, dense.denseSize = schema.DimensionType.DENSE, int(size)
        sparsity.dimMetadata.append(dense)
    last = schema.DimensionMetadataT()
    last.format = schema.DimensionType.SPARSE_CSR
    last.arraySegmentsType, last.arraySegments = _indices(np.concatenate([[0], np.cumsum(counts)]))
    last.arrayIndicesType, last.arrayIndices = _indices(np.nonzero(rows)[1])
    sparsity.dimMetadata.append(last)
    edit.graph.tensors[tensor].sparsity = sparsity
    edit.store(tensor, rows[rows != 0])


def _indices(values: np.ndarray) -> tuple[int, object]:
    """-> the smallest of the schema's three types of vectors that holds the values."""
    largest = int(values.max(initial=0))
    kinds = schema.SparseIndexVector
    for kind, vector, dtype in (
        (kinds.Uint8Vector, schema.Uint8VectorT(), np.uint8),
        (kinds.Uint16Vector, schema.Uint16VectorT(), np.uint16),
        (kinds.Int32Vector, schema.Int32VectorT(), np.int32),
    ):
        if largest <= np.iinfo(dtype).max:
            vector.values = values.astype(dtype)
            return kind, vector
    raise AssertionError(f"a kernel of {largest} weights")
