from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, given, settings

from tta_lite.search.rank import rank_correlation
from tta_lite.types import InputError

# Few different numbers: ties must occur.
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=12)
ITS = {"spearman": scipy.stats.spearmanr, "kendall": scipy.stats.kendalltau}


@settings(max_examples=40)
@given(PAIRS, st.sampled_from(list(ITS)))
def test_the_same_as_scipy_with_ties(pairs, kind):
    scores, accuracies = (list(row) for row in zip(*pairs, strict=True))
    assume(len(set(scores)) > 1 and len(set(accuracies)) > 1)
    found = rank_correlation(scores, accuracies, kind, resamples=10)
    assert found.value == pytest.approx(ITS[kind](scores, accuracies).statistic)
    assert found.points == len(pairs)


@pytest.mark.parametrize("kind", ITS)
def test_what_agrees_is_better_than_chance_and_noise_is_not(kind):
    rng = np.random.default_rng(0)
    accuracy = rng.normal(size=30)
    same = rank_correlation(accuracy + 0.1 * rng.normal(size=30), accuracy, kind)
    noise = rank_correlation(rng.normal(size=30), accuracy, kind)
    assert (same.verdict, noise.verdict) == ("better than chance", "no better than chance")
    assert rank_correlation(-accuracy, accuracy, kind).verdict == "reversed"
    assert same.low <= same.value <= same.high
    assert rank_correlation(range(9), range(9), kind).verdict == "too few points to tell"


def test_the_interval_covers_what_it_should():
    # Normal pairs with correlation r have Spearman's rho 6 / pi asin(r / 2). 95 % intervals of 60 points: of 60 sets
    # some 57 hold it; 50 is four deviations below.
    truth, held = 6 / np.pi * np.arcsin(0.5 / 2), 0
    for seed in range(60):
        x, noise = np.random.default_rng(seed).normal(size=(2, 60))
        found = rank_correlation(x, 0.5 * x + np.sqrt(0.75) * noise, resamples=200, seed=seed)
        held += found.low <= truth <= found.high
    assert held >= 50


def test_an_infinite_score_is_the_last():
    assert rank_correlation([-np.inf, 1, 2], [5, 6, 7]).value == 1.0
    assert rank_correlation([-np.inf, 1, 2], [5, 6, 7], "kendall").value == 1.0


@pytest.mark.parametrize(
    ("scores", "accuracies", "options"),
    [
        ([1, 2], [1, 2], {}),
        ([1, 2, 3], [1, 2], {}),
        ([1, 1, 1], [1, 2, 3], {}),
        ([1, 2, np.nan], [1, 2, 3], {}),
        ([1, 2, 3], [1, 2, 3], {"kind": "pearson"}),
        ([1, 2, 3], [1, 2, 3], {"confidence": 1.0}),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, accuracies, options):
    with pytest.raises(InputError, match="Received"):
        rank_correlation(scores, accuracies, **options)
