"""Smaller layers in the place of those that lose channels: settings, and the weights that are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.flow import Flow, Site
from tta_lite.transforms.channels.labels import Array, sizes, taken
from tta_lite.transforms.channels.weights import is_depthwise, kept_weights
from tta_lite.transforms.graph import Call
from tta_lite.transforms.rewrite import Builder, Keep, copy_layer, rewrite
from tta_lite.types import InputError

L = keras.layers


def rebuild(model: keras.Model, flow: Flow, gone: Array) -> keras.Model:
    """-> the model without some channels.

    Args:
      model: that `flow` has gone through.
      flow: its labels.
      gone: [labels] bool: which of them leave.

    Raises:
      InputError: a tensor would keep no channel.
    """
    _check_not_empty(flow, gone)
    builders = {}
    made: list[tuple[keras.layers.Layer, bool]] = []
    for call in flow.graph.calls:
        if id(call.layer) not in builders:
            builder = _builder(flow, call, gone, made)
            if builder is not None:
                builders[id(call.layer)] = builder
    new = rewrite(model, lambda layer, path: builders.get(id(layer)))
    # A model that is made hands its flag down to its layers: theirs are set when all is there.
    for layer, trainable in made:
        layer.trainable = trainable
    return new


def _check_not_empty(flow: Flow, gone: Array) -> None:
    for call in flow.graph.calls:
        for number in call.writes:
            if not all(mask.any() for mask in taken(flow.tensors[number], gone)):
                raise InputError(
                    "Every layer must keep a channel. Expected: fewer units to leave. "
                    f"Received: all channels of {call.name!r}"
                )


def _builder(flow: Flow, call: Call, gone: Array, made: list[tuple[keras.layers.Layer, bool]]) -> Builder | None:
    site = flow.sites.get(id(call.layer))
    if site is not None:
        kept = {side: ~gone[labels] for side, labels in site.sides.items()}
        if all(mask.all() for mask in kept.values()):
            return None
        return _smaller(site, call, kept, made)
    if isinstance(call.layer, L.Reshape):
        return _reshape(flow, call, gone)
    return None


def _smaller(
    site: Site, call: Call, kept: Mapping[str, np.ndarray], made: list[tuple[keras.layers.Layer, bool]]
) -> Builder:
    layer = site.layer
    (_, *rest), options = call.arguments

    def build(x: Any, keep: Keep) -> Any:
        new = copy_layer(layer, **settings(layer, kept))
        y = new(x, *rest, **options)
        for name, value in kept_weights(layer, kept).items():
            getattr(new, name).assign(value)
        made.append((new, layer.trainable))
        return y

    return build


def settings(layer: keras.layers.Layer, kept: Mapping[str, np.ndarray]) -> dict[str, int]:
    """-> the settings of a layer that change when channels leave. `kept`: side -> [channels] bool."""
    if is_depthwise(layer):
        filters = int(kept["each"].sum())
        return {"filters": filters, "groups": filters * layer.groups // layer.filters}
    if "out" not in kept:
        return {}
    return {"units" if isinstance(layer, L.Dense) else "filters": int(kept["out"].sum())}


def _reshape(flow: Flow, call: Call, gone: Array) -> Builder | None:
    number = call.writes[0]
    shape = flow.shape(number)[1:]
    smaller = sizes(shape, taken(flow.tensors[number], gone)[1:])
    if smaller == shape:
        return None
    # What was -1 finds itself.
    target = tuple(new if old != -1 else -1 for old, new in zip(call.layer.target_shape, smaller, strict=True))
    return lambda x, keep: copy_layer(call.layer, target_shape=target)(x)
