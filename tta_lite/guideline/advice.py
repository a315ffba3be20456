"""What the guideline advises when the budget is not met (clause 6.2), each with an estimate from the measured rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tta_lite.boards.profile import BoardProfile
from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import State
from tta_lite.guideline.reasons import Reason, Said, reason, said_in, status
from tta_lite.types import LedgerEntry, Report, Verdict


def advice(state: State, board: BoardProfile, side: int | None = None, stride: int = 32) -> list[Reason]:
    """-> what may help, most direct first; nothing if the budget is met.

    Args:
      state: how the run ended.
      board: the target.
      side: of the network's pictures in pixels; None: not known.
      stride: sides are multiples of it.
    """
    over = budgets.ratios(state.report, state.budget)
    broken = budgets.broken(over)
    if not broken:
        return []
    found = [_lightening(state, key, over[key]) for key in broken]
    if "latency" in broken or "memory" in broken:
        found += _smaller_input(over, side, stride)
    found += _another_network(state)
    if "latency" in broken:
        found.append(
            reason(
                "another_board",
                times=f"{over['latency']:.2f}",
                board=board.title,
                cores=tuple(
                    reason("cores_of", count=cores.count, name=cores.name, mhz=cores.max_mhz)
                    if cores.max_mhz
                    else reason("cores_unclocked", count=cores.count, name=cores.name)
                    for cores in board.cores
                ),
            )
        )
    return found


def _lightening(state: State, key: str, ratio: float) -> Reason:
    what = budgets.name(key)
    share = f"{math.ceil(100 * (1 - 1 / ratio))}%"
    report = state.report
    if key == "latency" and report.macs and report.latency_ms:
        return reason(
            "lighten_macs",
            what=what,
            share=share,
            macs=budgets.figure(report.macs / 1e6),
            target=budgets.figure(report.macs / ratio / 1e6),
            rows=_milliseconds_a_mac(state.entries),
        )
    if key in ("size", "zip") and report.params:
        return reason(
            "lighten_params", what=what, share=share, params=budgets.figure(report.params / 1e6),
            target=budgets.figure(report.params / ratio / 1e6),
        )  # fmt: skip
    return reason("lighten", what=what, share=share)


def _milliseconds_a_mac(entries: Mapping[str, LedgerEntry]) -> str:
    """-> how latency went with MACs in the measured rows, which says how far the estimate can be trusted."""
    texts = []
    for name, entry in entries.items():
        if entry.report.macs and entry.report.latency_ms:
            texts.append(f"{name} {entry.report.latency_ms.p50 / (entry.report.macs / 1e9):.0f}")
    return ", ".join(texts)


def _smaller_input(over: Mapping[str, float], side: int | None, stride: int) -> list[Reason]:
    if side is None:
        return []
    worst = max(over.get("latency", 0.0), over.get("memory", 0.0))
    # Convolutions cost as many MACs and activations as there are pixels.
    smaller = int(side / math.sqrt(worst)) // stride * stride
    if smaller < stride:
        return [reason("input_too_small", side=side, stride=stride)]
    return [reason("smaller_input", side=side, smaller=smaller, share=f"{(smaller / side) ** 2:.0%}")]


def _another_network(state: State) -> list[Reason]:
    """The settings that would have met the budget, or come nearest to it, and what spoke against them."""
    found: list[tuple[float, str, Said, Mapping[str, Any]]] = []
    for row, entry in state.entries.items():
        for one in entry.details.get("trials", ()):
            if one.get("report") is None or one["status"] == Verdict.TAKEN.value:
                continue
            try:
                distance = budgets.distance(budgets.ratios(Report.from_json(one["report"]), state.budget))
            except ValueError:
                continue
            found.append((distance, row, said_in(one, "label"), one))
    here = budgets.distance(budgets.ratios(state.report, state.budget))
    nearer = sorted((one for one in found if one[0] < here), key=lambda one: one[0])
    return [
        reason(
            "another_network",
            label=label,
            row=row,
            standing=budgets.standings(Report.from_json(one["report"]), state.budget),
            status=status(one["status"]),
        )
        for _, row, label, one in nearer[:3]
    ]
