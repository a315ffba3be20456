"""Carries labels along the calls of a model: the channels of each tensor, and the layers that have weights for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.labels import Array, Labels, Units
from tta_lite.transforms.graph import Call, Graph, Shape
from tta_lite.transforms.op_counts import op_name


@dataclasses.dataclass(frozen=True, eq=False)
class Site:
    """A layer with weights for channels.

    Attributes:
      name: of the layer's first call.
      layer: the layer.
      sides: side, as in `groups.Part` -> the label of each channel there.
    """

    name: str
    layer: keras.layers.Layer
    sides: dict[str, Array]


class Flow:
    """The labels of every tensor of a graph, and of every weight; lives while one graph is gone through.

    Attributes:
      graph: of the model.
      labels: where labels come from and are united.
      tensors: number of a tensor -> its labels.
      sites: id of a layer -> where its weights have channels, in the order of running.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.labels = Labels()
        self.tensors: dict[int, Array] = {}
        self.sites: dict[int, Site] = {}

    def shape(self, number: int) -> Shape:
        """-> the shape of a tensor."""
        return self.graph.shapes[number]

    def made(self, shape: Shape, why_fixed: str = "") -> Array:
        """-> new labels for the last axis of a tensor; one label for all if that has an open size."""
        labels = self.labels.new(shape[-1] or 1, len(shape)) if shape else self.labels.new(1).reshape(())
        if why_fixed:
            self.labels.fix(labels, why_fixed)
        return labels

    def side(self, call: Call, side: str, labels: Array) -> Array:
        """Notes that a layer has weights for these channels -> the labels of its first call, with which they unite."""
        site = self.sites.setdefault(id(call.layer), Site(call.name, call.layer, {}))
        if side in site.sides:
            self.labels.unite(site.sides[side], labels)
        return site.sides.setdefault(side, labels)

    def known(self, call: Call, side: str) -> Array | None:
        """-> the labels that an earlier call of the layer has noted."""
        site = self.sites.get(id(call.layer))
        return site.sides.get(side) if site else None

    def channels(self, call: Call, labels: Array, axis: int = -1) -> Array:
        """-> the label of each channel of a tensor that a layer reads, [channels]."""
        return self.labels.along(labels, axis, f"{op_name(call.layer)} {call.name!r} mixes them in space")

    def refuse(self, call: Call, inputs: Sequence[Array], why: str = "") -> list[Array]:
        """Fixes all that a call reads and writes -> the labels of its outputs."""
        why = why or f"{op_name(call.layer)} {call.name!r} needs all its channels"
        for labels in inputs:
            self.labels.fix(labels, why)
        return [self.made(self.shape(number), why) for number in call.writes]

    def broadcast(self, call: Call, inputs: Sequence[Array], shapes: Sequence[Shape]) -> Array:
        """-> the labels of what tensors of one rank give, value by value; those at one place leave together."""
        result = inputs[0]
        for labels in inputs[1:]:
            result = np.where(
                np.ones(np.broadcast_shapes(result.shape, labels.shape), bool),
                *(_wider(result, labels)),
            )
        for labels, shape in zip(inputs, shapes, strict=True):
            spread = [axis for axis in range(result.ndim) if shape[axis] == 1 and result.shape[axis] > 1]
            if spread:
                self.labels.fix(labels, f"{op_name(call.layer)} {call.name!r} spreads it over other channels")
            else:
                self.labels.unite(labels, result)
        return self.labels.on_one_axis(result)


def _wider(one: Array, other: Array) -> tuple[Array, Array]:
    return (one, other) if one.size >= other.size else (other, one)


Rule = Callable[[Flow, Call, list[Array]], list[Array]]


def flow(
    graph: Graph, rule_of: Callable[[keras.layers.Layer], Rule], protected: Callable[[str], bool]
) -> tuple[Flow, Units]:
    """Goes through a graph.

    Args:
      graph: of the model.
      rule_of: layer -> what it does to labels.
      protected: name of a call -> whether its outputs must keep their channels.

    Returns:
      the flow, and the units that follow from it.
    """
    found = Flow(graph)
    for number in graph.inputs:
        found.tensors[number] = found.made(found.shape(number), "an input of the model")
    calls: dict[int, Call] = {}
    for call in graph.calls:
        inputs = [found.tensors[number] for number in call.reads]
        outputs = rule_of(call.layer)(found, call, inputs)
        found.tensors.update(zip(call.writes, outputs, strict=True))
        if protected(call.name):
            for labels in outputs:
                found.labels.fix(labels, "protected")
        first = calls.setdefault(id(call.layer), call)
        if first is not call:
            _alike(found, first, call)
    for number in graph.outputs:
        found.labels.fix(found.tensors[number], "an output of the model")
    return found, found.labels.units()


def _alike(found: Flow, first: Call, other: Call) -> None:
    """A layer whose settings hold a number of channels has one for all its calls; and so has a nested model."""
    if "/" not in first.name and not has_settings(first.layer):
        return
    for one, two in zip((*first.reads, *first.writes), (*other.reads, *other.writes), strict=False):
        labels = found.tensors[one], found.tensors[two]
        if labels[0].shape == labels[1].shape:
            found.labels.unite(*labels)
        else:
            for each in labels:
                found.labels.fix(each, f"{other.name!r} is called with other shapes elsewhere")


def has_settings(layer: Any) -> bool:
    """-> whether the settings of a layer without weights hold numbers of channels."""
    return isinstance(layer, keras.layers.Reshape) or op_name(layer).startswith("tf.")
