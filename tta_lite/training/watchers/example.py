"""A network and data for the examples of this folder."""

from __future__ import annotations

from typing import Any

import numpy as np

from tta_lite.compat import keras


def small() -> tuple[Any, np.ndarray, np.ndarray]:
    """-> a compiled network of one dense layer, its inputs [8, 2], and the outputs that are wanted, [8, 1].

    >>> net, x, y = small()
    >>> round(net.evaluate(x, y, verbose=0), 3)
    1.207
    """
    x = np.arange(16, dtype=np.float32).reshape(8, 2) / 16
    net = keras.Sequential([keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", input_shape=(2,))])
    # To compile so small a network takes longer than to train it.
    net.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    return net, x, x.sum(axis=1, keepdims=True)
