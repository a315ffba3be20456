"""The callback `LotteryRewind`: lottery tickets in any `model.fit`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tta_lite.files import atomic_path
from tta_lite.training.lottery_masks import REWINDS, SCOPES, load_arrays, mask_kernels, pruned, rounds_to, share_left
from tta_lite.training.watchers.base import Callback, steps_at_once
from tta_lite.types import InputError


class LotteryRewind(Callback):
    """Iterative magnitude pruning with rewinding within one `fit`: after every so many epochs a round.

    A round takes the smallest of the weights that are left; the rest goes on from what it was at step k, or from what
    it is (see `tta_lite.training.lottery`). What is masked is 0 after every step. A round is taken when the next epoch
    begins: whatever looks at the network when an epoch ends, a checkpoint or a validation, sees it trained. Give the
    `fit` `epochs_a_round` x (`rounds` + 1) epochs. ``weights_left`` is added to what Keras logs.

    The learning rate goes back with ``optimizer.iterations``: a schedule of the optimizer's is rewound. A rate that
    another callback sets is not: let a `LearningRateScheduler` count ``epoch % epochs_a_round``.

    A training that was stopped goes on with ``initial_epoch`` (or `keras.callbacks.BackupAndRestore`), the weights and
    the optimizer restored, and the same `path`: which round it is follows from the epoch.

    Args:
      sparsity: the share of zeros in the end, between 0 and 1.
      epochs_a_round: of training between two rounds.
      share: of the weights left, what a round takes.
      rewind: ``weights``, ``rate`` or ``fine_tune``.
      rewind_step: k, in steps from the beginning; within the first `epochs_a_round`.
      scope: ``global`` or ``per_layer``.
      layers: names or patterns; None: every convolution and dense layer but depthwise ones.
      path: an ``.npz`` file for the masks and the state at step k. None: they are kept in memory alone. A `fit` that
        begins with the first epoch writes it anew.

    Raises:
      InputError: an argument out of its range.

    Example:
      >>> from tta_lite.compat import keras
      >>> net = keras.Sequential([keras.layers.Dense(5, input_shape=(4,))])
      >>> net.compile("adam", "mse")
      >>> rewind = LotteryRewind(0.5, epochs_a_round=1, share=0.3)
      >>> x = np.eye(4)
      >>> _ = net.fit(x, x @ np.ones((4, 5)), epochs=rewind.rounds + 1, verbose=0, callbacks=[rewind])
      >>> int((net.get_weights()[0] == 0).sum())
      10
    """

    def __init__(
        self,
        sparsity: float,
        *,
        epochs_a_round: int,
        share: float = 0.2,
        rewind: str = "weights",
        rewind_step: int = 0,
        scope: str = "global",
        layers: Sequence[str] | None = None,
        path: str | Path | None = None,
    ) -> None:
        super().__init__()
        self._shares = rounds_to(sparsity, share)
        for name, value, known in (("rewind", rewind, REWINDS), ("scope", scope, SCOPES)):
            if value not in known:
                raise InputError(f"Argument `{name}` must be one of {', '.join(known)}. Received: {value!r}")
        for name, number, least in (("epochs_a_round", epochs_a_round, 1), ("rewind_step", rewind_step, 0)):
            if type(number) is not int or number < least:
                raise InputError(f"Argument `{name}` must be a whole number, {least} or more. Received: {number!r}")
        self.epochs_a_round, self.rewind, self.rewind_step, self.scope = epochs_a_round, rewind, rewind_step, scope
        self.layers, self.path = layers, Path(path) if path is not None else None
        self.round = 0
        # The round in which each weight left, 0: it is left. From it follow the masks of every round so far.
        self._left_in: dict[str, np.ndarray] = {}
        self._rewound: tuple[list[np.ndarray], list[np.ndarray]] | None = None

    @property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len(self._shares)

    @property
    def masks(self) -> dict[str, np.ndarray]:
        """Path of a kernel -> True where its weight is left; empty before the first `fit`."""
        return {name: left_in == 0 for name, left_in in self._left_in.items()}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Finds the kernels.

        Raises:
          InputError: the network or its optimizer cannot be rewound, or step k lies too late.
        """
        if (at_once := steps_at_once(self.model)) > 1:
            raise InputError(
                f"LotteryRewind masks after every step: compile with steps_per_execution=1. Received: {at_once}"
            )
        # Those that Keras 2 calls legacy have no `build`.
        if not hasattr(self.model.optimizer, "build"):
            raise InputError(
                "LotteryRewind needs an optimizer of keras.optimizers, whose state can be put back. Received: "
                f"{type(self.model.optimizer).__module__}.{type(self.model.optimizer).__name__}"
            )
        steps = self.params.get("steps")
        if steps and self.rewind_step >= steps * self.epochs_a_round:
            raise InputError(
                f"Argument `rewind_step` must lie within the first {self.epochs_a_round} epoch(s) of {steps} steps. "
                f"Received: {self.rewind_step}"
            )
        self._kernels = mask_kernels(self.model, self.layers)
        self.model.optimizer.build(self.model.trainable_variables)
        self._variables = [tf.Variable(tf.ones(one.shape, tf.bool), trainable=False) for one in self._kernels.values()]
        self._mask = tf.function(self._mask_all, autograph=False)
        self._epoch, self._first = 0, True

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes the epoch."""
        self._epoch = epoch

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Before the first step of a `fit` what an earlier one left; before the first step of an epoch a round, if due.

        Not when the training begins: others may restore weights then.

        Raises:
          InputError: `path` is of another network or behind, or step k was never seen.
        """
        number, more = divmod(self._epoch, self.epochs_a_round)
        takes = batch == more == 0 and 0 < number <= self.rounds
        if self._first:
            self._first = False
            self._begin(batch, min(number, self.rounds) - takes)
        if takes:
            self._take(number)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Masks; and remembers the state at step k."""
        self._mask()
        self._step += 1
        if self._rewound is None and self._step == self.rewind_step:
            self._keep()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Adds the share of weights left."""
        if logs is not None:
            logs["weights_left"] = share_left(self.masks)

    def _begin(self, batch: int, rounds: int) -> None:
        """The masks as they were after so many rounds."""
        if self._epoch == 0 and batch == 0:
            self.round, self._step, self._rewound = 0, 0, None
            self._left_in = {name: np.zeros(tuple(one.shape), np.int16) for name, one in self._kernels.items()}
            if self.rewind_step == 0:
                self._keep()
        else:
            steps = self.params.get("steps")
            self._step = self._epoch * steps + batch if steps else int(self.model.optimizer.iterations.numpy())
            if self.path is not None and self.path.is_file():
                self._restore()
            got = {name: one.shape for name, one in self._left_in.items()}
            if got != {name: tuple(one.shape) for name, one in self._kernels.items()} or self.round < rounds:
                raise InputError(
                    f"A training that goes on in epoch {self._epoch + 1} needs the masks of {rounds} round(s) of this "
                    f"network, in `path` or from the `fit` before. Received: {self.path or 'no path'} with "
                    + (f"{self.round} round(s) of {', '.join(sorted(got))}" if got else "no masks")
                )
            # What was taken later than that is taken anew.
            for left_in in self._left_in.values():
                left_in[left_in > rounds] = 0
            self.round = rounds
        self._put_on()

    def _take(self, number: int) -> None:
        if self._rewound is None and self.rewind != "fine_tune":
            raise InputError(
                f"The state at step {self.rewind_step} must have been seen or lie in `path`. Received: a training that "
                f"began at a later step, and {self.path or 'no path'}"
            )
        scores = {name: np.abs(kernel.numpy()) for name, kernel in self._kernels.items()}
        before = self.masks
        for name, mask in pruned(before, scores, self._shares[number - 1], self.scope).items():
            self._left_in[name][before[name] & ~mask] = number
        self.round = number
        self._save()
        if self.rewind != "fine_tune":
            self._go_back()
        self._put_on()

    def _put_on(self) -> None:
        for variable, mask in zip(self._variables, self.masks.values(), strict=True):
            variable.assign(mask)
        self._mask()

    def _go_back(self) -> None:
        assert self._rewound is not None
        weights, state = self._rewound
        optimizer = self.model.optimizer
        if self.rewind == "weights":
            self.model.set_weights(weights)
        else:
            # Moments belong to the weights and begin anew; single numbers, as the count of steps, go back.
            fresh = type(optimizer).from_config(optimizer.get_config())
            fresh.build(self.model.trainable_variables)
            state = [old if old.ndim == 0 else new.numpy() for old, new in zip(state, fresh.variables, strict=True)]
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)

    def _keep(self) -> None:
        state = [variable.numpy() for variable in self.model.optimizer.variables]
        self._rewound = (self.model.get_weights(), state)
        self._save()

    def _save(self) -> None:
        if self.path is None:
            return
        arrays = {f"left_in/{name}": left_in for name, left_in in self._left_in.items()}
        arrays["round"] = np.asarray(self.round)
        for kind, values in zip(("weight", "optimizer"), self._rewound or (), strict=False):
            arrays |= {f"{kind}/{place:04d}": value for place, value in enumerate(values)}
        with atomic_path(self.path) as temporary, open(temporary, "wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]

    def _restore(self) -> None:
        arrays = load_arrays(self.path)  # type: ignore[arg-type]
        parts = {
            kind: {name.partition("/")[2]: arrays[name] for name in sorted(arrays) if name.startswith(f"{kind}/")}
            for kind in ("left_in", "weight", "optimizer")
        }
        weights, state = list(parts["weight"].values()), list(parts["optimizer"].values())
        wanted = (
            {name: tuple(kernel.shape) for name, kernel in self._kernels.items()},
            [tuple(one.shape) for one in self.model.weights],
            [tuple(one.shape) for one in self.model.optimizer.variables],
        )
        found = (
            {name: one.shape for name, one in parts["left_in"].items()},
            *([a.shape for a in b] for b in (weights, state)),
        )
        if "round" not in arrays or found[0] != wanted[0] or (weights and found != wanted):
            raise InputError(
                f"{self.path} must hold the masks of this network and of its optimizer. Received: masks of "
                f"{', '.join(parts['left_in']) or 'nothing'}, {len(weights)} weights and {len(state)} of an optimizer"
            )
        self._left_in = {name: parts["left_in"][name] for name in self._kernels}
        self.round, self._rewound = int(arrays["round"]), (weights, state) if weights else None

    def _mask_all(self) -> None:
        for kernel, mask in zip(self._kernels.values(), self._variables, strict=True):
            kernel.assign(tf.where(mask, kernel, tf.zeros_like(kernel)))
