"""Thresholds of early exits and cascades: the best answers for a mean cost, found on a validation set. NumPy alone.

An example goes from stage to stage until one is sure. With thresholds in between, a set of examples has an accuracy and
a mean cost; `tune_thresholds` finds those with the best accuracy that a cost allows, among the values that the examples
themselves have. Thresholds between two such values are the same choice, and the one halfway is taken, so that a
runtime which rounds otherwise decides alike.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from tta_lite.adaptive.sureness import ENTROPY, MAX_SOFTMAX, is_sure, signal_of
from tta_lite.types import InputError

# A search of several exits tries so many combinations of all thresholds but the last, which costs no more than sorting.
# Beyond it, evenly spaced ranks of the values stand for all of them.
MOST_COMBINATIONS = 20_000
# Values of a signal that lie closer are the same one.
SAME = 1e-9
COSTS = 20


@dataclasses.dataclass(frozen=True)
class Tuned:
    """Thresholds, and what they give on the examples that they were tuned on.

    Attributes:
      thresholds: after each stage but the last; None: no answer is ever taken there.
      cost: mean over the examples, in the unit of the stages' costs.
      accuracy: 0..100.
      shares: share of the examples that each stage answers.
      exact: whether all choices were looked at.
    """

    thresholds: tuple[float | None, ...]
    cost: float
    accuracy: float
    shares: tuple[float, ...]
    exact: bool = True


def tune_thresholds(
    outputs: Sequence[np.ndarray],
    labels: np.ndarray,
    costs: Sequence[float],
    target_cost: float,
    *,
    signal: str = MAX_SOFTMAX,
    logits: bool = False,
) -> Tuned:
    """-> the thresholds with the best accuracy whose mean cost is at most the target; of equals, the cheapest.

    All choices are looked at, unless three or more thresholds (two, of many examples) have more than
    `MOST_COMBINATIONS`: `Tuned.exact` says it.

    Args:
      outputs: scores of each stage for the same examples, each [N, classes].
      labels: [N] int, the right class.
      costs: what each stage costs beside those before it, in any unit.
      target_cost: mean cost of an example, at least that of the first stage.
      signal: of `tta_lite.adaptive.sureness.SIGNALS`.
      logits: whether scores are not yet probabilities.

    Raises:
      InputError: shapes that do not fit each other, or a target below the cost of the first stage.

    Example: the first stage is right where it is sure, so that a quarter of the work is enough.

      >>> light = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.6, 0.4]])
      >>> heavy = np.array([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
      >>> tune_thresholds([light, heavy], np.array([0, 0, 1, 1]), [1.0, 4.0], 2.0)
      Tuned(thresholds=(0.7...,), cost=2.0, accuracy=100.0, shares=(0.75, 0.25), exact=True)
    """
    return _tuned(outputs, labels, costs, [float(target_cost)], signal, logits)[0]


def curve(
    outputs: Sequence[np.ndarray],
    labels: np.ndarray,
    costs: Sequence[float],
    *,
    targets: Sequence[float] | None = None,
    signal: str = MAX_SOFTMAX,
    logits: bool = False,
) -> tuple[Tuned, ...]:
    """-> the cost-accuracy curve: by rising cost, each more accurate than the one before.

    Args:
      outputs, labels, costs, signal, logits: as in `tune_thresholds`.
      targets: mean costs to tune for; `COSTS` of them from the first stage alone to all stages, if not given.
    """
    if targets is None:
        steps = np.linspace(float(costs[0]), float(sum(costs)), COSTS)
        targets = [float(step) for step in steps]
    found = _tuned(outputs, labels, costs, sorted(targets), signal, logits)
    chosen: list[Tuned] = []
    for one in found:
        if not chosen or one.accuracy > chosen[-1].accuracy:
            chosen.append(one)
    return tuple(chosen)


def ends(
    outputs: Sequence[np.ndarray], thresholds: Sequence[float | None], *, signal: str, logits: bool = False
) -> np.ndarray:
    """-> [N] int: the stage that answers each example.

    >>> sure, unsure = [0.9, 0.1], [0.6, 0.4]
    >>> ends([np.array([sure, unsure])] * 2, [0.8], signal="max_softmax").tolist()
    [0, 1]
    """
    found = np.full(len(outputs[0]), len(outputs) - 1)
    for place in reversed(range(len(thresholds))):
        value = signal_of(outputs[place], signal, logits=logits)
        found[is_sure(value, thresholds[place], signal)] = place
    return found


def answers(outputs: Sequence[np.ndarray], stages: np.ndarray) -> np.ndarray:
    """-> [N] int: the class that each example gets from the stage that answers it."""
    classes = np.stack([np.argmax(scores, axis=-1) for scores in outputs])
    return classes[stages, np.arange(classes.shape[1])]


def _tuned(
    outputs: Sequence[np.ndarray],
    labels: np.ndarray,
    costs: Sequence[float],
    targets: Sequence[float],
    signal: str,
    logits: bool,
) -> list[Tuned]:
    """-> the best for each target."""
    labels, count = np.asarray(labels), len(outputs)
    shapes = [np.shape(scores) for scores in outputs]
    if count < 2 or len(costs) != count or len(set(shapes)) != 1 or len(shapes[0]) != 2 or not shapes[0][0]:
        raise InputError(
            "Thresholds need the scores [N, classes] of two or more stages and a cost each. "
            f"Received: {[list(shape) for shape in shapes]} with {len(costs)} costs"
        )
    if labels.shape != (shapes[0][0],):
        raise InputError(f"Argument `labels` must hold a class for each of the {shapes[0][0]} examples. Received: "
                         f"{list(labels.shape)}")  # fmt: skip
    if not all(math.isfinite(cost) and cost >= 0 for cost in costs):
        raise InputError(f"Argument `costs` must be numbers of 0 or more. Received: {list(costs)}")
    # The sums of a mean round otherwise than the number itself.
    slack = 1e-9 * float(sum(costs))
    if min(targets) < costs[0] - slack:
        raise InputError(
            f"A mean cost is at least that of the first stage, {costs[0]:g}, which every example runs through. "
            f"Received: {min(targets):g}"
        )
    sign = -1.0 if signal == ENTROPY else 1.0
    # High is sure, whatever the signal.
    sure = [_merged(sign * signal_of(scores, signal, logits=logits)) for scores in outputs[:-1]]
    right = np.stack([np.argmax(scores, axis=-1) == labels for scores in outputs])
    search = _Search(sure, right, np.cumsum(np.asarray(costs, np.float64)), np.asarray(targets, np.float64) + slack)
    return [_result(search, choice, sign) for choice in search.best()]


def _merged(values: np.ndarray) -> np.ndarray:
    """-> the same values; those that only rounding tells apart are equal, or no threshold would fit between them."""
    order = np.argsort(values)
    ranked = values[order]
    begins = np.flatnonzero(np.diff(ranked, prepend=-np.inf) > SAME)
    found = np.empty_like(values)
    found[order] = np.repeat(ranked[begins], np.diff(begins, append=len(values)))
    return found


class _Search:
    """All thresholds but the last by trying, the last one by sorting.

    A cut k of an exit takes the k most sure values of it: 0 none, all of them every example.
    """

    def __init__(self, sure: Sequence[np.ndarray], right: np.ndarray, costs: np.ndarray, targets: np.ndarray) -> None:
        self.right, self.costs, self.targets = right, costs, targets
        # Falling: the values of each exit.
        self.values = [np.unique(one)[::-1] for one in sure]
        # Of each example, the first cut that takes it.
        self.ranks = [
            len(values) - np.searchsorted(values[::-1], one) for one, values in zip(sure, self.values, strict=True)
        ]
        self.cuts, self.exact = self._cuts()

    def _cuts(self) -> tuple[list[np.ndarray], bool]:
        counts = [len(values) + 1 for values in self.values[:-1]]
        if math.prod(counts) <= MOST_COMBINATIONS:
            return [np.arange(count) for count in counts], True
        each = int(MOST_COMBINATIONS ** (1 / len(counts)))
        return [np.unique(np.linspace(0, n - 1, min(n, each)).round().astype(int)) for n in counts], False

    def best(self) -> list[tuple[int, ...]]:
        """-> for each target, the cuts of all exits."""
        count = self.right.shape[1]
        top = np.full(len(self.targets), -1)
        price = np.full(len(self.targets), np.inf)
        found: list[tuple[int, ...]] = [()] * len(self.targets)
        for cuts in itertools.product(*self.cuts):
            alive, right, cost = np.ones(count, bool), 0, 0.0
            for place, cut in enumerate(cuts):
                leaves = alive & (self.ranks[place] <= cut)
                right += int(self.right[place][leaves].sum())
                cost += float(self.costs[place]) * int(leaves.sum())
                alive &= ~leaves
            rights, spent = self._last(alive)
            rights, spent = rights + right, (spent + cost) / count
            # A higher cut costs no more than a lower one, so that the cuts within a target are those from some place.
            first = np.searchsorted(-spent, -self.targets, side="left")
            for target, start in enumerate(first):
                if start == len(spent):
                    continue
                most = int(rights[start:].max())
                # Of equally good ones the cheapest is the last; of those that cost the same, the one that is surer.
                cheapest = spent[len(rights) - 1 - int(np.argmax(rights[start:][::-1] == most))]
                cut = int(start) + int(np.argmax((rights[start:] == most) & (spent[start:] == cheapest)))
                if most > top[target] or (most == top[target] and spent[cut] < price[target]):
                    top[target], price[target], found[target] = most, spent[cut], (*(int(one) for one in cuts), cut)
        return found

    def _last(self, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """-> for each cut of the last exit, how many of the examples left are right, and what they cost together."""
        size = len(self.values[-1]) + 1
        ranks = self.ranks[-1][alive]
        leave = np.cumsum(np.bincount(ranks, minlength=size))
        here = np.cumsum(np.bincount(ranks, self.right[-2][alive], minlength=size))
        there = np.cumsum(np.bincount(ranks, self.right[-1][alive], minlength=size))
        rights = here + (there[-1] - there)
        spent = leave * self.costs[-2] + (leave[-1] - leave) * self.costs[-1]
        return np.rint(rights).astype(int), spent

    def threshold(self, place: int, cut: int) -> float | None:
        """-> halfway between the last value that a cut takes and the next."""
        values = self.values[place]
        if cut == 0:
            return None
        if cut == len(values):
            # All; and so shall others that are less sure than any of these.
            return -math.inf
        return float((values[cut - 1] + values[cut]) / 2)


def _result(search: _Search, cuts: tuple[int, ...], sign: float) -> Tuned:
    count = search.right.shape[1]
    stage = np.full(count, len(cuts))
    for place in reversed(range(len(cuts))):
        stage[search.ranks[place] <= cuts[place]] = place
    shares = np.bincount(stage, minlength=len(cuts) + 1) / count
    right = search.right[stage, np.arange(count)]
    thresholds = []
    for place, cut in enumerate(cuts):
        threshold = search.threshold(place, cut)
        # The least sure that there is: a share of 0, or more nats than any number of classes has.
        if threshold == -math.inf:
            threshold = 0.0 if sign > 0 else -1e3
        thresholds.append(None if threshold is None else sign * threshold)
    return Tuned(
        tuple(thresholds),
        float(search.costs[stage].mean()),
        100.0 * float(right.mean()),
        tuple(float(share) for share in shares),
        search.exact,
    )
