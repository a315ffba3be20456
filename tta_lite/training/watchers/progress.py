"""How far a training is: lines with the time left, or a function that is told."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tta_lite.training.watchers.base import Callback, check_number, say, scalars
from tta_lite.training.watchers.epoch_clock import EpochClock


def format_seconds(seconds: float) -> str:
    """A duration as people say it.

    >>> format_seconds(5), format_seconds(125), format_seconds(7300)
    ('5 s', '2 min 05 s', '2 h 01 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


class Progress(Callback):
    """One line now and then, with the time left: readable on a terminal and in a log file.

    The time left counts the steps of all epochs that are to come, and for each epoch what came after the last step of
    those that were: validation, and other callbacks. Of a dataset without a length the first epoch tells it.

    Args:
      label: what is being trained.
      every_s: seconds between lines within an epoch; the end of an epoch always has one.
      write: where a line goes; standard error if None.
      clock: -> seconds; `time.monotonic` if None.

    Example: a training of five epochs goes on with the last.

      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> progress = Progress("net", write=print)
      >>> _ = net.fit(x, y, epochs=5, initial_epoch=4, verbose=0, callbacks=[progress])
      net: epoch 5/5 done, loss 1.21, 0 s left
    """

    async_safe = True

    def __init__(
        self,
        label: str,
        *,
        every_s: float = 15.0,
        write: Callable[[str], Any] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        check_number("every_s", every_s, least=0)
        self.label, self.every_s = label, every_s
        self.write = write or say
        self._read = clock
        self._epoch, self._last = 0, 0.0

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._clock = EpochClock(self._read)
        self._last = self._clock.read()

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch."""
        self._epoch = epoch
        self._clock.begin_epoch(self.params.get("steps"))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """A line, if the last one is old."""
        self._clock.end_step(batch)
        if self._clock.now - self._last >= self.every_s:
            steps = self._clock.steps
            self._line(f"step {batch + 1}" if steps is None else f"step {batch + 1}/{steps}", logs, done=0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """A line."""
        self._clock.end_epoch()
        self._line("done", logs, done=1)

    def _line(self, where: str, logs: dict | None, *, done: int) -> None:
        epochs = self.params["epochs"]
        left = self._clock.left_s(epochs - self._epoch - done)
        words = [f"{self.label}: epoch {self._epoch + 1}/{epochs} {where}"]
        words += [f"{name} {value:.3g}" for name, value in scalars(logs).items()]
        words.append("time left not known yet" if math.isnan(left) else f"{format_seconds(left)} left")
        self.write(", ".join(words))
        self._last = self._clock.now


class EpochsDone(Callback):
    """Tells how far a training is: the epochs that are done, with a part of the one that runs, of how many.

    Args:
      tell: called when an epoch begins and after every step, with what Keras logs. While the number of steps is not
        known, nothing is added to the epochs.

    Example:
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> told = EpochsDone(lambda done, epochs, logs: print(done, "of", epochs))
      >>> _ = net.fit(x, y, batch_size=4, verbose=0, callbacks=[told])
      0 of 1
      0.5 of 1
      1.0 of 1
    """

    def __init__(self, tell: Callable[[float, int, dict[str, float]], Any]) -> None:
        super().__init__()
        self.tell, self._epoch = tell, 0
        self._steps: int | None = None
        self._seen = 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remembers the epoch."""
        self._steps = self.params.get("steps") or self._seen or None
        self._epoch = epoch
        self.tell(epoch, self.params["epochs"], {})

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Tells."""
        self._seen = batch + 1
        share = 0.0 if self._steps is None else (batch + 1) / self._steps
        self.tell(self._epoch + share, self.params["epochs"], scalars(logs))
