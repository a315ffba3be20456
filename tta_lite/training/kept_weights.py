"""What quantisation-aware training must not undo: the zeros of pruning (PQAT), the few values of clustering (CQAT).

TFMOT's own collaborative schemes keep neither in a Deconv. Here a callback puts the kernels right after every batch, in
one compiled function: zeros become zero again, and the weights of a cluster become their mean, which is what a step on
the shared value alone would have done (Han, Mao and Dally, *Deep Compression*, ICLR 2016, section 3,
https://arxiv.org/abs/1510.00149).

Clusters are found among the weights over the largest of their output channel. An int8 kernel has one scale a channel:
values that are shared before the scale is taken out would be other codes in every channel, and the file would compress
no better.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tta_lite.compat import keras
from tta_lite.training.quantization_aware import Wrapper, kernel_variables, wrappers
from tta_lite.training.quantizers import KERNELS

L = keras.layers
LLOYD_ROUNDS = 30


@dataclasses.dataclass(frozen=True)
class Clusters:
    """The clusters of one kernel.

    Attributes:
      values: [K] float32, rising, -1..1: shares of the channel's largest weight; -1, 0 and 1 are among them and stay.
      assignment: which of them each weight has, in the kernel's shape, int32.
      axes: of the kernel, those that belong to one output channel.
    """

    values: np.ndarray
    assignment: np.ndarray
    axes: tuple[int, ...]


class KeptWeights(keras.callbacks.Callback):
    """Puts kernels right when it is made and after every batch; for any `model.fit`.

    Args:
      corrections: each changes variables; they are compiled together.
    """

    def __init__(self, corrections: list[Callable[[], None]]) -> None:
        super().__init__()

        @tf.function(autograph=False)
        def correct() -> None:
            for one in corrections:
                one()

        self.correct = correct
        # And not when a training begins: one that goes on would begin with other last bits than it ended with.
        correct()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Puts them right."""
        self.correct()


def keep_zeros(model: keras.Model) -> KeptWeights | None:
    """-> a callback that keeps the zeros which the kernels of a quantisation-aware model have now; None if none has."""
    corrections = []
    for kernel in kernel_variables(model).values():
        mask = kernel.numpy() != 0
        if not mask.all():
            corrections.append(_masking(kernel, tf.constant(mask, kernel.dtype)))
    return KeptWeights(corrections) if corrections else None


def keep_clusters(model: keras.Model, clusters: int) -> KeptWeights:
    """-> a callback that gives each kernel but the depthwise ones `clusters` values a channel scale, and keeps them.

    Args:
      model: quantisation-aware; its zeros stay zero.
      clusters: 3 or more.
    """
    chosen = clustered_layers(model)
    kernels = [(wrapper._weight_vars[0][0], KERNELS[type(wrapper.layer)][1]) for wrapper in chosen]
    found = find_clusters([(kernel.numpy(), axes) for kernel, axes in kernels], clusters)
    return KeptWeights([_sharing(kernel, one) for (kernel, _), one in zip(kernels, found, strict=True)])


def clustered_layers(model: keras.Model) -> list[Wrapper]:
    """-> the wrappers whose kernels are pruned and clustered: all but depthwise ones, which are few and sensitive."""
    return [one for one in wrappers(model) if type(one.layer) in KERNELS and type(one.layer) is not L.DepthwiseConv2D]


def find_clusters(kernels: list[tuple[np.ndarray, tuple[int, ...]]], clusters: int) -> list[Clusters]:
    """k-means on weights over the largest of their channel, from the centroids of TFMOT's `cluster_weights`.

    Args:
      kernels: each with the axes that belong to one output channel.
      clusters: K, 3 or more; a kernel with fewer different values has fewer.
    """
    shares = [kernel / _largest(kernel, axes) for kernel, axes in kernels]
    starts = _tfmot_centroids(shares, clusters)
    return [
        Clusters(*_lloyd(share, start), axes) for share, start, (_, axes) in zip(shares, starts, kernels, strict=True)
    ]


def _largest(kernel: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    largest = np.abs(kernel).max(axes, keepdims=True)
    return np.where(largest > 0, largest, 1)


def _tfmot_centroids(shares: list[np.ndarray], clusters: int) -> list[np.ndarray]:
    # Its wrapper takes layers and not arrays; a dense layer has a kernel of any size and nothing else.
    centroids = []
    for share in shares:
        layer = L.Dense(1, use_bias=False)
        layer.build((None, share.size))
        layer.set_weights([share.reshape(-1, 1)])
        wrapped = tfmot.clustering.keras.cluster_weights(
            layer,
            number_of_clusters=clusters,
            cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization.KMEANS_PLUS_PLUS,
        )
        wrapped.build((None, share.size))
        centroids.append(np.asarray(wrapped.cluster_centroids["kernel"]).reshape(-1))
    return centroids


def _lloyd(share: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lloyd's algorithm in one dimension with three values that stay -> values and assignment."""
    flat = share.reshape(-1)
    inner = np.sort(start.astype(np.float64))
    # The three places of those that stay: the ends, and what is nearest to zero.
    zero = 1 + int(np.argmin(np.abs(inner[1:-1])))

    def held(values: np.ndarray) -> np.ndarray:
        values = np.clip(values, -1, 1)
        values[[0, zero, -1]] = -1, 0, 1
        values[:zero] = np.minimum(values[:zero], 0)
        values[zero + 1 :] = np.maximum(values[zero + 1 :], 0)
        return values

    values = held(inner)
    assignment = np.zeros(flat.shape, np.int64)
    for _ in range(LLOYD_ROUNDS):
        values.sort()
        assignment = np.searchsorted((values[1:] + values[:-1]) / 2, flat)
        counts = np.bincount(assignment, minlength=len(values))
        sums = np.bincount(assignment, weights=flat, minlength=len(values))
        values = held(np.where(counts > 0, sums / np.maximum(counts, 1), values))
    # A weight that is 0 or the largest of its channel is nearest to what stays, whatever the others came to.
    assignment[flat == 0] = zero
    assignment[flat == -1] = 0
    assignment[flat == 1] = len(values) - 1
    return values.astype(np.float32), assignment.reshape(share.shape).astype(np.int32)


def _masking(kernel: tf.Variable, mask: tf.Tensor) -> Callable[[], None]:
    def correct() -> None:
        kernel.assign(kernel * mask)

    return correct


def _sharing(kernel: tf.Variable, clusters: Clusters) -> Callable[[], None]:
    count = len(clusters.values)
    assignment = tf.constant(clusters.assignment.reshape(-1))
    values = tf.constant(clusters.values)
    stays = tf.constant(np.isin(clusters.values, (-1, 0, 1)))
    ends = (clusters.assignment == count - 1).astype(np.float32) - (clusters.assignment == 0).astype(np.float32)
    sign = tf.constant(ends)
    members = tf.constant(np.maximum(np.abs(ends).sum(clusters.axes, keepdims=True), 1))

    def correct() -> None:
        # The largest weights of a channel are its scale; all others are shares of it.
        scale = tf.reduce_sum(kernel * sign, clusters.axes, keepdims=True) / members
        positive = scale > 0
        share = tf.where(positive, kernel / tf.where(positive, scale, tf.ones_like(scale)), tf.zeros_like(kernel))
        means = tf.math.unsorted_segment_mean(tf.reshape(share, [-1]), assignment, count)
        shared = tf.where(stays, values, tf.clip_by_value(means, -1.0, 1.0))
        kernel.assign(tf.reshape(tf.gather(shared, assignment), kernel.shape) * tf.nn.relu(scale))

    return correct
