"""Layers that read channels, with what images say of their inputs: enough for every question of least squares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.transforms.channels.units import free, parts
from tta_lite.transforms.graph import Call, Graph
from tta_lite.transforms.least_squares import patches_of
from tta_lite.transforms.walk import Walk

L = keras.layers
READERS = (L.Conv2D, L.Conv2DTranspose, L.Dense)
ROWS = 8_000
"""About how many output places of a layer decide."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reader:
    """A convolution or dense layer as products of matrices: output = patches @ kernel, for each of its groups.

    Attributes:
      layer: Conv2D, Conv2DTranspose or Dense.
      kernels: of each group, [KH * KW * IC, OC] float64; the input channel changes fastest.
      moments: of each group, [KH * KW * IC, KH * KW * IC]: the mean of patches^T patches; around the mean patch if the
        layer has a bias, or a batch norm behind it, which can give what is the same everywhere.
      means: of each group, [KH * KW * IC]: the mean patch.
      norm: the batch norm behind a layer without a bias, if there is one.
    """

    layer: keras.layers.Layer
    kernels: tuple[np.ndarray, ...]
    moments: tuple[np.ndarray, ...]
    means: tuple[np.ndarray, ...]
    norm: keras.layers.Layer | None = None

    @property
    def channels(self) -> int:
        """Input channels of a group."""
        return int(self.layer.kernel.shape[-1 if isinstance(self.layer, L.Conv2DTranspose) else -2])

    def energy(self) -> float:
        """-> the mean over places of the squared output, as far as the kernel alone gives it, summed over channels."""
        return sum(
            float((kernel * (moments @ kernel)).sum())
            for kernel, moments in zip(self.kernels, self.moments, strict=True)
        )

    def products(self) -> np.ndarray:
        """-> [IC, IC]: the mean over places of the product of what two input channels give, summed over the outputs."""
        total = np.zeros((self.channels, self.channels))
        for kernel, moments in zip(self.kernels, self.moments, strict=True):
            taps = len(kernel) // self.channels
            # Of every pair of taps and channels what they give together; no output is formed.
            total += (moments * (kernel @ kernel.T)).reshape(taps, self.channels, taps, self.channels).sum(axis=(0, 2))
        return total


def matrices(layer: keras.layers.Layer, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """A kernel, or values in its shape -> for each group [KH * KW * IC, OC] float64."""
    if isinstance(layer, L.Conv2DTranspose):
        # As a convolution over the input with zeros between: mirrored.
        values = values[::-1, ::-1].transpose(0, 1, 3, 2)
    split = np.split(values.astype(np.float64), getattr(layer, "groups", 1), axis=-1)
    return tuple(one.reshape(-1, one.shape[-1]) for one in split)


def as_kernel(layer: keras.layers.Layer, found: Sequence[np.ndarray]) -> np.ndarray:
    """What `matrices` gave -> the kernel, in the layer's own order."""
    shape = tuple(layer.kernel.shape)
    if isinstance(layer, L.Conv2DTranspose):
        return found[0].reshape(shape[0], shape[1], shape[3], shape[2]).transpose(0, 1, 3, 2)[::-1, ::-1]
    each = (*shape[:-1], shape[-1] // len(found))
    return np.concatenate([one.reshape(each) for one in found], axis=-1)


def readers_of(model: keras.Model, groups: Sequence[ChannelGroup], images: np.ndarray) -> dict[str, Reader]:
    """-> by name, the layers that read channels of groups that may be touched; where one runs twice, as it first does.

    Separable and one- or three-dimensional convolutions are left out.
    """
    names = {part.layer for group in free(groups) for part in parts(group, "in")}
    walk = Walk(model, images)
    found: dict[str, Reader] = {}
    for call in walk:
        if call.name in names - set(found) and isinstance(call.layer, READERS):
            number = getattr(call.layer, "groups", 1)
            shares = np.split(walk.read(call)[0], number, axis=-1)
            kernels = matrices(call.layer, call.layer.kernel.numpy())
            norm = batch_norm_behind(walk.graph, call)
            around_mean = call.layer.use_bias or norm is not None
            moments, means = zip(*(_moments(call.layer, share, around_mean) for share in shares), strict=True)
            found[call.name] = Reader(call.layer, kernels, moments, means, norm)
    return found


def batch_norm_behind(graph: Graph, call: Call) -> keras.layers.Layer | None:
    """-> the batch norm that alone reads a layer without a bias, whose mean can take over what a bias would be."""
    if call.layer.use_bias:
        return None
    reader = graph.only_reader(call.writes[0])
    return reader.layer if reader is not None and isinstance(reader.layer, L.BatchNormalization) else None


def _moments(layer: keras.layers.Layer, inputs: np.ndarray, around_mean: bool) -> tuple[np.ndarray, np.ndarray]:
    total, mean, rows = np.zeros(()), np.zeros(()), 0
    for patches in patches_of(layer, inputs, ROWS):
        total, rows = total + patches.T @ patches, rows + len(patches)
        mean = mean + patches.sum(axis=0, dtype=np.float64)
    total, mean = total / max(rows, 1), mean / max(rows, 1)
    return (total - np.outer(mean, mean) if around_mean else total), mean
