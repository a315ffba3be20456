"""The rows of the case study: chapter 7 of the guideline, and what the report could not have.

The published figures are those of Table 1 of the TTA technical report, measured on a Firefly RK3399 in 2019.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tta_lite.types import FP16, FP32, INT8, ExportSpec, InputError


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
      name: the steps it took.
      clause: of the guideline, of the last of these steps.
      why: what the step is for.
      light: the light backbone instead of the first one (G1).
      narrow: a PConv before each Deconv (G2).
      pretrained: the light backbone starts from the given weights.
      mixed: trained in mixed precision (G4).
      pruned: trained on the pruning schedule (G5).
      export: how it becomes a file (G3, G4).
      network_of: the row whose trained network is exported again, if it needs no training of its own.
      published: the report's figures: ``pckh``, ``init_s``, ``latency_s``.
    """

    name: str
    clause: str
    why: str
    light: bool = True
    narrow: bool = True
    pretrained: bool = True
    mixed: bool = False
    pruned: bool = False
    export: ExportSpec = FP32
    network_of: str | None = None
    published: Mapping[str, float] = dataclasses.field(default_factory=dict)


def _published(pckh: float, init_s: float, latency_s: float) -> dict[str, float]:
    return {"pckh": pckh, "init_s": init_s, "latency_s": latency_s}


ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row(
            "none", "7", "the network as it is, to compare with",
            light=False, narrow=False, published=_published(81.4, 12.113, 1.054),
        ),
        Row(
            "G1", "6.1.1", "a light backbone; its output has the stride of the old one, so the head fits unchanged",
            narrow=False, published=_published(77.7, 5.878, 0.704),
        ),
        Row(
            "G1+G2", "6.1.2", "a PConv before each Deconv, which now are the costliest layers",
            published=_published(76.3, 6.062, 0.354),
        ),
        Row(
            "G1+G2+G4", "6.2.2", "trained in mixed precision, exported with float16 weights",
            mixed=True, export=FP16, published=_published(76.0, 5.929, 0.352),
        ),
        Row(
            "G1+G2+G3", "6.2.1",
            "the network of G1+G2 in full integer arithmetic; in 2019 Deconv could not be quantised",
            export=INT8, network_of="G1+G2",
        ),
        Row("G1+G2+G5", "6.2.3", "magnitude pruning: for memory, not for speed", pruned=True),
        Row(
            "G1 scratch", "6.1.1", "G1 without ImageNet weights, to compare fairly with none",
            narrow=False, pretrained=False,
        ),
        Row("G1+G2 scratch", "6.1.2", "G1+G2 without ImageNet weights, to compare fairly with none", pretrained=False),
    )
}  # fmt: skip
DEFAULT_ROWS = ("none", "G1", "G1+G2", "G1+G2+G4", "G1+G2+G3", "G1+G2+G5")


def choose_rows(names: Sequence[str]) -> list[Row]:
    """-> the rows called `names`, in the table's order.

    >>> [row.name for row in choose_rows(["G1+G2", "none"])]
    ['none', 'G1+G2']

    Raises:
      InputError: an unknown name, no name, or a row without the one whose network it exports.
    """
    unknown = [name for name in names if name not in ROWS]
    if unknown or not names:
        raise InputError(f"Rows must be some of: {', '.join(ROWS)}. Received: {', '.join(unknown) or 'none'}")
    chosen = [row for name, row in ROWS.items() if name in names]
    for row in chosen:
        if row.network_of is not None and row.network_of not in names:
            raise InputError(f"Row {row.name} exports the network of {row.network_of}, which must be asked for too. "
                             f"Received: {', '.join(names)}")  # fmt: skip
    return chosen
