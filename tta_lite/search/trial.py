"""What a search knows of its trials: what was measured, what a trial may raise, and one line of the result.

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from tta_lite.search.space import Point
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a trial found.

    Attributes:
      accuracy: 0..100.
      latency_ms: of one inference, above 0.
      source: where the latency comes from, such as ``predicted by board.json``.
      macs: of one inference; None: not counted.
      params: weights; None: not counted.
      seconds: that the trial took.

    Raises:
      InputError: a figure out of its range.
    """

    accuracy: float
    latency_ms: float
    source: str
    macs: int | None = None
    params: int | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.accuracy <= 100:
            raise InputError(f"Argument `accuracy` must lie in 0..100. Received: {self.accuracy!r}")
        if not 0 < self.latency_ms < math.inf:
            raise InputError(f"Argument `latency_ms` must be a number above 0. Received: {self.latency_ms!r}")


# (point, report) -> what was measured. `report(step, accuracy)` says how accurate it is so far, and raises `Hopeless`
# if that is not enough, or `Lost`; a `Reporter` of the engine also takes the latency, see there.
Evaluate = Callable[[Point, Callable[[int, float], None]], Measured]


class Hopeless(Exception):  # noqa: N818 - nothing went wrong.
    """A trial is given up: what it has shown so far is not enough."""


class Interrupted(Exception):  # noqa: N818
    """A trial stopped and can go on later, such as at the end of a worker's time."""


class Lost(Exception):  # noqa: N818
    """Another worker has taken the trial up, because nothing was heard of this one."""


class State(str, enum.Enum):
    """Where a trial is."""

    RUNNING = "running"
    # Measured.
    DONE = "done"
    # Given up, see `Hopeless`.
    PRUNED = "pruned"
    # It cannot be built, converted or trained.
    FAILED = "failed"
    # Its worker ended, or another worker has the point: it says nothing.
    DEAD = "dead"

    @property
    def finished(self) -> bool:
        """Whether the point is settled."""
        return self in (State.DONE, State.PRUNED, State.FAILED)


@dataclasses.dataclass(frozen=True)
class Trial:
    """One try at one point, as the storage has it.

    Attributes:
      number: in the order in which tries began, over all workers.
      point: what is tried.
      state: where it is.
      owner: the worker: ``name``, ``place``, ``pid``, ``started``.
      beat: a counter that the worker moves while it lives.
      measured: of a finished one.
      latency: (milliseconds, source) once it is known.
      why: of one that was given up or failed.
      steps: step -> accuracy so far.
      paused: its worker gave it back on purpose.
      takes_up: the number of the try that ended with its worker.
    """

    number: int
    point: Point
    state: State
    owner: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    beat: int = 0
    measured: Measured | None = None
    latency: tuple[float, str] | None = None
    why: str = ""
    steps: Mapping[int, float] = dataclasses.field(default_factory=dict)
    paused: bool = False
    takes_up: int | None = None

    @property
    def key(self) -> str:
        """What tells the point from others."""
        return key_of(self.point)

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds, if known."""
        return self.latency[0] if self.latency else None

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values, for ``search.json``."""
        return {
            "number": self.number,
            "state": self.state.value,
            "point": dict(self.point),
            "accuracy": self.measured.accuracy if self.measured else None,
            "latency_ms": self.latency_ms,
            "latency_source": self.latency[1] if self.latency else None,
            "macs": self.measured.macs if self.measured else None,
            "params": self.measured.params if self.measured else None,
            "seconds": self.measured.seconds if self.measured else None,
            "why": self.why,
            "steps": [[step, value] for step, value in sorted(self.steps.items())],
            "worker": self.owner.get("name"),
            "takes_up": self.takes_up,
        }


def key_of(point: Point) -> str:
    """-> a text that is the same for equal points, in whatever order.

    >>> key_of({"b": 1, "a": "x"})
    '{"a":"x","b":1}'
    """
    return json.dumps(dict(point), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
