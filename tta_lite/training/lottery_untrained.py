"""What a network is worth under a mask before it ever learnt: the supermasks of one search.

Zhou, Lan, Liu and Yosinski, Deconstructing Lottery Tickets, NeurIPS 2019, https://arxiv.org/abs/1905.01067, section 5.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tta_lite.files import atomic_write, to_json_text
from tta_lite.training.lottery import LotterySearch, weights_file
from tta_lite.training.lottery_criteria import begin
from tta_lite.training.lottery_masks import load_arrays, share_left
from tta_lite.training.masked_training import State
from tta_lite.training.supermask import SupermaskTraining, simple_supermask
from tta_lite.types import InputError

# Of Adam on the logits of a mask.
SUPERMASK_RATE = 0.05
NO_MASK = "no mask"
# Name -> what the weights stay by, and what they are then (`lottery_criteria.STARTS`).
SIMPLE = {
    "large final": ("large_final", "rewind"),
    "large final, same sign": ("large_final_same_sign", "rewind"),
    "large final, same sign, +-constant": ("large_final_same_sign", "constant_signs"),
}
# Name -> whether what is left is made larger by what is gone.
LEARNED = {"learned": False, "learned, rescaled": True}


@dataclasses.dataclass(frozen=True)
class Untrained:
    """A network that was masked and not trained.

    Attributes:
      name: how its mask came about: `NO_MASK`, or one of `SIMPLE` or `LEARNED`.
      left: share of weights left, 0..1.
      score: of the search's.
    """

    name: str
    left: float
    score: float


def untrained(search: LotterySearch, learners: Mapping[str, SupermaskTraining]) -> list[Untrained]:
    """-> what supermasks reach on the search's draw; kept in the folder.

    The simple ones have every share of the search's rounds, by the dense training; the learned ones have what they
    come to.

    Args:
      search: its dense training must be done.
      learners: name -> of the search's network; may be empty.

    Raises:
      InputError: a file of the folder is damaged.
    """
    file = search.folder / "supermasks.json"
    kept = _read(file) if file.is_file() else []
    if kept and {*learners} <= {one.name for one in kept}:
        return kept
    training = search.training
    weights = tuple(search.draw(search.seed))
    start = training.split(weights)
    arrays = load_arrays(search.folder / "dense" / weights_file(0))
    final = training.split([arrays[name] for name in sorted(arrays) if name.startswith("weight-")])
    training.set(State(weights))
    found = [Untrained(NO_MASK, 1.0, search.score())]
    for name, (criterion, how) in SIMPLE.items():
        for left in search.lottery.rounds:
            masks = simple_supermask(start, final, left, criterion=criterion, scope=search.lottery.scope)
            kernels = begin(how, start, masks, start, search.seed)
            training.set(State(training.joined(weights, kernels)), masks)
            found.append(Untrained(name, share_left(masks), search.score()))
    rates = np.full(search.lottery.schedule.steps, SUPERMASK_RATE, np.float32)
    for name, learner in learners.items():
        learner.begin(weights)
        masks = learner.run(search.batches(seed=search.seed, start_step=0), rates, search.seed)
        found.append(Untrained(name, share_left(masks), search.score()))
    atomic_write(file, to_json_text([dataclasses.asdict(one) for one in found], indent=2) + "\n")
    search.tell(f"seed {search.seed}: masks without training, the best {max(one.score for one in found):.2f}")
    return found


def _read(file: Path) -> list[Untrained]:
    try:
        return [Untrained(**one) for one in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} must hold scores as a search wrote them. Received: {error}") from error
