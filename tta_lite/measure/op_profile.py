"""Per-op times of a profiled run, op by op of the file and by Keras layer name. Imports no TensorFlow.

LiteRT names its own kernels by their place in the file. XNNPACK names its operators by what they do, in the order in
which they run: it merges paddings and activations into convolutions, splits others in two, and runs a 1 x 1 convolution
as a fully connected layer. So its list is aligned with the file's ops, in order, by kind, at the least cost.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.export.contents import Contents, Op, read_contents
from tta_lite.measure.op_features import DEPTHWISE_KINDS, MATRIX_KINDS, NONE, OpFeatures, read_features
from tta_lite.types import InputError

# XNNPACK's operator, up to the bracket -> the ops of a file that it runs.
RUNS: Mapping[str, tuple[str, ...]] = {
    "Average Pooling": ("AVERAGE_POOL_2D", "MEAN"),
    "Clamp": ("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1"),
    "Constant Pad": ("PAD", "PADV2"),
    "Convert": ("DEQUANTIZE", "QUANTIZE", "CAST"),
    "Convolution": ("CONV_2D", "DEPTHWISE_CONV_2D"),
    "Copy": ("CONCATENATION", "SPLIT", "SPLIT_V", "RESHAPE", "EXPAND_DIMS", "SQUEEZE", "STRIDED_SLICE", "SLICE"),
    "Deconvolution": ("TRANSPOSE_CONV",),
    "Divide": ("DIV",),
    "Exp": ("EXP",),
    "Fully Connected": ("CONV_2D", "FULLY_CONNECTED", "BATCH_MATMUL"),
    "Global Average Pooling": ("MEAN", "AVERAGE_POOL_2D"),
    "Max Pooling": ("MAX_POOL_2D",),
    "Multiply": ("MUL",),
    "Negate": ("NEG",),
    "PReLU": ("PRELU",),
    "Reciprocal Square Root": ("RSQRT",),
    "Sigmoid": ("LOGISTIC",),
    "Square Root": ("SQRT",),
    "Static Reshape": ("RESHAPE", "EXPAND_DIMS", "SQUEEZE"),
    "Static Slice": ("SLICE", "STRIDED_SLICE", "SPLIT", "SPLIT_V"),
    "Subtract": ("SUB",),
    "Transpose": ("TRANSPOSE", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH", "BATCH_MATMUL"),
}
# What may follow the operator that does an op's work, or stand before it, and belongs to it all the same.
BEFORE = ("Constant Pad", "Convert")
AFTER = ("Clamp", "Copy", "Static Reshape", "Static Slice", "Transpose")
# Costs of the alignment: an operator on the usual side of the one that does the work, or on the other side; an op of a
# known kind without an operator; an op and an operator whose name says nothing, or contradicts it.
EXTRA, OTHER_SIDE, SKIPPED, UNSURE, WRONG = 1.0, 1.5, 3.0, 6.0, 1000.0
_FREE = {NONE: 0.0, "activation": 1.0, "copy": 2.0}


@dataclasses.dataclass(frozen=True)
class OpTime:
    """What one op of the file took.

    Attributes:
      index: its place in the file.
      op: its name, as ``CONV_2D``.
      layer: the Keras layer that it comes from, as far as the file tells.
      kind: as in `OpFeatures`.
      time_us: microseconds a run, see `typical`; 0 if the runtime merged it into another op.
      kernels: what the runtime calls those that ran it; empty if it was merged.
      builtin: whether the runtime's own kernels ran it, and not XNNPACK.
    """

    index: int
    op: str
    layer: str
    kind: str
    time_us: float
    kernels: tuple[str, ...]
    builtin: bool


def typical(samples_us: Sequence[float]) -> float:
    """-> the mean of the middle half: finer than the clock's whole microseconds, and blind to interruptions.

    >>> typical([1, 1, 2, 2, 2, 3, 4, 900])
    2.25
    """
    values = np.sort(np.asarray(samples_us, float))
    cut = len(values) // 4
    return float(values[cut : len(values) - cut].mean())


def match_ops(tflite: bytes, profile_ops: Sequence[Mapping[str, Any]]) -> tuple[OpTime, ...]:
    """-> one record for each op of the file, in order; their times sum up to the profile's.

    Args:
      tflite: the file that was run.
      profile_ops: ``ops`` of a runner's result: ``name``, ``kind`` (``xnnpack`` or ``builtin``), ``place`` (for the
        latter, in the file) and ``samples_us`` of each, in the order in which they ran.

    Raises:
      InputError: the profile is not this file's, or of kernels that are not known here.
    """
    if not profile_ops:
        raise InputError("A profile needs one op or more; was it run with --profile_runs? Received: none")
    features = read_features(tflite)
    pinned: dict[int, list[int]] = {}
    for place, op in enumerate(profile_ops):
        if op["kind"] == "builtin":
            if not (0 <= op["place"] < len(features) and _base(op["name"]) == features[op["place"]].op):
                raise _not_its_own(f"op {op['place']} {op['name']} in a file of {len(features)} ops")
            pinned.setdefault(op["place"], []).append(place)
    others = [place for place, op in enumerate(profile_ops) if op["kind"] != "builtin"]
    order = [one for one in run_order(read_contents(tflite), set(pinned)) if one not in pinned]
    aligned = _align([features[one] for one in order], [_base(profile_ops[place]["name"]) for place in others])
    found: dict[int, list[int]] = dict(pinned)
    for one, place in zip(aligned, others, strict=True):
        found.setdefault(order[one], []).append(place)
    return tuple(
        OpTime(
            op.index,
            op.op,
            op.layer,
            op.kind,
            sum(typical(profile_ops[place]["samples_us"]) for place in found.get(op.index, [])),
            tuple(profile_ops[place]["name"] for place in found.get(op.index, [])),
            op.index in pinned,
        )
        for op in features
    )


def run_order(contents: Contents, left: set[int]) -> list[int]:
    """-> the ops in the order in which the runtime runs them, where a delegate takes all but those `left`.

    It cuts the graph greedily, as TFLite's `PartitionGraphIntoIndependentNodeSubsets`: a part takes, in the file's
    order, every op of its sort that is ready.
    """
    written = {tensor for op in contents.ops for tensor in op.outputs}
    ready = {tensor.index for tensor in contents.tensors} - written
    waiting: list[Op] = list(contents.ops)
    order: list[int] = []
    while waiting:
        part: bool | None = None
        rest = []
        for op in waiting:
            is_left = op.index in left
            if ready.issuperset(op.inputs) and part in (None, is_left):
                part = is_left
                order.append(op.index)
                ready.update(op.outputs)
            else:
                rest.append(op)
        if part is None:
            raise InputError("The ops of a file must stand in an order in which they can run. Received: a circle")
        waiting = rest
    return order


def _align(ops: Sequence[OpFeatures], operators: Sequence[str]) -> list[int]:
    """-> for each operator, the place of its op in `ops`; never falling."""
    # best[i][j]: the first i ops and j operators; op i - 1 has the operators from came[i][j] to j.
    count, length = len(ops), len(operators)
    best = np.full((count + 1, length + 1), math.inf)
    came = np.zeros((count + 1, length + 1), int)
    best[0, 0] = 0.0
    for i, op in enumerate(ops, start=1):
        skipped = WRONG if op.kind in (*MATRIX_KINDS, *DEPTHWISE_KINDS) else _FREE.get(op.kind, SKIPPED)
        costs = [_cost(op, name) for name in operators]
        for j in range(length + 1):
            best[i, j], came[i, j] = best[i - 1, j] + skipped, j
            work, behind = math.inf, 0.0
            for start in range(j - 1, max(-1, j - 1 - _MOST), -1):
                # One of its operators does the work; the others stand before and behind it.
                name = operators[start]
                work = min(work + _extra(name, BEFORE, AFTER), behind + costs[start])
                behind += _extra(name, AFTER, BEFORE)
                if best[i - 1, start] + work < best[i, j]:
                    best[i, j], came[i, j] = best[i - 1, start] + work, start
    if best[count, length] >= WRONG:
        raise _not_its_own(f"{length} operators, {count} ops that can have run as these")
    aligned = [0] * length
    j = length
    for i in range(count, 0, -1):
        for place in range(came[i, j], j):
            aligned[place] = i - 1
        j = came[i, j]
    return aligned


# Operators of one op, at most: a split has one for each of its parts.
_MOST = 12


def _cost(op: OpFeatures, operator: str) -> float:
    if operator in RUNS:
        return 0.0 if op.op in RUNS[operator] else WRONG
    # Most are called as the op: HardSwish, Add, Resize Bilinear.
    if _letters(operator) == _letters(op.op):
        return 0.0
    return WRONG if op.kind in (*MATRIX_KINDS, *DEPTHWISE_KINDS, NONE) else UNSURE


def _extra(operator: str, usual: Sequence[str], unusual: Sequence[str]) -> float:
    return EXTRA if operator in usual else OTHER_SIDE if operator in unusual else WRONG


def _base(name: str) -> str:
    """-> an operator's name without its types and kernel.

    >>> _base("Convolution (NHWC, F32) IGEMM"), _base("HARD_SWISH")
    ('Convolution', 'HARD_SWISH')
    """
    return name.split(" (")[0].strip()


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _not_its_own(received: str) -> InputError:
    return InputError(f"A profile must be one of the file that it is matched with. Received: {received}")
