"""One network of an elastic one, with small layers of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.elastic.space import ElasticSpace, Setting
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.transforms.remove_layers import remove_blocks
from tta_lite.transforms.rewrite import Builder, Keep, copy_layer, rewrite


def extract(
    model: keras.Model, space: ElasticSpace, setting: Setting, kernels: Mapping[str, np.ndarray] | None = None
) -> keras.Model:
    """-> an ordinary network: smaller kernels, fewer blocks, fewer channels, with the weights that are kept.

    Args:
      model: the largest one; it is not changed.
      space: of it.
      setting: which network.
      kernels: layer -> its smaller kernel [k, k, C, M]; the centre of the large one where there is none.

    Raises:
      InputError: the setting is not in the space.

    Example:
      >>> from tta_lite.transforms.elastic.find import elastic_space
      >>> image = keras.Input((8, 8, 4))
      >>> net = keras.Model(image, keras.layers.DepthwiseConv2D(5, padding="same", name="dw")(image))
      >>> extract(net, elastic_space(net), Setting((3,))).get_layer("dw").kernel_size
      (3, 3)
    """
    setting = space.check(setting)
    edits: dict[str, Builder] = {}
    frozen: list[keras.layers.Layer] = []
    for one, size in zip(space.kernels, setting.kernels, strict=True):
        if size == one.sizes[0]:
            continue
        layer, less = model.get_layer(one.layer), (one.sizes[0] - size) // 2
        given = (kernels or {}).get(one.layer)
        value = centre(layer.depthwise_kernel.numpy(), size) if given is None else given
        edits[one.layer] = _smaller(layer, size, value, frozen)
        if one.pad:
            edits[one.pad] = _narrower(model.get_layer(one.pad), less)
    small = rewrite(model, edits)
    for layer in frozen:
        layer.trainable = False
    pairs = zip(space.widths, setting.widths, strict=True)
    sizes = {one: one.sizes[one.shares.index(share)] for one, share in pairs}
    gone = {one.group: range(size, one.sizes[0]) for one, size in sizes.items() if size < one.sizes[0]}
    small = remove_channels(small, gone) if gone else small
    left_out = space.left_out(setting)
    return remove_blocks(small, left_out) if left_out else small


def centre(kernel: Any, size: int) -> Any:
    """[K, K, ...] -> [size, size, ...]: what lies in the middle.

    >>> centre(np.arange(9).reshape(3, 3), 1)
    array([[4]])
    """
    edge = (int(kernel.shape[0]) - size) // 2
    return kernel[edge : edge + size, edge : edge + size]


def _smaller(layer: keras.layers.Layer, size: int, value: np.ndarray, frozen: list[keras.layers.Layer]) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        new = copy_layer(layer, kernel_size=(size, size))
        y = new(x)
        new.set_weights([value, *layer.get_weights()[1:]])
        if not layer.trainable:
            frozen.append(new)
        return y

    return build


def _narrower(layer: keras.layers.Layer, less: int) -> Builder:
    padding = tuple(tuple(edge - less for edge in axis) for axis in layer.padding)
    return lambda x, keep: copy_layer(layer, padding=padding)(x)
