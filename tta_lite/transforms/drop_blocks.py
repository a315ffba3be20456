"""A shallower network: without the residual blocks that are worth the least, with the weights of all others."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.costs import matching
from tta_lite.transforms.channels.criteria import check_given
from tta_lite.transforms.channels.criteria_gradients import Batch, Loss
from tta_lite.transforms.channels.groups import check_patterns
from tta_lite.transforms.channels.targets import Latency, Target, check_one_target, count_target, fewest, latency_target
from tta_lite.transforms.depth.blocks import ResidualBlock, Residuals, analyse
from tta_lite.transforms.depth.criteria import block_scores, get_block_criterion
from tta_lite.transforms.depth.repair import repair as repaired
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.transforms.rewrite import rewrite
from tta_lite.transforms.text_table import aligned
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Dropped:
    """The shallower model and what left; MACs and parameters are those of the whole network.

    Attributes:
      model: the shallower one, ready for fine-tuning.
      removed: names of the blocks that left, in the order of running.
      blocks: all residual blocks of the network before.
      scores: block -> what it was worth, of those that might have left.
      fixed: block -> why it could not leave.
      macs_before: of one inference.
      macs_after: of one inference.
      params_before: all, those too that training does not change.
      params_after: the same.
      latency_ms: what the function of the target measured; None without one.
    """

    model: keras.Model
    removed: tuple[str, ...]
    blocks: tuple[ResidualBlock, ...]
    scores: Mapping[str, float]
    fixed: Mapping[str, str]
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int
    latency_ms: float | None = None

    def table(self) -> str:
        """-> plain text, one line a block."""
        head = ("block", "MACs", "parameters", "score", "")
        rows = [
            (
                block.name,
                f"{block.macs:,}",
                f"{block.params:,}",
                f"{self.scores[block.name]:.3g}" if block.name in self.scores else "",
                "left" if block.name in self.removed else self.fixed.get(block.name, ""),
            )
            for block in self.blocks
        ]
        total = [
            ("before", f"{self.macs_before:,}", f"{self.params_before:,}", "", ""),
            ("after", f"{self.macs_after:,}", f"{self.params_after:,}", "", ""),
        ]
        return aligned(head, [*rows, *total])


def drop_blocks(
    model: keras.Model,
    criterion: str = "block_influence",
    *,
    macs: float | None = None,
    params: float | None = None,
    latency: Latency | None = None,
    blocks: int | None = None,
    within: Sequence[str] | None = None,
    protected: Sequence[str] = (),
    images: np.ndarray | None = None,
    batches: Sequence[Batch] | None = None,
    loss: Loss | None = None,
    repair: bool | None = None,
    seed: int = 0,
) -> Dropped:
    """-> a shallower model: the residual blocks that are worth the least are gone, all others have their weights.

    Args:
      model: functional, with one input, its size fixed; nested models are flattened. It is not changed.
      criterion: what a block is worth, a key of `depth.criteria.CRITERIA`.
      macs: the target: what is left of the MACs of the layers within, as a share if below 1, else how many;
      params: or the same of the parameters;
      latency: or a function that measures a model in ms, and the most that it may take;
      blocks: or how many blocks leave.
      within: names and patterns of layers, as in ``block_*``: a block may leave if all its layers are among them.
        None is all.
      protected: names and patterns of layers that stay, and with them the blocks that they are part of.
      images: calibration images [N, H, W, C] as the network takes them, without labels.
      batches: pairs (x, y), for the criterion that looks at gradients;
      loss: and the loss of (y, prediction).
      repair: fit the layers behind to what they gave, on `images`, see `depth.repair`. The default is to do so if there
        are images.
      seed: of what is left to chance.

    Raises:
      InputError: an argument out of range, something missing that the criterion needs, a pattern that names nothing, or
        a target that cannot be reached; it says the least that can. All this before any work.

    Example: of two blocks the one that does nothing.

      >>> image = x = keras.Input((8, 8, 4))
      >>> for name, start in (("idle", "zeros"), ("busy", "ones")):
      ...     y = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=start, name=name)(x)
      ...     x = keras.layers.Add(name=f"{name}_add")([x, y])
      >>> found = drop_blocks(keras.Model(image, x), macs=0.5, images=np.ones((2, 8, 8, 4), np.float32))
      >>> found.removed, found.macs_after / found.macs_before
      (('idle_add',), 0.5)
    """
    how = get_block_criterion(criterion)
    check_given(criterion, how.needs, images=images, batches=batches, loss=loss)
    check_one_target(macs=macs, params=params, latency=latency, blocks=blocks)
    if repair and images is None:
        raise InputError("A repair fits layers to their outputs on `images`. Received: repair=True without images")
    flat = rewrite(model, {}, flatten=True)
    found = analyse(flat)
    layers = [call.name for call in found.graph.calls]
    inside = set(layers) if within is None else matching(layers, within)
    patterns = [protected] if isinstance(protected, str) else list(protected)
    check_patterns(layers, patterns)
    fixed = _fixed(found, inside, patterns)
    free = [block.name for block in found.blocks if block.name not in fixed]
    why = _why(free, fixed)
    target = None
    if blocks is not None:
        _check_number(blocks, free, why)
    elif latency is not None:
        target = latency_target(latency, lambda: remove_blocks(flat, free), why)
    else:
        kind, value = ("macs", macs) if params is None else ("params", params)
        target = count_target(kind, value, found.cost((), inside), found.cost(free, inside), why)
    scores = block_scores(flat, criterion, images=images, batches=batches, loss=loss, seed=seed)
    order = _order(found, {name: scores[name] for name in free}, target, inside, per_cost=how.per_cost)
    latency_ms = None
    if target is None:
        chosen = order[:blocks]
    elif target.measure is not None:
        count, latency_ms = fewest(len(order), lambda count: remove_blocks(flat, order[:count]), target)
        chosen = order[:count]
    else:
        chosen = _until(found, order, target, inside)
    removed = tuple(block.name for block in found.blocks if block.name in chosen)
    smaller = remove_blocks(flat, removed)
    if removed and images is not None and repair is not False:
        smaller = repaired(flat, smaller, removed, images)
    before, after = found.cost(()), found.cost(removed)
    return Dropped(
        smaller,
        removed,
        found.blocks,
        {name: scores[name] for name in free},
        fixed,
        before.macs,
        after.macs,
        before.params,
        after.params,
        latency_ms,
    )


def _fixed(found: Residuals, inside: Collection[str], protected: Sequence[str]) -> dict[str, str]:
    """-> block -> why it must stay."""
    fixed = {}
    for block in found.blocks:
        kept = [name for name in block.layers if any(fnmatch.fnmatchcase(name, one) for one in protected)]
        outside = [name for name in block.layers if name not in inside]
        if block.why_fixed:
            fixed[block.name] = block.why_fixed
        elif kept:
            fixed[block.name] = f"protected: {kept[0]}"
        elif outside:
            fixed[block.name] = f"not within: {outside[0]}"
    return fixed


def _why(free: Sequence[str], fixed: Mapping[str, str]) -> str:
    """-> what the least is reached with, for messages."""
    text = f"without all {len(free)} blocks that may leave"
    if fixed:
        name, why = next(iter(fixed.items()))
        text += f"; {len(fixed)} are fixed, as {name!r} ({why})"
    return text


def _check_number(blocks: object, free: Sequence[str], why: str) -> None:
    if isinstance(blocks, bool) or not isinstance(blocks, (int, np.integer)) or blocks < 1:
        raise InputError(f"Argument `blocks` must be how many blocks leave, 1 or more. Received: {blocks!r}")
    if blocks > len(free):
        raise InputError(f"Argument `blocks`: the least that can be reached is {why}. Received: {blocks!r}")


def _order(
    found: Residuals, scores: Mapping[str, float], target: Target | None, inside: Collection[str], *, per_cost: bool
) -> list[str]:
    """-> the blocks in the order in which they leave."""
    if not per_cost or target is None:
        return sorted(scores, key=lambda name: scores[name])
    kind = "params" if target.kind == "params" else "macs"
    whole = found.cost((), inside)
    freed = {name: getattr(whole - found.cost([name], inside), kind) for name in scores}
    return sorted(scores, key=lambda name: scores[name] / max(freed[name], 1e-30))


def _until(found: Residuals, order: Sequence[str], target: Target, inside: Collection[str]) -> list[str]:
    """-> the first blocks with which the target is met, without those that it does not need."""

    def fits(names: Collection[str]) -> bool:
        return getattr(found.cost(names, inside), target.kind) <= target.limit

    count = next(count for count in range(len(order) + 1) if fits(order[:count]))
    chosen = list(order[:count])
    # The last one may have freed more than was missing: what is worth the most comes back first.
    for name in reversed(order[: max(count - 1, 0)]):
        rest = [other for other in chosen if other != name]
        if fits(rest):
            chosen = rest
    return chosen
