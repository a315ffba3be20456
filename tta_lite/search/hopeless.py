"""Is a trial worth going on with? Compared with others at the same step.

Optuna's pruners know studies of one objective only. These rules are the same for one (as tests hold against Optuna's)
and go further: with two objectives a trial is compared with those of equal or lower latency only, since a slower one
that is more accurate says nothing against it. Imports no TensorFlow and no Optuna.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from tta_lite.search.goal import Goal
from tta_lite.search.trial import State, Trial
from tta_lite.types import InputError

RULES = ("median", "halving", "none")
# The median of fewer says little.
FEWEST = 5
# Successive halving keeps the best third at steps 1, 3, 9 ... (Li et al., 2018, use 4; trainings here are short.)
REDUCTION = 3

Curve = Mapping[int, float]


def below_median(own: Curve, others: Sequence[Curve], *, fewest: int = FEWEST, warmup_steps: int = 0) -> bool:
    """-> whether the best so far is below the median of finished trials at this step.

    Golovin et al., *Google Vizier*, KDD 2017, section 3.2; Optuna's ``MedianPruner``.

    Args:
      own: step -> value, larger is better; the last step is judged.
      others: of finished trials.
      fewest: with fewer of them nothing is said.
      warmup_steps: before this step nothing is said.

    Example:
      >>> below_median({1: 3.0}, [{1: 2.0}, {1: 4.0}, {1: 5.0}], fewest=3)
      True
    """
    step = max(own)
    if len(others) < fewest or step < warmup_steps:
        return False
    there = [curve[step] for curve in others if step in curve]
    return bool(there) and max(own.values()) < statistics.median(there)


def below_rung(own: Curve, others: Sequence[Curve], *, reduction: int = REDUCTION, first: int = 1) -> bool:
    """-> whether the value is not among the best 1/`reduction` of those that came to this rung.

    Li et al., *A System for Massively Parallel Hyperparameter Tuning*, MLSys 2020 (ASHA),
    https://arxiv.org/abs/1810.05934; Optuna's ``SuccessiveHalvingPruner``.

    Args:
      own: step -> value, larger is better; the last step is judged, if a rung lies on it.
      others: of trials in any state.
      reduction: the share that goes on is one over it.
      first: the step of the first rung; each next one is `reduction` times as far.

    Example:
      >>> below_rung({3: 5.0}, [{3: 7.0}, {3: 4.0}, {3: 1.0}]), below_rung({2: 5.0}, [{2: 7.0}])
      (True, False)
    """
    step = max(own)
    rung = first
    while rung < step:
        rung *= reduction
    if rung != step:
        return False
    values = sorted([own[step], *(curve[step] for curve in others if step in curve)], reverse=True)
    return own[step] < values[max(len(values) // reduction, 1) - 1]


def hopeless(own: Trial, trials: Sequence[Trial], goal: Goal, rule: str) -> str:
    """-> why a trial should be given up at its last step; empty: it should not.

    Args:
      own: its latency is known and it has one step or more; otherwise nothing is said.
      trials: those that have their points, see `tta_lite.search.claims.standing`; `own` may be among them.
      goal: of the search.
      rule: one of `RULES`.

    Raises:
      InputError: another rule.
    """
    if rule not in RULES:
        raise InputError(f"A rule for hopeless trials is one of {', '.join(RULES)}. Received: {rule!r}")
    if rule == "none" or own.latency_ms is None or not own.steps:
        return ""
    peers = [
        (trial, _curve(trial, goal))
        for trial in trials
        if trial.number != own.number
        and trial.latency_ms is not None
        and (goal.kind != "front" or trial.latency_ms <= own.latency_ms)
    ]
    mine, step = _curve(own, goal), max(own.steps)
    of = " of those that are as fast" if goal.kind == "front" else ""
    if rule == "median" and below_median(mine, [curve for trial, curve in peers if trial.state is State.DONE]):
        return f"step {step}: {max(mine.values()):.4g} is below the median{of}"
    if rule == "halving" and below_rung(mine, [curve for _, curve in peers]):
        return f"step {step}: {mine[step]:.4g} is not among the best 1/{REDUCTION}{of}"
    return ""


def _curve(trial: Trial, goal: Goal) -> dict[int, float]:
    """-> step -> the first objective, from the accuracy there."""
    assert trial.latency_ms is not None
    return {step: goal.values(accuracy, trial.latency_ms)[0] for step, accuracy in trial.steps.items()}
