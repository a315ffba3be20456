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


RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of `fit_affine`; images that it does not learn from choose among them."""


def fit_affine(
    layer: keras.layers.Layer,
    inputs: np.ndarray,
    wanted: np.ndarray,
    start: np.ndarray,
    *,
    intercept: bool = True,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias with the least squared error of a layer's output, as far as that holds on other images.

    The kernel is drawn towards the one that it begins with. How strongly is decided on every fourth image, which the
    fits do not see; then all images take part. With few images this keeps a layer from learning them by heart.

    Args:
      layer: a built Conv2D without groups, a Conv2DTranspose or a Dense.
      inputs: [N, ..., IC], what it is called on.
      wanted: [N, ..., OC], what it should give before the activation, with its bias.
      start: the kernel to begin with, in the layer's own order.
      intercept: whether there may be a bias.
      seed: of the choice of positions, if there are many.

    Returns:
      the kernel in the layer's own order, and the bias [OC]: zeros without an intercept. The kernel is `start` if no
      fit does better on the images that it does not see.
    """
    transposed = isinstance(layer, keras.layers.Conv2DTranspose)
    # As a convolution over the input with zeros between: mirrored, [KH, KW, IC, OC].
    first = start[::-1, ::-1].transpose(0, 1, 3, 2) if transposed else start
    shape, first = first.shape, first.reshape(-1, first.shape[-1]).astype(np.float64)
    learnt, unseen = _Moments(*first.shape), _Moments(*first.shape)
    rng = np.random.default_rng(seed)
    # More positions for more unknowns, and enough for any.
    rows = min(ROWS, max(ROWS // 4, 12 * len(first)))
    share = min(1.0, rows / max(math.prod(wanted.shape[:-1]), 1))
    for number, (patches, values) in enumerate(_rows(layer, inputs, wanted)):
        if share < 1:
            chosen = rng.random(len(patches)) < share
            patches, values = patches[chosen], values[chosen]
        (unseen if number % 4 == 3 else learnt).add(patches, values)
    best, strength = learnt.bias(first, intercept), math.inf
    lowest = unseen.error(first, best)
    for ridge in RIDGES if unseen.rows else (1e-2,):
        kernel, bias = learnt.solve(first, ridge, intercept)
        error = unseen.error(kernel, bias)
        if error < lowest or not unseen.rows:
            lowest, strength = error, ridge
    learnt += unseen
    kernel, bias = (
        learnt.solve(first, strength, intercept) if strength < math.inf else (first, learnt.bias(first, intercept))
    )
    kernel = kernel.reshape(shape)
    return (kernel.transpose(0, 1, 3, 2)[::-1, ::-1] if transposed else kernel), bias


class _Moments:
    """Sums over rows of inputs x and wanted outputs y: all that least squares needs to know of them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.rows, self.x, self.y = 0, np.zeros(inputs), np.zeros(outputs)
        self.xx, self.xy = np.zeros((inputs, inputs)), np.zeros((inputs, outputs))
        self.yy = 0.0

    def add(self, x: np.ndarray, y: np.ndarray) -> None:
        # An image's products in its own precision, their sums in float64: half the time, and exact enough.
        self.rows += len(x)
        self.x += x.sum(axis=0, dtype=np.float64)
        self.y += y.sum(axis=0, dtype=np.float64)
        self.xx += x.T @ x
        self.xy += x.T @ y
        self.yy += float((y.astype(np.float64) ** 2).sum())

    def __iadd__(self, other: _Moments) -> _Moments:
        self.rows += other.rows
        self.yy += other.yy
        for name in ("x", "y", "xx", "xy"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self

    def bias(self, kernel: np.ndarray, intercept: bool) -> np.ndarray:
        """-> the best bias of a kernel."""
        return (self.y - self.x @ kernel) / max(self.rows, 1) if intercept else np.zeros_like(self.y)

    def solve(self, start: np.ndarray, ridge: float, intercept: bool) -> tuple[np.ndarray, np.ndarray]:
        """-> kernel and bias, drawn towards `start`."""
        gram, cross = self.xx, self.xy
        if intercept:
            gram = gram - np.outer(self.x, self.x) / max(self.rows, 1)
            cross = cross - np.outer(self.x, self.y) / max(self.rows, 1)
        hold = ridge * max(np.trace(gram) / len(gram), 1e-30)
        kernel = start + np.linalg.solve(gram + hold * np.eye(len(gram)), cross - gram @ start)
        return kernel, self.bias(kernel, intercept)

    def error(self, kernel: np.ndarray, bias: np.ndarray) -> float:
        """-> the sum of the squared errors."""
        return float(
            self.yy
            + (kernel * (self.xx @ kernel)).sum()
            + self.rows * (bias**2).sum()
            - 2 * (kernel * self.xy).sum()
            - 2 * bias @ self.y
            + 2 * bias @ (self.x @ kernel)
        )


def second_moments(inputs: np.ndarray) -> np.ndarray:
    """[N, H, W, C] -> [C, C], the mean of x x^T over all positions."""
    flat = inputs.reshape(-1, inputs.shape[-1]).astype(np.float64)
    return flat.T @ flat / len(flat)


def patches_of(layer: keras.layers.Layer, inputs: np.ndarray, rows: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yields for each image what some output positions see, [positions, KH * KW * IC]: about `rows` of all images."""
    rng = np.random.default_rng(seed)
    for image in inputs:
        patches = _patches(layer, image)
        share = rows / (len(inputs) * len(patches))
        yield patches if share >= 1 else patches[rng.random(len(patches)) < share]


def _rows(layer: keras.layers.Layer, inputs: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields for each image what each output position sees, [OH * OW, KH * KW * IC], and what it should give."""
    for image, target in zip(inputs, wanted, strict=True):
        yield _patches(layer, image), target.reshape(-1, target.shape[-1])


def _patches(layer: keras.layers.Layer, image: np.ndarray) -> np.ndarray:
    """[H, W, IC] -> [OH * OW, KH * KW * IC]."""
    if isinstance(layer, keras.layers.Dense):
        return image.reshape(-1, image.shape[-1])
    if isinstance(layer, keras.layers.Conv2DTranspose):
        image, strides, padding, rates = _stuffed(layer, image), (1, 1), "VALID", (1, 1)
    else:
        strides, padding, rates = layer.strides, layer.padding.upper(), layer.dilation_rate
    patches = tf.image.extract_patches(
        image[None], (1, *layer.kernel_size, 1), (1, *strides, 1), (1, *rates, 1), padding
    ).numpy()
    return patches.reshape(-1, patches.shape[-1])


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
