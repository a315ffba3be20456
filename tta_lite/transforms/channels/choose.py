"""Which channels leave, so that the network is as small as it shall be and loses the least?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.costs import Costs
from tta_lite.transforms.channels.criteria_weights import Scores
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.transforms.channels.sensitivity import Curves, sensitivity_curves
from tta_lite.transforms.channels.targets import Latency, Target, fewest, inside, make_target, sizes
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

SCOPES = ("global", "threshold", "per_layer")
METHODS = ("greedy", "sensitivity")

Kept = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Choice:
    """What leaves, and what the whole network then costs.

    Attributes:
      remove: group -> the units that leave, rising; groups that stay whole are not in it.
      sizes: group -> its size before and after, for every group.
      macs_before: of one inference.
      macs: after.
      params_before: parameters, those that training does not change too.
      params: after.
      latency_ms: what the function of the target measured; None without one.
    """

    remove: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, tuple[int, int]]
    macs_before: int
    macs: int
    params_before: int
    params: int
    latency_ms: float | None = None


def choose_channels(
    model: keras.Model,
    groups: Sequence[ChannelGroup],
    scores: Scores | Callable[[], Scores],
    *,
    macs: float | None = None,
    params: float | None = None,
    latency: Latency | None = None,
    within: Sequence[str] | None = None,
    scope: str = "global",
    method: str = "greedy",
    round_to: int = 8,
    floor: int = 8,
    comparable: bool = True,
    images: np.ndarray | None = None,
    loss: Callable[[keras.Model], float] | None = None,
) -> Choice:
    """-> the units that leave: from each group those with the least score, from the groups as `scope` or `method` say.

    Greedy, one step of `round_to` channels after the other until the target is met:

    - ``global``: where the least is lost for each MAC (or parameter) that is freed. A group whose units score S in all
      and s after has lost S log(S / s): at first what leaves scores, and more and more the less is left, so that no
      layer is emptied because its first channels were cheap. Where scores of different groups cannot be compared, as
      norms, a group's S is what the layers cost that it takes part in: with equal scores the same share leaves each
      group, and the scores move it from there.
    - ``threshold``: where the scores are least, compared over the layers as they are. Network Slimming's rule.
    - ``per_layer``: the same share of each group.

    By sensitivity: each group is cut at several sizes, alone, and what that changes is measured; then all are cut as
    far as the same change bounds them all (Li et al., ICLR 2017, section 3.2).

    Args:
      model: functional, its input size fixed. It is not changed.
      groups: of `channel_groups`; fixed ones stay as they are, and so do those without a score.
      scores: of a criterion. A function is called for them once it is known that the target can be reached.
      macs: the target: a share of what the layers within have if below 1, else how many are left;
      params: or the same for parameters;
      latency: or a function that measures a model in ms, and the most that it may take.
      within: names and patterns of the layers that may lose channels, as in ``backbone_*``; None is all.
      scope: ``global``, ``threshold`` or ``per_layer``.
      method: ``greedy`` or ``sensitivity``; the second has no use for `scope`.
      round_to: a group's size is a multiple of this after.
      floor: the fewest channels of a group.
      comparable: whether the scores of different groups can be compared; for ``global``.
      images: for the sensitivity, [N, H, W, C]: what is measured is the change of the network's outputs;
      loss: or this function's value, the lower the better, as the loss or the share of errors on a few batches.

    Raises:
      InputError: an argument out of range, or a target that cannot be reached; it says the least that can.
    """
    if scope not in SCOPES:
        raise InputError(f"Argument `scope` must be one of {', '.join(SCOPES)}. Received: {scope!r}")
    if method not in METHODS:
        raise InputError(f"Argument `method` must be one of {', '.join(METHODS)}. Received: {method!r}")
    if method == "sensitivity" and (images is None) == (loss is None):
        raise InputError(
            "Sensitivity is measured either on `images` or by a function `loss`. "
            f"Received: {'neither' if images is None else 'both'}"
        )
    costs = Costs(model, groups, within)
    fixed = [group for group in groups if group.why_fixed]

    def build(kept: Mapping[str, np.ndarray]) -> keras.Model:
        return remove_channels(model, _removed(kept))

    def target_with(usable: Sequence[ChannelGroup]) -> Target:
        return make_target(
            costs,
            usable,
            macs=macs,
            params=params,
            latency=latency,
            round_to=round_to,
            floor=floor,
            build=build,
            fixed=fixed,
        )

    usable = inside(groups, costs)
    target = target_with(usable)
    found = scores() if callable(scores) else scores
    _check_scores(found, groups)
    if any(group.name not in found for group in usable):
        usable = [group for group in usable if group.name in found]
        target = target_with(usable)
    ladders = {group.name: sizes(group, round_to, floor) for group in usable}
    order = {name: np.argsort(found[name], kind="stable") for name in ladders}
    if method == "sensitivity":
        curves = sensitivity_curves(model, usable, order, ladders, images=images, loss=loss)
        steps = _by_sensitivity(ladders, curves)
    elif scope == "per_layer":
        steps = _same_share(ladders)
    elif scope == "threshold":
        steps = _threshold(ladders, found, order)
    else:
        kind = "params" if target.kind == "params" else "macs"
        weights = {name: float(found[name].sum()) if comparable else costs.share(name, kind) for name in ladders}
        steps = _least_per_cost(ladders, found, order, costs, kind, weights)
    kept, latency_ms = _walk(steps, order, costs, target, build)
    if target.measure is None and (method == "sensitivity" or scope == "global"):
        _give_back(kept, ladders, order, costs, target)
    before, after = costs.total(costs.full(), inside=False), costs.total(kept, inside=False)
    return Choice(
        {name: tuple(units) for name, units in _removed(kept).items()},
        {group.name: (group.size, int(kept[group.name].sum())) for group in groups},
        before.macs,
        after.macs,
        before.params,
        after.params,
        latency_ms,
    )


def _removed(kept: Mapping[str, np.ndarray]) -> dict[str, list[int]]:
    return {name: np.flatnonzero(~mask).tolist() for name, mask in kept.items() if not mask.all()}


def _check_scores(scores: Scores, groups: Sequence[ChannelGroup]) -> None:
    known = {group.name: group.size for group in groups}
    for name, values in scores.items():
        if name not in known or np.shape(values) != (known[name],) or not np.isfinite(values).all():
            wanted = f"{known[name]} finite numbers" if name in known else f"a group, as {next(iter(known), 'none')!r}"
            raise InputError(f"Argument `scores` must hold {wanted} for {name!r}. Received: {np.shape(values)} values")


def _mask(order: np.ndarray, size: int) -> np.ndarray:
    """-> which units are there when the `size` best are left."""
    mask = np.ones(len(order), bool)
    mask[order[: len(order) - size]] = False
    return mask


Step = tuple[str, int]
"""A group, and its size after."""


def _same_share(ladders: Mapping[str, list[int]]) -> Iterator[Step]:
    steps = [(1 - size / own, name, size) for name, (own, *rest) in ladders.items() for size in rest]
    yield from ((name, size) for _, name, size in sorted(steps, key=lambda step: step[0]))


def _by_sensitivity(ladders: Mapping[str, list[int]], curves: Curves) -> Iterator[Step]:
    steps = [(curves[name].at(size), name, size) for name, (_, *rest) in ladders.items() for size in rest]
    # Of one group the larger size comes first, also where the curve is flat.
    yield from ((name, size) for _, name, size in sorted(steps, key=lambda step: (step[0], -step[2])))


def _threshold(ladders: Mapping[str, list[int]], scores: Scores, order: Mapping[str, np.ndarray]) -> Iterator[Step]:
    steps = []
    for name, (own, *rest) in ladders.items():
        ranked = scores[name][order[name]]
        # A step comes when its last channel is due.
        steps += [(ranked[own - size - 1], name, size) for size in rest]
    yield from ((name, size) for _, name, size in sorted(steps, key=lambda step: (step[0], -step[2])))


def _least_per_cost(
    ladders: Mapping[str, list[int]],
    scores: Scores,
    order: Mapping[str, np.ndarray],
    costs: Costs,
    kind: str,
    weights: Mapping[str, float],
) -> Iterator[Step]:
    """Looks anew after each step: what a channel costs depends on how many its neighbours have left."""
    kept = costs.full()
    place = dict.fromkeys(ladders, 0)
    # What is left of a group's scores at each size.
    left = {}
    for name, ladder in ladders.items():
        falling = np.cumsum(np.sort(scores[name])[::-1])
        left[name] = [max(float(falling[size - 1]), 1e-30) for size in ladder]
    prices: dict[str, float] = {}
    stale = set(ladders)
    while True:
        for name in stale:
            ladder, at = ladders[name], place[name]
            prices.pop(name, None)
            if at + 1 < len(ladder):
                freed = getattr(costs.freed(kept, name, _mask(order[name], ladder[at + 1])), kind)
                lost = weights[name] * math.log(left[name][at] / left[name][at + 1])
                prices[name] = lost / freed if freed else math.inf
        if not prices:
            return
        name = min(prices, key=prices.__getitem__)
        place[name] += 1
        size = ladders[name][place[name]]
        kept[name] = _mask(order[name], size)
        yield name, size
        stale = {other for other in ladders if costs.touched[other] & costs.touched[name]}


def _walk(
    steps: Iterator[Step],
    order: Mapping[str, np.ndarray],
    costs: Costs,
    target: Target,
    build: Callable[[Mapping[str, np.ndarray]], keras.Model],
) -> tuple[Kept, float | None]:
    """-> what is kept when the first of the steps that meet the target are taken."""
    kept = costs.full()
    if target.measure is not None:
        return _search(list(steps), order, costs, target, build)
    total = getattr(costs.total(kept), target.kind)
    for name, size in [("", 0)] if total <= target.limit else steps:
        if name:
            after = _mask(order[name], size)
            total -= getattr(costs.freed(kept, name, after), target.kind)
            kept[name] = after
        if total <= target.limit:
            return kept, None
    raise AssertionError("the least was checked before")


def _give_back(
    kept: Kept, ladders: Mapping[str, list[int]], order: Mapping[str, np.ndarray], costs: Costs, target: Target
) -> None:
    """The last step may have freed much more than was missing: what still fits comes back, the most costly first."""
    spare = target.limit - getattr(costs.total(kept), target.kind)
    while True:
        fits = {}
        for name, ladder in ladders.items():
            at = ladder.index(int(kept[name].sum()))
            if at:
                larger = _mask(order[name], ladder[at - 1])
                cost = -getattr(costs.freed(kept, name, larger), target.kind)
                if cost <= spare:
                    fits[name] = (cost, larger)
        if not fits:
            return
        name = max(fits, key=lambda name: fits[name][0])
        spare -= fits[name][0]
        kept[name] = fits[name][1]


def _search(
    steps: Sequence[Step],
    order: Mapping[str, np.ndarray],
    costs: Costs,
    target: Target,
    build: Callable[[Mapping[str, np.ndarray]], keras.Model],
) -> tuple[Kept, float]:
    """-> what is kept by the fewest steps that keep a limit of time, and what that took."""

    def after(count: int) -> Kept:
        kept = costs.full()
        for name, size in steps[:count]:
            kept[name] = _mask(order[name], size)
        return kept

    count, latency_ms = fewest(len(steps), lambda count: build(after(count)), target)
    return after(count), latency_ms
