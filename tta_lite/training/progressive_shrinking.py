"""Progressive shrinking: the whole network first, then smaller kernels, fewer blocks, fewer channels.

Cai et al., *Once-for-All*, ICLR 2020, section 3.3, https://arxiv.org/abs/1908.09791.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from tta_lite.training.once_for_all import OnceForAll
from tta_lite.training.watchers.base import Callback
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Phase:
    """Epochs in which as much is elastic.

    Attributes:
      name: for people.
      epochs: how many.
      kernels: options that may be drawn, counted from the largest; 1: only that; None: all.
      depths: the same, of the stages.
      widths: the same, of the channels.
      sampled: networks that are drawn in a step, beside the largest and, in a sandwich, the smallest; 0: the largest
        learns alone.

    Raises:
      InputError: a figure out of its range.
    """

    name: str
    epochs: int
    kernels: int | None = 1
    depths: int | None = 1
    widths: int | None = 1
    sampled: int = 1

    def __post_init__(self) -> None:
        if type(self.epochs) is not int or self.epochs < 1:
            raise InputError(f"A phase's `epochs` must be 1 or more. Received: {self.epochs!r}")
        for what in ("kernels", "depths", "widths"):
            count = getattr(self, what)
            if count is not None and (type(count) is not int or count < 1):
                raise InputError(f"A phase's `{what}` must be options, 1 or more, or None. Received: {count!r}")
        if type(self.sampled) is not int or self.sampled < 0:
            raise InputError(f"A phase's `sampled` must be 0 or more. Received: {self.sampled!r}")


def phases(full: int, kernel: int, depth: int, width: int) -> tuple[Phase, ...]:
    """-> the recipe of the paper: what was opened stays open, and more networks are drawn as there are more.

    One, two and four a step are the figures of the authors' ``train_ofa_net.py``
    (https://github.com/mit-han-lab/once-for-all); there the largest is not trained beside them. Their two halves of the
    phases of depth and width are phases too: ``Phase("depth", 10, None, 2)`` has only the next shorter stages.

    Args:
      full: epochs of the largest network alone; 0, here and below: no such phase, as for a network that is trained.
      kernel: epochs with smaller kernels;
      depth: with fewer blocks too;
      width: with fewer channels too.

    Raises:
      InputError: fewer than 0.

    Example:
      >>> [(phase.name, phase.epochs, phase.sampled) for phase in phases(20, 5, 5, 10)]
      [('full', 20, 0), ('kernel', 5, 1), ('depth', 5, 2), ('width', 10, 4)]
    """
    rows = (
        ("full", full, 1, 1, 1, 0), ("kernel", kernel, None, 1, 1, 1), ("depth", depth, None, None, 1, 2),
        ("width", width, None, None, None, 4),
    )  # fmt: skip
    return tuple(Phase(*row) for row in rows if row[1])


class ProgressiveShrinking(Callback):
    """Opens what is elastic in an `OnceForAll`, phase by phase; `fit` it for `epochs`.

    Before the first phase with smaller widths the channels are sorted by importance (`OnceForAll.sort_channels`). A
    training that goes on at a later epoch is in the phase of that epoch. Beyond the last phase it stays open.

    Args:
      phases: in order; the recipe is `phases`.

    Raises:
      InputError: none.

    Example:
      >>> shrinking = ProgressiveShrinking(phases(20, 5, 5, 10))
      >>> shrinking.epochs, shrinking.at(24).name, shrinking.begins
      (40, 'kernel', (0, 20, 25, 30))
    """

    def __init__(self, phases: Sequence[Phase]) -> None:
        super().__init__()
        if not phases:
            raise InputError("Argument `phases` must be one or more. Received: none")
        self.phases = tuple(phases)

    @property
    def epochs(self) -> int:
        """Of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def begins(self) -> tuple[int, ...]:
        """The first epoch of each phase, from 0."""
        return tuple(itertools.accumulate((phase.epochs for phase in self.phases[:-1]), initial=0))

    def at(self, epoch: int) -> Phase:
        """-> the phase of an epoch, from 0."""
        return max(zip(self.begins, self.phases, strict=True), key=lambda one: one[0] if one[0] <= epoch else -1)[1]

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Looks at the network."""
        if not isinstance(self.model, OnceForAll):
            raise InputError(
                f"ProgressiveShrinking is for an OnceForAll. Received: {type(self.model).__name__} {self.model.name!r}"
            )

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Opens what is due."""
        phase = self.at(epoch)
        narrow = [begin for begin, one in zip(self.begins, self.phases, strict=True) if one.widths != 1]
        if narrow and epoch == narrow[0]:
            self.model.sort_channels()
        self.model.allow(kernels=phase.kernels, depths=phase.depths, widths=phase.widths, sampled=phase.sampled)
