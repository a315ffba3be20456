"""Where a run is, as records for whoever shows it, and how long the rest takes. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

from tta_lite.types import LedgerEntry

# A plan counts as so many seconds of work that went as planned: a first batch, which builds its graph, decides little.
TRUST_S = 30.0
# What runs in a row, and what kind of work it is: each kind is as much slower or faster than planned as it was so far.
# Training is planned with the unmodified network, and lighter ones are faster; a factorised one takes long to build.
PHASES = {"sketches": "sketch", "first": "timing", "finishes": "score", "training": "training", "last": "timing"}


@dataclasses.dataclass(frozen=True)
class RowBegan:
    """A row begins, number `place` of `count`."""

    name: str
    place: int
    count: int


@dataclasses.dataclass(frozen=True)
class TrialBegan:
    """A setting begins, number `number` of `count`: its sketch or, if it is promising, its training and its score."""

    label: str
    number: int
    count: int
    promising: bool


@dataclasses.dataclass(frozen=True)
class Trained:
    """So many epochs of a training are done, with a part of the one that runs; `figures` are what Keras logs."""

    done: float
    count: int
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Scoring:
    """A file is scored."""


@dataclasses.dataclass(frozen=True)
class Timed:
    """`done` of `count` turns of a comparison are over."""

    done: int
    count: int


@dataclasses.dataclass(frozen=True)
class RowFinished:
    """A row is in the ledger; `before`: an earlier run has finished it."""

    entry: LedgerEntry
    before: bool = False


Event = RowBegan | TrialBegan | Trained | Scoring | Timed | RowFinished
Tell = Callable[[Event], None]


def untold(event: Event) -> None:
    """Nobody listens."""


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a row takes at most, as planned.

    Attributes:
      trials: settings that are sketched.
      sketch_s: seconds of one of them.
      finishes: settings that are trained, exported and scored.
      finish_s: seconds of one of them without its training,
      train_s: and of its training.
      first_s: seconds of the comparison of the sketches,
      last_s: and of that of all rows.
    """

    trials: int = 0
    sketch_s: float = 0.0
    finishes: int = 0
    finish_s: float = 0.0
    train_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0

    def phases(self) -> dict[str, float]:
        """-> phase -> its seconds."""
        return {
            "sketches": self.trials * self.sketch_s,
            "first": self.first_s,
            "finishes": self.finishes * self.finish_s,
            "training": self.finishes * self.train_s,
            "last": self.last_s,
        }

    @property
    def seconds(self) -> float:
        """Of the whole row."""
        return sum(self.phases().values())


class Forecast:
    """How long a run still takes at most: what is left of its plan, times how what is done of it went.

    Args:
      costs: row -> what it takes.
      clock: -> seconds.
    """

    def __init__(self, costs: Mapping[str, Cost], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows, self._clock, self._since = dict(costs), clock, clock()
        self._cost, self._todo = Cost(), Cost().phases()
        # What runs now, and the planned seconds of this piece of it. Empty: nothing that was planned.
        self._running = ("", 0.0)
        self._closing, self._trainings_left = False, 0
        self._planned, self._spent = dict.fromkeys(PHASES.values(), 0.0), dict.fromkeys(PHASES.values(), 0.0)

    def tell(self, event: Event) -> None:
        """Follows the run."""
        # Whoever shows it may ask from another thread meanwhile: what it reads is replaced and never changed.
        now, (phase, _), before = self._clock(), self._running, self._todo
        if isinstance(event, RowFinished):
            self._rows = {name: cost for name, cost in self._rows.items() if name != event.entry.name}
            self._todo, self._running = Cost().phases(), ("", 0.0)
        elif isinstance(event, RowBegan):
            self._cost = self._rows.get(event.name, Cost())
            self._rows = {name: cost for name, cost in self._rows.items() if name != event.name}
            self._todo = self._cost.phases()
            self._closing = not self._cost.trials
        else:
            todo, self._running = self._after(event)
            self._todo = {**before, **todo}
            if phase:
                self._planned[PHASES[phase]] += before[phase] - self._todo[phase]
                self._spent[PHASES[phase]] += now - self._since
        self._since = now

    def left(self) -> float:
        """-> seconds, never below 0."""
        parts = [self._todo, *(cost.phases() for cost in self._rows.values())]
        seconds = sum(planned * self._factor(phase) for todo in parts for phase, planned in todo.items())
        phase, piece = self._running
        counted = min(self._clock() - self._since, piece * self._factor(phase)) if phase else 0.0
        return max(seconds - counted, 0.0)

    def _factor(self, phase: str) -> float:
        kind = PHASES[phase]
        return (TRUST_S + self._spent[kind]) / (TRUST_S + self._planned[kind])

    def _after(self, event: Event) -> tuple[dict[str, float], tuple[str, float]]:
        """-> what changes of what is left of the row, and what runs now."""
        cost, later = self._cost, self._trainings_left
        if isinstance(event, TrialBegan) and event.promising:
            rest = event.count - event.number + 1
            self._closing, self._trainings_left = True, rest - 1
            todo = {"sketches": 0.0, "first": 0.0, "finishes": rest * cost.finish_s, "training": rest * cost.train_s}
            # An earlier run may have finished it: then nothing is told of its training and its score.
            return todo, ("", 0.0)
        if isinstance(event, TrialBegan):
            return {"sketches": (event.count - event.number + 1) * cost.sketch_s}, ("sketches", cost.sketch_s)
        if isinstance(event, Trained):
            todo = {"training": (later + 1 - event.done / event.count) * cost.train_s}
            return todo, ("training", 0.0) if event.done < event.count else ("finishes", cost.finish_s)
        if isinstance(event, Timed):
            phase = "last" if self._closing else "first"
            full = cost.phases()[phase]
            todo = {phase: full * (1 - event.done / event.count), "sketches": 0.0}
            if self._closing:
                todo |= {"finishes": 0.0, "training": 0.0}
            return todo, (phase, full / event.count) if event.done < event.count else ("", 0.0)
        return {"training": later * cost.train_s}, ("finishes", cost.finish_s)
