"""When weights become zero, and how many of them: TFMOT's schedules on a grid that fits the length of a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import tensorflow_model_optimization as tfmot

from tta_lite.types import InputError

# `tfmot.sparsity.keras.PruningSchedule`, which has no types: step -> (whether masks are renewed, share of zeros).
Schedule: TypeAlias = Any


def constant(sparsity: float, begin: int, end: int, frequency: int) -> Schedule:
    """-> `sparsity` from step `begin` on; until step `end` it is chosen anew which weights are zero."""
    return tfmot.sparsity.keras.ConstantSparsity(sparsity, begin, end, frequency)


def polynomial_decay(sparsity: float, begin: int, end: int, frequency: int) -> Schedule:
    """-> s (1 - (1 - (t - t0) / (t1 - t0))^3): many weights at first, when most are superfluous, and few at the end.

    Zhu and Gupta, *To prune, or not to prune*, 2017, equation 1, https://arxiv.org/abs/1710.01878.

    >>> schedule = polynomial_decay(0.8, begin=0, end=100, frequency=10)
    >>> [round(float(schedule(step)[1]), 3) for step in (0, 50, 100)]
    [0.0, 0.7, 0.8]
    """
    return tfmot.sparsity.keras.PolynomialDecay(0.0, sparsity, begin, end, frequency=frequency)


SCHEDULES: dict[str, Callable[[float, int, int, int], Schedule]] = {
    "polynomial_decay": polynomial_decay,
    "constant": constant,
}


def make_schedule(kind: str, sparsity: float, begin: float, end: float, total_steps: int) -> Schedule:
    """-> step -> (whether masks are renewed now, the share of zeros); the first step of a training is step 1.

    Args:
      kind: a key of `SCHEDULES`.
      sparsity: the final one, above 0 and below 1.
      begin: as a share of all steps.
      end: as a share of all steps; from then on no mask changes.
      total_steps: of the training.

    Raises:
      InputError: an argument is none of these.

    >>> schedule = make_schedule("constant", 0.5, 0.2, 0.7, total_steps=10)
    >>> [step for step in range(1, 11) if bool(schedule(step)[0])]
    [2, 3, 4, 5, 6, 7]
    """
    check_schedule(kind, sparsity, begin, end)
    if total_steps < 1:
        raise InputError(f"A schedule needs a training of one step or more. Received: {total_steps}")
    first, last = int(begin * total_steps), max(int(end * total_steps), int(begin * total_steps) + 1)
    # TFMOT's own frequency of 100 steps would jump over a short schedule.
    frequency = max(1, min(100, (last - first) // 10))
    # A mask is also renewed at the last step of the schedule, which must therefore lie on the grid.
    last = first + -(-(last - first) // frequency) * frequency
    if last > total_steps:
        last -= frequency
    return SCHEDULES[kind](sparsity, first, last, frequency)


def check_schedule(kind: str, sparsity: float, begin: float, end: float) -> None:
    """Raises an `InputError` for what no schedule can be made of."""
    if kind not in SCHEDULES:
        raise InputError(f"Argument `schedule` must be one of {', '.join(SCHEDULES)}. Received: {kind!r}")
    if not 0 < sparsity < 1:
        raise InputError(f"Argument `sparsity` must be between 0 and 1. Received: {sparsity}")
    if not 0 <= begin < end <= 1:
        raise InputError(f"Pruning needs 0 <= begin < end <= 1. Received: {begin} and {end}")
