"""G3 and G4 as steps of the ladder: the same network in other numbers."""

from __future__ import annotations

import dataclasses

from tta_lite.guideline.bench import START, State, Trial
from tta_lite.guideline.checks import no_fp16
from tta_lite.guideline.reasons import Reason, reason
from tta_lite.guideline.rescues import int8_rescues
from tta_lite.guideline.settings import Setting
from tta_lite.training.precision import AUTO, choose_policy
from tta_lite.types import FP16, Candidate, ExportSpec, Verdict

# Kernels of 31 values a channel: no accuracy lost and the zip 1.4 times as small (docs/pruning.md); with 15 it is lost
# here and there.
FEW_BITS = 5
# What 8 bits can be counted on to divide a compressed file by, see INT8_GAINS of `tta_lite.guideline.steps`.
ZIP_GAIN = 2.0


def takes_int8(setting: Setting, state: State) -> list[Reason]:
    """-> why there are no 8-bit files here."""
    return [] if {"int8", "dynamic"} & set(setting.presets) else [setting.runs_only("no_int8")]


def integers(setting: Setting, state: State) -> list[Trial]:
    """-> full integers and, beside them, 8-bit weights (G3)."""
    wanted = ["int8"] if len(setting.calibration(1)) else []
    wanted.append("dynamic")
    found = []
    for preset in wanted:
        if preset in setting.presets:
            export = ExportSpec(preset, setting.settings.calibration_images)
            trial = export_trial(state.candidate, export)
            if preset == "int8":
                chosen = setting.settings
                epochs = chosen.finetune_epochs if setting.trains else 0
                rescues = int8_rescues(
                    state.candidate, export, setting.calibration, epochs=epochs, rate=chosen.finetune_rate
                )
                trial = dataclasses.replace(trial, rescues=rescues)
            found.append(trial)
            if preset == "int8" and _zip_binds(state):
                few_bits = dataclasses.replace(export, weight_bits=FEW_BITS, repairs=("bias_correction",))
                found.append(export_trial(state.candidate, few_bits))
    return found


def _zip_binds(state: State) -> bool:
    """Whether 8 bits alone may not make the compressed file small enough."""
    limit, now = state.budget.max_zip_kib, state.report.zip_bytes
    return limit is not None and now is not None and now / 1024 / ZIP_GAIN > limit


def export_trial(candidate: Candidate, export: ExportSpec) -> Trial:
    """-> a setting of G3 or G4: the same network as another file."""

    def make() -> Candidate:
        return dataclasses.replace(candidate, export=export, trail=(*candidate.trail, export.preset))

    # Integers throughout are what 6.2.1 is about, and what boards are built for; weights alone are for the rest.
    label = reason(f"label_{export.preset}")
    if export.weight_bits < 8:
        label = reason("label_weight_bits", label=label, bits=export.weight_bits)
    name = export.preset if export.weight_bits == 8 else f"{export.preset}-{export.weight_bits}bits"
    return Trial(name, label, make, ahead=int(export.preset == "int8"))


def after_integers(setting: Setting, state: State) -> list[Reason]:
    """-> why half precision is not asked for, or not faster here."""
    why = []
    third = state.entries.get("G3")
    if third is not None and third.verdict is Verdict.TAKEN:
        change = (third.report.accuracy or 0.0) - (state.entries[START].report.accuracy or 0.0)
        why.append(reason("g3_was_fine", change=f"{change:+.1f}", drop=f"{state.budget.max_accuracy_drop:g}"))
    if FP16.preset not in setting.presets:
        why.append(setting.runs_only("no_fp16_files"))
    elif (slow := no_fp16(setting.board, setting.runtime)) and (
        why or not [key for key in state.broken() if key != "latency"]
    ):
        # Where the size is what is missing, weights of 16 bits are half as large all the same.
        why.append(slow)
    return why


def half(setting: Setting, state: State) -> list[Trial]:
    """-> 16-bit weights of the network as it is, and after training in 16 bits (G4)."""
    chosen = setting.settings
    trial = mixed_trial(state.candidate, chosen.finetune_epochs, chosen.finetune_rate, chosen.precision)
    return [export_trial(state.candidate, FP16), *([trial] if setting.trains else [])]


def mixed_trial(candidate: Candidate, epochs: int, rate: float, precision: str = AUTO) -> Trial:
    """-> a setting of G4: trained in a 16-bit format, then exported with 16-bit weights.

    Args:
      candidate: the network before it.
      epochs: of training.
      rate: its learning rate as a share of the run's.
      precision: one of `tta_lite.training.precision.CHOICES`; ``auto``: the format of this machine.
    """
    precision, _ = choose_policy(precision)

    def make() -> Candidate:
        return dataclasses.replace(candidate, export=FP16, trail=(*candidate.trail, f"G4 {precision}"))

    return Trial("mixed", reason("label_mixed", precision=precision), make, epochs, rate, precision=precision)
