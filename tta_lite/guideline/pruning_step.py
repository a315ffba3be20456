"""G5 as a step of the ladder: zeros among the weights, for memory alone (6.2.3)."""

from __future__ import annotations

import dataclasses

from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import State, Trial
from tta_lite.guideline.reasons import Reason, reason
from tta_lite.guideline.settings import Setting
from tta_lite.training.pruning import Pruning, magnitude_pruned
from tta_lite.types import Candidate


def memory_binds(setting: Setting, state: State) -> list[Reason]:
    """-> why zeros would not help: memory does not bind, or 8 bits are enough."""
    over = budgets.ratios(state.report, state.budget)
    broken = [key for key in budgets.broken(over) if key != "latency"]
    if not broken:
        return [reason("no_memory_limit")]
    if "zip" not in broken:
        return [reason("pruning_no_help", what=budgets.name(broken[0]))]
    takes_int8 = "int8" in setting.presets and "G3" not in setting.settings.left_out
    limit = state.budget.max_zip_kib
    assert limit is not None and state.report.zip_bytes is not None
    # 8 bits for 32; what is not weights stays as large, so that this is the least that can come of it.
    expected = state.report.zip_bytes / 1024 / 4
    if takes_int8 and expected <= limit:
        return [reason("int8_is_enough", expected=budgets.figure(expected), limit=budgets.figure(limit))]
    return []


def sparsities(setting: Setting, state: State) -> list[Trial]:
    """-> shares of zeros."""
    chosen = setting.settings
    return [
        sparsity_trial(state.candidate, sparsity, chosen.finetune_epochs, chosen.finetune_rate)
        for sparsity in chosen.sparsities
    ]


def sparsity_trial(candidate: Candidate, sparsity: float, epochs: int, rate: float) -> Trial:
    """-> a setting of G5.

    Args:
      candidate: the network before it.
      sparsity: share of zeros, above 0 and below 1.
      epochs: of training.
      rate: its learning rate as a share of the run's.
    """
    # Says what is wrong with it before anything is trained.
    Pruning(sparsity)

    def outline() -> Candidate:
        return dataclasses.replace(candidate, model=magnitude_pruned(candidate.model, sparsity))

    def make() -> Candidate:
        return dataclasses.replace(candidate, trail=(*candidate.trail, f"G5 {sparsity:.0%}"))

    label = reason("label_sparsity", share=f"{sparsity:.0%}")
    return Trial(f"sparsity{sparsity:g}", label, make, epochs, rate, sparsity, outline=outline)
