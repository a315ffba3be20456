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
from tta_lite.transforms.graph import Shape, trace
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


@dataclasses.dataclass(frozen=True, eq=False)
class _Layer:
    """A layer with its weights, and what is multiplied in all its calls."""

    layer: keras.layers.Layer
    macs: int
    parts: tuple[tuple[str, Part], ...]

    def cost(self, kept: Mapping[str, np.ndarray]) -> Cost:
        """-> with the units of each group that `kept` marks."""
        sides = {}
        for side in ("in", "out", "each"):
            own = [(group, part) for group, part in self.parts if part.side == side]
            if own:
                full = len(own[0][1].units)
                gone = sum(int((~kept[group][part.units[part.units >= 0]]).sum()) for group, part in own)
                sides[side] = (full - gone, full)
        left: dict[str, int] = {}
        for side, found in places(self.layer).items():
            for place in found:
                size = left.get(place.weight, math.prod(getattr(self.layer, place.weight).shape))
                left[place.weight] = _part(size, sides.get(side))
        whole = sum(math.prod(weight.shape) for weight in self.layer.weights)
        followed = sum(math.prod(getattr(self.layer, name).shape) for name in left)
        return Cost(self._macs(sides), whole - followed + sum(left.values()))

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
        self.inside = set(names) if within is None else _matching(names, within)
        by_name: dict[str, list[tuple[str, Part]]] = {}
        for group in groups:
            for part in group.parts:
                by_name.setdefault(part.layer, []).append((group.name, part))
        macs: dict[str, int] = dict.fromkeys(names, 0)
        layers = {call.name: call.layer for call in graph.calls}
        for call in graph.calls:
            *inputs, output = (_fixed(graph.shapes[number], call.name) for number in (*call.reads, call.writes[0]))
            macs[call.name] += op_counts.macs(call.layer, inputs, output) or 0
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


def _fixed(shape: Shape, where: str) -> tuple[int, ...]:
    """-> a shape with its batch set to 1."""
    sizes = tuple(size for size in shape[1:] if size is not None)
    if len(sizes) < len(shape) - 1:
        raise InputError(
            "Channels are weighed by MACs, which needs a fixed size: build the model with its input shape, or give "
            f"rewrite() `input_shapes`. Received: {shape} in {where!r}"
        )
    return (1, *sizes)


def _matching(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
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
