"""A donor whose first channels are its best ones, since the first ones are what smaller networks inherit.

Cai et al., *Once-for-All*, ICLR 2020, section 3.3, sort channels by importance before the width shrinks,
https://arxiv.org/abs/1908.09791.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
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
    layers = layers_of(copy)
    for move in best_first_moves(copy, criterion=criterion, **given):
        weight = getattr(layers[move.layer], move.weight)
        weight.assign(move.of(weight.numpy()))
    return copy


@dataclasses.dataclass(frozen=True, eq=False)
class Move:
    """A new order along an axis of a weight.

    Attributes:
      layer: its name.
      weight: the layer's attribute.
      axis: counted from the end.
      order: which entry comes first, second and so on.
    """

    layer: str
    weight: str
    axis: int
    order: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """-> values of the weight's shape in the new order."""
        return np.take(values, self.order, axis=self.axis)


def best_first_moves(
    model: keras.Model, names: Collection[str] | None = None, *, criterion: str = "l1_norm", **given: Any
) -> list[Move]:
    """-> what `best_first` does to a network, to be done to whatever is in the order of its weights.

    Args:
      model: functional, without nested models; it is not changed.
      names: of the groups of channels; None: all that are free.
      criterion: see `best_first`.
      given: the same.

    Raises:
      InputError: see `best_first`.
    """
    found = [group for group in free(channel_groups(model)) if is_plain(group)]
    groups = [group for group in found if names is None or group.name in names]
    scores = score_channels(model, groups, criterion, **given)
    layers = layers_of(model)
    moves = []
    for group in groups:
        # Equals stay in their order.
        order = np.argsort(-scores[group.name], kind="stable")
        for part in group.parts:
            index = np.arange(len(part.units))
            own = part.units >= 0
            index[own] = index[own][order]
            for place in places(layers[part.layer]).get(part.side, ()):
                entries = (index[:, None] * place.times + np.arange(place.times)).ravel()
                moves.append(Move(part.layer, place.weight, place.axis, entries))
    return moves


def is_plain(group: ChannelGroup) -> bool:
    """Whether each unit is one channel of each layer, in the same order everywhere."""
    return all(np.array_equal(part.units[part.units >= 0], np.arange(group.size)) for part in group.parts)
