"""AdderNet: convolutions that subtract and add where others multiply, and a small ResNet made of them.

Chen et al., *AdderNet: Do We Really Need Multiplications in Deep Learning?*, CVPR 2020, https://arxiv.org/abs/1912.13200.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.models.resnet import batch_norm
from tta_lite.types import InputError

L = keras.layers
ETA = 0.1


@keras.utils.register_keras_serializable(package="tta_lite")
class Adder2D(keras.layers.Layer):
    """[B, H, W, C] -> [B, OH, OW, filters]: minus the L1 distance between each window and each filter.

    With a window x and a filter w: ``y = -sum |x - w|`` (equation 2). No output is above 0, so that batch norm must
    follow. The gradients are the paper's: ``dy/dw = x - w`` in full precision (equation 5) and
    ``dy/dx = clip(w - x, -1, 1)`` (equation 6). That of the filters is scaled to the norm ``eta sqrt(k)`` for k weights
    (section 3.3); it would vanish in wide networks otherwise.

    Args:
      filters: how many.
      kernel_size: height and width of the window; one number for both.
      strides: one number for both.
      padding: ``same`` (with zeros, of which the distance counts) or ``valid``.
      eta: of the filters' gradient; 0.1 in the paper.
    """

    def __init__(
        self, filters: int, kernel_size: int | Sequence[int], *, strides: int = 1, padding: str = "same",
        eta: float = ETA, kernel_initializer: Any = "random_normal", **options: Any,
    ):  # fmt: skip
        super().__init__(**options)
        if padding not in ("same", "valid"):
            raise InputError(f"Argument `padding` must be same or valid. Received: {padding!r}")
        self.filters, self.strides, self.padding, self.eta = filters, strides, padding, eta
        size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        self.kernel_size = (int(size[0]), int(size[1]))
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, shape: Any) -> None:
        """Makes the kernel [KH, KW, C, filters]."""
        self.kernel = self.add_weight(
            name="kernel", shape=(*self.kernel_size, shape[-1], self.filters), initializer=self.kernel_initializer
        )
        super().build(shape)

    def call(self, x: Any) -> Any:
        """See the class."""
        if self.padding == "same":
            x = tf.pad(x, [(0, 0), *(self._border(x.shape[axis], axis) for axis in (1, 2)), (0, 0)])
        return _distance(x, tf.cast(self.kernel, x.dtype), self.strides, self.eta)

    def _border(self, size: int, axis: int) -> tuple[int, int]:
        kernel = self.kernel_size[axis - 1]
        total = max(0, (-(-size // self.strides) - 1) * self.strides + kernel - size)
        return total // 2, total - total // 2

    def get_config(self) -> dict[str, Any]:
        """-> what __init__ takes."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "eta": self.eta,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _windows(x: Any, kernel: Any, stride: int) -> list[list[Any]]:
    """-> for each tap the pixels that it meets, [B, OH, OW, C]."""
    rows, columns = ((x.shape[axis] - kernel.shape[axis - 1]) // stride + 1 for axis in (1, 2))
    return [
        [
            x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            for j in range(kernel.shape[1])
        ]
        for i in range(kernel.shape[0])
    ]


def _distance(x: Any, kernel: Any, stride: int, eta: float) -> Any:
    """[B, H, W, C], [KH, KW, C, F] -> [B, OH, OW, F], tap by tap: all at once would need KH x KW times the memory."""

    @tf.custom_gradient
    def distance(x: Any, kernel: Any) -> tuple[Any, Any]:
        windows = _windows(x, kernel, stride)
        # One by one and from zero: TFLite has ADD_N and NEG for floats only, and XNNPACK has no ADD_N.
        y = tf.zeros((), x.dtype)
        for i, row in enumerate(windows):
            for j, pixels in enumerate(row):
                y -= tf.reduce_sum(tf.abs(pixels[..., None] - kernel[i, j]), axis=-2)

        def gradients(upstream: Any) -> tuple[Any, Any]:
            total = tf.reduce_sum(upstream, axis=(0, 1, 2))
            to_x, to_kernel = tf.zeros_like(x), []
            for i, row in enumerate(windows):
                for j, pixels in enumerate(row):
                    tap = kernel[i, j]
                    # sum over positions of (x - w) g, as a product of matrices.
                    to_kernel.append(tf.einsum("bhwc,bhwf->cf", pixels, upstream) - tap * total)
                    pull = tf.clip_by_value(tap - pixels[..., None], -1.0, 1.0)
                    part = tf.reduce_sum(pull * upstream[..., None, :], axis=-1)
                    to_x += _scattered(part, x, i, j, stride)
            to_w = tf.reshape(tf.stack(to_kernel), kernel.shape)
            count = tf.cast(tf.size(to_w), to_w.dtype)
            return to_x, to_w * (eta * tf.sqrt(count) / tf.maximum(tf.norm(to_w), 1e-12))

        return y, gradients

    return distance(x, kernel)


def _scattered(part: Any, x: Any, row: int, column: int, stride: int) -> Any:
    """[B, OH, OW, C] -> zeros of x's shape with the values at the pixels that a tap meets."""
    _, height, width, _ = x.shape
    if stride > 1:
        size = tf.shape(part)
        wide = tf.reshape(part, (size[0], part.shape[1], 1, part.shape[2], 1, part.shape[3]))
        wide = tf.pad(wide, ((0, 0), (0, 0), (0, stride - 1), (0, 0), (0, stride - 1), (0, 0)))
        part = tf.reshape(wide, (size[0], part.shape[1] * stride, part.shape[2] * stride, part.shape[3]))
        part = part[:, : height - row, : width - column]
    below, right = height - row - part.shape[1], width - column - part.shape[2]
    return tf.pad(part, ((0, 0), (row, below), (column, right), (0, 0)))


def adder_resnet20(x: Any, *, width: float = 1.0, depth: float = 1.0) -> Any:
    """[B, H, W, 3] -> [B, H / 4, W / 4, 64]: ResNet-20 for CIFAR with Adder2D; the first layer stays a convolution.

    As the authors train it, https://github.com/huawei-noah/AdderNet.

    Args:
      x: images, 32 x 32 in the paper.
      width: multiplies all channels.
      depth: multiplies the blocks of each stage, rounded up.

    Raises:
      InputError: a width or depth of 0 or less.
    """
    for argument, value in (("width", width), ("depth", depth)):
        if not value > 0:
            raise InputError(f"Argument `{argument}` must be above 0. Received: {value!r}")
    filters = [max(1, round(count * width)) for count in (16, 32, 64)]
    x = L.Conv2D(filters[0], 3, padding="same", use_bias=False, name="stem")(x)
    x = L.ReLU(name="stem_act")(batch_norm(x, "stem_bn"))
    for stage, count in enumerate(filters, start=1):
        for block in range(1, math.ceil(3 * depth) + 1):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(x, count, stride, f"stage{stage}_block{block}")
    return x


def _block(x: Any, filters: int, stride: int, name: str) -> Any:
    shortcut = x
    if stride > 1:
        shortcut = Adder2D(filters, 1, strides=stride, name=f"{name}_shortcut")(x)
        shortcut = batch_norm(shortcut, f"{name}_shortcut_bn")
    y = batch_norm(Adder2D(filters, 3, strides=stride, name=f"{name}_adder1")(x), f"{name}_bn1")
    y = L.ReLU(name=f"{name}_act1")(y)
    y = batch_norm(Adder2D(filters, 3, name=f"{name}_adder2")(y), f"{name}_bn2")
    return L.ReLU(name=f"{name}_act")(L.Add(name=f"{name}_add")([shortcut, y]))
