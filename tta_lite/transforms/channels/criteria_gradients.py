"""Criteria that look at the gradients of a loss: they need pictures with their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.transforms.channels.units import free, layers_of, parts, reading_kernel, rows, summed

Batch = tuple[Any, Any]
Loss = Callable[[Any, Any], Any]


def taylor(
    model: keras.Model, groups: Sequence[ChannelGroup], batches: Sequence[Batch], loss: Loss
) -> dict[str, np.ndarray]:
    """The squared change of the loss when a unit leaves, to first order.

    Molchanov et al., *Importance Estimation for Neural Network Pruning*, CVPR 2019, section 3, equation 8: the square
    of the sum of weight times gradient over a set of weights, averaged over batches; https://arxiv.org/abs/1906.10771.
    The set here is all weights that read the unit, for a unit has left when nothing reads it; so it does not matter
    how many layers make it. With pictures one by one it is the criterion of Molchanov et al., ICLR 2017, section 2.2,
    https://arxiv.org/abs/1611.06440, squared: activation times gradient, summed over the map. Batch norm is that of
    inference. Scores are compared across layers as they are.

    Args:
      model: functional.
      groups: of `channel_groups`.
      batches: pairs (x, y). A batch counts as one example, so that small batches tell more.
      loss: (y, prediction) -> the loss.
    """
    layers = layers_of(model)
    names = list(dict.fromkeys(part.layer for group in free(groups) for part in parts(group, "in")))
    kernels = [reading_kernel(layers[name]) for name in names]
    gradients = gradients_of(model, kernels, loss)
    values = [kernel.numpy() for kernel in kernels]
    scores = {group.name: np.zeros(group.size) for group in free(groups) if any(parts(group, "in"))}
    for x, y in batches:
        # [channels] for each reader: the change of the loss with a factor before each channel.
        slopes = {
            name: rows(layers[name], "in", gradient * value).sum(axis=1)
            for name, gradient, value in zip(names, gradients(x, y), values, strict=True)
        }
        for group in free(groups):
            if group.name in scores:
                change = sum(summed(slopes[part.layer], part, group.size) for part in parts(group, "in"))
                scores[group.name] += change**2 / len(batches)
    return scores


def gradients_of(
    model: keras.Model, variables: Sequence[tf.Variable], loss: Loss
) -> Callable[[Any, Any], list[np.ndarray]]:
    """-> a function of (x, y): the loss's gradients by the variables, zeros where it does not depend on one."""

    @tf.function(reduce_retracing=True)
    def run(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable)
            value = tf.reduce_mean(loss(y, model(x, training=False)))
        return tape.gradient(value, list(variables), unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def gradients(x: Any, y: Any) -> list[np.ndarray]:
        return [np.asarray(tf.convert_to_tensor(one)) for one in run(_tensors(x), _tensors(y))]

    return gradients


def _tensors(values: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, values)
