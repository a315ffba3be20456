"""G1, G2 and subpixel as steps of the ladder: when each is left out, and which settings of it are tried."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from tta_lite.guideline.bench import State, Trial
from tta_lite.guideline.checks import ops_check
from tta_lite.guideline.deconvs import choose_subpixel
from tta_lite.guideline.reasons import Reason, UnusableError, all_of, reason
from tta_lite.guideline.settings import Setting
from tta_lite.transforms.backbone import swap_backbone
from tta_lite.transforms.factorize import factorize
from tta_lite.transforms.graph import trace
from tta_lite.transforms.rewrite import rewrite
from tta_lite.transforms.subpixel import chosen_deconvs
from tta_lite.types import Candidate


def backbones(setting: Setting, state: State) -> list[Trial]:
    """-> light backbones in front of the network's own head (G1)."""
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
            teaching=setting.settings.teaching,
            ahead=int(name in setting.settings.weights),
        )
        for name in setting.settings.backbones
    ]


def factors(setting: Setting, state: State) -> list[Trial]:
    """-> bottlenecks down to shares of the MACs (G2)."""
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
            teaching=setting.settings.teaching if setting.trains else None,
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


def has_deconvs(setting: Setting, state: State) -> list[Reason]:
    """-> why no Deconv can change its form."""
    flat = rewrite(state.candidate.model, {}, flatten=True)
    return [] if chosen_deconvs(trace(flat), None) else [reason("no_deconv")]


def subpixel(setting: Setting, state: State) -> list[Trial]:
    """-> the Deconvs that are faster as convolutions and DEPTH_TO_SPACE."""
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
