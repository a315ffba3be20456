"""Channel removal as a step of the ladder: the structural answer where latency binds (6.2.3)."""

from __future__ import annotations

import dataclasses
import functools

from tta_lite.boards.features import channel_multiple
from tta_lite.guideline import budget as budgets
from tta_lite.guideline.bench import State, Trial
from tta_lite.guideline.reasons import Reason, reason
from tta_lite.guideline.settings import Setting
from tta_lite.guideline.structure_steps import factor_images
from tta_lite.transforms.channels.criteria import get_criterion
from tta_lite.transforms.shrink import shrink
from tta_lite.types import Candidate

# Batches that a criterion looks at which asks for the loss.
BATCHES = 8


def latency_binds(setting: Setting, state: State) -> list[Reason]:
    """-> why nothing would have to run faster: what zeros do for memory, smaller layers do for the latency."""
    broken = budgets.broken(budgets.ratios(state.report, state.budget))
    return [] if "latency" in broken else [reason("no_latency_limit")]


def channel_trials(setting: Setting, state: State) -> list[Trial]:
    """-> the network with fewer channels, down to shares of its MACs."""
    chosen = setting.settings

    def make(share: float) -> Candidate:
        return with_fewer_channels(setting, state.candidate, share)

    return [
        Trial(
            f"channels{share:g}",
            reason("label_channels", share=f"{share:.0%}"),
            functools.partial(make, share),
            epochs=chosen.finetune_epochs,
            rate=chosen.finetune_rate,
            teaching=chosen.teaching,
        )
        for share in chosen.channels
    ]


def with_fewer_channels(setting: Setting, candidate: Candidate, share: float) -> Candidate:
    """-> the network without the channels that its criterion holds for the least, not trained.

    Args:
      setting: criterion, pictures and board.
      candidate: the network before it.
      share: of its MACs that is left.

    Raises:
      InputError: so many channels cannot leave.
    """
    criterion = setting.settings.criterion
    asks_loss = get_criterion(criterion).needs == "batches"
    found = shrink(
        candidate.model,
        criterion,
        macs=share,
        round_to=channel_multiple(feature for cores in setting.board.cores for feature in cores.features),
        images=factor_images(setting.calibration, setting.settings.calibration_images),
        batches=setting.batches(BATCHES) if asks_loss else None,
        loss=setting.loss() if asks_loss else None,
        seed=setting.seed,
    )
    trail = (*candidate.trail, f"channels {share:.0%} of the MACs")
    return dataclasses.replace(candidate, model=found.model, trail=trail)
