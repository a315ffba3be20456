"""Channels in another order, in a network that is being trained: what the optimizer remembers goes with the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.best_first import Move


def reorder(model: keras.Model, moves: Sequence[Move], optimizer: Any = None) -> None:
    """Does some moves to the weights of a network and to the optimizer's moments of them.

    Args:
      model: its layers have the names of the moves'; its weights change.
      moves: see `best_first_moves`.
      optimizer: of Keras; None: none has been made yet.
    """
    slots = _slots(model, optimizer)
    for move in moves:
        weight = getattr(model.get_layer(move.layer), move.weight)
        for one in (weight, *slots.get(weight.ref(), ())):
            one.assign(move.of(one.numpy()))


def _slots(model: keras.Model, optimizer: Any) -> dict[Any, list[tf.Variable]]:
    """-> weight -> the optimizer's variables of its shape that bear its name within theirs."""
    found: dict[Any, list[tf.Variable]] = {}
    variables = [] if optimizer is None else optimizer.variables
    for slot in variables() if callable(variables) and not isinstance(variables, list) else variables:
        path = f"/{slot.name.partition(':')[0]}/"
        near = [
            weight
            for weight in model.trainable_variables
            if weight.shape == slot.shape and f"/{weight.name.partition(':')[0]}/" in path
        ]
        if near:
            weight = max(near, key=lambda one: len(one.name))
            found.setdefault(weight.ref(), []).append(slot)
    return found
