"""Which trials are given up: as Optuna's pruners with one objective, among the equally fast with two."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tta_lite.search.goal import Goal
from tta_lite.search.hopeless import FEWEST, REDUCTION, below_median, below_rung, hopeless
from tta_lite.search.trial import State, Trial
from tta_lite.types import InputError

optuna = pytest.importorskip("optuna")
CURVES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=5).map(lambda ys: dict(enumerate(ys, start=1)))


def optuna_study(others):
    study = optuna.create_study(direction="maximize")
    for curve in others:
        study.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.COMPLETE, value=curve[max(curve)], intermediate_values=curve
            )
        )
    return study


@settings(max_examples=60, deadline=None)
@given(CURVES, st.lists(CURVES, max_size=8))
def test_the_median_is_optunas(own, others):
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FEWEST, n_warmup_steps=0)
    study = optuna_study(others)
    trial = study.ask()
    for step, value in own.items():
        trial.report(value, step)
    frozen = study.trials[-1]
    assert below_median(own, others) == pruner.prune(study, frozen)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6).map(float), min_size=9, max_size=9), min_size=1, max_size=7))
def test_successive_halving_is_optunas(curves):
    # Trials one after another, each until it is given up; Optuna's notes its rungs in the study.
    study = optuna.create_study(direction="maximize")
    pruner = optuna.pruners.SuccessiveHalvingPruner(1, REDUCTION, 0)
    seen: list[dict[int, float]] = []
    for values in curves:
        trial = study.ask()
        curve: dict[int, float] = {}
        for step, value in enumerate(values, start=1):
            trial.report(value, step)
            curve[step] = value
            theirs = pruner.prune(study, study.trials[-1])
            assert below_rung(curve, seen) == theirs
            if theirs:
                break
        # What came to a rung counts from then on, given up or not.
        seen.append({step: value for step, value in curve.items() if step in (1, 3, 9)})
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def trial(number, latency_ms, steps, state=State.DONE):
    return Trial(number, {"n": number}, state, latency=(latency_ms, "made up"), steps=steps)


def test_a_slower_trial_says_nothing_against_a_faster_one():
    slow = [trial(number, 20.0, {1: 90.0}) for number in range(6)]
    fast = trial(9, 5.0, {1: 10.0}, State.RUNNING)
    assert hopeless(fast, slow, Goal("front"), "median") == ""
    as_fast = [trial(10 + number, 5.0, {1: 50.0}) for number in range(6)]
    said = "step 1: 10 is below the median of those that are as fast"
    assert hopeless(fast, slow + as_fast, Goal("front"), "median") == said
    assert "1/3 of those that are as fast" in hopeless(fast, as_fast, Goal("front"), "halving")
    assert hopeless(fast, as_fast, Goal("front"), "none") == ""


def test_a_reward_weighs_the_latency():
    # 60 at half the speed is worth 30 by the hard reward.
    others = [trial(number, 20.0, {1: 60.0}) for number in range(6)]
    assert hopeless(trial(9, 10.0, {1: 40.0}, State.RUNNING), others, Goal("hard", 10.0), "median") == ""
    assert hopeless(trial(9, 10.0, {1: 20.0}, State.RUNNING), others, Goal("hard", 10.0), "median")


def test_without_a_latency_or_a_step_nothing_is_said():
    others = [trial(number, 20.0, {1: 60.0}) for number in range(6)]
    unknown = Trial(9, {}, State.RUNNING, steps={1: 0.0})
    assert hopeless(unknown, others, Goal("front"), "median") == ""
    assert hopeless(trial(9, 20.0, {}, State.RUNNING), others, Goal("front"), "median") == ""


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match=r"one of median, halving, none\. Received: 'luck'"):
        hopeless(trial(0, 1.0, {1: 1.0}), [], Goal("front"), "luck")
