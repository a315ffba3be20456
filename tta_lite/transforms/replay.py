"""What stands in a replaced layer's place runs once more where that layer was called a second time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras


@dataclasses.dataclass(frozen=True)
class Placed:
    """What stands in a replaced layer's place: it leads from these tensors to those.

    Attributes:
      inputs: of the first call.
      outputs: of it.
      training: with which ``training`` the layer was called then; None without.
    """

    inputs: list[Any]
    outputs: Any
    training: Any


def is_symbolic(tensor: Any) -> bool:
    """Whether it is a tensor of Keras's, one of a graph."""
    return keras.backend.is_keras_tensor(tensor) if tf.is_tensor(tensor) else False


def arguments_with(node: Any, known: Mapping[int, Any]) -> tuple[Any, dict[str, Any]]:
    """-> how a layer was called, with other tensors."""
    return tf.nest.map_structure(
        lambda value: known.get(id(value), value) if is_symbolic(value) else value,
        (node.call_args, node.call_kwargs),
    )


def training_of(layer: keras.layers.Layer, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """-> with which ``training`` a layer is called; None without."""
    spec = layer._call_spec
    if not layer._expects_training_arg or not spec.arg_was_passed("training", args, kwargs, inputs_in_args=True):
        return None
    return spec.get_arg_value("training", args, kwargs, inputs_in_args=True)


def replay(outputs: Any, known: dict[int, Any], training: tuple[Any, Any]) -> Any:
    """Calls the same layers once more, from other tensors on.

    Args:
      outputs: of their first call.
      known: the ids of the tensors that they began with -> the new ones.
      training: with which ``training`` the replaced layer was called at first, and with which now. Layers that had
        taken the one take the other.
    """
    order: dict[int, Any] = {}
    stack = [(tensor, False) for tensor in tf.nest.flatten(outputs)]
    while stack:
        tensor, ready = stack.pop()
        node = tensor.node
        if id(tensor) in known or node.is_input or id(node) in order:
            continue
        if ready:
            order[id(node)] = node
        else:
            stack.append((tensor, True))
            stack += [(read, False) for read in node.keras_inputs]
    for node in order.values():
        if not any(id(read) in known for read in node.keras_inputs):
            # It hangs on nothing that changed, as a constant or a tensor from elsewhere.
            continue
        args, kwargs = arguments_with(node, known)
        first, now = training
        if first != now and node.layer._expects_training_arg and training_of(node.layer, args, kwargs) == first:
            args, kwargs = node.layer._call_spec.set_arg_value("training", now, args, kwargs, inputs_in_args=True)
        new = node.layer(*args, **kwargs)
        known.update(
            (id(old), other) for old, other in zip(tf.nest.flatten(node.outputs), tf.nest.flatten(new), strict=True)
        )
    return tf.nest.map_structure(lambda tensor: known.get(id(tensor), tensor), outputs)
