"""Numbers of one bit, and gradients that get past them: straight-through estimators.

The sign has the derivative 0 everywhere, so that nothing behind it would learn. Each function here gives the sign
forwards, and backwards the derivative of something near it. The sign of 0 is 1: one bit has no third value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def _choice(x: Any) -> Any:
    # For inputs: TFLite's SIGN gives 0 for 0 and has no int8 kernel; a comparison and a choice have both.
    return tf.where(x >= 0, tf.ones((), x.dtype), -tf.ones((), x.dtype))


def _folded(kernel: Any) -> Any:
    # For kernels: the same, in ops that the converter computes once and for all. A choice between constants it leaves
    # in the file, because numbers take more room than the answers to a comparison.
    return tf.sign(tf.sign(kernel) + 0.5)


def _passed(x: Any, upstream: Any) -> Any:
    return tf.where(tf.abs(x) <= 1, upstream, tf.zeros_like(upstream))


@tf.custom_gradient
def sign(x: Any) -> Any:
    """-> -1 below 0, else 1; the gradient passes where ``|x| <= 1``.

    Hubara et al., *Binarized Neural Networks*, NeurIPS 2016, section 1.3, https://arxiv.org/abs/1602.02830.

    Example:
      >>> sign(tf.constant([-0.5, 0.0, 2.0])).numpy().tolist()
      [-1.0, 1.0, 1.0]
    """
    return _choice(x), lambda upstream: _passed(x, upstream)


@tf.custom_gradient
def kernel_sign(kernel: Any) -> Any:
    """-> what `sign` gives, with its gradient; in an exported file it is a constant."""
    return _folded(kernel), lambda upstream: _passed(kernel, upstream)


@tf.custom_gradient
def approx_sign(x: Any) -> Any:
    """-> as `sign`; the gradient is that of a parabola in two parts: times ``2 - 2 |x|`` where ``|x| < 1``, else 0.

    Liu et al., *Bi-Real Net*, ECCV 2018, section 3.3, https://arxiv.org/abs/1808.00278.
    """
    return _choice(x), lambda upstream: upstream * tf.maximum(2 - 2 * tf.abs(x), tf.zeros((), x.dtype))


def hard_sigmoid(x: Any) -> Any:
    """-> ``clip((x + 1) / 2, 0, 1)``, the probability of 1 in `stochastic_sign` (BinaryConnect, equation 3).

    >>> hard_sigmoid(tf.constant([-2.0, 0.0, 0.5])).numpy().tolist()
    [0.0, 0.5, 0.75]
    """
    return tf.clip_by_value((x + 1) / 2, 0, 1)


@tf.custom_gradient
def stochastic_sign(x: Any) -> Any:
    """-> 1 with the probability `hard_sigmoid` of x, else -1; the gradient is that of `sign`.

    Courbariaux et al., *BinaryConnect*, NeurIPS 2015, section 2.3, https://arxiv.org/abs/1511.00363. What is drawn
    follows ``keras.utils.set_random_seed``.
    """
    drawn = tf.random.uniform(tf.shape(x), dtype=tf.float32)
    y = tf.where(drawn < tf.cast(hard_sigmoid(x), tf.float32), tf.ones((), x.dtype), -tf.ones((), x.dtype))
    return y, lambda upstream: _passed(x, upstream)


def scaled_sign(kernel: Any) -> Any:
    """[..., F] -> ``alpha * sign(kernel)`` with ``alpha``, one an output channel, the mean of ``|kernel|``.

    The nearest binary kernel in the sense of least squares. Rastegari et al., *XNOR-Net*, ECCV 2016, equation 6,
    https://arxiv.org/abs/1603.05279. The gradient runs through both factors, through the sign by `sign`'s.

    Example:
      >>> scaled_sign(tf.constant([[0.25], [-0.75]])).numpy().tolist()
      [[0.5], [-0.5]]
    """
    return _scale(kernel, tuple(range(len(kernel.shape) - 1))) * kernel_sign(kernel)


def scaled_sign_depthwise(kernel: Any) -> Any:
    """[KH, KW, C, M] -> as `scaled_sign`, with one alpha for each of the C x M windows."""
    return _scale(kernel, (0, 1)) * kernel_sign(kernel)


def _scale(kernel: Any, axes: tuple[int, ...]) -> Any:
    return tf.reduce_mean(tf.abs(kernel), axis=axes, keepdims=True)


Quantizer = Callable[[Any], Any]

# Name -> what a kernel is trained with.
KERNELS: dict[str, Quantizer] = {
    # BinaryConnect: -1 and 1. A batch norm must follow, because the sums grow with the kernel's size.
    "sign": kernel_sign,
    "stochastic_sign": stochastic_sign,
    # XNOR-Net: -alpha and alpha.
    "scaled_sign": scaled_sign,
}
# Name -> what an input is turned into.
INPUTS: dict[str, Quantizer] = {"sign": sign, "approx_sign": approx_sign}
