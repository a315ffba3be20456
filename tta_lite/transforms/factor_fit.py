"""How near are two new layers to the old one, and how do they come nearer? On the kernel, or on real inputs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.factor_methods import Pair
from tta_lite.transforms.least_squares import fit_kernel
from tta_lite.transforms.low_rank import compose
from tta_lite.transforms.rewrite import copy_layer


def kernel_error(pair: Pair, layer: keras.layers.Layer) -> float:
    """-> the error of the kernel that both kernels make together, relative to the old one."""
    old = _conv_order(layer, layer.kernel.numpy()).astype(np.float64)
    first, second = (_dense(new, kernel) for new, kernel in zip(pair.layers, pair.kernels, strict=True))
    return _relative(compose(first, second), old)


def fitted(pair: Pair, layer: keras.layers.Layer, inputs: np.ndarray) -> tuple[Pair, float]:
    """Fits the second kernel to what the old layer gives on real inputs, with the first one as it is.

    Three quarters of the images decide; the error is that of the others, if there are four or more.

    Args:
      pair: the new layers; they are not changed.
      layer: the old one.
      inputs: [N, H, W, IC].

    Returns:
      the pair with the better kernel, and the error of its output relative to the old one's.
    """
    learnt = max(1, len(inputs) - len(inputs) // 4)
    wanted = _outputs(layer, layer.kernel.numpy(), inputs)
    between = _outputs(pair.layers[0], pair.kernels[0], inputs)
    second = _linear(pair.layers[1], pair.kernels[1], between)
    kernel = fit_kernel(second, between[:learnt], wanted[:learnt])
    scored = slice(learnt, None) if learnt < len(inputs) else slice(None)
    error = _relative(_outputs(pair.layers[1], kernel, between[scored]), wanted[scored])
    return dataclasses.replace(pair, kernels=(pair.kernels[0], kernel)), error


def _linear(layer: keras.layers.Layer, kernel: np.ndarray, inputs: np.ndarray) -> keras.layers.Layer:
    """-> a copy that is built, without bias and activation."""
    copy = copy_layer(layer, activation="linear", use_bias=False, dtype="float32", name=None)
    copy.build((None, *inputs.shape[1:]))
    copy.set_weights([kernel])
    return copy


def _outputs(layer: keras.layers.Layer, kernel: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    """[N, H, W, IC] -> [N, OH, OW, OC], without bias and activation; a few images at a time."""
    copy = _linear(layer, kernel, inputs)
    return np.concatenate([copy(inputs[start : start + 8]).numpy() for start in range(0, len(inputs), 8)])


def _conv_order(layer: keras.layers.Layer, kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(0, 1, 3, 2) if isinstance(layer, keras.layers.Conv2DTranspose) else kernel


def _dense(layer: keras.layers.Layer, kernel: np.ndarray) -> np.ndarray:
    """-> the kernel [KH, KW, IC, OC] of a convolution without groups that does the same."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        height, width, channels, multiplier = kernel.shape
        dense = np.zeros((height, width, channels, channels * multiplier))
        for channel in range(channels):
            dense[:, :, channel, channel * multiplier : (channel + 1) * multiplier] = kernel[:, :, channel]
        return dense
    kernel = _conv_order(layer, kernel)
    if layer.groups == 1:
        return kernel
    height, width, channels, filters = kernel.shape
    each = filters // layer.groups
    dense = np.zeros((height, width, channels * layer.groups, filters))
    for group in range(layer.groups):
        outputs = slice(group * each, (group + 1) * each)
        dense[:, :, group * channels : (group + 1) * channels, outputs] = kernel[..., outputs]
    return dense


def _relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return math.sqrt(np.square(found - wanted).sum() / max(float(np.square(wanted).sum()), 1e-30))
