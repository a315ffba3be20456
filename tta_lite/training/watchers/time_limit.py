"""`TimeLimit`: a training that ends before a wall-clock limit, and goes on in the next job."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tta_lite.training.watchers import state as states
from tta_lite.training.watchers.base import Callback, check_number, say
from tta_lite.training.watchers.epoch_clock import EpochClock
from tta_lite.training.watchers.progress import format_seconds
from tta_lite.types import InputError

# Of the limit, kept free for what was not yet seen: the first validation, and what saves.
RESERVE = 0.05


class TimeLimit(Callback):
    """Ends a training before a time limit, where it can go on later: for jobs on a cluster, or over night.

    The time of a step and of the end of an epoch (validation, other callbacks) is measured. An epoch that would not
    fit is not begun. Should an epoch that runs not fit after all, it is cut: the step after which the end of an epoch
    would be too late is its last. What was learnt in it is dropped, and the epoch repeated when the training goes on;
    only if it was the first of this `fit` it is kept, so that every call gets further, or with `whole_epochs` not even
    then.

    Put it after callbacks that change weights when an epoch ends (`NaNGuard`), and last but for those that only look.
    With `path`, the same lines go on with the training when they run again; without, `EpochCheckpoint` or a callback of
    Keras keeps the state. A training that is done, or was killed, has its state there too; delete it to begin anew.

    Args:
      seconds: from now, when the object is made, so that the time that data takes to load is in it.
      path: of an ``.npz`` file with weights, optimizer and epoch, written after every epoch; None: nothing is kept.
        The order of the data and the seeds of dropout are not in it.
      reserve_s: of the limit, kept free; None: 5 % of it.
      whole_epochs: a cut epoch is dropped even if it was the first: the training ends as one that was never stopped,
        but a limit shorter than an epoch gets nowhere.
      write: where the line goes that says that it ended; standard error if None.
      clock: -> seconds; `time.monotonic` if None.

    Attributes:
      epochs_done: whole epochs, also those that `path` held at first: for `initial_epoch`.
      stopped: whether the limit ended the last `fit`.

    Raises:
      InputError: a number out of its range, or a file that holds no training.

    Example: two epochs, each a step of 20 s; the limit is 30 s. Then again, with time enough.

      >>> import tempfile
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> path, times = tempfile.mkdtemp() + "/state.npz", iter([0.0, 0.0, 20.0, 20.0])
      >>> limit = TimeLimit(30, path, write=print, clock=lambda: next(times))
      >>> _ = net.fit(x, y, epochs=2, initial_epoch=limit.epochs_done, verbose=0, callbacks=[limit])
      Stopped after epoch 1 of 2: the next one needs about 20 s, and 10 s are left of 30 s.
      >>> again = TimeLimit(3600, path)
      >>> history = net.fit(x, y, epochs=2, initial_epoch=again.epochs_done, verbose=0, callbacks=[again])
      >>> history.epoch, again.stopped
      ([1], False)
    """

    async_safe = True

    def __init__(
        self,
        seconds: float,
        path: str | Path | None = None,
        *,
        reserve_s: float | None = None,
        whole_epochs: bool = False,
        write: Callable[[str], Any] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        check_number("seconds", seconds, above=0)
        if reserve_s is not None:
            check_number("reserve_s", reserve_s, least=0, below=seconds)
        self.seconds, self.reserve_s = seconds, RESERVE * seconds if reserve_s is None else reserve_s
        self._whole_epochs = whole_epochs
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.suffix != ".npz":
            raise InputError(f"Argument `path` must end with .npz. Received: {self.path}")
        self.write = write or say
        self._clock = EpochClock(clock)
        self._end = self._clock.read() + seconds
        self._state = states.read(self.path) if self.path is not None and self.path.exists() else None
        self.epochs_done = 0 if self._state is None else self._state.epochs_done
        self.stopped = self._cut = False
        self._first: int | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forgets an earlier `fit`."""
        self.stopped = self._cut = False
        self._first = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Takes up what `path` held, before the first epoch.

        Raises:
          InputError: it is of another network, or the training does not begin where it ended.
        """
        if self._first is None:
            self._first = epoch
            if self._state is not None:
                if epoch != self._state.epochs_done:
                    raise InputError(
                        f"{self.path} holds a training of {self._state.epochs_done} epochs: give "
                        f"fit(initial_epoch=limit.epochs_done), or remove it. Received: {epoch}"
                    )
                states.put(self.model, self._state, str(self.path))
                self._state = None
        self._clock.begin_epoch(self.params.get("steps"))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Cuts the epoch, if another step and its end would be too late."""
        clock = self._clock
        clock.end_step(batch)
        # Steps may have become slower than they were.
        needed = max(clock.step_s, clock.last_step_s) + self._tail_s()
        if clock.now + needed > self._end and clock.step != clock.steps and not self._cut:
            self._cut = self.stopped = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Keeps the state, and ends the training if another epoch would not fit."""
        clock = self._clock
        if self._cut:
            clock.cut_epoch()
        else:
            clock.end_epoch()
        done = self.done_after(epoch)
        if done is not None:
            self.epochs_done = done
            if self.path is not None:
                states.write(self.path, states.take(self.model, done))
        if self._cut:
            then = "its steps are kept" if done is not None else "it will be repeated"
            self.write(f"Stopped in epoch {epoch + 1} of {self.params['epochs']}, {then}: {self._left()}.")
        elif epoch + 1 < self.params["epochs"]:
            needed = clock.left_s(1) - clock.tail_s + clock.longest_tail_s
            if clock.now + needed + self.reserve_s > self._end:
                self.stopped = True
                self.model.stop_training = True
                self.write(
                    f"Stopped after epoch {epoch + 1} of {self.params['epochs']}: the next one needs about "
                    f"{format_seconds(needed)}, and {self._left()}."
                )

    def done_after(self, epoch: int) -> int | None:
        """-> how many epochs are done after this one; None: it was cut, and what it did is to be forgotten."""
        if not self._cut:
            return epoch + 1
        return epoch if epoch == self._first and not self._whole_epochs else None

    def _tail_s(self) -> float:
        longest = self._clock.longest_tail_s
        return self.reserve_s + (0.0 if math.isnan(longest) else longest)

    def _left(self) -> str:
        return f"{format_seconds(max(0.0, self._end - self._clock.now))} are left of {format_seconds(self.seconds)}"
