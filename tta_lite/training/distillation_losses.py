"""What a network may learn from a teacher: distances as functions of tensors. Imports TensorFlow, and no Keras at all.

Each is a function of the teacher's tensor and the student's, in this order, and gives one number an example, [B]. What
comes from the teacher gets no gradient in a training if the caller stops it (`tf.stop_gradient`). They serve any Keras:
a process with Keras 3 can call them in a loss or a `train_step` of its own.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from tta_lite.types import InputError

# Of a probability: its logarithm is -69, and float32 still knows the next one.
TINY = 1e-30
# Below the square of any feature that matters: the map of a layer that gives nothing but zeros stays zeros.
EPSILON = 1e-24


def softened_divergence(taught: tf.Tensor, found: tf.Tensor, temperature: float) -> tf.Tensor:
    """``T^2 * KL(softmax(taught / T) || softmax(found / T))``; its gradient is that of Hinton's cross-entropy.

    Hinton, Vinyals and Dean, *Distilling the Knowledge in a Neural Network*, 2015, section 2,
    https://arxiv.org/abs/1503.02531. The square of the temperature keeps the gradients from falling with it.

    Args:
      taught: [B, ..., C] float32: logits of the teacher.
      found: logits in the same shape.
      temperature: T; above 1 the classes that are not the likeliest count for more.

    Returns:
      [B] float32, the mean over what lies between.

    >>> float(softened_divergence(tf.constant([[2.0, 0.0]]), tf.constant([[2.0, 0.0]]), 4.0)[0])
    0.0
    """
    p, log_p = tf.nn.softmax(taught / temperature), tf.nn.log_softmax(taught / temperature)
    divergence = tf.reduce_sum(p * (log_p - tf.nn.log_softmax(found / temperature)), axis=-1)
    return temperature**2 * _of_each(divergence)


def as_logits(outputs: tf.Tensor, are_logits: bool) -> tf.Tensor:
    """-> logits; probabilities become their logarithms.

    Softmax does not see what is added to all logits: the logarithms of probabilities are as good as what made them.
    """
    return outputs if are_logits else tf.math.log(tf.maximum(outputs, TINY))


def mean_squared_error(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """-> [B], the mean of ``(found - taught)^2`` over all values of an example, [B, ...]."""
    return _of_each(tf.square(found - taught))


def heat_map_distance(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """``1/2 * mean((found - taught)^2)`` over the maps of all joints, those that nobody has annotated too.

    Zhang, Zhu and Ye, *Fast Human Pose Estimation*, CVPR 2019, section 3.2, https://arxiv.org/abs/1811.05419. The half
    is that of `tta_lite.tasks.heatmaps.JointsMSE`, so that a weight of a half counts the teacher as the labels.

    Args:
      taught: [B, H, W, J] float32, the teacher's heat maps.
      found: in the same shape.

    Returns:
      [B] float32.

    >>> heat_map_distance(tf.ones([1, 2, 2, 3]), tf.zeros([1, 2, 2, 3])).numpy().tolist()
    [0.5]
    """
    return 0.5 * mean_squared_error(taught, found)


def attention_map(features: tf.Tensor) -> tf.Tensor:
    """``F(A) = sum over channels of |A_c|^2``: where in the picture a layer looks.

    Zagoruyko and Komodakis, *Paying More Attention to Attention*, ICLR 2017, section 3.1,
    https://arxiv.org/abs/1612.03928.

    Args:
      features: [B, H, W, C] float32.

    Returns:
      [B, H, W, 1] float32.

    >>> attention_map(tf.constant([[[[3.0, 4.0]]]])).numpy().tolist()
    [[[[25.0]]]]
    """
    return tf.reduce_sum(tf.square(features), axis=-1, keepdims=True)


def attention_transfer(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """``mean over positions of (Q_s / ||Q_s||_2 - Q_t / ||Q_t||_2)^2`` with Q the attention map, as one vector.

    Zagoruyko and Komodakis, ICLR 2017, equation 2, https://arxiv.org/abs/1612.03928, as their published code has it:
    the distance is squared and its mean taken over positions and examples; there its weight is 1,000 (their beta, which
    already holds the half of equation 2). The numbers of channels may differ. Of maps of different sizes the larger is
    average-pooled to the smaller, after the sum over channels.

    Args:
      taught: [B, H, W, C] float32, features of the teacher.
      found: [B, h, w, c] float32, features of the student.

    Returns:
      [B] float32.

    >>> attention_transfer(tf.ones([1, 4, 4, 8]), 3 * tf.ones([1, 2, 2, 1])).numpy().tolist()
    [0.0]
    """
    maps = same_size(attention_map(taught), attention_map(found))
    units = [_unit(tf.reshape(one, [tf.shape(one)[0], -1])) for one in maps]
    return mean_squared_error(*units)


def similarity_matrix(features: tf.Tensor) -> tf.Tensor:
    """``G = Q Q^T``, each row divided by its L2 norm, with a row of Q for each example: who is like whom in a batch.

    Tung and Mori, *Similarity-Preserving Knowledge Distillation*, ICCV 2019, equations 1 and 2,
    https://arxiv.org/abs/1907.09682.

    Args:
      features: [B, ...] float32.

    Returns:
      [B, B] float32.

    >>> similarity_matrix(tf.constant([[2.0, 0.0], [0.0, 5.0]])).numpy().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    rows = tf.reshape(features, [tf.shape(features)[0], -1])
    return _unit(tf.matmul(rows, rows, transpose_b=True))


def similarity_preserving(taught: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """``1 / B^2 * ||G_t - G_s||_F^2``, row by row: the mean of what comes back is that.

    Tung and Mori, ICCV 2019, equation 4, https://arxiv.org/abs/1907.09682; there its weight is 3,000. It compares the
    examples of a batch with each other, those that one replica sees: sizes and channels may differ, and a batch of 1
    teaches nothing.

    Args:
      taught: [B, ...] float32, features of the teacher.
      found: [B, ...] float32, features of the student.

    Returns:
      [B] float32: ``1 / B * sum over columns of (G_t - G_s)^2`` of each row.

    >>> [round(float(one), 4) for one in similarity_preserving(tf.eye(2), tf.ones([2, 3]))]
    [0.2929, 0.2929]
    """
    return mean_squared_error(similarity_matrix(taught), similarity_matrix(found))


def hint_distance(taught: tf.Tensor, regressed: tf.Tensor) -> tf.Tensor:
    """``1/2 * mean((u - r(v))^2)``: a hint layer u of the teacher, and what a regressor r makes of a student's layer v.

    Romero et al., *FitNets: Hints for Thin Deep Nets*, ICLR 2015, equation 3, https://arxiv.org/abs/1412.6550, divided
    by the number of values of u, so that a weight means the same for layers of every size.

    Args:
      taught: [B, ...] float32.
      regressed: in the same shape.

    Returns:
      [B] float32.

    >>> hint_distance(tf.zeros([1, 2, 2, 4]), 2 * tf.ones([1, 2, 2, 4])).numpy().tolist()
    [2.0]
    """
    return 0.5 * mean_squared_error(taught, regressed)


def same_size(one: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """-> both average-pooled to the smaller height and the smaller width; [B, H, W, C] and [B, h, w, c]."""
    height, width = (min(one.shape[axis], other.shape[axis]) for axis in (1, 2))
    return pooled(one, height, width), pooled(other, height, width)


def pooled(maps: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """-> the mean of each of `height` x `width` cells: what is average pooling wherever the sizes divide.

    Cell k of n reaches from floor(k * N / n) to ceil((k + 1) * N / n), as in PyTorch's ``adaptive_avg_pool2d``.

    Args:
      maps: [B, H, W, C] with known H and W.
      height: at most H.
      width: at most W.

    Raises:
      InputError: H or W is not known, or smaller than what is wanted.

    >>> pooled(tf.reshape(tf.range(16.0), [1, 4, 4, 1]), 2, 2)[0, ..., 0].numpy().tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    if maps.shape.rank != 4 or None in maps.shape[1:3] or maps.shape[1] < height or maps.shape[2] < width:
        raise InputError(
            f"Maps to be pooled must be [B, H, W, C] with H {height} or more and W {width} or more. "
            f"Received: {tuple(maps.shape)}"
        )
    for axis, size in ((1, height), (2, width)):
        if maps.shape[axis] != size:
            means = tf.constant(_cells(maps.shape[axis], size), maps.dtype)
            maps = tf.einsum("bhwc,hk->bkwc" if axis == 1 else "bhwc,wk->bhkc", maps, means)
    return maps


@functools.cache
def _cells(length: int, count: int) -> np.ndarray:
    """-> [length, count], the share of each pixel in the mean of each cell."""
    shares = np.zeros((length, count), np.float32)
    for cell in range(count):
        first, last = cell * length // count, -(-(cell + 1) * length // count)
        shares[first:last, cell] = 1 / (last - first)
    return shares


def _unit(rows: tf.Tensor) -> tf.Tensor:
    return rows * tf.math.rsqrt(tf.maximum(tf.reduce_sum(tf.square(rows), axis=-1, keepdims=True), EPSILON))


def _of_each(values: tf.Tensor) -> tf.Tensor:
    """[B, ...] -> [B], the mean of each example."""
    return tf.reduce_mean(values, axis=tuple(range(1, values.shape.rank)))
