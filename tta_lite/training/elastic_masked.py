"""The large network with layers that can compute any smaller one within it: one graph for all settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.elastic_layers import ChannelMask, ElasticDepthwise, Gate, Level
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.channels.units import parts
from tta_lite.transforms.depth.blocks import analyse
from tta_lite.transforms.elastic.space import ElasticSpace
from tta_lite.transforms.graph import called_with
from tta_lite.transforms.rewrite import Builder, Keep, rewrite


def masked(model: keras.Model, space: ElasticSpace, levels: tf.Variable) -> keras.Model:
    """-> a network with the weights of `model`, under the same names, that computes what the levels say.

    Args:
      model: functional, without nested models; it is not changed.
      space: of it.
      levels: [kernels + stages + widths] int32, as `ElasticSpace.levels`; read whenever the network runs.
    """
    edits: dict[str, Builder] = {}
    frozen: list[keras.layers.Layer] = []
    for number, one in enumerate(space.kernels):
        edits[one.layer] = _elastic(model.get_layer(one.layer), one.sizes, _level(levels, number), frozen)
    found = analyse(model) if space.stages else None
    for number, stage in enumerate(space.stages, start=len(space.kernels)):
        for place, name in enumerate(stage.blocks):
            assert found is not None and found.sums[name].place is not None
            edits[name] = _gate(found.sums[name].place, place, len(stage.blocks), _level(levels, number))
    for name, masks in _masks(model, space, levels).items():
        # A kernel or a sum reads no group that is elastic across its channels.
        assert name not in edits
        edits[name] = _masking(name, masks)
    found_model = rewrite(model, edits)
    for layer in frozen:
        layer.trainable = False
    return found_model


def _level(levels: tf.Variable, number: int) -> Level:
    return lambda: levels[number]


def _elastic(
    layer: keras.layers.Layer, sizes: Sequence[int], level: Level, frozen: list[keras.layers.Layer]
) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        new = ElasticDepthwise(sizes=sizes, level=level, **layer.get_config())
        y = new(x)
        new.depthwise_kernel.assign(layer.depthwise_kernel)
        if layer.use_bias:
            new.bias.assign(layer.bias)
        if not layer.trainable:
            frozen.append(new)
        return y

    return build


def _gate(place: int | None, block: int, count: int, level: Level) -> Builder:
    assert place is not None

    def build(x: Any, keep: Keep) -> Any:
        added = keep()
        name = added.node.layer.name
        return Gate(place, block, count, level, name=name)(called_with(added))

    return build


def _masks(model: keras.Model, space: ElasticSpace, levels: tf.Variable) -> dict[str, list[tuple[np.ndarray, Level]]]:
    """-> layer that mixes channels -> masks of what it reads, and their levels."""
    if not space.widths:
        return {}
    groups = {group.name: group for group in channel_groups(model)}
    masks: dict[str, list[tuple[np.ndarray, Level]]] = {}
    for number, one in enumerate(space.widths, start=len(space.kernels) + len(space.stages)):
        for part in parts(groups[one.group], "in"):
            # Units that are not of the group have the number -1.
            kept = np.stack([part.units < size for size in one.sizes])
            masks.setdefault(part.layer, []).append((kept, _level(levels, number)))
    return masks


def _masking(name: str, masks: Sequence[tuple[np.ndarray, Level]]) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        for count, (kept, level) in enumerate(masks):
            x = ChannelMask(kept, level, name=f"{name}_mask{count or ''}")(x)
        return keep(x)

    return build
