"""How many channels between two factors? By a number, by the energy that is kept, or by a target for the network."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping

from tta_lite.transforms.factor_methods import Plan
from tta_lite.transforms.low_rank import rank_for
from tta_lite.types import InputError

KEPT = 0.9


def choose_ranks(
    plans: Mapping[str, Plan],
    costs: Mapping[str, int],
    others: int,
    *,
    rank: int | None = None,
    kept: float | None = None,
    macs: int | None = None,
    round_to: int = 8,
) -> dict[str, int]:
    """-> layer -> rank, 0 for a method that has none; layers that a target for the network leaves alone are not in it.

    Args:
      plans: layer -> what its method can do.
      costs: layer -> MACs as it is.
      others: MACs of all other layers.
      rank: the same for all,
      kept: or the least that keeps this share of the energy (0.9 if nothing is given),
      macs: or as a target for the whole network.
      round_to: ranks by `kept` and `macs` are multiples of this.

    Raises:
      InputError: a rank that a layer cannot have, or a target that cannot be reached.
    """
    if macs is not None:
        return _for_target(plans, costs, others, macs, round_to)
    ranks = {}
    for name, plan in plans.items():
        if plan.energies is None:
            if rank is not None or kept is not None:
                raise InputError(
                    f"This method has no rank to choose. Received: {'rank' if rank else 'kept'} for {name!r}"
                )
            ranks[name] = 0
        elif rank is not None:
            if rank > len(plan.energies) or rank % plan.step:
                multiple = f", a multiple of {plan.step}" if plan.step > 1 else ""
                raise InputError(
                    f"Argument `rank` must be {len(plan.energies)} or less{multiple} for {name!r}. Received: {rank}"
                )
            ranks[name] = rank
        else:
            ranks[name] = _rounded(rank_for(plan.energies, KEPT if kept is None else kept), plan, round_to)
    return ranks


def _rounded(rank: int, plan: Plan, round_to: int) -> int:
    unit, full = math.lcm(round_to, plan.step), len(plan.energies if plan.energies is not None else ())
    return min(math.ceil(rank / unit) * unit, full - full % plan.step)


def _for_target(
    plans: Mapping[str, Plan], costs: Mapping[str, int], others: int, target: int, round_to: int
) -> dict[str, int]:
    """Lowers ranks one step at a time, always where the least energy is lost for a MAC saved."""
    total = others + sum(costs[name] for name in plans)
    ranks: dict[str, int] = {}
    heap: list[tuple[float, str, int, int]] = []
    steps = {}
    for name, plan in plans.items():
        if plan.energies is None:
            raise InputError(f"This method has no rank to choose. Received: macs for {name!r}")
        steps[name] = _steps(plan, costs[name], round_to)
    for name in plans:
        heap += [(*step[:1], name, *step[1:]) for step in [next(steps[name], None)] if step is not None]
    heapq.heapify(heap)
    while total > target and heap:
        _, name, rank, saved = heapq.heappop(heap)
        ranks[name] = rank
        total -= saved
        following = next(steps[name], None)
        if following is not None:
            price, rank, saved = following
            heapq.heappush(heap, (price, name, rank, saved))
    if total > target:
        raise InputError(
            f"Argument `macs`: the network still has {total:,} with rank {round_to} in all selected layers; select "
            f"more layers. Received: {target:,}"
        )
    return ranks


def _steps(plan: Plan, cost: int, round_to: int) -> Iterator[tuple[float, int, int]]:
    """Yields, from the highest rank that saves anything downwards: energy lost for each MAC saved, rank, MACs saved."""
    assert plan.energies is not None
    total = max(float(plan.energies.sum()), 1e-30)
    unit = math.lcm(round_to, plan.step)
    lost, saved = 0.0, 0
    for rank in range(len(plan.energies) // unit * unit, 0, -unit):
        if plan.macs(rank) >= cost:
            continue
        more_lost = float(plan.energies[rank:].sum()) / total - lost
        more_saved = cost - plan.macs(rank) - saved
        lost, saved = lost + more_lost, saved + more_saved
        yield more_lost / more_saved, rank, more_saved
