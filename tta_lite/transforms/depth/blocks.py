"""Which blocks of a residual network can leave as a whole, and what the network costs without them?

Where a sum has what came in on one side, out = in + branch(in), the branch can leave, and the tensor that came in
stands in the place of the sum. Veit et al., *Residual Networks Behave Like Ensembles of Relatively Shallow Networks*,
NeurIPS 2016, section 4.1, https://arxiv.org/abs/1605.06431, saw that such networks bear the loss of one. It is found
from the graph and not from names.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.costs import Cost, call_macs
from tta_lite.transforms.graph import Call, Graph, Shape, trace
from tta_lite.transforms.op_counts import function_name
from tta_lite.types import InputError

L = keras.layers
# What a side of a sum may pass and still be what came in.
PASSES = (L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D, L.GaussianNoise, L.GaussianDropout)
# What is not negative before is not after.
POOLS = (L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D)
NO_IDENTITY = "no side of the sum is what the others are made from: a projection, or branches that meet"
TWO_SHAPES = "the sides of the sum have different shapes"


@dataclasses.dataclass(frozen=True)
class ResidualBlock:
    """A sum of several tensors, one of which may be what the others are made from.

    Attributes:
      name: of the layer that adds, ``outer/inner`` inside a nested model.
      layers: those that leave with it, in the order of running: the branch, the sum, and a ReLU behind it where what
        comes in has passed the same ReLU already. Layers that something else needs too stay and are not listed.
      input: number of the tensor that comes in, in the `Graph` of the model; it takes the place of
      output: this one. Of a block that runs several times, those of the first.
      shape: of both; None is an open size.
      macs: of one inference, what is gone without the block.
      params: the same.
      why_fixed: why the block must stay; empty if it may leave.
    """

    name: str
    layers: tuple[str, ...]
    input: int
    output: int
    shape: Shape
    macs: int
    params: int
    why_fixed: str = ""


def residual_blocks(model: keras.Model) -> tuple[ResidualBlock, ...]:
    """-> the sums of a model, in the order of running; without `why_fixed`, a block that may leave.

    Args:
      model: functional, or sequential and built, its input size fixed; nested models are looked into.

    Raises:
      InputError: the model is no graph of layers, or a size is open.

    Example:
      >>> image = keras.Input((8, 8, 4))
      >>> x = keras.layers.Conv2D(4, 3, padding="same", name="body")(image)
      >>> net = keras.Model(image, keras.layers.Add(name="add")([image, x]))
      >>> [(block.name, block.layers, block.macs, block.params) for block in residual_blocks(net)]
      [('add', ('body', 'add'), 9216, 148)]
    """
    return analyse(model).blocks


@dataclasses.dataclass(frozen=True, eq=False)
class Sum:
    """The calls of one layer that adds.

    Attributes:
      calls: of it.
      place: of the tensor that comes in, among those that are added; None where there is none.
      activations: of each call, a ReLU behind it that does nothing without the block; or nothing.
      why_fixed: see `ResidualBlock`.
    """

    calls: tuple[Call, ...]
    place: int | None = None
    activations: tuple[Call, ...] = ()
    why_fixed: str = ""

    @property
    def name(self) -> str:
        """The layer's."""
        return self.calls[0].name

    @property
    def aliases(self) -> dict[int, int]:
        """Tensor that leaves -> the one in its place."""
        if self.place is None:
            return {}
        found = {call.writes[0]: call.reads[self.place] for call in self.calls}
        return found | {call.writes[0]: found[call.reads[0]] for call in self.activations}


@dataclasses.dataclass(frozen=True, eq=False)
class Residuals:
    """A network as its blocks.

    Attributes:
      graph: of the model.
      sums: by name, in the order of running.
      macs: call -> MACs.
    """

    graph: Graph
    sums: Mapping[str, Sum]
    macs: Mapping[Call, int]

    @functools.cached_property
    def blocks(self) -> tuple[ResidualBlock, ...]:
        """See `residual_blocks`."""
        whole = self.cost(())
        found = []
        for one in self.sums.values():
            call = one.calls[0]
            if one.place is None:
                number, output, gone = call.reads[0], call.writes[0], Cost(0, 0)
                layers: tuple[str, ...] = ()
            else:
                number, output = call.reads[one.place], [*one.calls[:1], *one.activations[:1]][-1].writes[0]
                gone, layers = whole - self.cost([one.name]), self.gone([one.name])
            found.append(
                ResidualBlock(
                    one.name, layers, number, output, self.graph.shapes[output], gone.macs, gone.params, one.why_fixed
                )
            )
        return tuple(found)

    def left(self, names: Collection[str]) -> list[Call]:
        """-> the calls that still run without some blocks."""
        aliases = {old: new for name in names for old, new in self.sums[name].aliases.items()}

        def final(number: int) -> int:
            while number in aliases:
                number = aliases[number]
            return number

        wanted = {final(number) for number in self.graph.outputs}
        calls = []
        for call in reversed(self.graph.calls):
            if wanted.intersection(call.writes):
                calls.append(call)
                wanted.update(final(number) for number in call.reads)
        return calls[::-1]

    def gone(self, names: Collection[str]) -> tuple[str, ...]:
        """-> the layers that no longer run without some blocks."""
        before, after = ({call.name for call in self.left(one)} for one in ((), names))
        return tuple(dict.fromkeys(call.name for call in self.graph.calls if call.name in before - after))

    def cost(self, names: Collection[str], inside: Collection[str] | None = None) -> Cost:
        """-> of the network without some blocks; of all its layers, or of those that are named."""
        calls = [call for call in self.left(names) if inside is None or call.name in inside]
        layers = {id(call.layer): call.layer for call in calls}
        params = sum(math.prod(weight.shape) for layer in layers.values() for weight in layer.weights)
        return Cost(sum(self.macs[call] for call in calls), params)


def analyse(model: keras.Model) -> Residuals:
    """-> all that `residual_blocks` finds out, for those who change the model.

    Raises:
      InputError: see `residual_blocks`.
    """
    graph = trace(model)
    calls: dict[int, list[Call]] = {}
    for call in graph.calls:
        calls.setdefault(id(call.layer), []).append(call)
    # Of each tensor those that it is made from and itself, as the bits of a number.
    made_from = {number: 1 << number for number in graph.inputs}
    for call in graph.calls:
        sources = functools.reduce(lambda bits, number: bits | made_from[number], call.reads, 0)
        made_from.update({number: sources | 1 << number for number in call.writes})
    found = [_sum(graph, made_from, tuple(own)) for own in calls.values() if _places(own[0])]
    return Residuals(graph, {one.name: one for one in found}, dict(zip(graph.calls, call_macs(graph), strict=True)))


def removable(model: keras.Model, found: Residuals, names: Sequence[str]) -> list[Sum]:
    """-> the sums of blocks that are named and may leave.

    Raises:
      InputError: there is no such block, or it is fixed.
    """
    chosen = []
    for name in [names] if isinstance(names, str) else names:
        if name not in found.sums:
            free = [one.name for one in found.sums.values() if not one.why_fixed]
            raise InputError(
                f"Argument `names` must name residual blocks of {model.name!r}: {', '.join(free) or 'it has none'}. "
                f"Received: {name!r}"
            )
        if found.sums[name].why_fixed:
            raise InputError(f"Block {name!r} must stay: {found.sums[name].why_fixed}. Received: it is to leave")
        chosen.append(found.sums[name])
    return chosen


def _places(call: Call) -> Sequence[int]:
    """-> which of the tensors that a call adds may be what came in; none if it does not add tensors."""
    if len(call.reads) < 2:
        return ()
    # InceptionResNet's own: the first tensor, and the second one times a number.
    if type(call.layer).__name__ == "CustomScaleLayer":
        return (0,)
    if isinstance(call.layer, L.Add) or function_name(call.layer).rpartition(".")[2] in ("add", "add_n"):
        return range(len(call.reads))
    return ()


def _sum(graph: Graph, made_from: Mapping[int, int], calls: tuple[Call, ...]) -> Sum:
    if any(graph.shapes[number] != graph.shapes[call.writes[0]] for call in calls for number in call.reads):
        return Sum(calls, why_fixed=TWO_SHAPES)
    for place in _places(calls[0]):
        if all(_is_block(graph, made_from, call, place) for call in calls):
            behind = tuple(found for call in calls if (found := _useless_activation(graph, call, place)))
            return Sum(calls, place, behind if len(behind) == len(calls) else ())
    return Sum(calls, why_fixed=NO_IDENTITY)


def _is_block(graph: Graph, made_from: Mapping[int, int], call: Call, place: int) -> bool:
    """Whether all other sides are made from this one, by layers with weights."""
    source = _passed(graph, call.reads[place])
    others = [number for at, number in enumerate(call.reads) if at != place]
    if not all(made_from[number] >> source & 1 for number in others):
        return False
    return all(any(one.layer.weights for one in _between(graph, made_from, source, number)) for number in others)


def _passed(graph: Graph, number: int, more: tuple[type[keras.layers.Layer], ...] = ()) -> int:
    while (call := graph.producers.get(number)) and (is_pass(call.layer) or isinstance(call.layer, more)):
        number = call.reads[0]
    return number


def is_pass(layer: keras.layers.Layer) -> bool:
    """Whether what a layer gives is what it reads, but in training."""
    linear = isinstance(layer, L.Activation) and layer.activation is keras.activations.linear
    return linear or isinstance(layer, PASSES) or function_name(layer) == "identity"


def _between(graph: Graph, made_from: Mapping[int, int], source: int, last: int) -> Iterator[Call]:
    for call in graph.calls:
        number = call.writes[0]
        if number != source and made_from[last] >> number & 1 and made_from[number] >> source & 1:
            yield call


def _useless_activation(graph: Graph, call: Call, place: int) -> Call | None:
    """-> a ReLU that alone reads a sum, where what came in is what the same ReLU gave: twice is as good as once."""
    reader, maker = graph.only_reader(call.writes[0]), graph.producers.get(_passed(graph, call.reads[place], POOLS))
    if reader is None or maker is None or reader.writes[0] in graph.outputs:
        return None
    once = sum(one.layer is reader.layer for one in graph.calls) == 1
    return reader if once and _is_relu(reader.layer) and _same(reader.layer, maker.layer) else None


def _is_relu(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, L.ReLU):
        return not float(layer.negative_slope) and not float(layer.threshold)
    if isinstance(layer, L.Activation):
        return layer.activation in (keras.activations.relu, tf.nn.relu, tf.nn.relu6)
    return function_name(layer) in ("nn.relu", "nn.relu6")


def _same(one: keras.layers.Layer, other: keras.layers.Layer) -> bool:
    configs = [{**layer.get_config(), "name": ""} for layer in (one, other)]
    return type(one) is type(other) and configs[0] == configs[1]
