"""Criteria that look at the weights alone, and chance.

A group may have several makers, as the convolutions whose outputs a residual network adds. Each maker's scores are
divided by their sum, so that a layer with large weights does not speak for all, and a unit's score is the mean over the
makers: its share of the group. To compare groups it is multiplied by the number of layers that read them, each of which
loses that share of its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.transforms.channels.units import averaged, free, layers_of, parts, rows, summed
from tta_lite.types import InputError

Scores = Mapping[str, np.ndarray]
"""Group -> [size] float64, 0 or more: what is lost with each unit. The higher, the more it is worth keeping."""


def l1_norm(model: keras.Model, groups: Sequence[ChannelGroup]) -> dict[str, np.ndarray]:
    """The sum of the absolute weights of a unit's filters.

    Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017, section 3.1, https://arxiv.org/abs/1608.08710.

    Example:
      >>> from tta_lite.transforms.channels.groups import channel_groups
      >>> image = keras.Input((4, 4, 1))
      >>> x = keras.layers.Conv2D(2, 1, use_bias=False, name="body")(image)
      >>> net = keras.Model(image, keras.layers.Conv2D(1, 1, name="head")(x))
      >>> net.get_layer("body").set_weights([np.array([-3.0, 1.0]).reshape(1, 1, 1, 2)])
      >>> l1_norm(net, channel_groups(net))["body"]
      array([0.75, 0.25])
    """
    return _norm(model, groups, lambda filters: np.abs(filters).sum(axis=1), lambda total: total)


def l2_norm(model: keras.Model, groups: Sequence[ChannelGroup]) -> dict[str, np.ndarray]:
    """The root of the sum of the squared weights of a unit's filters.

    He et al., *Soft Filter Pruning*, IJCAI 2018, section 3.2, equation 2 with p = 2, https://arxiv.org/abs/1808.06866.
    """
    return _norm(model, groups, lambda filters: (filters**2).sum(axis=1), np.sqrt)


def _norm(
    model: keras.Model,
    groups: Sequence[ChannelGroup],
    row: Callable[[np.ndarray], np.ndarray],
    finish: Callable[[np.ndarray], np.ndarray],
) -> dict[str, np.ndarray]:
    layers = layers_of(model)
    scores = {}
    for group in free(groups):
        found = []
        for part in parts(group, "out"):
            filters = rows(layers[part.layer], "out")
            found.append(finish(summed(row(filters), part, group.size)))
        if found:
            scores[group.name] = shared(group, found)
    return scores


def shared(group: ChannelGroup, found: Sequence[np.ndarray]) -> np.ndarray:
    """Scores of each maker, [size] -> [size]: the mean share of the group, times the layers that read it."""
    share = np.mean([score / max(float(score.sum()), 1e-30) for score in found], axis=0)
    return share * max(1, len(list(parts(group, "in"))))


def network_slimming(model: keras.Model, groups: Sequence[ChannelGroup]) -> dict[str, np.ndarray]:
    """The absolute factor (gamma) of a unit's batch norms, of a network that `NetworkSlimming` has trained.

    Liu et al., *Learning Efficient Convolutional Networks through Network Slimming*, ICCV 2017, section 3,
    https://arxiv.org/abs/1708.06519. The factors are compared across layers as they are: the paper has one threshold
    for the whole network (scope ``threshold`` of `choose_channels`). The mean of them where a unit goes through several
    batch norms. A group without one gets no score and keeps all its channels.

    Raises:
      InputError: no group has a batch norm with a factor.
    """
    layers = layers_of(model)
    scores = {}
    for group in free(groups):
        found = [
            averaged(np.abs(layers[part.layer].gamma.numpy()).astype(np.float64), part, group.size)
            for part in parts(group, "each")
            if isinstance(layers[part.layer], keras.layers.BatchNormalization) and layers[part.layer].scale
        ]
        if found:
            scores[group.name] = np.mean(found, axis=0)
    if not scores:
        raise InputError(
            "Network Slimming ranks channels by the factor (gamma) of their batch norm. Expected: a network with batch "
            f"norms that have one. Received: {model.name!r}, where no channel that may leave goes through any"
        )
    return scores


def random(model: keras.Model, groups: Sequence[ChannelGroup], seed: int = 0) -> dict[str, np.ndarray]:
    """Chance, the control that every criterion should beat: uniform, the highest three times the lowest."""
    rng = np.random.default_rng(seed)
    return {group.name: shared(group, [rng.uniform(0.5, 1.5, group.size)]) for group in free(groups)}
