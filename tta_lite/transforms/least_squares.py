"""The kernel of a convolution that gives wanted outputs on real inputs: least squares, streamed over images."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras

ROWS = 40_000
"""About how many output positions decide; taking more no longer changes the result."""


def fit_kernel(
    layer: keras.layers.Layer, inputs: np.ndarray, wanted: np.ndarray, *, ridge: float = 1e-3, seed: int = 0
) -> np.ndarray:
    """The kernel with the least squared error of a layer's output, drawn a little towards the one that it has.

    Args:
      layer: a built Conv2D without groups, or a Conv2DTranspose.
      inputs: [N, H, W, IC], what it is called on.
      wanted: [N, OH, OW, OC], what its kernel alone should give: without the bias, before the activation.
      ridge: how strongly the present kernel is held on to, as a part of the inputs' mean square.
      seed: of the choice of positions, if there are many.

    Returns:
      the kernel in the layer's own order.
    """
    transposed = isinstance(layer, keras.layers.Conv2DTranspose)
    start = layer.kernel.numpy().astype(np.float64)
    if transposed:
        # As a convolution over the input with zeros between: mirrored, [KH, KW, IC, OC].
        start = start[::-1, ::-1].transpose(0, 1, 3, 2)
    shape = start.shape
    start = start.reshape(-1, shape[-1])
    gram, cross, rows = np.zeros((len(start), len(start))), np.zeros_like(start), 0
    rng = np.random.default_rng(seed)
    share = min(1.0, ROWS / (len(wanted) * math.prod(wanted.shape[1:3])))
    for patches, values in _rows(layer, inputs, wanted):
        if share < 1:
            chosen = rng.random(len(patches)) < share
            patches, values = patches[chosen], values[chosen]
        patches, values = patches.astype(np.float64), values.astype(np.float64)
        gram += patches.T @ patches
        cross += patches.T @ values
        rows += len(patches)
    hold = ridge * max(np.trace(gram) / len(gram), 1e-30)
    gram[np.diag_indices_from(gram)] += hold
    kernel = np.linalg.solve(gram, cross + hold * start).reshape(shape)
    return kernel.transpose(0, 1, 3, 2)[::-1, ::-1] if transposed else kernel


def second_moments(inputs: np.ndarray) -> np.ndarray:
    """[N, H, W, C] -> [C, C], the mean of x x^T over all positions."""
    flat = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    return flat.T @ flat / len(flat)


def _rows(layer: keras.layers.Layer, inputs: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields for each image what each output position sees, [OH * OW, KH * KW * IC], and what it should give."""
    for image, target in zip(inputs, wanted, strict=True):
        if isinstance(layer, keras.layers.Conv2DTranspose):
            image, strides, padding, rates = _stuffed(layer, image), (1, 1), "VALID", (1, 1)
        else:
            strides, padding, rates = layer.strides, layer.padding.upper(), layer.dilation_rate
        patches = tf.image.extract_patches(
            image[None], (1, *layer.kernel_size, 1), (1, *strides, 1), (1, *rates, 1), padding
        ).numpy()
        yield patches.reshape(-1, patches.shape[-1]), target.reshape(-1, target.shape[-1])


def _stuffed(layer: keras.layers.Layer, image: np.ndarray) -> np.ndarray:
    """[H, W, C] -> with zeros between the pixels and around, so that each window gives one output of the Deconv."""
    sizes, before = [], []
    for size, kernel, stride in zip(image.shape[:2], layer.kernel_size, layer.strides, strict=True):
        same = layer.padding == "same"
        cut = max(kernel - stride, 0) // 2 if same else 0
        output = size * stride if same else (size - 1) * stride + max(kernel, stride)
        before.append(kernel - 1 - cut)
        sizes.append(output + kernel - 1)
    stuffed = np.zeros((*sizes, image.shape[-1]), image.dtype)
    (top, left), (down, right) = before, layer.strides
    rows, columns = stuffed[top::down, left::right].shape[:2]
    stuffed[top::down, left::right][: image.shape[0], : image.shape[1]] = image[:rows, :columns]
    return stuffed
