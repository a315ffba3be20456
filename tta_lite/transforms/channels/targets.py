"""How small must the network be, how small can it be, and which sizes may a group have?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.costs import Cost, Costs
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.transforms.channels.units import free, parts, width
from tta_lite.types import InputError

Latency = tuple[Callable[[keras.Model], float], float]
"""What measures a model, in milliseconds, and the most that it may take."""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be reached.

    Attributes:
      kind: ``macs``, ``params`` or ``latency``.
      limit: MACs, parameters or milliseconds; of the layers within, but for a latency.
      measure: what takes a latency; None otherwise.
    """

    kind: str
    limit: float
    measure: Callable[[keras.Model], float] | None = None


def sizes(group: ChannelGroup, round_to: int, floor: int) -> list[int]:
    """-> the sizes that a group may have, its own first, then down in steps.

    A size other than its own is a multiple of `round_to` channels and not below the floor. Where several channels of a
    layer leave with one unit (grouped convolutions), they count as so many.

    Example:
      >>> sizes(ChannelGroup("conv", 28, ()), round_to=8, floor=10)
      [28, 24, 16]
    """
    channels = width(group)
    step = round_to // math.gcd(round_to, channels)
    least = max(1, math.ceil(floor / channels))
    return [group.size, *(size for size in range((group.size - 1) // step * step, 0, -step) if size >= least)]


def size_at(group: ChannelGroup, share: float, round_to: int, floor: int) -> int:
    """-> the largest of a group's sizes that is at most a share of its own, or its least.

    >>> [size_at(ChannelGroup("conv", 32, ()), share, round_to=8, floor=8) for share in (1.0, 0.8, 0.1)]
    [32, 24, 8]
    """
    ladder = sizes(group, round_to, floor)
    return next((size for size in ladder if size <= share * group.size), ladder[-1])


def inside(groups: Sequence[ChannelGroup], costs: Costs) -> list[ChannelGroup]:
    """-> the groups that may be touched and whose channels are all made in the layers within."""
    return [group for group in free(groups) if all(part.layer in costs.inside for part in parts(group, "out"))]


def least(groups: Sequence[ChannelGroup], costs: Costs, round_to: int, floor: int) -> dict[str, np.ndarray]:
    """-> group -> the units that are there when every group has its smallest size: the first ones."""
    kept = costs.full()
    for group in groups:
        kept[group.name][sizes(group, round_to, floor)[-1] :] = False
    return kept


def make_target(
    costs: Costs,
    groups: Sequence[ChannelGroup],
    *,
    macs: float | None,
    params: float | None,
    latency: Latency | None,
    round_to: int,
    floor: int,
    build: Callable[[Mapping[str, np.ndarray]], keras.Model],
    fixed: Sequence[ChannelGroup] = (),
) -> Target:
    """-> the target, if it can be reached.

    Args:
      costs: of the network.
      groups: those that may be touched.
      macs: of the layers within, after: a share of what they have if below 1, else how many.
      params: the same for parameters.
      latency: or the function that measures a model in ms, and the limit. It is asked once for the smallest network.
      round_to: sizes are multiples of this.
      floor: the fewest channels of a group.
      build: kept units -> the smaller model.
      fixed: groups that may not be touched, for the message.

    Raises:
      InputError: none or several of the three, a value out of range, or one that cannot be reached: it says the least
        that can.
    """
    check_one_target(macs=macs, params=params, latency=latency)
    for name, number in (("round_to", round_to), ("floor", floor)):
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or number < 1:
            raise InputError(f"Argument `{name}` must be a whole number, 1 or more. Received: {number!r}")
    smallest = least(groups, costs, round_to, floor)
    why = f"with {floor} channels, or the next multiple of {round_to}, in each of the {len(groups)} groups to be cut"
    if fixed:
        why += f"; {len(fixed)} are fixed, as {fixed[0].name!r} ({fixed[0].why_fixed})"
    if latency is not None:
        return latency_target(latency, lambda: build(smallest), why)
    kind, value = ("macs", macs) if params is None else ("params", params)
    return count_target(kind, value, costs.total(costs.full()), costs.total(smallest), why)


def check_one_target(**targets: object) -> None:
    """Refuses none or several of the ways to say how small the network shall be.

    Raises:
      InputError: says which were given.
    """
    given = [name for name, value in targets.items() if value is not None]
    if len(given) != 1:
        *most, last = (f"`{name}`" for name in targets)
        raise InputError(
            f"One of {', '.join(most)} and {last} must say how small the network shall be. "
            f"Received: {', '.join(given) or 'none of them'}"
        )


def count_target(kind: str, value: object, whole: Cost, smallest: Cost, why: str) -> Target:
    """-> a target of MACs or parameters.

    Args:
      kind: ``macs`` or ``params``.
      value: a share if below 1, else how many.
      whole: what there is;
      smallest: and what there is at least,
      why: for the message: with what.

    Raises:
      InputError: out of range, or it cannot be reached.
    """
    before, reached = getattr(whole, kind), getattr(smallest, kind)
    limit = _count(kind, value, before)
    if reached > limit:
        raise InputError(
            f"Argument `{kind}`: the least that can be reached is {reached:,} of {before:,} "
            f"({math.ceil(1e4 * reached / max(before, 1)) / 1e4:.4f}), {why}. Received: {value!r}"
        )
    return Target(kind, limit)


def _count(kind: str, value: object, whole: int) -> int:
    is_number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    number = float(value) if is_number else math.nan  # type: ignore[arg-type]
    if 0 < number < 1:
        return int(number * whole)
    if number >= 1 and number == int(number) and not (isinstance(value, float) and number == 1.0):
        return int(number)
    raise InputError(
        f"Argument `{kind}` must be the share that is left, between 0 and 1, or how many are left, a whole number. "
        f"Received: {value!r}"
    )


def latency_target(latency: Latency, smallest: Callable[[], keras.Model], why: str) -> Target:
    """-> a target of time; the smallest network is built and measured.

    Raises:
      InputError: no function and limit, or it cannot be reached.
    """
    if not (isinstance(latency, (tuple, list)) and len(latency) == 2 and callable(latency[0])):
        raise InputError(
            "Argument `latency` must be a function that measures a model in ms, and the most that it may take. "
            f"Received: {latency!r}"
        )
    measure, limit = latency
    if isinstance(limit, bool) or not isinstance(limit, (int, float, np.number)) or not limit > 0:
        raise InputError(f"Argument `latency`: the limit must be milliseconds, above 0. Received: {limit!r}")
    reached = float(measure(smallest()))
    if reached > limit:
        raise InputError(
            f"Argument `latency`: the least that can be reached is {reached:.3g} ms, {why}. Received: {limit!r}"
        )
    return Target("latency", float(limit), measure)


def fewest(steps: int, build: Callable[[int], keras.Model], target: Target) -> tuple[int, float]:
    """-> after how many steps a network keeps a limit of time, and what it then took, in ms.

    Halves the steps until two neighbours stand on both sides of the limit: a measurement each time.

    Args:
      steps: how many there are at most; with all of them the limit was kept when it was checked.
      build: number of steps -> the network after them.
      target: of time.

    Raises:
      InputError: the network after all steps is above the limit now.
    """
    assert target.measure is not None
    measured: dict[int, float] = {}

    def fits(count: int) -> bool:
        measured[count] = float(target.measure(build(count)))  # type: ignore[misc]
        return measured[count] <= target.limit

    if fits(0):
        return 0, measured[0]
    slow, fast = 0, steps
    while fast - slow > 1:
        middle = (slow + fast) // 2
        slow, fast = (slow, middle) if fits(middle) else (middle, fast)
    if fast not in measured and not fits(fast):
        raise InputError(
            f"Argument `latency`: the smallest network took {measured[fast]:.3g} ms when it was measured again. "
            f"Expected: a function that gives about the same each time. Received: a limit of {target.limit:g}"
        )
    return fast, measured[fast]
