"""What a network costs when channels leave, by formula: nothing is rebuilt to know it."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms import op_counts
from tta_lite.transforms.channels.groups import ChannelGroup, Part
from tta_lite.transforms.channels.weights import places
from tta_lite.transforms.graph import Graph, Shape, trace
from tta_lite.types import InputError

L = keras.layers
SEPARABLE = (L.SeparableConv1D, L.SeparableConv2D)


@dataclasses.dataclass(frozen=True)
class Cost:
    """MACs of one inference, and parameters (those that training does not change too)."""

    macs: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.macs - other.macs, self.params - other.params)


class _Side:
    """The channels on one side of a layer, by the groups that they belong to."""

    def __init__(self, own: Sequence[tuple[str, Part]]) -> None:
        self.full = len(own[0][1].units)
        self.counts = []
        for group, part in own:
            counts = np.bincount(part.units[part.units >= 0])
            # Nearly always each unit has as many channels as any other, and counting units will do.
            self.counts.append((group, counts, int(counts[0]) if (counts == counts[0]).all() else 0))

    def way(self, kept: Mapping[str, np.ndarray]) -> Way:
        gone = 0
        for group, counts, each in self.counts:
            mask = kept[group]
            if each and len(counts) == len(mask):
                gone += each * (len(mask) - int(np.count_nonzero(mask)))
            else:
                gone += int(counts[~mask[: len(counts)]].sum())
        return self.full - gone, self.full


class _Layer:
    """A layer with its weights, and what is multiplied in all its calls."""

    def __init__(self, layer: keras.layers.Layer, macs: int, parts: Sequence[tuple[str, Part]]) -> None:
        self.layer, self.macs = layer, macs
        by_side = {side: [one for one in parts if one[1].side == side] for side in ("in", "out", "each")}
        self.sides = {side: _Side(own) for side, own in by_side.items() if own}
        # Each weight: how large, and along which sides it shrinks.
        sides: dict[str, list[str]] = {}
        for side, found in places(layer).items():
            for place in found:
                sides.setdefault(place.weight, []).append(side)
        self.weights = [(math.prod(getattr(layer, name).shape), of) for name, of in sides.items()]
        self.others = sum(math.prod(weight.shape) for weight in layer.weights) - sum(size for size, _ in self.weights)

    def cost(self, kept: Mapping[str, np.ndarray]) -> Cost:
        """-> with the units of each group that `kept` marks."""
        ways = {name: side.way(kept) for name, side in self.sides.items()}
        params = self.others
        for size, sides in self.weights:
            for side in sides:
                size = _part(size, ways.get(side))
            params += size
        return Cost(self._macs(ways), params)

    def _macs(self, sides: Mapping[str, Way]) -> int:
        reads, makes, each = (sides.get(side) for side in ("in", "out", "each"))
        if not isinstance(self.layer, SEPARABLE):
            return _part(_part(_part(self.macs, reads), makes), each)
        taps, outputs = math.prod(self.layer.kernel_size), int(self.layer.filters)
        across = self.macs * outputs // (taps + outputs)
        return _part(_part(across, reads), makes) + _part(self.macs - across, reads)


Way = tuple[int, int]
"""How many channels of a side are left, and of how many."""


def _part(value: int, way: Way | None) -> int:
    return value if way is None else value * way[0] // way[1]


class Costs:
    """What a network costs with some of its channels, in all or in the layers that patterns name.

    Args:
      model: functional, its input size fixed.
      groups: of `channel_groups`.
      within: names and patterns of layers, as in ``backbone_*``; None is all.

    Raises:
      InputError: a size is open, or a pattern names nothing.
    """

    def __init__(self, model: keras.Model, groups: Sequence[ChannelGroup], within: Sequence[str] | None = None) -> None:
        graph = trace(model)
        names = list(dict.fromkeys(call.name for call in graph.calls))
        self.inside = set(names) if within is None else matching(names, within)
        by_name: dict[str, list[tuple[str, Part]]] = {}
        for group in groups:
            for part in group.parts:
                by_name.setdefault(part.layer, []).append((group.name, part))
        macs: dict[str, int] = dict.fromkeys(names, 0)
        layers = {call.name: call.layer for call in graph.calls}
        for call, own in zip(graph.calls, call_macs(graph), strict=True):
            macs[call.name] += own
        self.layers = {name: _Layer(layers[name], macs[name], tuple(by_name.get(name, ()))) for name in names}
        self.touched = {group.name: {part.layer for part in group.parts} for group in groups}
        self.sizes = {group.name: group.size for group in groups}

    def full(self) -> dict[str, np.ndarray]:
        """-> group -> which units are there: all."""
        return {name: np.ones(size, bool) for name, size in self.sizes.items()}

    def total(self, kept: Mapping[str, np.ndarray], *, inside: bool = True) -> Cost:
        """-> of the layers within, or of all."""
        names = self.inside if inside else self.layers
        return sum((self.layers[name].cost(kept) for name in names), Cost(0, 0))

    def freed(self, kept: Mapping[str, np.ndarray], group: str, after: np.ndarray) -> Cost:
        """-> what the layers within cost less when one group keeps the units of `after` only."""
        smaller = {**kept, group: after}
        names = self.touched[group] & self.inside
        return sum((self.layers[name].cost(kept) - self.layers[name].cost(smaller) for name in names), Cost(0, 0))

    def share(self, group: str, kind: str) -> float:
        """-> ``macs`` or ``params`` of the layers within that a group takes part in, by its share of their channels.

        What is freed with one unit, times all units: a layer that makes and reads channels of the group counts twice.
        """
        full = self.full()
        one = full[group].copy()
        one[0] = False
        return self.sizes[group] * float(getattr(self.freed(full, group, one), kind))


def call_macs(graph: Graph) -> list[int]:
    """-> MACs of each call; 0 for what the table of MACs does not know.

    Raises:
      InputError: a size is open.
    """
    found = []
    for call in graph.calls:
        *inputs, output = (_fixed(graph.shapes[number], call.name) for number in (*call.reads, call.writes[0]))
        found.append(op_counts.macs(call.layer, inputs, output) or 0)
    return found


def _fixed(shape: Shape, where: str) -> tuple[int, ...]:
    """-> a shape with its batch set to 1."""
    sizes = tuple(size for size in shape[1:] if size is not None)
    if len(sizes) < len(shape) - 1:
        raise InputError(
            "What leaves is weighed by MACs, which needs a fixed size: build the model with its input shape, or give "
            f"rewrite() `input_shapes`. Received: {shape} in {where!r}"
        )
    return (1, *sizes)


def matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """-> the layers that the patterns of an argument `within` fit.

    Raises:
      InputError: one fits none.
    """
    found = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        matched = fnmatch.filter(names, pattern)
        if not matched:
            raise InputError(
                f"Argument `within` must name layers, such as {', '.join(names[:3])}. Received: {pattern!r}, which "
                "matches none"
            )
        found.update(matched)
    return found
