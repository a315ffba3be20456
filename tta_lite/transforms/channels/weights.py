"""Where the channels of a layer lie in its weights: a table, layer class -> weight, axis and how often, for each side.

A new layer with weights is one entry here and one in `layer_rules.RULES`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tta_lite.compat import keras

L = keras.layers


@dataclasses.dataclass(frozen=True)
class Place:
    """An axis of a weight that has an entry for each channel of one side.

    Attributes:
      weight: the layer's attribute that holds it, e.g. ``kernel``.
      axis: counted from the end.
      times: entries that follow each other for one channel: a depthwise kernel's multiplier.
    """

    weight: str
    axis: int
    times: int = 1


Places = Mapping[str, tuple[Place, ...]]


def _bias(layer: keras.layers.Layer, times: int = 1) -> tuple[Place, ...]:
    return (Place("bias", -1, times),) if layer.use_bias else ()


def is_depthwise(layer: keras.layers.Layer) -> bool:
    """-> whether a layer is a grouped convolution with one input channel a group: a depthwise one by another name."""
    return getattr(layer, "groups", 1) > 1 and type(layer) in CONVOLUTIONS and layer.kernel.shape[-2] == 1


def _convolution(layer: keras.layers.Layer) -> Places:
    out = (Place("kernel", -1), *_bias(layer))
    return {"each": out} if is_depthwise(layer) else {"in": (Place("kernel", -2),), "out": out}


def _dense(layer: keras.layers.Layer) -> Places:
    return {"in": (Place("kernel", -2),), "out": (Place("kernel", -1), *_bias(layer))}


def _transposed(layer: keras.layers.Layer) -> Places:
    return {"in": (Place("kernel", -1),), "out": (Place("kernel", -2), *_bias(layer))}


def _depthwise(layer: keras.layers.Layer) -> Places:
    return {"each": (Place("depthwise_kernel", -2), *_bias(layer, layer.depth_multiplier))}


def _separable(layer: keras.layers.Layer) -> Places:
    return {
        "in": (Place("depthwise_kernel", -2), Place("pointwise_kernel", -2, layer.depth_multiplier)),
        "out": (Place("pointwise_kernel", -1), *_bias(layer)),
    }


def _batch_norm(layer: keras.layers.Layer) -> Places:
    names = [*(["gamma"] if layer.scale else []), *(["beta"] if layer.center else [])]
    return {"each": tuple(Place(name, -1) for name in (*names, "moving_mean", "moving_variance"))}


def _prelu(layer: keras.layers.Layer) -> Places:
    return {"each": (Place("alpha", -1),)}


CONVOLUTIONS = (L.Conv1D, L.Conv2D, L.Conv3D)
PLACES: Mapping[type[keras.layers.Layer], Callable[[keras.layers.Layer], Places]] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution),
    **dict.fromkeys((L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose), _transposed),
    **dict.fromkeys((L.DepthwiseConv1D, L.DepthwiseConv2D), _depthwise),
    **dict.fromkeys((L.SeparableConv1D, L.SeparableConv2D), _separable),
    L.Dense: _dense,
    L.BatchNormalization: _batch_norm,
    L.PReLU: _prelu,
}


def places(layer: keras.layers.Layer) -> Places:
    """-> where the channels of each side lie in the weights of a layer; nothing for a layer that is not in the table.

    Example: a Deconv's kernel is [height, width, out, in].

      >>> deconv = L.Conv2DTranspose(4, 2)
      >>> deconv.build((None, 8, 8, 3))
      >>> places(deconv)["in"], places(deconv)["out"][0]
      ((Place(weight='kernel', axis=-1, times=1),), Place(weight='kernel', axis=-2, times=1))
    """
    return PLACES[type(layer)](layer) if type(layer) in PLACES else {}


def kept_weights(layer: keras.layers.Layer, kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """-> the weights of a layer by attribute, without the channels that leave. `kept`: side -> [channels] bool."""
    values: dict[str, np.ndarray] = {}
    for side, found in places(layer).items():
        for place in found:
            value = values.get(place.weight)
            if value is None:
                value = getattr(layer, place.weight).numpy()
            mask = np.repeat(kept[side], place.times) if side in kept else np.ones(value.shape[place.axis], bool)
            values[place.weight] = np.compress(mask, value, place.axis)
    return values
