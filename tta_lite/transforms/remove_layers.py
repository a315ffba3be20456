"""Residual blocks off a network: what came into a block goes on in its place.

Depth instead of width: each layer that is left is as fast as before, and there are fewer of them. Which blocks may
leave is found by `depth.blocks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tta_lite.compat import keras
from tta_lite.transforms.depth.blocks import Sum, analyse, removable
from tta_lite.transforms.graph import called_with
from tta_lite.transforms.rewrite import Builder, Keep, rewrite


def remove_blocks(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """-> the network without some of its residual blocks, all other layers with their weights; nesting stays.

    The outputs are the same if what the branches of these blocks gave was 0.

    Args:
      model: functional, or sequential and built, its input size fixed. It is not changed.
      names: of blocks, as `residual_blocks` gives them.

    Raises:
      InputError: a block that is not there, or that must stay.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> x = keras.layers.Conv2D(4, 3, name="stem")(image)
      >>> x = keras.layers.Add(name="add")([x, keras.layers.Conv2D(4, 3, padding="same", name="body")(x)])
      >>> net = keras.Model(image, keras.layers.Conv2D(2, 1, name="head")(x))
      >>> [layer.name for layer in remove_blocks(net, ["add"]).layers[1:]]
      ['stem', 'head']
    """
    found = analyse(model)
    edits: dict[str, Builder] = {}
    for one in removable(model, found, names):
        # An output of the model keeps its name.
        is_output = any(call.writes[0] in found.graph.outputs for call in one.calls)
        edits[one.name] = _identity(one, is_output)
        edits.update({call.name: _as_it_came for call in one.activations})
    return rewrite(model, edits)


def _identity(one: Sum, is_output: bool) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        assert one.place is not None
        came_in = called_with(keep())[one.place]
        return keras.layers.Activation("linear", name=one.calls[0].layer.name)(came_in) if is_output else came_in

    return build


def _as_it_came(x: Any, keep: Keep) -> Any:
    return x
