"""`EpochClock`: how long steps and the ends of epochs take, as the hooks of a training see it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class EpochClock:
    """Measures a training from its hooks; the first step, which compiles, is left out as soon as others are known.

    Args:
      clock: -> seconds; `time.monotonic` if None.

    Attributes:
      now: when a hook last ran.
      step: of the epoch that runs, how many are done.
      last_step_s: seconds of the last one.
      steps: of an epoch; None: not known yet.

    Example: two steps of 3 s, and a validation of 5 s.

      >>> times = iter([0.0, 3.0, 6.0, 11.0])
      >>> clock = EpochClock(lambda: next(times))
      >>> clock.begin_epoch(None); clock.end_step(0); clock.end_step(1); clock.end_epoch()
      >>> clock.step_s, clock.tail_s, clock.steps
      (3.0, 5.0, 2)
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or time.monotonic
        self._first: tuple[int, float] | None = None
        self._count, self._sum = 0, 0.0
        self._tails: list[float] = []
        self._ended = False
        self._mark = self.now = self.last_step_s = 0.0
        self.step, self.steps = 0, None  # type: int, int | None

    def read(self) -> float:
        """-> the time now."""
        self.now = self._clock()
        return self.now

    def begin_epoch(self, steps: int | None) -> None:
        """Called when an epoch begins.

        Args:
          steps: of an epoch, if Keras knows; what was counted in an epoch before is known too.
        """
        now = self.read()
        if self._ended:
            # What other callbacks did after `end_epoch`.
            self._tails[-1] += now - self._mark
        self._ended, self._mark, self.step = False, now, 0
        self.steps = steps or self.steps

    def end_step(self, batch: int) -> None:
        """Called after a step with its number from 0; it may stand for several."""
        now = self.read()
        done, took = batch + 1 - self.step, now - self._mark
        if done <= 0:
            # Keras 3 may tell of steps out of their order.
            return
        if self._first is None:
            self._first = (done, took)
        else:
            self._count += done
            self._sum += took
        self.last_step_s = took / done
        self._mark, self.step = now, batch + 1

    def end_epoch(self) -> None:
        """Called after an epoch and its validation."""
        now = self.read()
        self._tails.append(now - self._mark)
        self._ended, self._mark = True, now
        self.steps = self.step or self.steps

    def cut_epoch(self) -> None:
        """Called after an epoch that was cut short: its number of steps is no epoch's."""
        known = self.steps
        self.end_epoch()
        self.steps = known

    @property
    def step_s(self) -> float:
        """Mean seconds of a step; NaN before the first."""
        if self._count:
            return self._sum / self._count
        return self._first[1] / max(self._first[0], 1) if self._first else math.nan

    @property
    def tail_s(self) -> float:
        """Mean seconds from the last step of an epoch to the next epoch, validation included; NaN: none was seen."""
        return sum(self._tails) / len(self._tails) if self._tails else math.nan

    @property
    def longest_tail_s(self) -> float:
        """The most seconds from the last step of an epoch to the next epoch; NaN: none was seen."""
        return max(self._tails, default=math.nan)

    def left_s(self, epochs: int) -> float:
        """-> seconds that a training needs still; NaN: the number of steps is not known yet.

        Args:
          epochs: that are not yet done, the one that runs included.
        """
        if self.steps is None or math.isnan(self.step_s):
            return math.nan
        done = 0 if self._ended else self.step
        tail = 0.0 if math.isnan(self.tail_s) else self.tail_s
        return max(0, epochs * self.steps - done) * self.step_s + epochs * tail
