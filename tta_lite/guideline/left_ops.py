"""Which ops of an integer file stay in float32, or leave the delegate? (Clause 6.2.1.)"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tta_lite.boards.profile import Runtime
from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.guideline.boundaries import CONVERSIONS, Costs
from tta_lite.guideline.checks import missing_ops
from tta_lite.guideline.reasons import Said
from tta_lite.measure.stages import layer_names

# Layers of one op that are named, and ops.
SHOWN_LAYERS, SHOWN_OPS = 2, 5


@dataclasses.dataclass(frozen=True)
class LeftOp:
    """An op that would stay in float32, or that the runtime leaves to slower kernels or does not take.

    Attributes:
      op: as ``CUMSUM``.
      layer: that it comes from.
      stays_float: it has no integer kernel, or its converter none.
      why: what the runtime or the delegate says; empty if it takes the op as it stands.
      tensor: that it writes, by which quantisers name an op; empty if the runtime was asked of a rewritten file.
      cost_ms: milliseconds an inference; None: not known.
    """

    op: str
    layer: str
    stays_float: bool
    why: Said = ""
    tensor: str = ""
    cost_ms: float | None = None


def left_ops(tflite: bytes, runtime: Runtime | None, layers: Sequence[str], costs: Costs | None) -> tuple[LeftOp, ...]:
    """-> the ops that stay in float32 or that the runtime does not take, conversions left out.

    Args:
      tflite: the integer file.
      runtime: of a board; None: LiteRT with XNNPACK.
      layers: names of the network's layers in their order; none of a file that came as one.
      costs: of the file's ops.
    """
    contents = read_contents(tflite)
    names = layer_names(tflite, contents)
    stay = {op.index for op in contents.float_ops() if op.name not in CONVERSIONS}
    refused: dict[int, Said] = {}
    missing: dict[tuple[str, str], LeftOp] = {}
    if runtime is None or runtime.ask:
        refused = {one.index: one.why for one in undelegated_ops(tflite) if one.op not in CONVERSIONS}
    else:
        # It is asked of the file as it is rewritten for the runtime, where ops have other places.
        for miss in missing_ops(tflite, runtime, layers):
            if miss.op not in CONVERSIONS:
                missing[miss.op, miss.layer] = LeftOp(miss.op, miss.layer, False, miss.said or miss.why)
    left = []
    for index in sorted({*stay, *refused}):
        name, layer = contents.ops[index].name, names[index]
        told = missing.pop((name, layer), None)
        why = told.why if told else refused.get(index, "")
        tensor = contents.tensors[contents.ops[index].outputs[0]].name
        left.append(LeftOp(name, layer, index in stay, why, tensor, costs.op_ms[index] if costs else None))
    return (*left, *missing.values())


def named(ops: Sequence[LeftOp]) -> str:
    """-> ops by kind, with some of their layers.

    >>> named([LeftOp("CUMSUM", "a", True), LeftOp("CUMSUM", "b", True), LeftOp("GELU", "c", False)])
    '2 CUMSUM (a, b), 1 GELU (c)'
    """
    layers: dict[str, list[str]] = {}
    for one in ops:
        layers.setdefault(one.op, []).append(one.layer)
    texts = [
        f"{len(found)} {op} ({', '.join(found[:SHOWN_LAYERS])}{', ...' * (len(found) > SHOWN_LAYERS)})"
        for op, found in layers.items()
    ]
    return ", ".join(texts[:SHOWN_OPS]) + ", ..." * (len(texts) > SHOWN_OPS)
