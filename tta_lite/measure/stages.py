"""An exported file as a few stages of consecutive ops, for charts that a reader can take in. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from tta_lite.export.contents import Contents, Op, read_contents
from tta_lite.export.quantize.names import layer_names
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.types import InputError

MOST = 14
# What a cut costs, where the square of a stage's share of the MACs over the fair share is 1: at all, for each tensor
# beyond the first that crosses it, between layers of one block, and where one kernel runs what lies on both sides.
CUT, CROSSING, IN_BLOCK, IN_KERNEL = 0.1, 0.15, 0.1, 2.0
_PADS = ("PAD", "PADV2", "MIRROR_PAD")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Consecutive ops.

    Attributes:
      begin: the first op's place in the file.
      end: the place after its last op.
      first: name of the first layer.
      last: name of the last layer.
      ops: how many there are that compute; those that only unpack weights are left out.
      macs: of all its ops.
    """

    begin: int
    end: int
    first: str
    last: str
    ops: int
    macs: int


def stages(tflite: bytes, most: int = MOST) -> list[Stage]:
    """-> up to `most` stages, which hold every op once and in order.

    Their MACs are as equal as they can be, so that an op with more than its share stands alone; cuts go where few
    tensors cross and a block of layers ends. The best of all ways to cut is taken.

    Raises:
      InputError: the file has no op or an open shape.
    """
    if most < 1:
        raise InputError(f"Argument `most` must be 1 or more. Received: {most}")
    contents = read_contents(tflite)
    if not contents.ops:
        raise InputError("A file without an op has no stages. Received: 0 ops")
    macs = np.array([layer.macs or 0 for layer in count_tflite(tflite).layers], np.int64)
    names = layer_names(tflite, contents)
    unpacking = unpacked(contents)
    bounds = _bounds(macs, _cut_costs(contents, names), most)
    found = []
    for begin, end in itertools.pairwise(bounds):
        computing = [op for op in range(begin, end) if not unpacking.issuperset(contents.ops[op].outputs)]
        first, last = names[computing[0]], names[computing[-1]]
        found.append(Stage(begin, end, first, last, len(computing), int(macs[begin:end].sum())))
    return found


def crossing(contents: Contents, end: int) -> list[int]:
    """-> the tensors that the ops before `end` compute and others need: the ops from `end` on, or whoever runs it."""
    wanted = {tensor for op in contents.ops[end:] for tensor in op.inputs} | set(contents.outputs)
    known = unpacked(contents)
    written = (tensor for op in contents.ops[:end] for tensor in op.outputs)
    return [tensor for tensor in written if tensor in wanted and tensor not in known]


def unpacked(contents: Contents) -> set[int]:
    """-> the tensors that are known before the input is: ops compute them from constants, as from 16-bit weights."""
    known = {tensor.index for tensor in contents.tensors if tensor.is_constant}
    computed: set[int] = set()
    for op in contents.ops:
        if op.inputs and known.issuperset(op.inputs):
            known.update(op.outputs)
            computed.update(op.outputs)
    return computed


def _cut_costs(contents: Contents, names: Sequence[str]) -> np.ndarray:
    """-> [ops + 1]: what it costs to cut before each op; infinite where nothing crosses."""
    costs = np.full(len(names) + 1, np.inf)
    costs[0] = costs[-1] = 0.0
    known = unpacked(contents)
    last_use = {tensor: op.index for op in contents.ops for tensor in op.inputs}
    last_use.update(dict.fromkeys(contents.outputs, len(names)))
    alive: set[int] = set()
    before: Op | None = None
    for op in contents.ops[:-1]:
        alive.update(tensor for tensor in op.outputs if tensor not in known)
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > op.index}
        before = before if known.issuperset(op.outputs) else op
        if alive and before is not None:
            after = contents.ops[op.index + 1]
            same = _block(names[before.index]) == _block(names[after.index])
            costs[op.index + 1] = (
                CUT + CROSSING * (len(alive) - 1) + IN_BLOCK * same + IN_KERNEL * (before.name in _PADS)
            )  # fmt: skip
    return costs


def _block(name: str) -> str:
    """-> what a layer's name says it belongs to: ``stage1_block2`` of ``stage1_block2_conv1``."""
    return name.rpartition("_")[0] or name


def _bounds(macs: np.ndarray, cut_costs: np.ndarray, most: int) -> list[int]:
    """-> where to cut, both ends included: least sum of squares and of what the cuts cost."""
    weights = macs if macs.any() else np.ones_like(macs)
    count = len(weights)
    most = min(most, count)
    until = np.concatenate([[0.0], np.cumsum(weights) * most / weights.sum()])
    # best[i]: of the first i ops in so many stages; came: where the last of them begins.
    best = np.full(count + 1, np.inf)
    best[0] = 0.0
    came, totals = [], []
    for _ in range(most):
        options = best[None, :] + (until[:, None] - until[None, :]) ** 2 + cut_costs[None, :]
        options[np.triu_indices(count + 1)] = np.inf
        # The last of equals: what has no MACs stays with what it follows.
        begins = count - options[:, ::-1].argmin(axis=1)
        best = options[np.arange(count + 1), begins]
        came.append(begins)
        totals.append(best[count])
    bounds = [count]
    for begins in reversed(came[: int(np.argmin(totals)) + 1]):
        bounds.append(int(begins[bounds[-1]]))
    return bounds[::-1]
