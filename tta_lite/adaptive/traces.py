"""What a device has for the network from moment to moment: load by others and clock. NumPy alone."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tta_lite.types import InputError

COLUMNS = ("seconds", "load", "clock")
# Of the generated ones: how often load and clock are looked at.
STEP_S = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Trace:
    """Load and clock, each from its moment to the next.

    Attributes:
      seconds: [N] rising from 0.
      load: [N] share of the core that others have, 0 to below 1.
      clock: [N] share of the frequency at which the latencies were measured, above 0.

    Example: half the core at half the clock is four times as slow.

      >>> trace = Trace(np.array([0.0, 10.0]), np.array([0.0, 0.5]), np.array([1.0, 0.5]))
      >>> trace.slowdown(np.array([9.9, 10.0])).tolist()
      [1.0, 4.0]
    """

    seconds: np.ndarray
    load: np.ndarray
    clock: np.ndarray

    def __post_init__(self) -> None:
        for name in COLUMNS:
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        shapes = {getattr(self, name).shape for name in COLUMNS}
        if len(shapes) != 1 or self.seconds.ndim != 1 or not len(self.seconds):
            raise InputError(f"A trace must have as many seconds as loads and clocks. Received: shapes {shapes}")
        if self.seconds[0] != 0 or not np.all(np.diff(self.seconds) > 0) or not np.isfinite(self.seconds).all():
            raise InputError(f"A trace's seconds must rise from 0. Received: {self.seconds[:5].tolist()} ...")
        if not np.all((self.load >= 0) & (self.load < 1)):
            raise InputError(f"A trace's load must be 0 to below 1. Received: {self.load.min()} to {self.load.max()}")
        if not np.all((self.clock > 0) & np.isfinite(self.clock)):
            raise InputError(f"A trace's clock must be above 0. Received: {self.clock.min()} to {self.clock.max()}")

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """-> the place in the trace of each moment; the last one lasts for ever."""
        return np.clip(np.searchsorted(self.seconds, seconds, side="right") - 1, 0, None)

    def slowdown(self, seconds: np.ndarray) -> np.ndarray:
        """-> how many times as long a frame takes that begins at each moment: 1 / (clock x (1 - load))."""
        return (1 / (self.clock * (1 - self.load)))[self.at(seconds)]

    def to_csv(self) -> str:
        """-> the text that `read_trace` reads."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(getattr(self, name).tolist() for name in COLUMNS), strict=True))
        return stream.getvalue()


def read_trace(path: str | Path) -> Trace:
    """-> a trace from a CSV file with the columns ``seconds`` and ``load``, ``clock`` or both.

    Raises:
      InputError: there is no such file, or it lacks a column or a number.
    """
    place = Path(path)
    if not place.is_file():
        raise InputError(f"There is no such trace: a CSV file was expected. Received: {path}")
    rows = list(csv.DictReader(io.StringIO(place.read_text(encoding="utf-8"))))
    heads = list(rows[0]) if rows else []
    if "seconds" not in heads or not {"load", "clock"} & set(heads):
        raise InputError(
            f"{path} must have a column `seconds` and `load`, `clock` or both, and a row. Received: {', '.join(heads)}"
        )
    found = {}
    for name, idle in zip(COLUMNS, (0.0, 0.0, 1.0), strict=True):
        try:
            found[name] = np.array([float(row[name]) if name in heads else idle for row in rows])
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}: column `{name}` must hold numbers. Received: {error}") from error
    return Trace(**found)


def sinusoid(duration_s: float, rng: np.random.Generator) -> Trace:
    """Load goes up and down between 0 and 0.75 six times; the clock is full."""
    seconds = _moments(duration_s)
    load = 0.375 * (1 - np.cos(2 * math.pi * 6 * seconds / duration_s))
    return Trace(seconds, load, np.ones_like(load))


def steps(duration_s: float, rng: np.random.Generator) -> Trace:
    """Every twentieth of the time a load of 0, 0.25, 0.5 or 0.75 and a clock of 1, 0.75 or 0.5, drawn anew."""
    count = 20
    return Trace(
        np.arange(count) * duration_s / count,
        rng.choice([0, 0.25, 0.5, 0.75], count),
        rng.choice([1, 0.75, 0.5], count),
    )


def walk(duration_s: float, rng: np.random.Generator) -> Trace:
    """Load and clock walk at random, a step each 0.1 s, and turn back at 0 and 0.8, at 0.5 and 1."""
    seconds = _moments(duration_s)
    moves = rng.normal(0, 1, (2, len(seconds)))
    moves[:, 0] = 0
    load, slower = _folded(0.05 * np.cumsum(moves[0]), 0.8), _folded(0.03 * np.cumsum(moves[1]), 0.5)
    return Trace(seconds, load, 1 - slower)


GENERATED: Mapping[str, Callable[[float, np.random.Generator], Trace]] = {
    "sinusoid": sinusoid, "steps": steps, "walk": walk,
}  # fmt: skip


def make_trace(name: str, duration_s: float, *, seed: int = 0) -> Trace:
    """-> a generated trace.

    Args:
      name: one of `GENERATED`.
      duration_s: how long.
      seed: of what is left to chance.

    Raises:
      InputError: no such name, or no time.
    """
    if name not in GENERATED:
        raise InputError(f"A trace must be a CSV file or one of {', '.join(GENERATED)}. Received: {name!r}")
    if not 0 < duration_s < math.inf:
        raise InputError(f"Argument `duration_s` must be a number above 0. Received: {duration_s!r}")
    return GENERATED[name](duration_s, np.random.default_rng(seed))


def _moments(duration_s: float) -> np.ndarray:
    return np.arange(max(1, math.ceil(duration_s / STEP_S))) * STEP_S


def _folded(values: np.ndarray, high: float) -> np.ndarray:
    """-> reflected at 0 and at `high`."""
    turned = np.abs(values) % (2 * high)
    return np.where(turned > high, 2 * high - turned, turned)
