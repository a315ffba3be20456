"""After channels left: the layers that read them learn from images to give what they gave, without any labels.

He et al., *Channel Pruning for Accelerating Very Deep Neural Networks*, ICCV 2017, section 3.1, equation 1 (the
reconstruction of the next layer's output by least squares), https://arxiv.org/abs/1707.06168; Luo et al., *ThiNet*,
ICCV 2017, section 3.2.3, https://arxiv.org/abs/1707.06342.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.transforms.channels.readers import READERS, batch_norm_behind
from tta_lite.transforms.channels.units import parts
from tta_lite.transforms.graph import Call, Graph
from tta_lite.transforms.least_squares import fit_affine
from tta_lite.transforms.rewrite import copy_layer, rewrite
from tta_lite.transforms.walk import Walk
from tta_lite.types import InputError

L = keras.layers


def repair(
    original: keras.Model, smaller: keras.Model, remove: Mapping[str, Sequence[int]], images: np.ndarray
) -> keras.Model:
    """-> the smaller network, with new weights in the layers that lost some of what they read.

    One layer after the other, in the order in which they run: each is fitted, on what it is called on in the smaller
    network with all repairs so far, to what it gave in the original one before its activation. The bias is fitted too;
    a layer without one shifts the mean of the batch norm behind it. Fitted are Conv2D (with groups too), Deconv and
    Dense; separable and one- or three-dimensional convolutions keep their weights.

    Args:
      original: the network before, functional, with one input and without nested models.
      smaller: `remove_channels(original, remove)`. It is not changed.
      remove: what left.
      images: [N, H, W, C], as the network takes them; a few hundred are enough.

    Raises:
      InputError: `smaller` is not what `remove` makes of `original`, or the images do not fit.
    """
    groups = channel_groups(original)
    new = rewrite(smaller, {})
    before, after = Walk(original, images), Walk(new, images)
    calls = [[(call.name, type(call.layer)) for call in walk.graph.calls] for walk in (before, after)]
    if calls[0] != calls[1]:
        raise InputError(
            "A repair needs the network before and after the same removal. "
            f"Received: {original.name!r} and {smaller.name!r}, whose layers differ"
        )
    readers = {part.layer for group in groups if group.name in remove for part in parts(group, "in")}
    done: set[str] = set()
    for old, call in zip(before, after, strict=True):
        if call.name in readers and isinstance(call.layer, READERS) and call.name not in done:
            # A layer that is called twice is fitted where it runs first.
            done.add(call.name)
            wanted = before_activation(old.layer, before.read(old)[0])[..., _stays(old, groups, remove)]
            fit_layer(after.graph, call, after.read(call)[0], wanted)
    return new


def before_activation(layer: keras.layers.Layer, inputs: np.ndarray, batch: int = 32) -> np.ndarray:
    """-> what a convolution or dense layer gives on its inputs [N, ...], before its activation."""
    linear = copy_layer(layer, activation="linear")
    linear.build((None, *inputs.shape[1:]))
    linear.set_weights(layer.get_weights())
    return np.concatenate([linear(inputs[at : at + batch]).numpy() for at in range(0, len(inputs), batch)])


def _stays(layer: Call, groups: Sequence[ChannelGroup], remove: Mapping[str, Sequence[int]]) -> np.ndarray:
    """-> which channels of a layer's output are still there, [channels] bool."""
    stays = np.ones(layer.layer.kernel.shape[-2 if isinstance(layer.layer, L.Conv2DTranspose) else -1], bool)
    for group in groups:
        for part in parts(group, "out"):
            if part.layer == layer.name and group.name in remove:
                stays &= ~np.isin(part.units, list(remove[group.name]))
    return stays


def fit_layer(graph: Graph, call: Call, inputs: np.ndarray, wanted: np.ndarray) -> None:
    """Gives a layer new weights, those with which it comes closest to what it should give before its activation.

    Args:
      graph: of its network.
      call: of the layer, one of `READERS`. It is changed, and where it has no bias the mean of a batch norm behind it.
      inputs: [N, ..., IC], what it is called on.
      wanted: [N, ..., OC].
    """
    layer = call.layer
    norm = batch_norm_behind(graph, call)
    options = {"intercept": layer.use_bias or norm is not None}
    kernel = layer.kernel.numpy()
    groups = getattr(layer, "groups", 1)
    if groups > 1:
        found = [
            fit_affine(one, x, y, own, **options)
            for one, x, y, own in zip(
                [_of_one_group(layer)] * groups,
                np.split(inputs, groups, axis=-1),
                np.split(wanted, groups, axis=-1),
                np.split(kernel, groups, axis=-1),
                strict=True,
            )
        ]
        kernel = np.concatenate([own for own, _ in found], axis=-1)
        bias = np.concatenate([own for _, own in found])
    else:
        kernel, bias = fit_affine(layer, inputs, wanted, kernel, **options)
    layer.kernel.assign(kernel)
    if layer.use_bias:
        layer.bias.assign(bias)
    elif norm is not None:
        norm.moving_mean.assign(norm.moving_mean - tf.cast(bias, norm.moving_mean.dtype))


def _of_one_group(layer: keras.layers.Layer) -> keras.layers.Layer:
    """-> a convolution without groups of the same strides: only its settings are looked at."""
    return copy_layer(layer, groups=1, filters=layer.filters // layer.groups)
