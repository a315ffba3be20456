"""Which weights of a kernel become zero: the smallest of all (unstructured), or of every M neighbours all but N (N:M).

N:M: at most N of M weights in a row differ from zero, along the axis that the product sums over, the input channels.
There the hardware skips them: NVIDIA's sparse tensor cores take 2:4 along K (Mishra and others, *Accelerating Sparse
Deep Neural Networks*, 2021, section 3, https://arxiv.org/abs/2104.08378). No kernel of TFLite, XNNPACK or CMSIS-NN
knows the pattern: there it buys what as many zeros in any order buy, which is a smaller compressed file.
"""

from __future__ import annotations

import dataclasses
import re

import tensorflow as tf

from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Pattern:
    """N:M.

    Attributes:
      kept: N, weights that may differ from zero,
      group: M, of so many in a row.
    """

    kept: int
    group: int

    def __post_init__(self) -> None:
        if not 0 < self.kept < self.group:
            raise InputError(f"A pattern N:M needs 0 < N < M. Received: {self.kept}:{self.group}")

    @property
    def sparsity(self) -> float:
        """The share of zeros, 0..1.

        >>> Pattern(1, 4).sparsity
        0.75
        """
        return 1 - self.kept / self.group


def parse_pattern(text: str) -> Pattern:
    """-> the pattern that a text such as ``2:4`` names: two non-zeros in every four.

    >>> parse_pattern("2:4")
    Pattern(kept=2, group=4)
    """
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", text)
    if not found:
        raise InputError(f"A pattern is N:M, such as 2:4. Received: {text!r}")
    return Pattern(int(found[1]), int(found[2]))


def magnitude_mask(kernel: tf.Tensor, sparsity: tf.Tensor | float) -> tf.Tensor:
    """-> 1 where a weight stays, 0 for the smallest; one weight always stays. TFMOT's rule, ties included.

    Args:
      kernel: of any shape.
      sparsity: the share of zeros, 0..1.

    >>> magnitude_mask(tf.constant([0.1, -3.0, 2.0, -0.2]), 0.5).numpy().tolist()
    [0.0, 1.0, 1.0, 0.0]
    """
    sizes = tf.reshape(tf.abs(kernel), [-1])
    share = 1 - tf.cast(sparsity, tf.float32)
    kept = tf.cast(tf.maximum(tf.round(tf.cast(tf.size(sizes), tf.float32) * share), 1), tf.int32)
    # The k-th largest is the threshold; equal ones stay too, as in TFMOT.
    threshold = tf.math.top_k(sizes, k=tf.size(sizes))[0][kept - 1]
    return tf.cast(tf.abs(kernel) >= threshold, kernel.dtype)


def pattern_mask(kernel: tf.Tensor, pattern: Pattern, axis: int) -> tf.Tensor:
    """-> 1 for the N largest of every M in a row along `axis`; a last group of fewer than M keeps N of them too.

    Args:
      kernel: of any shape.
      pattern: N:M.
      axis: of the input channels: -2 of a Conv or Dense kernel, -1 of a Deconv's.

    >>> pattern_mask(tf.constant([[4.0, 1.0, -2.0, 3.0]]), Pattern(2, 4), axis=1).numpy().tolist()
    [[1.0, 0.0, 0.0, 1.0]]
    """
    order = [place for place in range(kernel.shape.rank) if place != axis % kernel.shape.rank]
    order.append(axis % kernel.shape.rank)
    sizes = tf.transpose(tf.abs(kernel), order)
    shape, rows = tf.shape(sizes), tf.reshape(sizes, [-1, kernel.shape[axis]])
    # What is added is below every weight, and never among those that stay.
    rows = tf.pad(rows, [[0, 0], [0, -kernel.shape[axis] % pattern.group]], constant_values=-1.0)
    groups = tf.reshape(rows, [-1, pattern.group])
    best = tf.math.top_k(groups, k=pattern.kept)[1]
    mask = tf.reduce_sum(tf.one_hot(best, pattern.group, dtype=kernel.dtype), axis=1)
    mask = tf.reshape(mask, tf.shape(rows))[:, : kernel.shape[axis]]
    back = sorted(range(len(order)), key=lambda place: order[place])
    return tf.transpose(tf.reshape(mask, shape), back)
