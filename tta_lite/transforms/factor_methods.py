"""The ways to factorise a convolution (clause 6.1.2): which layers each can take, what it costs, what it builds.

`METHODS` is the list of them: a name, and a function that looks at one layer and answers with a `Plan`, or with the
reason why it cannot. New weights come from the layer's own (`low_rank`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms import low_rank
from tta_lite.transforms.rewrite import copy_layer

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Pair:
    """The two layers that take a layer's place, and their kernels; the second has its bias and its activation.

    Attributes:
      layers: not built yet.
      kernels: in the layers' own order.
      bias: of the second; None if the old layer had none.
    """

    layers: tuple[keras.layers.Layer, keras.layers.Layer]
    kernels: tuple[np.ndarray, np.ndarray]
    bias: np.ndarray | None = None

    def __call__(self, x: Any) -> Any:
        """[B, H, W, IC] -> [B, OH, OW, OC]: calls both and gives them their weights."""
        for layer, kernel in zip(self.layers, self.kernels, strict=True):
            x = layer(x)
            biases = [self.bias] if self.bias is not None and layer is self.layers[1] else []
            layer.set_weights([kernel, *biases])
        return x


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a method can do with one layer.

    Attributes:
      energies: [M], by how much the squared error of the kernel (of the output, if moments were given) grows with each
        rank that is left out; None if the method has no rank.
      macs: rank -> MACs of an inference; of 0 if the method has no rank.
      build: rank -> new layers and their kernels.
      step: ranks must be multiples of this.
    """

    energies: np.ndarray | None
    macs: Callable[[int], int]
    build: Callable[[int], Pair]
    step: int = 1


@dataclasses.dataclass(frozen=True)
class Site:
    """A layer that is looked at.

    Attributes:
      layer: a built Conv2D or Conv2DTranspose.
      inputs: [1, H, W, IC], the shape of what it is called on.
      outputs: [1, OH, OW, OC].
      moments: [IC, IC], see `low_rank.bottleneck`; None without calibration images.
      groups: of the first convolution of `bottleneck_group`.
    """

    layer: keras.layers.Layer
    inputs: Shape
    outputs: Shape
    moments: np.ndarray | None = None
    groups: int = 1

    @property
    def transposed(self) -> bool:
        """Is it a Deconv?"""
        return isinstance(self.layer, keras.layers.Conv2DTranspose)

    @property
    def kernel(self) -> np.ndarray:
        """[KH, KW, IC, OC], whichever kind of layer it is."""
        kernel = self.layer.kernel.numpy()
        return kernel.transpose(0, 1, 3, 2) if self.transposed else kernel

    @property
    def bias(self) -> np.ndarray | None:
        """[OC], or None."""
        return self.layer.bias.numpy() if self.layer.use_bias else None

    def main_macs(self, channels: int) -> int:
        """-> MACs of the layer if it had so many input channels."""
        positions = math.prod((self.inputs if self.transposed else self.outputs)[1:3])
        return positions * math.prod(self.layer.kernel_size) * channels * self.layer.filters

    def first(self, kind: type[keras.layers.Layer], suffix: str, *args: Any, **options: Any) -> keras.layers.Layer:
        """-> a new linear layer without a bias, of the same precision, to stand before the last one."""
        config = self.layer.get_config()
        return kind(
            *args, use_bias=False, name=f"{self.layer.name}_{suffix}", dtype=config["dtype"],
            trainable=self.layer.trainable, **options,
        )  # fmt: skip


Method = Callable[[Site], "Plan | str"]


def bottleneck(site: Site) -> Plan | str:
    """A PConv to fewer channels, then the layer as it was, on these: Conv and Deconv."""
    return _narrowed(site, 1)


def bottleneck_group(site: Site) -> Plan | str:
    """A GConv (1 x 1, in groups) to fewer channels, then the layer as it was."""
    channels = site.inputs[-1]
    if site.groups < 2 or channels % site.groups:
        return f"`groups` must be 2 or more and divide its {channels} input channels. Received: {site.groups}"
    return _narrowed(site, site.groups)


def _narrowed(site: Site, groups: int) -> Plan | str:
    if site.layer.groups != 1:
        return f"it has {site.layer.groups} groups"
    parts = low_rank.grouped_bottleneck(site.kernel, groups, site.moments)
    # The k-th products of all groups enter together.
    energies = np.sum([part.energies for part in parts], axis=0)
    if groups > 1:
        # Not the best rank any more: each group's own order, summed.
        energies = np.repeat(energies / groups, groups)
    pixels, channels = math.prod(site.inputs[1:3]), site.inputs[-1]

    def build(rank: int) -> Pair:
        each = rank // groups
        first = np.concatenate([part.first[:, :each] for part in parts], axis=-1)
        second = np.concatenate([part.second[:each] for part in parts]).transpose(1, 2, 0, 3)
        narrow = site.first(keras.layers.Conv2D, "pconv" if groups == 1 else "gconv", rank, 1, groups=groups)
        return Pair((narrow, copy_layer(site.layer)), (first[None, None], _own_order(site, second)), site.bias)

    return Plan(energies, lambda rank: pixels * channels // groups * rank + site.main_macs(rank), build, groups)


def spatial(site: Site) -> Plan | str:
    """An N x 1 convolution, then a 1 x N one; the guideline does not advise it, for boards are made for 3 x 3."""
    layer = site.layer
    if site.transposed or layer.groups != 1 or min(layer.kernel_size) < 2:
        return "it must be a Conv without groups whose kernel is larger than 1 both ways"
    found = low_rank.spatial(site.kernel)
    (height, width), (rates_h, rates_w) = layer.kernel_size, layer.dilation_rate
    (down, right), rows, columns = layer.strides, site.outputs[1], site.outputs[2]
    between = rows * site.inputs[2]

    def macs(rank: int) -> int:
        return between * height * site.inputs[-1] * rank + rows * columns * width * rank * layer.filters

    def build(rank: int) -> Pair:
        column = site.first(
            keras.layers.Conv2D, "column", rank, (height, 1), strides=(down, 1), padding=layer.padding,
            dilation_rate=(rates_h, 1),
        )  # fmt: skip
        row = copy_layer(layer, kernel_size=(1, width), strides=(1, right), dilation_rate=(1, rates_w))
        return Pair(
            (column, row), (found.first[:, None, :, :rank], found.second[:rank].transpose(1, 0, 2)[None]), site.bias
        )

    return Plan(found.energies, macs, build)


def depthwise_separable(site: Site) -> Plan | str:
    """A DWConv, then a PConv (DWSConv), for 3 x 3 and larger kernels."""
    layer = site.layer
    if site.transposed or layer.groups != 1 or min(layer.kernel_size) < 2:
        return "it must be a Conv without groups whose kernel is larger than 1 both ways"
    if layer.strides[0] != layer.strides[1]:
        return f"its strides differ: {layer.strides}"
    pixels, channels = math.prod(site.outputs[1:3]), site.inputs[-1]

    def build(_: int) -> Pair:
        depthwise, pointwise = low_rank.depthwise_separable(site.kernel)
        first = site.first(
            keras.layers.DepthwiseConv2D, "dwconv", layer.kernel_size, strides=layer.strides, padding=layer.padding,
            dilation_rate=layer.dilation_rate,
        )  # fmt: skip
        last = copy_layer(layer, kernel_size=(1, 1), strides=(1, 1), dilation_rate=(1, 1))
        return Pair((first, last), (depthwise, pointwise), site.bias)

    macs = pixels * channels * (math.prod(layer.kernel_size) + layer.filters)
    return Plan(None, lambda _: macs, build)


def stacked_3x3(site: Site) -> Plan | str:
    """Two 3 x 3 convolutions for a 5 x 5 one, with as many channels between as the smaller side has."""
    layer = site.layer
    if site.transposed or layer.groups != 1 or layer.kernel_size != (5, 5):
        return "it must be a 5 x 5 Conv without groups"
    if layer.dilation_rate != (1, 1):
        return f"it is dilated: {layer.dilation_rate}"
    channels = site.inputs[-1]
    middle = min(channels, layer.filters)
    # With 'valid' padding the first one loses a border of one pixel.
    border = 0 if layer.padding == "same" else 2
    pixels = math.prod(size - border for size in site.inputs[1:3])
    macs = 9 * middle * (pixels * channels + math.prod(site.outputs[1:3]) * layer.filters)

    def build(_: int) -> Pair:
        kernels = low_rank.stacked_3x3(site.kernel, middle)
        first = site.first(keras.layers.Conv2D, "first", middle, 3, padding=layer.padding)
        return Pair((first, copy_layer(layer, kernel_size=(3, 3))), kernels, site.bias)

    return Plan(None, lambda _: macs, build)


METHODS: Mapping[str, Method] = {
    "bottleneck": bottleneck,
    "bottleneck_group": bottleneck_group,
    "depthwise_separable": depthwise_separable,
    "spatial": spatial,
    "stacked_3x3": stacked_3x3,
}


def _own_order(site: Site, kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(0, 1, 3, 2) if site.transposed else kernel
