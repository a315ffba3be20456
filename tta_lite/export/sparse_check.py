"""Is a file that stores kernels sparse any better than its dense twin? Compared in bytes and in outputs.

The converter's ``EXPERIMENTAL_SPARSITY`` makes such files. Those of int8 networks with half of their weights zero are
larger than dense ones, and with float16 weights and an open batch they gave wrong numbers, without a word. This project
never asks for that option; a file from elsewhere may come with it. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

import numpy as np

from tta_lite.export.runner import KERNELS, edges, load
from tta_lite.export.sparse_encoding import dense_twin, stored_sparse
from tta_lite.export.sparse_path import SparsePath, sparse_path

# Of the largest output: what another order of sums makes of float32, and no more.
TOLERANCE = 1e-4


@dataclasses.dataclass(frozen=True)
class SparseCheck:
    """A file with sparse tensors, held against the same network stored dense.

    Attributes:
      tensors: the names of those that are stored sparse.
      bytes: of the file.
      twin_bytes: of the twin.
      zip_bytes: of the file after deflate at level 9.
      twin_zip_bytes: of the twin.
      differences: kernels -> the largest difference of the outputs, over the largest output of the twin; NaN if an
        output is no number.
      path: what XNNPACK does with the file on a processor on which it has sparse kernels.
    """

    tensors: tuple[str, ...]
    bytes: int
    twin_bytes: int
    zip_bytes: int
    twin_zip_bytes: int
    differences: Mapping[str, float]
    path: SparsePath

    @property
    def faults(self) -> tuple[str, ...]:
        """What is worse than the twin; empty: nothing."""
        found = []
        if self.bytes > self.twin_bytes:
            found.append(f"larger than the same network stored dense: {self.bytes:,} bytes for {self.twin_bytes:,}")
        for kernels, difference in self.differences.items():
            # NaN is not above any tolerance either.
            if not difference <= TOLERANCE:
                found.append(
                    f"other outputs than the same network stored dense, by {kernels} kernels: {difference:.1e} of the "
                    "largest"
                )
        if self.path.wrong:
            found.append(f"wrong numbers on processors with sparse kernels, from {', '.join(self.path.wrong)} on")
        return tuple(found)


def check_stored_sparse(tflite: bytes, *, images: int = 2) -> SparseCheck | None:
    """-> the comparison, on inputs from chance; None if the file stores nothing sparse.

    Raises:
      InputError: the bytes cannot be run.
    """
    tensors = stored_sparse(tflite)
    if not tensors:
        return None
    twin = dense_twin(tflite)
    return SparseCheck(
        tuple(tensors),
        len(tflite),
        len(twin),
        _deflated(tflite),
        _deflated(twin),
        {kernels: _difference(twin, tflite, kernels, images) for kernels in KERNELS},
        sparse_path(tflite),
    )


def _difference(twin: bytes, tflite: bytes, kernels: str, images: int) -> float:
    first, second = load(twin, kernels=kernels), load(tflite, kernels=kernels)
    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(images):
        for edge in edges(first)[0]:
            shape = [max(1, size) for size in edge.shape]
            value = edge.quantise(rng.uniform(-1, 1, shape)) if edge.dtype.kind in "iu" else rng.uniform(-1, 1, shape)
            for interpreter in (first, second):
                interpreter.set_tensor(edge.index, value.astype(edge.dtype))
        first.invoke()
        second.invoke()
        for edge, other in zip(edges(first)[1], edges(second)[1], strict=True):
            expected = edge.dequantise(first.get_tensor(edge.index)).astype(np.float64)
            received = other.dequantise(second.get_tensor(other.index)).astype(np.float64)
            worst = float(np.maximum(worst, np.abs(expected - received).max() / (np.abs(expected).max() or 1.0)))
    return worst


def _deflated(data: bytes) -> int:
    return len(zlib.compress(data, 9))
