"""Criteria that look at feature maps: they need pictures, and no labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.layers import HardSwish
from tta_lite.transforms import op_counts
from tta_lite.transforms.channels.criteria_weights import shared
from tta_lite.transforms.channels.groups import ChannelGroup, Part
from tta_lite.transforms.channels.readers import Reader, readers_of
from tta_lite.transforms.channels.units import averaged, free, parts, summed
from tta_lite.transforms.graph import Call, Graph
from tta_lite.transforms.walk import Walk

L = keras.layers
POINTWISE = (*(op_counts.ELEMENTWISE - {L.Flatten, L.Reshape}), HardSwish)


def hrank(model: keras.Model, groups: Sequence[ChannelGroup], images: np.ndarray) -> dict[str, np.ndarray]:
    """The rank of a channel's feature map, averaged over pictures.

    Lin et al., *HRank: Filter Pruning using High-Rank Feature Map*, CVPR 2020, section 3.2, equation 4,
    https://arxiv.org/abs/2002.10179. A feature map is taken behind the batch norm and the activation of the layer that
    makes it; the mean over the channels of a unit. Makers and groups are compared as by `l1_norm`: by a channel's
    share of all ranks. A map of 1 x 1, or of a dense layer, has rank 1 or 0.

    Args:
      model: functional, without nested models.
      groups: of `channel_groups`.
      images: [N, H, W, C]; the paper takes 500 and finds that the average hardly depends on which.
    """
    walk = Walk(model, images)
    wanted: dict[Call, list[tuple[ChannelGroup, Part]]] = {}
    for group in free(groups):
        for part in parts(group, "out"):
            for call in walk.graph.calls:
                if call.name == part.layer:
                    wanted.setdefault(_last_of(walk.graph, call), []).append((group, part))
    found: dict[str, list[np.ndarray]] = {}
    for call in walk:
        if call in wanted:
            ranks = _ranks(walk.write(call))
            for group, part in wanted[call]:
                found.setdefault(group.name, []).append(averaged(ranks, part, group.size))
    return {group.name: shared(group, found[group.name]) for group in free(groups) if group.name in found}


def _last_of(graph: Graph, call: Call) -> Call:
    """-> the call that ends the batch norms and activations behind a convolution."""
    while True:
        reader = graph.only_reader(call.writes[0])
        if reader is None or not isinstance(reader.layer, POINTWISE):
            return call
        call = reader


def _ranks(maps: np.ndarray) -> np.ndarray:
    """[N, H, W, C] -> [C]: the mean rank of the H x W maps."""
    if maps.ndim != 4:
        maps = maps.reshape(len(maps), 1, -1, maps.shape[-1])
    return np.mean([np.linalg.matrix_rank(one.transpose(2, 0, 1)) for one in maps], axis=0)


def reconstruction(model: keras.Model, groups: Sequence[ChannelGroup], images: np.ndarray) -> dict[str, np.ndarray]:
    """What the next layers' outputs lose with a unit, those gone that are worth less: ThiNet's greedy choice.

    Luo et al., *ThiNet: A Filter Level Pruning Method for Deep Neural Network Compression*, ICCV 2017, section 3.2,
    equations 5 and 6, algorithm 1, https://arxiv.org/abs/1707.06342. One unit leaves after the other, each time the one
    with which the squared sum of what left, in the outputs of the layers that read it, stays the smallest. The paper
    draws places and output channels; here all output channels take part, and all places up to `readers.ROWS`.
    The error is relative to the readers' output, and summed over them; what is the same at all places does not count
    where a bias or a batch norm can give it instead. A score is by how much the error grows, and no less than that of
    the unit before. The paper's factors of what stays (section 3.2.3, equation
    7) are what `repair` finds, and more.

    Args:
      model: functional, without nested models.
      groups: of `channel_groups`. Those that are read by separable or one- or three-dimensional convolutions only get
        no score.
      images: [N, H, W, C].
    """
    readers = readers_of(model, groups, images)
    scores = {}
    for group in free(groups):
        read = [(readers[part.layer], part) for part in parts(group, "in") if part.layer in readers]
        if read:
            products = sum(_by_unit(reader, part, group.size) for reader, part in read)
            scores[group.name] = _greedy(np.asarray(products))
    return scores


def _by_unit(reader: Reader, part: Part, size: int) -> np.ndarray:
    """-> [size, size]: products of what two units give in a reader's output, relative to all that it gives."""
    products = reader.products() / max(reader.energy(), 1e-30)
    return summed(summed(products, part, size).T, part, size)


def _greedy(gram: np.ndarray) -> np.ndarray:
    """-> [size]: by how much the error grows when each unit leaves, in the order of the least growth."""
    size = len(gram)
    scores, there = np.zeros(size), np.ones(size, bool)
    # Products of each unit with all that left.
    with_gone = np.zeros(size)
    last = 0.0
    for _ in range(size):
        growth = np.where(there, np.diag(gram) + 2 * with_gone, np.inf)
        unit = int(growth.argmin())
        last = max(last, float(growth[unit]))
        scores[unit], there[unit] = last, False
        with_gone = with_gone + gram[unit]
    return scores
