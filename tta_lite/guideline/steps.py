"""The ladder's steps in the guideline's order (clause 6, Figure 9), and what the later ones may still bring."""

from __future__ import annotations

import functools
from collections.abc import Callable

from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import State, Step, Trial
from tta_lite.guideline.channel_step import channel_trials, latency_binds
from tta_lite.guideline.export_steps import ZIP_GAIN, after_integers, half, integers, takes_int8
from tta_lite.guideline.pruning_step import memory_binds, sparsities
from tta_lite.guideline.reasons import Reason, reason
from tta_lite.guideline.settings import CLAUSES, Setting
from tta_lite.guideline.structure_steps import backbones, factors, has_deconvs, subpixel

# What 8 bits can be counted on to divide. A large file they divide by 3.9, one of 500 KiB by 2.3, for its frame stays;
# latency by 1.9 or, in a net of a fifth of a millisecond, by nothing (docs/case_study.md, docs/guideline.md).
INT8_GAINS = {"latency": 1.0, "size": 2.2, "zip": ZIP_GAIN, "memory": 1.5}


def guideline_steps(setting: Setting) -> list[Step]:
    """-> the steps in the guideline's order (clause 6, Figure 9): G1, G2, subpixel, channels, G5, G3, G4."""
    return [
        Step(
            name,
            CLAUSES[name],
            functools.partial(_gate, gate, setting, name),
            functools.partial(trials, setting),
            _later(setting, name),
        )
        for name, (gate, trials) in STEPS.items()
    ]


def _later(setting: Setting, name: str) -> dict[str, float]:
    """-> by how much the steps after this one may divide each figure, if all goes well."""
    rest = [step for step in list(STEPS)[list(STEPS).index(name) + 1 :] if step not in setting.settings.left_out]
    found = dict.fromkeys(budgets.LIMITS, 1.0)
    if "G2" in rest and setting.settings.macs:
        found = {key: value / min(setting.settings.macs) for key, value in found.items()}
    if "channels" in rest and setting.settings.channels and setting.trains:
        # Not one times the other: what G2 has taken out cannot be taken out again.
        found["latency"] = max(found["latency"], 1 / min(setting.settings.channels))
    if "G3" in rest and "int8" in setting.presets and len(setting.calibration(1)):
        for key, factor in INT8_GAINS.items():
            found[key] *= factor
    return found


def _gate(gate: Callable[[Setting, State], list[Reason]], setting: Setting, name: str, state: State) -> list[Reason]:
    if name in setting.settings.left_out:
        return [reason("left_out")]
    if name in NEEDS_TRAINING and not setting.trains:
        return [reason("no_training", clause=CLAUSES[name])]
    return gate(setting, state)


def _always(setting: Setting, state: State) -> list[Reason]:
    return []


# Step -> when it is left out, what is tried.
STEPS: dict[str, tuple[Callable[[Setting, State], list[Reason]], Callable[[Setting, State], list[Trial]]]] = {
    "G1": (_always, backbones),
    "G2": (_always, factors),
    "subpixel": (has_deconvs, subpixel),
    "channels": (latency_binds, channel_trials),
    "G5": (memory_binds, sparsities),
    "G3": (takes_int8, integers),
    "G4": (after_integers, half),
}
assert tuple(STEPS) == tuple(CLAUSES)
# The others lose little enough without it.
NEEDS_TRAINING = ("G1", "channels", "G5")
