"""Fewer different weights than 8 bits hold, in an int8 file: it computes and runs as before, and its zip is smaller.

Deep Compression (Han, Mao and Dally, ICLR 2016, section 3, https://arxiv.org/abs/1510.00149) lets weights share values
so that their codes take fewer bits. Here the values are equally spaced, 2^bits - 1 of them for each output channel and
zero among them, so that no kernel has to look them up: an int8 file holds each of them as one code, and what packs the
file finds few different bytes.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.linear_ops import linear_ops

# Kernels with fewer weights an output channel keep their 8 bits: those of a DWConv or a first layer are a small share
# of a file, and nothing evens out what rounding does to nine weights.
FEWEST = 32
# Where the largest value of a channel may lie, as shares of its largest weight.
_SHARES = np.arange(1.0, 0.39, -0.04)


def with_weight_bits(tflite: bytes, bits: int, *, per_tensor: bool = False, keep: Collection[str] = ()) -> bytes:
    """-> a float file whose kernels hold 2^bits - 1 values an output channel; zeros stay zero.

    The spacing is the one with the smallest squared error: weights beyond its largest value are cut off there.

    Args:
      tflite: a float file.
      bits: 2 to 7.
      per_tensor: one spacing for a whole kernel, as of an int8 file with one scale for it.
      keep: ops whose kernels stay as they are, named by the tensor that they write.
    """
    edit = GraphEdit(tflite)
    for linear in linear_ops(edit):
        weights = edit.value(linear.weights)
        assert weights is not None
        rows = linear.rows(weights)
        if rows.shape[-1] < FEWEST or edit.text(linear.output) in keep:
            continue
        flat = rows.reshape(1, -1) if per_tensor else rows.reshape(-1, rows.shape[-1])
        edit.set_value(linear.weights, linear.stored(spaced(flat, bits).reshape(rows.shape)))
    return edit.to_bytes()


def spaced(rows: np.ndarray, bits: int) -> np.ndarray:
    """-> [N, K] the rows, each with multiples of one spacing alone.

    Args:
      rows: [N, K] float32.
      bits: so many bits hold the multiples, which go from -(2^(bits-1) - 1) to 2^(bits-1) - 1.

    Example:

      >>> spaced(np.array([[1.0, -2.0, 3.0, 0.4]], np.float32), 3)
      array([[ 1., -2.,  3.,  0.]], dtype=float32)
    """
    steps = 2 ** (bits - 1) - 1
    largest = np.abs(rows).max(axis=1, keepdims=True)
    best, least = np.zeros_like(rows), np.full(len(rows), np.inf)
    for share in _SHARES:
        spacing = largest * np.float32(share) / steps
        multiples = np.divide(rows, spacing, out=np.zeros_like(rows), where=spacing > 0)
        tried = np.clip(np.rint(multiples), -steps, steps) * spacing
        errors = np.square(tried - rows, dtype=np.float64).sum(axis=1)
        better = errors < least
        best[better], least[better] = tried[better], errors[better]
    return best
