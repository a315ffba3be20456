"""A whole search: trials until all are settled, then the best ones trained in full."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tta_lite.search.engine import Plan, Search
from tta_lite.search.finalists import finalists
from tta_lite.search.space import Point
from tta_lite.search.trainer import Trainer
from tta_lite.search.trial import Interrupted, Trial, key_of
from tta_lite.types import InputError, Report


class Folder(Protocol):
    """What a run folder must do, such as `tta_lite.report.run_folder.RunFolder`."""

    def step_dir(self, index: int, name: str) -> Path:
        """-> ``steps/<NN-name>/``, created."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search has found so far.

    Attributes:
      trials: those that have their points.
      finalists: (trial, the report of its file after the full training, or why there is none).
      done: whether every point is settled and every finalist trained.
    """

    trials: tuple[Trial, ...]
    finalists: tuple[tuple[Trial, Report | str], ...] = ()
    done: bool = False


@dataclasses.dataclass(frozen=True)
class Finals:
    """The full trainings.

    Attributes:
      count: how many trials get one; 0: none.
      epochs: of each.
    """

    count: int = 3
    epochs: int = 140

    def __post_init__(self) -> None:
        if self.count < 0 or self.epochs < 1:
            raise InputError(
                f"There are 0 finalists or more, of 1 epoch or more. Received: {self.count} of {self.epochs}"
            )


def run_search(
    plan: Plan,
    trainer: Trainer,
    storage: str,
    study: str,
    folder: Folder,
    *,
    finals: Finals | None = None,
    seconds: float = math.inf,
    tell: Callable[[str], Any] = print,
    changed: Callable[[Found], Any] = lambda found: None,
) -> Found:
    """Takes part in a search until all its points are settled; then trains the best ones in full.

    The same call goes on where a killed one stopped, with the trial that it was in.

    Args:
      plan: of the search.
      trainer: evaluates its points; its `deadline` should be that of `seconds`.
      storage: see `tta_lite.search.storages.open_storage`.
      study: the search's name there.
      folder: gets ``steps/<NN-name>/`` of the finalists.
      finals: the full trainings; None: another worker makes them.
      seconds: after which it stops, to go on with the next call.
      tell: gets lines for people.
      changed: is called when there is something new to show.

    Raises:
      InputError: see `Search`.
    """
    began = time.monotonic()
    search = Search(
        plan, trainer, storage, study, tell=tell, changed=lambda trials: changed(Found(trials))
    )  # fmt: skip
    settled = search.work(seconds=seconds)
    trials = search.trials()
    found = Found(trials, done=settled and finals is None)
    if settled and finals is not None:
        found = _finals(plan, trainer, trials, folder, finals, began + seconds, tell, changed)
    changed(found)
    return found


def _finals(
    plan: Plan,
    trainer: Trainer,
    trials: Sequence[Trial],
    folder: Folder,
    finals: Finals,
    deadline: float,
    tell: Callable[[str], Any],
    changed: Callable[[Found], Any],
) -> Found:
    chosen = finalists(one_a_training(trials, trainer.subject.trained), plan.goal, finals.count)
    done: list[tuple[Trial, Report | str]] = []
    for place, trial in enumerate(chosen):
        if time.monotonic() >= deadline:
            break
        tell(f"finalist {place + 1} of {len(chosen)}: trial {trial.number}, {finals.epochs} epochs")
        try:
            done.append((trial, trainer.finish(trial, finals.epochs, folder.step_dir(place, f"trial-{trial.number}"))))
        except InputError as error:
            done.append((trial, " ".join(str(error).split())))
            tell(f"finalist {place + 1} failed: {error}")
        except Interrupted as stopped:
            tell(f"finalist {place + 1} can go on later: {stopped}")
            break
        changed(Found(tuple(trials), tuple(done)))
    return Found(tuple(trials), tuple(done), len(done) == len(chosen))


def one_a_training(trials: Sequence[Trial], trained: Callable[[Point], Point]) -> tuple[Trial, ...]:
    """-> of measured trials whose networks are trained alike, the fastest: the others cannot be worth more.

    Args:
      trials: of a search.
      trained: see `tta_lite.search.trainer.Subject`.
    """
    found: dict[str, Trial] = {}
    for trial in sorted(
        (one for one in trials if one.measured is not None), key=lambda one: (one.latency_ms or 0.0, one.number)
    ):  # fmt: skip
        found.setdefault(key_of(trained(trial.point)), trial)
    return tuple(sorted(found.values(), key=lambda one: one.number))
