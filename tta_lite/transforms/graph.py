"""A functional model as what it is: calls of layers on tensors, in the order in which Keras runs them.

Keras keeps this graph in fields that are not public; they are read here, in `rewrite` and in `replay`, nowhere else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.types import InputError

Shape = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Read:
    """A tensor among the arguments of a call, by its number in `Graph.shapes`."""

    number: int


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    Attributes:
      name: the layer's name; ``outer/inner`` inside a nested model.
      layer: the layer; a layer that is shared has several calls.
      reads: the tensors that it was called with, by their number in `Graph.shapes`.
      writes: the tensors that it gave.
      arguments: all that it was called with, ``(positional, by name)``: each tensor as a `Read`, the rest as it was.
    """

    name: str
    layer: keras.layers.Layer
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    arguments: tuple[Any, Any] = ((), {})


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """The calls of a model, those of nested models in their place.

    Attributes:
      calls: in the order of execution.
      shapes: of each tensor, as Keras knows it; None is an open size.
      inputs: numbers of the model's inputs.
      outputs: numbers of its outputs.
    """

    calls: tuple[Call, ...]
    shapes: tuple[Shape, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @functools.cached_property
    def producers(self) -> dict[int, Call]:
        """Tensor -> the call that gave it; the model's inputs have none."""
        return {number: call for call in self.calls for number in call.writes}

    @functools.cached_property
    def readers(self) -> dict[int, tuple[Call, ...]]:
        """Tensor -> the calls that read it, each once; a tensor that nobody reads is not there."""
        found: dict[int, dict[Call, None]] = {}
        for call in self.calls:
            for number in call.reads:
                found.setdefault(number, {})[call] = None
        return {number: tuple(calls) for number, calls in found.items()}

    def only_reader(self, number: int) -> Call | None:
        """-> the one call that reads a tensor; None if there are others, or if it is an output of the model."""
        readers = self.readers.get(number, ())
        return readers[0] if len(readers) == 1 and number not in self.outputs else None


def trace(model: keras.Model) -> Graph:
    """-> the graph of a functional model, or of a sequential one that was built.

    Example:
      >>> image = keras.Input((8, 8, 3), name="image")
      >>> net = keras.Model(image, keras.layers.ReLU(name="act")(keras.layers.Conv2D(4, 3, name="conv")(image)))
      >>> graph = trace(net)
      >>> [(call.name, graph.shapes[call.writes[0]]) for call in graph.calls]
      [('conv', (None, 6, 6, 4)), ('act', (None, 6, 6, 4))]

    Raises:
      InputError: the model, or one that is nested in it, is no graph of layers.
    """
    check_graph(model)
    shapes: list[Shape] = []

    def add(tensor: Any) -> int:
        shapes.append(tuple(tensor.shape))
        return len(shapes) - 1

    def walk(model: keras.Model, known: dict[int, int], prefix: str) -> Iterator[Call]:
        for node in nodes_of(model):
            layer, name = node.layer, prefix + node.layer.name
            written = tf.nest.flatten(node.outputs)
            if isinstance(layer, keras.Model):
                check_graph(layer, name)
                first, _, _ = layer._call_spec.split_out_first_arg(node.call_args, node.call_kwargs)
                given = layer._flatten_to_reference_inputs(first)
                inner = {id(own): known[id(tensor)] for own, tensor in zip(layer.inputs, given, strict=True)}
                yield from walk(layer, inner, f"{name}/")
                numbers = tuple(inner[id(tensor)] for tensor in layer.outputs)
            else:
                numbers = tuple(add(tensor) for tensor in written)
                reads = tuple(known[id(tensor)] for tensor in node.keras_inputs)
                yield Call(name, layer, reads, numbers, _arguments(node, known))
            known.update({id(tensor): number for tensor, number in zip(written, numbers, strict=True)})

    known = {id(tensor): add(tensor) for tensor in model.inputs}
    inputs = tuple(known.values())
    calls = tuple(walk(model, known, ""))
    return Graph(calls, tuple(shapes), inputs, tuple(known[id(tensor)] for tensor in model.outputs))


def called_with(tensor: Any) -> list[Any]:
    """-> the Keras tensors among the arguments of the call that gave a Keras tensor."""
    return list(tensor.node.keras_inputs)


def _arguments(node: Any, known: Mapping[int, int]) -> tuple[Any, Any]:
    tensors = {id(tensor) for tensor in node.keras_inputs}
    return tf.nest.map_structure(
        lambda value: Read(known[id(value)]) if id(value) in tensors else value, (node.call_args, node.call_kwargs)
    )


def check_graph(model: Any, name: str = "") -> None:
    """Refuses a model whose layers are called by code and not by a graph.

    Raises:
      InputError: says how to make it one.
    """
    if is_graph(model):
        return
    where = f"The nested model {name!r}" if name else "The model"
    if isinstance(model, keras.Sequential):
        how = "call its build((None, height, width, channels)) first"
    else:
        how = "make it with keras.Model(inputs, outputs), for the call() of a subclass is code that nobody can read"
    raise InputError(
        f"{where} must be a graph of layers, functional or a keras.Sequential that was built: {how}. "
        f"Received: {type(model).__name__} {getattr(model, 'name', model)!r}"
    )


def is_graph(model: Any) -> bool:
    """-> whether it is a functional model, or a sequential one that was built."""
    return isinstance(model, keras.Model) and bool(getattr(model, "_is_graph_network", False))


def nodes_of(model: keras.Model) -> Iterator[Any]:
    """Yields Keras's record of each layer call of a model, in the order in which Keras itself runs them.

    Raises:
      InputError: the model has a loss or a metric in its graph.
    """
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if depth < 0:
                raise InputError(
                    "A loss or a metric within the graph (add_loss, add_metric) cannot be kept. Expected: losses and "
                    f"metrics given to compile(). Received: {node.layer.name!r} in {model.name!r}"
                )
            if not node.is_input:
                yield node
