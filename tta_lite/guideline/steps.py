"""G1 to G5 as steps of the ladder: when each is taken at all, and which settings of it are tried."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.boards.profile import BoardProfile
from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import START, State, Step, Trial
from tta_lite.guideline.checks import no_fp16, ops_check
from tta_lite.guideline.deconvs import choose_subpixel
from tta_lite.guideline.reasons import Reason, UnusableError, all_of, reason
from tta_lite.guideline.rescues import int8_rescues
from tta_lite.models.backbones import LIGHT_BACKBONES, Normalisation, get_backbone
from tta_lite.training.precision import AUTO, choose_policy
from tta_lite.training.pruning import Pruning, magnitude_pruned
from tta_lite.transforms.backbone import swap_backbone
from tta_lite.transforms.factorize import factorize
from tta_lite.transforms.graph import trace
from tta_lite.transforms.rewrite import rewrite
from tta_lite.transforms.subpixel import chosen_deconvs
from tta_lite.types import FP16, Candidate, ExportSpec, InputError, Verdict

# What 8 bits can be counted on to divide. A large file they divide by 3.9, one of 500 KiB by 2.3, for its frame stays;
# latency by 1.9 or, in a net of a fifth of a millisecond, by nothing (docs/case_study.md, docs/guideline.md).
INT8_GAINS = {"latency": 1.0, "size": 2.2, "zip": 2.0, "memory": 1.5}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is tried, and how long what needs it is trained.

    Attributes:
      backbones: of G1.
      weights: light backbone -> what it starts from, ``"imagenet"`` or a file; random weights for one not in it.
      macs: of G2: shares of the network's MACs that are left.
      sparsities: of G5.
      calibration_images: of G3.
      epochs: of training after G1, which starts anew.
      finetune_epochs: of training after G2 and G5, which do not.
      finetune_rate: its learning rate, as a share of that of the training after G1.
      left_out: names of steps that are not taken.
      precision: in which G4 trains, one of `tta_lite.training.precision.CHOICES`.
    """

    backbones: tuple[str, ...] = LIGHT_BACKBONES
    weights: Mapping[str, str] = dataclasses.field(default_factory=dict)
    macs: tuple[float, ...] = (0.7, 0.5, 0.35)
    sparsities: tuple[float, ...] = (0.5, 0.8)
    calibration_images: int = 100
    epochs: int = 10
    finetune_epochs: int = 2
    finetune_rate: float = 0.3
    left_out: tuple[str, ...] = ()
    precision: str = AUTO

    def __post_init__(self) -> None:
        choose_policy(self.precision)
        for name in ("epochs", "finetune_epochs", "calibration_images"):
            if getattr(self, name) < 1:
                raise InputError(f"Argument `{name}` must be 1 or more. Received: {getattr(self, name)}")
        if not 0 < self.finetune_rate <= 1:
            raise InputError(f"Argument `finetune_rate` must be above 0 and at most 1. Received: {self.finetune_rate}")
        for name in ("macs", "sparsities"):
            if any(not 0 < share < 1 for share in getattr(self, name)):
                raise InputError(f"Argument `{name}` must hold shares between 0 and 1. Received: {getattr(self, name)}")
        unknown = sorted(set(self.left_out) - set(STEPS))
        if unknown:
            raise InputError(f"Argument `left_out` must name some of {', '.join(STEPS)}. Received: {unknown}")
        for name in self.backbones:
            get_backbone(name)
        stray = sorted(set(self.weights) - set(self.backbones))
        if stray:
            raise InputError(f"Argument `weights` must name some of {', '.join(self.backbones)}. Received: {stray}")


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a step needs to know beside the network.

    Attributes:
      settings: what is tried.
      board: the target.
      runtime: one of the board's; its first if None.
      trains: whether the task has training data.
      calibration: number of images -> training images, each [1, H, W, C]; empty if the task has none.
      normalised: how the task's images are normalised, if it says so.
      rules: of the timing.
    """

    settings: Settings
    board: BoardProfile
    runtime: str | None
    trains: bool
    calibration: Callable[[int], Sequence[np.ndarray]]
    normalised: Normalisation | None = None
    rules: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def presets(self) -> tuple[str, ...]:
        """The exports that the board's runtime runs."""
        return self.board.runtime(self.runtime).presets

    def runs_only(self, code: str) -> Reason:
        """-> that the runtime does not run such files."""
        runtime = self.board.runtime(self.runtime)
        return reason(code, runtime=runtime.title, board=self.board.title, presets=", ".join(self.presets))


def guideline_steps(setting: Setting) -> list[Step]:
    """-> the steps in the guideline's order (clause 6, Figure 9): G1, G2, subpixel, G5, G3, G4.

    ``subpixel`` is of G2's clause: it changes the form of a costly Deconv and nothing of what it computes.
    """
    return [
        Step(
            name,
            clause,
            functools.partial(_gate, gate, setting, name, clause),
            functools.partial(trials, setting),
            _later(setting, name),
        )
        for name, (clause, gate, trials) in STEPS.items()
    ]


def _later(setting: Setting, name: str) -> dict[str, float]:
    """-> by how much the steps after this one may divide each figure, if all goes well."""
    rest = [step for step in list(STEPS)[list(STEPS).index(name) + 1 :] if step not in setting.settings.left_out]
    found = dict.fromkeys(budgets.LIMITS, 1.0)
    if "G2" in rest and setting.settings.macs:
        found = {key: value / min(setting.settings.macs) for key, value in found.items()}
    if "G3" in rest and "int8" in setting.presets and len(setting.calibration(1)):
        for key, factor in INT8_GAINS.items():
            found[key] *= factor
    return found


def _gate(
    gate: Callable[[Setting, State], list[Reason]], setting: Setting, name: str, clause: str, state: State
) -> list[Reason]:
    if name in setting.settings.left_out:
        return [reason("left_out")]
    if name in NEEDS_TRAINING and not setting.trains:
        return [reason("no_training", clause=clause)]
    return gate(setting, state)


def _always(setting: Setting, state: State) -> list[Reason]:
    return []


def _backbones(setting: Setting, state: State) -> list[Trial]:
    check = ops_check(setting.board, runtime=setting.runtime)

    def make(name: str) -> Candidate:
        weights = setting.settings.weights.get(name)
        swap = swap_backbone(
            state.candidate.model, name, weights=weights, normalised=setting.normalised, check=check
        )  # fmt: skip
        return dataclasses.replace(state.candidate, model=swap.model, trail=(*state.candidate.trail, f"G1 {name}"))

    return [
        Trial(
            name,
            reason("label_pretrained" if name in setting.settings.weights else "label_random", name=name),
            functools.partial(make, name),
            epochs=setting.settings.epochs,
            ahead=int(name in setting.settings.weights),
        )
        for name in setting.settings.backbones
    ]


def _factors(setting: Setting, state: State) -> list[Trial]:
    batch = factor_images(setting.calibration, setting.settings.calibration_images)

    def make(share: float) -> Candidate:
        found = factorize(state.candidate.model, macs=share, images=batch)
        return dataclasses.replace(
            state.candidate, model=found.model, trail=(*state.candidate.trail, f"G2 {share:.0%} of the MACs")
        )

    return [
        Trial(
            f"macs{share:g}",
            reason("label_factors", share=f"{share:.0%}"),
            functools.partial(make, share),
            epochs=setting.settings.finetune_epochs if setting.trains else 0,
            rate=setting.settings.finetune_rate,
        )
        for share in setting.settings.macs
    ]


def factor_images(calibration: Callable[[int], Sequence[np.ndarray]], count: int) -> np.ndarray | None:
    """-> [N, H, W, C], what new kernels are fitted to; None if there is nothing to calibrate on.

    Args:
      calibration: number of images -> training images, each [1, H, W, C].
      count: of images that the quantisation takes; the fit needs fewer.
    """
    images = calibration(min(32, count))
    return np.concatenate(list(images)) if len(images) else None


def _has_deconvs(setting: Setting, state: State) -> list[Reason]:
    flat = rewrite(state.candidate.model, {}, flatten=True)
    return [] if chosen_deconvs(trace(flat), None) else [reason("no_deconv")]


def _subpixel(setting: Setting, state: State) -> list[Trial]:
    # What pays in float32 need not pay in the precision that comes after it.
    calibrated = len(setting.calibration(1)) > 0
    preset = "int8" if "int8" in setting.presets and calibrated and "G3" not in setting.settings.left_out else "fp32"

    def make() -> Candidate:
        chosen = choose_subpixel(
            state.candidate.model,
            setting.board,
            preset=preset,
            runtime=setting.runtime,
            rules=setting.rules,
            write=lambda text: None,
        )
        if not any(one.taken for one in chosen.choices):
            whys = [
                reason("deconv_missing", layer=one.layer, ops=", ".join(one.missing))
                if one.missing
                else reason("deconv_slow", layer=one.layer)
                for one in chosen.choices
            ]
            raise UnusableError(reason("fault_subpixel", deconvs=all_of(whys, "also")))
        layers = [one.layer for one in chosen.choices if one.taken]
        return dataclasses.replace(
            state.candidate, model=chosen.model, trail=(*state.candidate.trail, f"subpixel {', '.join(layers)}")
        )

    return [Trial("subpixel", reason("label_subpixel"), make)]


def _memory_binds(setting: Setting, state: State) -> list[Reason]:
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


def _sparsities(setting: Setting, state: State) -> list[Trial]:
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


def _takes_int8(setting: Setting, state: State) -> list[Reason]:
    return [] if {"int8", "dynamic"} & set(setting.presets) else [setting.runs_only("no_int8")]


def _integers(setting: Setting, state: State) -> list[Trial]:
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
    return found


def export_trial(candidate: Candidate, export: ExportSpec) -> Trial:
    """-> a setting of G3 or G4: the same network as another file."""

    def make() -> Candidate:
        return dataclasses.replace(candidate, export=export, trail=(*candidate.trail, export.preset))

    # Integers throughout are what 6.2.1 is about, and what boards are built for; weights alone are for the rest.
    return Trial(export.preset, reason(f"label_{export.preset}"), make, ahead=int(export.preset == "int8"))


def _after_integers(setting: Setting, state: State) -> list[Reason]:
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


def _half(setting: Setting, state: State) -> list[Trial]:
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


# Step -> clause, when it is left out, what is tried.
STEPS: dict[
    str, tuple[str, Callable[[Setting, State], list[Reason]], Callable[[Setting, State], list[Trial]]]
] = {
    "G1": ("6.1.1", _always, _backbones),
    "G2": ("6.1.2", _always, _factors),
    "subpixel": ("6.1.2", _has_deconvs, _subpixel),
    "G5": ("6.2.3", _memory_binds, _sparsities),
    "G3": ("6.2.1", _takes_int8, _integers),
    "G4": ("6.2.2", _after_integers, _half),
}  # fmt: skip
# The others lose little enough without it.
NEEDS_TRAINING = ("G1", "G5")
