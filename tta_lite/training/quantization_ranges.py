"""Which tensors of a network have a range of their own in an int8 file, and what the ranges are on images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training import quantization_layers as kinds
from tta_lite.transforms.graph import Call, Graph
from tta_lite.types import InputError

L = keras.layers


def output_places(graph: Graph) -> dict[str, tuple[float, float] | None]:
    """-> the layers whose output the file holds in int8 with a range of its own; that range if it is always the same.

    What the converter makes one op of has one range at its end: convolution, batch norm, ReLU; addition and ReLU. What
    only a concatenation reads has the range of the concatenation. What moves values has the range of its input.
    """
    places: dict[str, tuple[float, float] | None] = {}
    for call in graph.calls:
        fixed = _fixed_range(call.layer)
        following = graph.only_reader(call.writes[0])
        if fixed is not None:
            places[call.name] = fixed
        elif _has_range(call) and (following is None or not _is_one_op(call, following)):
            places[call.name] = None
    return places


def _has_range(call: Call) -> bool:
    layer = call.layer
    computes = (*kinds.LINEAR, *kinds.COMPUTES, L.BatchNormalization)
    return type(layer) in computes or kinds.is_relu(layer) or call.name.startswith(kinds.INPUT)


def _fixed_range(layer: keras.layers.Layer) -> tuple[float, float] | None:
    if type(layer) is L.Softmax:
        return kinds.FIXED["softmax"]
    return kinds.FIXED.get(kinds.name_of(layer.activation)) if type(layer) is L.Activation else None


def _is_one_op(call: Call, following: Call) -> bool:
    if type(following.layer) is L.Concatenate:
        return True
    if type(following.layer) is L.BatchNormalization:
        return type(call.layer) in kinds.LINEAR
    fusing = (*kinds.LINEAR, L.BatchNormalization, L.Add, L.Subtract, L.Multiply, L.Rescaling)
    return kinds.is_relu(following.layer) and type(call.layer) in fusing


def measured_ranges(
    flat: keras.Model, names: Sequence[str], images: Sequence[np.ndarray]
) -> dict[str, tuple[float, float]]:
    """-> {layer: least and largest output} over the images, in inference.

    Raises:
      InputError: no image, one of another shape, or one that is not finite.
    """
    shape = (1, *flat.inputs[0].shape[1:])
    for number, image in enumerate(images):
        array = np.asarray(image)
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            raise InputError(
                f"Argument `images`, image {number}: the ranges begin with training images of shape {list(shape)}, "
                f"float32 and finite. Received: {list(array.shape)} {array.dtype}"
            )
    if not len(images):
        raise InputError("Argument `images`: the ranges begin with training images. Received: no image")
    probe = keras.Model(flat.input, [flat.get_layer(name).output for name in names])

    @tf.function(reduce_retracing=True)
    def ends(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = tf.nest.flatten(probe(batch, training=False))
        return (
            tf.stack([tf.reduce_min(one) for one in outputs]), tf.stack([tf.reduce_max(one) for one in outputs])
        )  # fmt: skip

    lows, highs = [], []
    for start in range(0, len(images), 16):
        low, high = ends(tf.constant(np.concatenate(list(images[start : start + 16]))))
        lows.append(low.numpy())
        highs.append(high.numpy())
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}
