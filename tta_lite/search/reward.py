"""What is a network worth that is accurate and takes time? MnasNet's reward, and the two-objective front.

Tan et al., *MnasNet: Platform-Aware Neural Architecture Search for Mobile*, CVPR 2019, section 3,
https://arxiv.org/abs/1807.11626. Imports no TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from tta_lite.types import InputError

# Figure 3 of the paper: (alpha, beta), the powers at or below the target and above it. The soft one asks for 5 % more
# accuracy for twice the latency.
HARD, SOFT = (0.0, -1.0), (-0.07, -0.07)


class Scored(Protocol):
    """What has both figures; `Measured` of the engine does."""

    @property
    def accuracy(self) -> float:
        """0..100."""

    @property
    def latency_ms(self) -> float:
        """Milliseconds."""


Some = TypeVar("Some", bound=Scored)


def reward(accuracy: float, latency_ms: float, target_ms: float, *, hard: bool = False) -> float:
    """-> accuracy x (latency / target)^w, equation 2 of the paper; in the unit of `accuracy`.

    Args:
      accuracy: 0 or more.
      latency_ms: of the network.
      target_ms: that it should not exceed.
      hard: w is 0 up to the target and -1 above it; if not, -0.07 everywhere: faster is always better.

    Raises:
      InputError: a figure out of its range.

    Example:
      >>> reward(70.0, 40.0, 80.0, hard=True), reward(70.0, 160.0, 80.0, hard=True)
      (70.0, 35.0)
      >>> round(reward(70.0, 160.0, 80.0), 2)
      66.68
    """
    if not 0 <= accuracy < math.inf:
        raise InputError(f"Argument `accuracy` must be a number of 0 or more. Received: {accuracy!r}")
    for name, value in (("latency_ms", latency_ms), ("target_ms", target_ms)):
        if not 0 < value < math.inf:
            raise InputError(f"Argument `{name}` must be a number above 0. Received: {value!r}")
    alpha, beta = HARD if hard else SOFT
    return accuracy * (latency_ms / target_ms) ** (alpha if latency_ms <= target_ms else beta)


def front(measured: Sequence[Some]) -> tuple[Some, ...]:
    """-> those that no other one dominates, fastest first.

    One dominates another if it is at least as accurate and at least as fast, and better in one of the two. Of several
    with the same two figures the first is kept.

    Raises:
      InputError: a figure that is no number.

    Example:
      >>> import collections
      >>> Net = collections.namedtuple("Net", "accuracy latency_ms")
      >>> [tuple(net) for net in front([Net(70, 9), Net(60, 5), Net(59, 6), Net(70, 10)])]
      [(60, 5), (70, 9)]
    """
    for one in measured:
        if not (math.isfinite(one.accuracy) and math.isfinite(one.latency_ms)):
            raise InputError(f"A front is of numbers. Received: {one.accuracy!r} and {one.latency_ms!r} ms")
    found: list[Some] = []
    # Sorting is stable: of equals the first comes first.
    for one in sorted(measured, key=lambda one: (one.latency_ms, -one.accuracy)):
        if not found or one.accuracy > found[-1].accuracy:
            found.append(one)
    return tuple(found)


def hypervolume(measured: Sequence[Scored], *, worst_accuracy: float = 0.0, worst_ms: float) -> float:
    """-> the area, in points x milliseconds, that is dominated by one or more and better than a reference point.

    Zitzler and Thiele, *Multiobjective Evolutionary Algorithms*, IEEE TEC 1999. Two searches are comparable if the
    reference point is the same.

    Args:
      measured: all or the front only, it is the same.
      worst_accuracy: of the reference point; what is not above it counts nothing.
      worst_ms: of the reference point; what is not below it counts nothing.

    Raises:
      InputError: a figure that is no number.

    Example:
      >>> import collections
      >>> Net = collections.namedtuple("Net", "accuracy latency_ms")
      >>> hypervolume([Net(60, 5), Net(70, 9)], worst_accuracy=50, worst_ms=10)
      60.0
    """
    for name, value in (("worst_accuracy", worst_accuracy), ("worst_ms", worst_ms)):
        if not math.isfinite(value):
            raise InputError(f"Argument `{name}` must be a number. Received: {value!r}")
    best = [one for one in front(measured) if one.accuracy > worst_accuracy and one.latency_ms < worst_ms]
    area = 0.0
    # Between one and the next slower one, the first is the best that there is.
    for place, one in enumerate(best, start=1):
        end = best[place].latency_ms if place < len(best) else worst_ms
        area += (one.accuracy - worst_accuracy) * (end - one.latency_ms)
    return area
