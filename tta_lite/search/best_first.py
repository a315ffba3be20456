"""A donor whose first channels are its best ones, since the first ones are what smaller networks inherit.

Cai et al., *Once-for-All*, ICLR 2020, section 3.3, sort channels by importance before the width shrinks,
https://arxiv.org/abs/1908.09791.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.criteria import score_channels
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.transforms.channels.units import free, layers_of
from tta_lite.transforms.channels.weights import places
from tta_lite.transforms.rewrite import rewrite


def best_first(model: keras.Model, criterion: str = "l1_norm", **given: Any) -> keras.Model:
    """-> the same network with its channels in another order: those that are worth most come first.

    Its outputs are the same up to rounding. Channels that are tied to others of the same layer, as by a shuffle or a
    grouped convolution, keep their order.

    Args:
      model: functional; it is not changed.
      criterion: how channels are scored, a key of `tta_lite.transforms.channels.criteria.CRITERIA`.
      given: what it needs: ``images``, or ``batches`` and ``loss``.

    Raises:
      InputError: no such criterion, or it lacks what it needs.

    Example:
      >>> image = keras.Input((4, 4, 1))
      >>> x = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")(image)
      >>> net = keras.Model(image, keras.layers.Conv2D(1, 1, name="head")(x))
      >>> net.get_layer("conv").set_weights([np.array([[[[1.0, -5.0]]]])])
      >>> best_first(net).get_layer("conv").get_weights()[0].ravel().tolist()
      [-5.0, 1.0]
    """
    copy = rewrite(model, {}, flatten=True)
    groups = [group for group in free(channel_groups(copy)) if _is_plain(group)]
    scores = score_channels(copy, groups, criterion, **given)
    layers = layers_of(copy)
    for group in groups:
        # Equals stay in their order.
        order = np.argsort(-scores[group.name], kind="stable")
        for part in group.parts:
            index = np.arange(len(part.units))
            own = part.units >= 0
            index[own] = index[own][order]
            _reorder(layers[part.layer], part.side, index)
    return copy


def _is_plain(group: ChannelGroup) -> bool:
    """Whether each unit is one channel of each layer, in the same order everywhere."""
    return all(np.array_equal(part.units[part.units >= 0], np.arange(group.size)) for part in group.parts)


def _reorder(layer: keras.layers.Layer, side: str, index: np.ndarray) -> None:
    for place in places(layer).get(side, ()):
        weight = getattr(layer, place.weight)
        entries = (index[:, None] * place.times + np.arange(place.times)).ravel()
        weight.assign(np.take(weight.numpy(), entries, axis=place.axis))
