"""Smaller layers in the place of those that lose channels: settings, and the weights that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.flow import Flow, Site
from tta_lite.transforms.channels.labels import Array, sizes, taken
from tta_lite.transforms.channels.op_rules import bound, slices, spelled
from tta_lite.transforms.channels.weights import is_depthwise, kept_weights
from tta_lite.transforms.graph import Call
from tta_lite.transforms.op_counts import function_name
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
    return _function(flow, call, gone)


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
    target = _target(flow, call, gone, call.layer.target_shape, 1)
    return None if target is None else lambda x, keep: copy_layer(call.layer, target_shape=target)(x)


def _target(flow: Flow, call: Call, gone: Array, before: Sequence[int], skip: int) -> tuple[int, ...] | None:
    """-> the sizes that a tensor is reshaped to, `skip` axes behind its first; what was -1 finds itself."""
    number = call.writes[0]
    shape = flow.shape(number)
    smaller = sizes(shape, taken(flow.tensors[number], gone))
    if smaller == shape:
        return None
    return tuple(old if old == -1 else new or 0 for old, new in zip(before, smaller[skip:], strict=True))


def _function(flow: Flow, call: Call, gone: Array) -> Builder | None:
    """A TensorFlow function with other numbers among its arguments."""
    name = function_name(call.layer).rpartition(".")[2]
    changes: dict[str, Any] = {}
    if name == "reshape":
        arguments = bound(call).arguments
        # A shape that is computed has left all channels where they are.
        if len(call.reads) == 1:
            target = _target(flow, call, gone, np.asarray(arguments["shape"]).tolist(), 0)
            changes = {} if target is None else {"shape": target}
    elif name == "split":
        axis = int(bound(call).arguments["axis"])
        kept = [taken(flow.tensors[number], gone)[axis] for number in call.writes]
        if not all(mask.all() for mask in kept):
            changes = {"num_or_size_splits": [int(mask.sum()) for mask in kept], "num": None}
    elif name == "getitem":
        spec = _slices(flow, call, gone)
        changes = {} if spec is None else {"slice_spec": spec}
    if not changes:
        return None

    def build(x: Any, keep: Keep) -> Any:
        arguments = bound(call)
        arguments.arguments.update({next(iter(arguments.arguments)): x, **changes})
        return copy_layer(call.layer)(*arguments.args, **arguments.kwargs)

    return build


def _slices(flow: Flow, call: Call, gone: Array) -> tuple[Any, ...] | None:
    """-> what a tensor is indexed with when channels before, within or behind the piece have left."""
    spec, shape = slices(call), flow.shape(call.reads[0])
    kept = taken(flow.tensors[call.reads[0]], gone)
    if spec is None or all(mask.all() for mask in kept):
        return None
    changed, axis = [], 0
    for one in spelled(spec, len(shape)):
        if one is not None and not kept[axis].all():
            assert isinstance(one, slice)
            start, stop, _ = one.indices(shape[axis] or 0)
            one = slice(int(kept[axis][:start].sum()), int(kept[axis][:stop].sum()), None)
        axis += one is not None
        # Keras keeps slices as dictionaries.
        changed.append({"start": one.start, "stop": one.stop, "step": one.step} if isinstance(one, slice) else one)
    return tuple(changed)
