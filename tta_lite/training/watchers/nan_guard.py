"""`NaNGuard`: a training that has broken down goes back to where it was sound, and on with a lower rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tta_lite.training.watchers import state as states
from tta_lite.training.watchers.base import Callback, check_number, check_whole, say
from tta_lite.training.watchers.learning_rate import check_can_lower, learning_rate, lower
from tta_lite.types import InputError


class NaNGuard(Callback):
    """Puts the last good state back when the loss or a weight is no number any more, and lowers the learning rate.

    The state is taken before the first step, after every epoch, and every `keep_every` steps. After a rollback the
    epoch goes on with its next batch, with metrics that begin anew. The rate, a number or a schedule, is multiplied by
    `factor` at each rollback; a callback that sets the rate (`LearningRateScheduler`) undoes that. When it has rolled
    back `max_rollbacks` times and needs to do so again, it puts the last good state back and ends the training.

    It comes first in the list of callbacks: what others save when an epoch ends is sound then.

    `tta_lite.training.fit` stops instead (`StopOnNaN`): of two runs with one seed, one killed in between, it promises
    the same weights, and a rate that was lowered on the way is in no checkpoint of it.

    Args:
      factor: of the rate, between 0 and 1.
      max_rollbacks: in one `fit`.
      path: of an ``.npz`` file for the last good state; None: it is kept in memory (weights and moments of Adam: three
        times the size of the network).
      keep_every: steps between two states within an epoch; None: the states between epochs alone.
      look_every: steps between two looks at the loss. On an accelerator each look waits for the step.
      write: where a line goes for each rollback; standard error if None.

    Attributes:
      rollbacks: (epoch, step), from 0, of each rollback of the last `fit`.
      gave_up_at: (epoch, step) where there was one too many; None: the training is sound.

    Raises:
      InputError: a number out of its range.

    Example: a rate of 1e30 leads out of float32 at once; with 1e-1 it learns.

      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> net.optimizer.learning_rate = 1e30
      >>> guard = NaNGuard(1e-31, write=print)
      >>> _ = net.fit(x, y, batch_size=1, verbose=0, shuffle=False, callbacks=[guard])
      NaNGuard: loss inf in epoch 1, step 2; back to epoch 1, learning rate 1e+30 -> 0.1
      >>> guard.rollbacks, guard.gave_up_at
      ([(0, 1)], None)
    """

    def __init__(
        self,
        factor: float = 0.5,
        *,
        max_rollbacks: int = 3,
        path: str | Path | None = None,
        keep_every: int | None = None,
        look_every: int = 1,
        write: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__()
        check_number("factor", factor, above=0, below=1)
        check_whole("max_rollbacks", max_rollbacks, 0)
        check_whole("look_every", look_every, 1)
        if keep_every is not None:
            check_whole("keep_every", keep_every, 1)
        self.path = None if path is None else Path(path)
        if self.path is not None and self.path.suffix != ".npz":
            raise InputError(f"Argument `path` must end with .npz. Received: {self.path}")
        self.factor, self.max_rollbacks, self.keep_every, self.look_every = (
            factor,
            max_rollbacks,
            keep_every,
            look_every,
        )
        self.write = write or say
        self.rollbacks: list[tuple[int, int]] = []
        self.gave_up_at: tuple[int, int] | None = None
        self._state: states.State | None = None
        self._epoch = self._batch = self._kept_in = 0
        self._looked = self._kept = -1
        self._first = True
        self._rolled_back = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks at the optimizer.

        Raises:
          InputError: its rate cannot be lowered.
        """
        check_can_lower(self.model)
        self.rollbacks, self.gave_up_at = [], None
        self._first, self._rolled_back = True, False

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch."""
        self._epoch, self._looked, self._kept = epoch, -1, -1

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Takes the first state: not earlier, for others may restore weights when a training begins."""
        if self._rolled_back:
            # Not at once: after the last step of an epoch, the epoch's loss would be that of no example, which is 0.
            self._rolled_back = False
            self.model.reset_metrics()
        if self._first:
            self._first = False
            if not self._keep():
                raise InputError(
                    f"A training must begin with weights that are numbers. Received: NaN or infinity in "
                    f"{self.model.name!r}"
                )

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Looks at the loss."""
        self._batch = batch
        # Several steps may have been run at once.
        if batch - self._looked >= self.look_every:
            self._looked = batch
            loss = (logs or {}).get("loss")
            if loss is not None and not math.isfinite(loss := float(loss)):
                self._roll_back(f"loss {loss}")
                return
        if self.keep_every is not None and batch - self._kept >= self.keep_every:
            self._kept = batch
            if not self._keep():
                self._roll_back("weights that are no numbers")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Looks at the weights, which the last step may have spoilt, and at the loss, and keeps what is sound."""
        if self._rolled_back or self.gave_up_at is not None:
            # After its last step; the loss still tells of it.
            self._rolled_back = False
            return
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            self._roll_back(f"loss {float(loss)}")
        elif not self._keep(1):
            self._roll_back("weights that are no numbers")
        self._rolled_back = False

    def on_train_end(self, logs: dict | None = None) -> None:
        """Gives the memory back."""
        self._state = None

    def _keep(self, after: int = 0) -> bool:
        """Takes the state, if it is sound."""
        state = states.take(self.model, self._epoch + after)
        if not state.finite:
            return False
        self._kept_in = self._epoch + after
        if self.path is None:
            self._state = state
        else:
            states.write(self.path, state)
        return True

    def _roll_back(self, why: str) -> None:
        at = (self._epoch, self._batch)
        good = states.read(self.path) if self.path is not None else self._state
        assert good is not None
        now = states.optimizer_of(self.model)._learning_rate
        value = now.numpy() if hasattr(now, "assign") else None
        states.put(self.model, good)
        if value is not None:
            # The state may be older than the last rollback, and have the rate of then.
            now.assign(value)
        self._rolled_back = True
        where = f"NaNGuard: {why} in epoch {at[0] + 1}, step {at[1] + 1}; back to epoch {self._kept_in + 1}"
        if len(self.rollbacks) >= self.max_rollbacks:
            self.gave_up_at = at
            self.model.stop_training = True
            self.write(f"{where}, and stopped: {self.max_rollbacks} rollbacks were allowed")
            return
        self.rollbacks.append(at)
        before = learning_rate(self.model)
        lower(self.model, self.factor)
        self.write(f"{where}, learning rate {before:.3g} -> {learning_rate(self.model):.3g}")
