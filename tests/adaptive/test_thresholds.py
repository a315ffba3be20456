"""Thresholds against trying every one of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tta_lite.adaptive import thresholds as module
from tta_lite.adaptive.sureness import SIGNALS, is_sure, signal_of
from tta_lite.adaptive.thresholds import answers, curve, ends, tune_thresholds
from tta_lite.types import InputError


def drawn(seed: int, examples: int, stages: int, classes: int = 3, levels: int | None = None):
    """-> probabilities of each stage, the later the better; labels. `levels`: so few different values, for ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    found = []
    for place in range(stages):
        scores = rng.normal(0, 1, (examples, classes)) + (place + 1) * np.eye(classes)[labels]
        if levels:
            scores = np.round(scores * levels / 4)
        powers = np.exp(scores)
        found.append(powers / powers.sum(axis=1, keepdims=True))
    return found, labels


def tried(outputs, labels, costs, target, signal):
    """-> accuracy and cost of the best thresholds, by trying all values of the data, each by the rule itself."""
    # Entropies of the same probabilities in another order differ in their last bits.
    values = [np.round(signal_of(scores, signal, logits=False), 9) for scores in outputs[:-1]]
    steps = [[None, *np.unique(one)] for one in values]
    spent, best = np.cumsum(costs), (-1.0, np.inf)
    for cut in itertools.product(*steps):
        stage = np.full(len(labels), len(outputs) - 1)
        for place in reversed(range(len(cut))):
            stage[is_sure(values[place], cut[place], signal)] = place
        cost = spent[stage].mean()
        if cost <= target + 1e-9:
            right = np.mean([np.argmax(outputs[k][n]) == labels[n] for n, k in enumerate(stage)])
            best = max(best, (100 * right, -cost), key=lambda one: (round(one[0], 6), round(one[1], 6)))
    return best[0], -best[1]


@pytest.mark.parametrize("signal", SIGNALS)
@given(st.integers(0, 10_000), st.integers(2, 3), st.sampled_from([None, 3]), st.floats(0, 1))
@example(281, 3, 3, 1.0)
@settings(max_examples=25)
def test_the_best_is_found(signal, seed, stages, levels, share):
    outputs, labels = drawn(seed, 9, stages, levels=levels)
    costs = [1.0, 2.0, 5.0][:stages]
    target = costs[0] + share * (sum(costs) - costs[0])
    found = tune_thresholds(outputs, labels, costs, target, signal=signal)
    accuracy, cost = tried(outputs, labels, costs, target, signal)
    assert found.exact
    assert (found.accuracy, found.cost) == (pytest.approx(accuracy), pytest.approx(cost))
    # And the thresholds say what was found.
    stage = ends(outputs, found.thresholds, signal=signal)
    assert 100 * np.mean(answers(outputs, stage) == labels) == pytest.approx(found.accuracy)
    assert np.cumsum(costs)[stage].mean() == pytest.approx(found.cost)
    assert np.bincount(stage, minlength=stages) / len(labels) == pytest.approx(found.shares)


def test_the_ends_of_the_curve_are_the_first_and_the_last_exit():
    outputs, labels = drawn(1, 400, 3)
    found = curve(outputs, labels, [1.0, 2.0, 5.0], targets=[1.0, 2.0, 3.0, 5.0, 8.0])
    assert found[0].cost == 1.0 and found[0].shares == (1.0, 0.0, 0.0)
    assert found[0].accuracy == pytest.approx(100 * np.mean(np.argmax(outputs[0], 1) == labels))
    # The whole network is within the last target.
    assert found[-1].accuracy >= 100 * np.mean(np.argmax(outputs[2], 1) == labels)
    assert list(found) == sorted(found, key=lambda one: one.cost)
    assert all(a.accuracy < b.accuracy for a, b in itertools.pairwise(found))


def test_a_search_that_is_too_large_says_so(monkeypatch):
    outputs, labels = drawn(2, 60, 3)
    exact = tune_thresholds(outputs, labels, [1.0, 2.0, 5.0], 4.0)
    monkeypatch.setattr(module, "MOST_COMBINATIONS", 10)
    coarse = tune_thresholds(outputs, labels, [1.0, 2.0, 5.0], 4.0)
    assert exact.exact and not coarse.exact
    assert coarse.accuracy <= exact.accuracy and coarse.cost <= 4.0


def test_another_rounding_decides_alike():
    outputs, labels = drawn(3, 200, 2)
    found = tune_thresholds(outputs, labels, [1.0, 4.0], 2.5)
    shaken = [scores * (1 + 1e-7) for scores in outputs]
    want = ends(outputs, found.thresholds, signal="max_softmax")
    assert np.array_equal(ends(shaken, found.thresholds, signal="max_softmax"), want)


def test_logits_are_made_probabilities():
    outputs, labels = drawn(4, 50, 2)
    logits = [np.log(scores) + 3 for scores in outputs]
    same = [tune_thresholds(one, labels, [1, 4], 2, logits=flag) for one, flag in ((outputs, False), (logits, True))]
    assert same[0].shares == same[1].shares
    assert same[0].thresholds == pytest.approx(same[1].thresholds)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outputs": [np.ones((4, 2))]}, "two or more stages"),
        ({"outputs": [np.ones((4, 2)), np.ones((4, 3))]}, "two or more stages"),
        ({"labels": np.zeros(3, int)}, "a class for each of the 4"),
        ({"costs": [1.0]}, "with 1 costs"),
        ({"costs": [1.0, np.nan]}, "numbers of 0 or more"),
        ({"target_cost": 0.5}, "at least that of the first stage"),
        ({"signal": "luck"}, "`signal` must be one of"),
    ],
)
def test_what_cannot_be_tuned_is_refused(change, said):
    given = {"outputs": [np.ones((4, 2))] * 2, "labels": np.zeros(4, int), "costs": [1.0, 2.0], "target_cost": 2.0}
    with pytest.raises(InputError, match=said):
        tune_thresholds(**{**given, **change})
