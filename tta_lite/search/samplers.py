"""Which point next? Random, TPE or NSGA-II, asked in a copy of the search so far.

Optuna's samplers look at a study and write into it while they choose. Here they get a study in memory, made of all
tries so far, and what they choose is put into the shared storage as a whole: a try there always has its point, and
workers can tell who was first (`tta_lite.search.claims`). The seed of a choice is the search's and the number of points
before it, so that a search of one worker that was killed goes on as it would have; workers among others differ.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any

import numpy as np

from tta_lite.search.goal import Goal
from tta_lite.search.optional import optuna
from tta_lite.search.space import Choice, Point, Space, Value
from tta_lite.search.trial import State, Trial, key_of
from tta_lite.types import InputError

SAMPLERS = ("random", "tpe", "nsga2")
# Proposals of points that are known, after which a random new one is taken.
ATTEMPTS = 10
# Below this many points, the last new ones are found by going through all.
LISTABLE = 20_000


@dataclasses.dataclass(frozen=True)
class Asking:
    """How points are chosen.

    Attributes:
      space: of the search.
      goal: of the search.
      sampler: one of `SAMPLERS`.
      trials: how many points the search has; TPE begins with a quarter of random ones, at most 10, and a generation of
        NSGA-II is a sixth, 8 to 50.
      seed: of the search.

    Raises:
      InputError: an unknown sampler, or fewer than one trial.
    """

    space: Space
    goal: Goal
    sampler: str
    trials: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise InputError(f"A sampler is one of {', '.join(SAMPLERS)}. Received: {self.sampler!r}")
        if self.trials < 1:
            raise InputError(f"A search has one trial or more. Received: {self.trials}")

    @property
    def startup(self) -> int:
        """Random points before TPE chooses."""
        return max(2, min(10, self.trials // 4))

    @property
    def population(self) -> int:
        """Of a generation of NSGA-II."""
        return max(8, min(50, self.trials // 6))

    def propose(self, found: Mapping[str, Trial | None], salt: int = 0) -> tuple[Point | None, tuple[str, ...]]:
        """-> a point that is not known yet, None if there is none left; and known ones that were proposed before it.

        Args:
          found: the points so far, see `tta_lite.search.claims.standing`.
          salt: of a worker among others, so that not all propose the same point; 0: it is alone.
        """
        rng = np.random.default_rng([self.seed, len(found), *([salt] if salt else [])])
        ask = self._random(rng) if self.sampler == "random" else self._optuna(found, rng)
        again: list[str] = []
        for _ in range(ATTEMPTS):
            point = next(ask)
            if (key := key_of(point)) not in found:
                return point, tuple(again)
            again.append(key)
        return self._unknown(found, rng), tuple(dict.fromkeys(again))

    def _random(self, rng: np.random.Generator) -> Iterator[Point]:
        while True:
            yield self.space.check(self.space.sample(rng))

    def _optuna(self, found: Mapping[str, Trial | None], rng: np.random.Generator) -> Iterator[Point]:
        opt = optuna()
        seed = int(rng.integers(2**31))
        if self.sampler == "tpe":
            sampler = opt.samplers.TPESampler(
                n_startup_trials=self.startup, multivariate=True, group=True, constant_liar=True, seed=seed
            )
        else:
            sampler = _nsga2(opt, self.population, seed)
        study = opt.create_study(directions=list(self.goal.directions), sampler=sampler)
        study.add_trials([copy for trial in found.values() if trial for copy in self._copies(opt, trial)])
        while True:
            # What was proposed before counts as running: TPE keeps away from it.
            asked = study.ask()
            point: dict[str, Value] = {}
            for choice in self.space.choices:
                is_active = choice in self.space.active(point)
                # A gene that is silent here may speak in a child.
                if is_active or self.sampler == "nsga2":
                    value = _suggest(asked, choice)
                    if is_active:
                        point[choice.name] = value
            yield self.space.check(point)

    def _copies(self, opt: Any, trial: Trial) -> list[Any]:
        """-> the trial as the sampler sees it; none if it says nothing."""
        states = opt.trial.TrialState
        state, values, steps = states.RUNNING, None, {}
        if trial.state is State.FAILED:
            return []
        if trial.state is State.DONE:
            assert trial.measured is not None
            state = states.COMPLETE
            values = list(self.goal.values(trial.measured.accuracy, trial.measured.latency_ms))
        elif trial.state is State.PRUNED:
            if trial.latency_ms is None:
                return []
            scores = {step: self.goal.values(value, trial.latency_ms) for step, value in trial.steps.items()}
            if self.goal.kind == "front":
                # Optuna gives up no trial of two objectives: it is shown as measured, with what it had reached.
                state, values = states.COMPLETE, list(scores[max(scores)] if scores else (0.0, trial.latency_ms))
            else:
                state, steps = states.PRUNED, {step: value[0] for step, value in scores.items()}
        genes: dict[str, Value] = dict(trial.point)
        if self.sampler == "nsga2":
            rng = np.random.default_rng(list(key_of(trial.point).encode()))
            for choice in self.space.choices:
                genes.setdefault(choice.name, choice.values[int(rng.integers(len(choice.values)))])
        choices = [choice for choice in self.space.choices if choice.name in genes]
        return [
            opt.trial.create_trial(
                state=state,
                values=values,
                intermediate_values=steps,
                params={choice.name: _index(choice, genes[choice.name]) for choice in choices},
                distributions={choice.name: _distribution(opt, choice) for choice in choices},
            )
        ]

    def _unknown(self, found: Container[str], rng: np.random.Generator) -> Point | None:
        """-> a random point that is not known; None: all are."""
        for _ in range(10 * ATTEMPTS):
            point = self.space.check(self.space.sample(rng))
            if key_of(point) not in found:
                return point
        if self.space.size() > LISTABLE:
            return None
        left = [point for point in all_points(self.space) if key_of(point) not in found]
        return left[int(rng.integers(len(left)))] if left else None


def all_points(space: Space) -> Iterator[Point]:
    """-> every point, in order.

    >>> space = Space("nets", (Choice("kernel", (3, 5)), Choice("depth", (1, 2), (("kernel", (5,)),))))
    >>> [tuple(point.values()) for point in all_points(space)]
    [(3,), (5, 1), (5, 2)]
    """

    def go_on(point: dict[str, Value], place: int) -> Iterator[Point]:
        if place == len(space.choices):
            yield point
            return
        choice = space.choices[place]
        if choice not in space.active(point):
            yield from go_on(point, place + 1)
            return
        for value in choice.values:
            yield from go_on({**point, choice.name: value}, place + 1)

    return go_on({}, 0)


def _is_ordered(choice: Choice) -> bool:
    return not any(isinstance(value, (str, bool)) for value in choice.values)


def _index(choice: Choice, value: Value) -> int | Value:
    """-> numbers by their place, so that the sampler knows their order, whatever the gaps."""
    return choice.values.index(value) if _is_ordered(choice) else value


def _distribution(opt: Any, choice: Choice) -> Any:
    if _is_ordered(choice):
        return opt.distributions.IntDistribution(0, len(choice.values) - 1)
    return opt.distributions.CategoricalDistribution(choice.values)


def _suggest(asked: Any, choice: Choice) -> Value:
    if _is_ordered(choice):
        return choice.values[asked.suggest_int(choice.name, 0, len(choice.values) - 1)]
    value: Value = asked.suggest_categorical(choice.name, choice.values)
    return value


def _nsga2(opt: Any, population: int, seed: int) -> Any:
    """-> Deb et al., *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II*, IEEE TEC 2002.

    Optuna notes in a trial to which generation it belongs. Here that follows from the order of the finished ones, so
    that every worker's copy has the same generations.
    """

    class ByOrder(opt.samplers.NSGAIISampler):  # type: ignore[name-defined, misc]
        def get_trial_generation(self, study: Any, trial: Any) -> int:
            return len(self._finished(study)) // population

        def get_population(self, study: Any, generation: int) -> list[Any]:
            return self._finished(study)[generation * population : (generation + 1) * population]

        def _finished(self, study: Any) -> list[Any]:
            return list(study.get_trials(deepcopy=False, states=(opt.trial.TrialState.COMPLETE,)))

    make: Callable[..., Any] = ByOrder
    return make(population_size=population, seed=seed)
