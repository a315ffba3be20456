"""Zeros left out of a ``.tflite`` file: kernels stored as their non-zeros and where those are (compressed sparse rows).

The format is the schema's ``SparsityParameters`` (tensorflow/compiler/mlir/lite/schema/schema.fbs): a row an output
channel, the last dimension compressed, after the format of the TACO compiler. A DENSIFY op in front of each consumer
restores the kernel when the file is loaded. The file becomes smaller without zip; whether it becomes faster is
`tta_lite.export.sparse_path`'s question. Imports no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import InputError

# Ops whose kernel, the second input, may be stored so.
ENCODED = ("CONV_2D", "FULLY_CONNECTED")
# A non-zero takes 4 bytes of value and 1 or 2 of place: below this share of zeros nothing is saved.
LEAST = 0.4


def encode_sparse(
    tflite: bytes, *, least: float = LEAST, choose: Callable[[str, tuple[int, ...]], bool] | None = None
) -> bytes:
    """-> the file with its sparse kernels compressed, checked against the dense one: the same numbers, bit by bit or
    to the rounding of another order of sums.

    Args:
      tflite: float32, with a fixed batch.
      least: share of zeros, 0..1, from which a kernel is compressed.
      choose: (op, shape of the kernel) -> whether it is; all convolutions and dense layers if not given.

    Raises:
      InputError: an open batch, a file that does not compute in float32, no kernel with enough zeros, or outputs that
        are other than those of the dense file.
    """
    _check(tflite)
    edit = GraphEdit(tflite)
    densified: dict[int, int] = {}
    front = []
    for op in edit.ops:
        if edit.name(op) not in ENCODED:
            continue
        tensor = int(op.inputs[1])
        if tensor not in densified:
            value = edit.value(tensor)
            if value is None or value.dtype != np.float32 or (choose and not choose(edit.name(op), value.shape)):
                continue
            if (value == 0).mean() < least:
                continue
            densified[tensor] = edit.tensor(f"{edit.text(tensor)}/dense", value.shape, like=tensor)
            _compress(edit, tensor, value)
            front.append(edit.op("DENSIFY", [tensor], [densified[tensor]], schema.DensifyOptionsT()))
        op.inputs = np.array([densified.get(int(one), int(one)) for one in op.inputs], np.int32)
    if not front:
        raise InputError(
            f"A file is encoded that has kernels with {least:.0%} or more zeros in {' or '.join(ENCODED)}. "
            "Received: none"
        )
    edit.graph.operators[:0] = front
    encoded = edit.to_bytes()
    check_same_numbers(tflite, encoded)
    return encoded


def check_same_numbers(dense: bytes, sparse: bytes, *, images: int = 2, tolerance: float = 1e-4) -> float:
    """-> the largest difference of two files' outputs on random pictures, over the largest output.

    Raises:
      InputError: it is above `tolerance`, or an output is no number: TFLite's own `EXPERIMENTAL_SPARSITY` gives such
        files without a word.
    """
    rng = np.random.default_rng(0)
    first, second = TFLitePredictor(dense), TFLitePredictor(sparse)
    pictures = rng.uniform(-1, 1, (images, *first.input.shape[1:])).astype(np.float32)
    expected, received = first(pictures), second(pictures)
    scale = float(np.abs(expected).max()) or 1.0
    worst = float(np.abs(expected - received).max()) / scale
    # NaN is not above any tolerance either.
    if not worst <= tolerance:
        raise InputError(
            f"A sparse file must compute what the dense one does, to {tolerance:g} of the largest output. "
            f"Received: {worst:g}"
        )
    return worst


def _check(tflite: bytes) -> None:
    edges = TFLitePredictor(tflite).input
    if any(size < 1 for size in edges.shape):
        raise InputError(f"Sparse kernels need a fixed batch. Received: an input of {list(edges.shape)}")
    if edges.dtype != np.float32:
        raise InputError(
            "XNNPACK's sparse kernels compute in float32, and encoded kernels of other types leave it. "
            f"Received: a file of {np.dtype(edges.dtype).name}"
        )


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
