"""After blocks left: the layers behind learn from images to give what they gave, and what the blocks had added.

He et al., *Channel Pruning for Accelerating Very Deep Neural Networks*, ICCV 2017, section 3.2 ("last layer of residual
branch"), https://arxiv.org/abs/1707.06168: the last layer of a branch is fitted to what it gave and to what is missing
on the shortcut, so that the sum is as before. There it makes up for lost channels, here for a lost block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.readers import READERS
from tta_lite.transforms.channels.repair import before_activation, fit_layer
from tta_lite.transforms.depth.blocks import Residuals, analyse, is_pass
from tta_lite.transforms.graph import Call, Graph
from tta_lite.transforms.rewrite import rewrite
from tta_lite.transforms.walk import Walk
from tta_lite.types import InputError

L = keras.layers


def repair(original: keras.Model, smaller: keras.Model, names: Sequence[str], images: np.ndarray) -> keras.Model:
    """-> the network without blocks, with new weights in the layers that read what these blocks added to.

    One layer after the other, in the order in which they run, each on what it is called on with all repairs so far. Two
    kinds are fitted, up to the next layer that is: a convolution or dense layer that reads the sum, to what it gave in
    the original network; and the last convolution of each branch that is added to it later, to what it gave and what
    the sum lacks. Nothing else changes.

    Args:
      original: the network before, functional, with one input and without nested models.
      smaller: `remove_blocks(original, names)`. It is not changed.
      names: of the blocks that left.
      images: [N, H, W, C], as the network takes them; a few hundred are enough.

    Raises:
      InputError: `smaller` is not what remains of `original`, or the images do not fit.
    """
    before, new = analyse(original), rewrite(smaller, {})
    after = analyse(new)
    # Of a sum that is an output of the network its name is left.
    if {call.name for call in after.graph.calls} - set(names) != {call.name for call in before.left(names)}:
        raise InputError(
            "A repair needs the network before and after the same removal. "
            f"Received: {original.name!r} and {smaller.name!r}, whose layers differ"
        )
    plan = _plan(before, after, names)
    wanted, came_in = _originals(before, Walk(original, images), plan)
    walk = Walk(new, images)
    for call in walk:
        if call.name in wanted:
            goal = wanted.pop(call.name)
            added = plan[call.name]
            if added is not None:
                # Of the sum that it is added to: what is missing, before the batch norm between.
                missing = came_in[added.sum] - walk.value(added.came_in)
                goal = goal + missing * added.slope()
            fit_layer(walk.graph, call, walk.read(call)[0], goal)
    return new


@dataclasses.dataclass(frozen=True, eq=False)
class _Added:
    """Where the output of a branch's last layer goes.

    Attributes:
      sum: name of the layer that adds.
      came_in: number of the tensor that comes in there, in the smaller network.
      norm: the batch norm between, if there is one.
    """

    sum: str
    came_in: int
    norm: keras.layers.Layer | None

    def slope(self) -> np.ndarray:
        """-> [C], or a 1: how much the layer must give more for the branch to give 1 more; 0 where no factor helps."""
        if self.norm is None:
            return np.ones(1, np.float32)
        variance = self.norm.moving_variance.numpy()
        factor = (self.norm.gamma.numpy() if self.norm.scale else 1) / np.sqrt(variance + self.norm.epsilon)
        usable = np.abs(factor) > 1e-3 * np.abs(factor).max()
        return np.where(usable, 1 / np.where(usable, factor, 1), 0).astype(np.float32)


def _plan(before: Residuals, after: Residuals, names: Sequence[str]) -> dict[str, _Added | None]:
    """-> the layers to be fitted; of the last ones of a branch, where they are added."""
    graph = after.graph
    stream = {_same_tensor(before, graph, names, name) for name in names}
    plan: dict[str, _Added | None] = {}
    for call in graph.calls:
        if not stream.intersection(call.reads):
            continue
        if isinstance(call.layer, READERS):
            plan.setdefault(call.name, None)
            continue
        one = after.sums.get(call.name)
        if one is not None and one.place is not None and call.reads[one.place] in stream:
            for place, number in enumerate(call.reads):
                if place != one.place and (found := _last_layer(graph, number)):
                    last, norm = found
                    plan[last.name] = _Added(one.name, call.reads[one.place], norm)
        if not _mixes(call.layer):
            stream.update(call.writes)
    return plan


def _same_tensor(before: Residuals, graph: Graph, names: Sequence[str], name: str) -> int:
    """-> in the smaller network, the tensor that stands in the place of a block."""
    aliases = {old: new for other in names for old, new in before.sums[other].aliases.items()}
    number = before.sums[name].calls[0].writes[0]
    while number in aliases:
        number = aliases[number]
    maker = before.graph.producers.get(number)
    if maker is None:
        return graph.inputs[before.graph.inputs.index(number)]
    place = maker.writes.index(number)
    return next(call.writes[place] for call in graph.calls if call.name == maker.name)


def _mixes(layer: keras.layers.Layer) -> bool:
    """Whether a layer has a kernel over channels: what is behind it is another matter."""
    return isinstance(layer, (*READERS, L.SeparableConv1D, L.SeparableConv2D, L.Conv1D, L.Conv3D))


def _last_layer(graph: Graph, number: int) -> tuple[Call, keras.layers.Layer | None] | None:
    """-> the linear layer that gives a tensor alone, but for a batch norm behind it and what only training sees."""
    norm = None
    while True:
        call = graph.producers.get(number)
        if call is None or graph.only_reader(number) is None:
            return None
        if isinstance(call.layer, READERS):
            linear = call.layer.activation is keras.activations.linear
            return (call, norm) if linear else None
        if isinstance(call.layer, L.BatchNormalization) and norm is None:
            norm = call.layer
        elif not is_pass(call.layer):
            return None
        number = call.reads[0]


def _originals(
    before: Residuals, walk: Walk, plan: dict[str, _Added | None]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """-> what each layer gave before its activation, and what came into each sum; where one runs twice, at first."""
    sums = {added.sum for added in plan.values() if added is not None}
    wanted: dict[str, np.ndarray] = {}
    came_in: dict[str, np.ndarray] = {}
    for call in walk:
        if call.name in plan and call.name not in wanted:
            wanted[call.name] = before_activation(call.layer, walk.read(call)[0])
        if call.name in sums and call.name not in came_in:
            came_in[call.name] = walk.read(call)[before.sums[call.name].place or 0]
    return wanted, came_in
