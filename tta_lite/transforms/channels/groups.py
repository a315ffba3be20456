"""Which channels of a network must leave together?

A channel that a convolution makes is read by what follows, has its factor in batch norm, and is added to another one
where branches meet. It can only leave with all of these. `channel_groups` finds what belongs together in any graph of
layers. Fang et al., *DepGraph: Towards Any Structural Pruning*, CVPR 2023, https://arxiv.org/abs/2301.12900, section 3,
states the problem; here labels are carried along the graph of the layers instead of gradients' traces.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.flow import Flow, flow
from tta_lite.transforms.channels.labels import Units
from tta_lite.transforms.channels.rules import rule_of
from tta_lite.transforms.graph import Graph, trace
from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The channels of a group on one side of a layer.

    Attributes:
      layer: path as in `graph.Call.name`, ``outer/inner`` inside a nested model.
      side: ``out``: the kernel's axis that makes the channels, and the bias; ``in``: the axis that reads them;
        ``each``: one weight a channel, as of batch norm, a depthwise kernel, PReLU.
      units: [channels on that side] int: which unit of the group each belongs to; -1: none. A grouped convolution has
        as many on its ``in`` side as its kernel, which is those of one group.
    """

    layer: str
    side: str
    units: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Channels that the same layers make.

    Attributes:
      name: the first layer, in the order of running, that makes its channels. Where other channels of that layer
        belong to other groups, those are called ``name#2``, ``name#3`` and so on.
      size: its units. The channels of a unit leave together; units leave one by one.
      parts: where its channels are, in the order of running.
      why_fixed: why its channels must stay; empty if they may leave.
    """

    name: str
    size: int
    parts: tuple[Part, ...]
    why_fixed: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Analysis:
    """What is known of a model's channels.

    Attributes:
      graph: of the model.
      flow: labels of tensors and weights.
      units: which labels leave together.
      groups: the units by the layers that make them.
      group_of: unit -> place of its group in `groups`; -1: nobody makes it, as the channels of an input.
      place_of: unit -> its place in its group.
    """

    graph: Graph
    flow: Flow
    units: Units
    groups: tuple[ChannelGroup, ...]
    group_of: np.ndarray
    place_of: np.ndarray


def channel_groups(model: keras.Model, *, protected: Sequence[str] = ()) -> tuple[ChannelGroup, ...]:
    """-> the groups of channels of a model, in the order of running; each channel that a layer makes is in one.

    Args:
      model: functional, or sequential and built; nested models are looked into. It is not changed.
      protected: names of layers, and patterns as in a shell, whose outputs must keep all their channels. What they
        read may still shrink.

    Raises:
      InputError: the model is no graph of layers, has its channels first, or a pattern names no layer.

    Example: what two convolutions give is added, so that both lose a channel or none does.

      >>> image = keras.Input((8, 8, 3))
      >>> x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(image)
      >>> y = keras.layers.Conv2D(4, 3, padding="same", name="body")(x)
      >>> net = keras.Model(image, keras.layers.Conv2D(2, 1, name="head")(keras.layers.Add()([x, y])))
      >>> for group in channel_groups(net):
      ...     print(group.name, group.size, [(part.layer, part.side) for part in group.parts], group.why_fixed)
      stem 4 [('stem', 'out'), ('body', 'in'), ('body', 'out'), ('head', 'in')]
      head 2 [('head', 'out')] an output of the model
    """
    return analyse(model, protected).groups


def analyse(model: keras.Model, protected: Sequence[str] = ()) -> Analysis:
    """-> all that `channel_groups` finds out, for those who change the model.

    Raises:
      InputError: see `channel_groups`.
    """
    graph = trace(model)
    patterns = [protected] if isinstance(protected, str) else list(protected)
    check_patterns([call.name for call in graph.calls], patterns)
    found, units = flow(graph, rule_of, lambda name: any(fnmatch.fnmatchcase(name, one) for one in patterns))
    return Analysis(graph, found, units, *_grouped(found, units))


def check_patterns(names: Sequence[str], patterns: Sequence[str]) -> None:
    """Refuses patterns of an argument `protected` that fit no layer.

    Raises:
      InputError: says which, and what may be meant.
    """
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            near = difflib.get_close_matches(pattern, names, 1)
            raise InputError(
                "Argument `protected` must name layers of the model, or hold patterns that fit one"
                f"{f' (is {near[0]!r} meant?)' if near else ''}. Received: {pattern!r}"
            )


def _grouped(found: Flow, units: Units) -> tuple[tuple[ChannelGroup, ...], np.ndarray, np.ndarray]:
    """Units that the same layers make, and that are fixed for the same reason, are a group."""
    sites = list(found.sites.values())
    # The labels of each side, as units.
    sides = [
        (number, site.name, side, units.of[site.sides[side]])
        for number, site in enumerate(sites)
        for side in ("in", "each", "out")
        if side in site.sides
    ]
    makers: dict[int, list[int]] = {}
    for number, _, side, of in sides:
        if side == "out":
            for unit in dict.fromkeys(of.tolist()):
                makers.setdefault(unit, []).append(number)
    members: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for unit, numbers in makers.items():
        members.setdefault((units.why_fixed.get(unit, ""), tuple(numbers)), []).append(unit)

    count = int(units.of.max(initial=-1)) + 1
    group_of, place_of = np.full(count, -1), np.full(count, -1)
    # In the order of the first maker, those that may leave before those that may not.
    ordered = sorted(members.items(), key=lambda item: (item[0][1][0], bool(item[0][0])))
    for number, (_, units_of_it) in enumerate(ordered):
        group_of[units_of_it], place_of[units_of_it] = number, np.arange(len(units_of_it))
    parts: list[list[Part]] = [[] for _ in ordered]
    for _, name, side, of in sides:
        for number in np.unique(group_of[of]):
            if number >= 0:
                parts[number].append(Part(name, side, np.where(group_of[of] == number, place_of[of], -1)))
    names: dict[str, int] = {}
    groups = []
    for ((why, made_by), own), its in zip(ordered, parts, strict=True):
        name = sites[made_by[0]].name
        names[name] = names.get(name, 0) + 1
        full = name if names[name] == 1 else f"{name}#{names[name]}"
        groups.append(ChannelGroup(full, len(own), tuple(its), why))
    return tuple(groups), group_of, place_of
