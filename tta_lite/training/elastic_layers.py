"""Layers that compute a smaller network within the large one: by a transformed kernel, a gate, a mask.

What they give is what the smaller network gives: a kernel with zeros around it is the smaller kernel, a branch times 0
is none, and a channel that is 0 wherever channels are mixed is not there. The level that decides is read when the layer
runs, so that one graph serves all networks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.elastic.extract import centre

Level = Callable[[], tf.Tensor]
"""-> which of a layer's options is used now, int32; 0 is the largest."""


class ElasticDepthwise(keras.layers.DepthwiseConv2D):
    """A depthwise convolution at several sizes of its kernel.

    The next smaller kernel is the centre of the one before, its k x k numbers times a matrix [k x k, k x k] that is
    learnt, begins as the identity and is the same for all channels: Cai et al., *Once-for-All*, ICLR 2020, section 3.3
    and figure 4, https://arxiv.org/abs/1908.09791.

    Args:
      sizes: of the kernel, the largest first.
      level: see `Level`.
      options: of `DepthwiseConv2D`.
    """

    def __init__(self, *, sizes: Sequence[int], level: Level, **options: Any) -> None:
        super().__init__(**options)
        # As one array: lists and functions of a layer are looked through for layers and variables.
        self._sizes, self._level = np.asarray(sizes), level

    def build(self, input_shape: Any) -> None:
        """Makes the kernel, the bias and the matrices."""
        super().build(input_shape)
        self.matrices = [
            self.add_weight(f"transform_{size}", (size * size, size * size), initializer=keras.initializers.Identity())
            for size in self._sizes[1:]
        ]

    def kernels(self) -> list[tf.Tensor]:
        """-> for each size, its kernel [k, k, C, M]."""
        found = [tf.convert_to_tensor(self.depthwise_kernel)]
        for size, matrix in zip(self._sizes[1:], self.matrices, strict=True):
            middle = centre(found[-1], int(size))
            flat = tf.matmul(tf.convert_to_tensor(matrix), tf.reshape(middle, [size * size, -1]))
            found.append(tf.reshape(flat, middle.shape))
        return found

    def call(self, inputs: Any) -> Any:
        """[B, H, W, C] -> [B, H', W', C * M]: with zeros around the smaller kernels."""
        edges = [(self._sizes[0] - size) // 2 for size in self._sizes]
        kernels = [
            tf.pad(kernel, [[edge, edge], [edge, edge], [0, 0], [0, 0]])
            for kernel, edge in zip(self.kernels(), edges, strict=True)
        ]
        kernel = tf.gather(tf.stack(kernels), self._level())
        y = tf.nn.depthwise_conv2d(inputs, kernel, [1, *self.strides, 1], self.padding.upper())
        y = tf.nn.bias_add(y, self.bias) if self.use_bias else y
        return y if self.activation is None else self.activation(y)


class Gate(keras.layers.Layer):
    """A residual block's sum, of which all but what came in can be left out.

    Args:
      place: of what comes in, among the tensors that are added.
      block: place of the block in its stage, from 0.
      count: blocks of the stage; at level n the last n are not there.
      level: see `Level`.
    """

    def __init__(self, place: int, block: int, count: int, level: Level, **options: Any) -> None:
        super().__init__(**options)
        self._place, self._block, self._count, self._level = place, block, count, level

    def call(self, inputs: Sequence[Any]) -> Any:
        """Tensors of one shape -> their sum, or the one that comes in."""
        others = [one for at, one in enumerate(inputs) if at != self._place]
        there = tf.cast(self._block < self._count - self._level(), others[0].dtype)
        return inputs[self._place] + there * tf.add_n(others)


class ChannelMask(keras.layers.Layer):
    """The channels that a narrower network has, and 0 for the others.

    Args:
      masks: [levels, C], 1 or 0.
      level: see `Level`.
    """

    def __init__(self, masks: np.ndarray, level: Level, **options: Any) -> None:
        super().__init__(**options)
        self._masks, self._level = np.asarray(masks, np.float32), level

    def call(self, inputs: Any) -> Any:
        """[..., C] -> [..., C]."""
        return inputs * tf.cast(tf.gather(tf.constant(self._masks), self._level()), inputs.dtype)
