"""Lottery tickets: iterative magnitude pruning, and what the weights that are left go on from.

- ``weights``: from what they were at step k of the dense training (Frankle and Carbin, ICLR 2019,
  https://arxiv.org/abs/1803.03635, with k = 0; Frankle, Dziugaite, Roy and Carbin, Linear Mode Connectivity and the
  Lottery Ticket Hypothesis, ICML 2020, https://arxiv.org/abs/1912.05671, with k > 0);
- ``rate``: from what they are, with the learning rates from step k on (Renda, Frankle and Carbin, Comparing Rewinding
  and Fine-tuning, ICLR 2020, https://arxiv.org/abs/2003.02389);
- ``fine_tune``: from what they are, at the last learning rate (Han et al., NeurIPS 2015).

Every round of each takes the same number of steps. A round that was finished is not run again: a search that was killed
goes on with the same call, to the same masks.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.training.lottery_criteria import CRITERIA, STARTS, begin, scores
from tta_lite.training.lottery_masks import (
    REWINDS,
    SCOPES,
    Masks,
    full_masks,
    load_arrays,
    load_masks,
    pruned,
    rounds_to,
    save_masks,
    share_left,
    shuffled,
    weights_left,
)
from tta_lite.training.masked_training import MaskedTraining, Schedule, State
from tta_lite.types import InputError

# Another draw of the network than that of the dense training.
REDRAWN = 1_000_003
# A mask with as many weights in each kernel, at random places; beside `STARTS`, which keep the ticket's mask.
RANDOM_MASK = "random_mask"

Batches = Callable[..., tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class Lottery:
    """How tickets are looked for.

    Attributes:
      schedule: of the dense training; each round takes what of it comes after `rewind_step`.
      sparsity: the final share of zeros in the kernels, between 0 and 1.
      share: of the weights that are left, what a round takes.
      rewind_step: the k above; 0: the start.
      scope: ``global`` or ``per_layer``.
    """

    schedule: Schedule
    sparsity: float = 0.95
    share: float = 0.2
    rewind_step: int = 0
    scope: str = "global"

    def __post_init__(self) -> None:
        rounds_to(self.sparsity, self.share)
        if not 0 <= self.rewind_step < self.schedule.steps:
            raise InputError(
                f"Argument `rewind_step` must be a step of the training, 0 to {self.schedule.steps - 1}. "
                f"Received: {self.rewind_step}"
            )
        if self.scope not in SCOPES:
            raise InputError(f"Argument `scope` must be one of {', '.join(SCOPES)}. Received: {self.scope!r}")

    @property
    def rounds(self) -> tuple[float, ...]:
        """The share of weights left after each round."""
        return rounds_to(self.sparsity, self.share)

    @property
    def steps_a_round(self) -> int:
        """Training steps of a round."""
        return self.schedule.steps - self.rewind_step


@dataclasses.dataclass(frozen=True)
class Round:
    """What a training under one set of masks gave.

    Attributes:
      number: 0: the dense network.
      left: share of the kernels' weights that are left, 0..1.
      weights: how many these are.
      score: what `LotterySearch` was given to score with.
      seconds: of its training.
    """

    number: int
    left: float
    weights: int
    score: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return dataclasses.asdict(self)


class LotterySearch:
    """The trainings of one seed, in one folder.

    Args:
      training: of the network; it serves any number of searches.
      lottery: the settings.
      draw: seed -> all weights of a network drawn by it.
      batches: of (seed=, start_step=), as `tta_lite.types.Task.train_data`.
      score: called after each training, with the network trained; higher is better.
      folder: gets a folder for each kind of search.
      seed: of the draw and of the order of the examples.
      tell: called with a line when a round is done.
    """

    def __init__(
        self,
        training: MaskedTraining,
        lottery: Lottery,
        draw: Callable[[int], list[np.ndarray]],
        batches: Batches,
        score: Callable[[], float],
        folder: str | Path,
        seed: int = 0,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.training, self.lottery, self.draw, self.batches = training, lottery, draw, batches
        self.score, self.folder, self.seed, self.tell = score, Path(folder), seed, tell
        self.rates = lottery.schedule.rates()

    def dense(self) -> Round:
        """-> the dense training, kept with its state at the start and at step k."""
        place = self.folder / "dense"
        done = _read_round(place, 0)
        if done is not None:
            return done
        began = time.monotonic()
        start = State(tuple(self.draw(self.seed)))
        k = self.lottery.rewind_step
        self.training.set(start)
        _save_state(place / "start.npz", start)
        if k:
            self.training.run(self.batches(seed=self.seed, start_step=0), self.rates[:k])
        _save_state(place / "rewind.npz", self.training.state())
        self.training.run(self.batches(seed=self.seed, start_step=k), self.rates[k:])
        return self._finish(place, 0, full_masks(self.training.kernels), began)

    def tickets(self, rewind: str = "weights", criterion: str = "large_final") -> Iterator[Round]:
        """Iterative pruning -> each round, when it is done.

        Args:
          rewind: one of `REWINDS`.
          criterion: one of `tta_lite.training.lottery_criteria.CRITERIA`.

        Raises:
          InputError: an unknown name, or the loss is no number any more.
        """
        if rewind not in REWINDS:
            raise InputError(f"Argument `rewind` must be one of {', '.join(REWINDS)}. Received: {rewind!r}")
        if criterion not in CRITERIA:
            raise InputError(f"The criterion must be one of {', '.join(CRITERIA)}. Received: {criterion!r}")
        self.dense()
        place = self.ticket_folder(rewind, criterion)
        before, masks = self.folder / "dense" / weights_file(0), full_masks(self.training.kernels)
        for number, left in enumerate(self.lottery.rounds, 1):
            done = _read_round(place, number)
            if done is None:
                began = time.monotonic()
                final = _load_state(before, self.training)
                start = _load_state(self.folder / "dense" / "rewind.npz", self.training)
                kernels = (self.training.split(state.weights) for state in (start, final))
                masks = pruned(masks, scores(criterion, *kernels), left, self.lottery.scope)
                self._train(start if rewind == "weights" else final, masks, rewind, number)
                done = self._finish(place, number, masks, began)
                if number > 1:
                    # All that a later round needs is the newest one.
                    before.unlink(missing_ok=True)
            else:
                masks = load_masks(place / masks_file(number), self.training.kernels)
            before = place / weights_file(number)
            yield done

    def controls(self, how: str, rewind: str = "weights", criterion: str = "large_final") -> Iterator[Round]:
        """The masks of `tickets` (or as many weights at random places), begun otherwise -> each round.

        Args:
          how: one of `lottery_criteria.STARTS`, or ``random_mask``: the weights of step k, as many in each kernel, at
            random places.
          rewind: of the tickets, whose masks are taken.
          criterion: of the tickets.
        """
        if how not in (*STARTS, RANDOM_MASK):
            raise InputError(f"A control must be one of {', '.join((*STARTS, RANDOM_MASK))}. Received: {how!r}")
        tickets = self.ticket_folder(rewind, criterion)
        place = self.folder / f"{tickets.name}-{how}"
        for number in range(1, len(self.lottery.rounds) + 1):
            done = _read_round(place, number)
            if done is None:
                began = time.monotonic()
                masks = load_masks(tickets / masks_file(number), self.training.kernels)
                start = _load_state(self.folder / "dense" / "start.npz", self.training)
                if how == RANDOM_MASK:
                    masks = shuffled(masks, (self.seed, number))
                    start = _load_state(self.folder / "dense" / "rewind.npz", self.training)
                    self._train(start, masks, "weights", number)
                else:
                    drawn = self.draw(self.seed + REDRAWN)
                    kernels = begin(
                        how, self.training.split(start.weights), masks, self.training.split(drawn), (self.seed, number)
                    )
                    # From its own start it needs the whole training.
                    whole = drawn if how == "reinit" else start.weights
                    self.training.set(State(self.training.joined(whole, kernels)), masks)
                    self.training.run(self.batches(seed=self.seed, start_step=0), self.rates)
                done = self._finish(place, number, masks, began, keep=False)
            yield done

    def ticket_folder(self, rewind: str, criterion: str) -> Path:
        """-> where the rounds of `tickets` lie."""
        return self.folder / (rewind if criterion == "large_final" else f"{rewind}-{criterion}")

    def _train(self, start: State, masks: Masks, rewind: str, number: int) -> None:
        k, steps = self.lottery.rewind_step, self.lottery.steps_a_round
        if rewind == "weights":
            # As the dense training went on from there: with every weight left it would be that training, bit by bit.
            self.training.set(start, masks)
            self.training.run(self.batches(seed=self.seed, start_step=k), self.rates[k:])
            return
        self.training.set(State(start.weights), masks)
        rates = self.rates[k:] if rewind == "rate" else np.full(steps, self.rates[-1])
        # It goes on where the examples of the round before ended.
        first = self.lottery.schedule.steps + (number - 1) * steps
        self.training.run(self.batches(seed=self.seed, start_step=first), rates)

    def _finish(self, place: Path, number: int, masks: Masks, began: float, *, keep: bool = True) -> Round:
        seconds = round(time.monotonic() - began, 3)
        done = Round(number, share_left(masks), weights_left(masks), self.score(), seconds)
        if keep:
            save_masks(place / masks_file(number), masks)
            _save_state(place / weights_file(number), State(self.training.state().weights))
        # Last: what it stands for is there.
        atomic_write(place / _round_file(number), to_json_text(done.to_json(), indent=2) + "\n")
        self.tell(f"seed {self.seed}, {place.name}: {100 * done.left:.1f} % left, {done.score:.2f}")
        return done


def masks_file(number: int) -> str:
    """-> the name of a round's masks.

    >>> masks_file(3)
    'round-03-masks.npz'
    """
    return f"round-{number:02d}-masks.npz"


def weights_file(number: int) -> str:
    """-> the name of a round's trained weights."""
    return f"round-{number:02d}-weights.npz"


def _round_file(number: int) -> str:
    return f"round-{number:02d}.json"


def _read_round(place: Path, number: int) -> Round | None:
    file = place / _round_file(number)
    if not file.is_file():
        return None
    try:
        return Round(**json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{file} must hold a round as a search wrote it. Received: {error}") from error


def _save_state(path: Path, state: State) -> None:
    arrays = {f"weight-{place:04d}": one for place, one in enumerate(state.weights)}
    arrays |= {f"moment-{place:04d}": one for place, one in enumerate(state.moments)}
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def _load_state(path: Path, training: MaskedTraining) -> State:
    arrays = load_arrays(path)
    weights, moments = (
        tuple(arrays[name] for name in sorted(arrays) if name.startswith(kind)) for kind in ("weight-", "moment-")
    )
    wanted = [tuple(one.shape) for one in training.model.weights]
    if [one.shape for one in weights] != wanted:
        raise InputError(
            f"{path} holds the weights of another network. Expected: {len(wanted)} arrays, as "
            f"{training.model.name!r} has them. Received: {len(weights)} arrays of other shapes"
        )
    return State(weights, moments)
