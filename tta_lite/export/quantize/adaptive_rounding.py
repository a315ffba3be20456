"""Adaptive rounding: whether a weight is rounded up or down is decided by what it does to the layer's outputs.

Nagel et al. 2020, *Up or Down? Adaptive Rounding for Post-Training Quantization*: to round each weight to the nearest
code is best for the weights and not for the outputs, whose squared error is ``e^T H e`` with the errors e of the
weights of an output channel and the second moments H of what they are multiplied by (equation 13). The paper relaxes
the choice and descends a gradient. Here each weight is first rounded so that it makes up for those before it (Frantar
et al. 2022, *GPTQ*, but to its own two codes only), where that is better than the nearest code; then weight after
weight takes its other code if that lowers the error. It needs no step size, cannot end above rounding to the nearest on
the patches it saw, and imports no TensorFlow.

The result is written into the float file as ``scale * code``, the largest weight of a scale left as it is, so that any
back end finds the same scale and the same codes. The bias, which is free, takes away what is left of the mean, so that
bias correction has nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.linear_ops import LinearOp, bias_of, linear_ops, quantised_scales, set_bias
from tta_lite.export.quantize.tensor_values import tensor_values

# Patches of a layer that are looked at, over all images.
PATCHES = 1024
# How much a weight's own error counts beside what it does on these patches, as a share of the mean of H's diagonal:
# there are fewer patches than other images will have.
DAMPING = 0.02
SWEEPS = 3
# Weights of an output up to which a root of their second moments is found: its cost grows with the cube.
WIDEST = 2048
# Weights whose second moments are held at once, and bytes of patches that are.
_BLOCK, _BYTES = 128, 3 * 10**8
CODES = 127


def adaptive_rounding(tflite: bytes, images: Sequence[np.ndarray], quantise: Callable[[bytes], bytes]) -> bytes:
    """-> the file with its weights on the codes that the quantiser will give them.

    Args:
      tflite: a float file.
      images: for calibration, each [1, H, W, C] float32.
      quantise: float file -> the quantised one, whose scales are taken.
    """
    scales = quantised_scales(GraphEdit(quantise(tflite)))
    edit = GraphEdit(tflite)
    linear = [one for one in linear_ops(edit) if edit.text(one.output) in scales]
    for some in _portions(linear, len(images)):
        for one, patches in zip(some, _patches(edit, tflite, images, some), strict=True):
            weights = edit.value(one.weights)
            assert weights is not None
            scale = scales[edit.text(one.output)].astype(np.float64)
            # A channel of zeros may have no scale.
            scale = np.where(scale > 0, scale, 1.0)
            scale = np.broadcast_to(scale, (one.output_shape[-1],)).reshape(one.groups, -1, 1)
            rows = one.rows(weights).astype(np.float64)
            mean = patches.mean(axis=1, keepdims=True, dtype=np.float64)
            codes = round_rows(rows, scale, patches - mean.astype(np.float32))
            edit.set_value(one.weights, one.stored(codes * scale).astype(np.float32))
            # The bias is free: its best value takes the mean of the error away.
            shift = np.einsum("gok,gnk->go", codes * scale - rows, mean).ravel()
            set_bias(edit, one, bias_of(edit, one) - shift)
    return edit.to_bytes()


def round_rows(rows: np.ndarray, scale: np.ndarray, patches: np.ndarray) -> np.ndarray:
    """-> [g, O, K] whole numbers from -127 to 127, each next to ``rows / scale``.

    Args:
      rows: [g, O, K], the weights of g groups of O outputs.
      scale: [g, O, 1], above 0.
      patches: [g, N, K], what the weights are multiplied by.

    >>> rows, patches = np.array([[[0.4, 0.4, 1.0]]]), np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]])
    >>> round_rows(rows, np.ones((1, 1, 1)), patches).tolist()
    [[[1.0, 0.0, 1.0]]]
    """
    wanted = rows / scale
    nearest = np.clip(np.rint(wanted), -CODES, CODES)
    other = np.clip(nearest + np.where(wanted > nearest, 1, -1), -CODES, CODES)
    # What the quantiser finds its scale by must not move: a code that is met exactly has no other.
    other = np.where(np.abs(wanted - nearest) < 1e-4, nearest, other)
    factor, damping = _factor(patches)
    codes = nearest.copy()
    if factor.shape[1] == factor.shape[2]:
        fed = _feed_back(factor, wanted, nearest, other)
        better = _error(factor, fed - wanted) < _error(factor, nearest - wanted)
        codes = np.where(better[:, :, None], fed, nearest)
    # [g, M, O]: what the outputs are off by, with one scale for all.
    off = np.matmul(factor, (codes - wanted).transpose(0, 2, 1).astype(np.float32))
    for _ in range(SWEEPS):
        flips = 0
        for start in range(0, rows.shape[2], _BLOCK):
            here = slice(start, start + _BLOCK)
            seen = factor[:, :, here]
            moments = np.matmul(seen.transpose(0, 2, 1), seen)
            slope = np.matmul(seen.transpose(0, 2, 1), off)
            before = codes[:, :, here].copy()
            flips += _sweep(codes[:, :, here], other[:, :, here], nearest[:, :, here], wanted[:, :, here],
                            moments, slope, damping)  # fmt: skip
            off += np.matmul(seen, (codes[:, :, here] - before).transpose(0, 2, 1).astype(np.float32))
        if not flips:
            break
    return codes


def _sweep(
    codes: np.ndarray,
    other: np.ndarray,
    nearest: np.ndarray,
    wanted: np.ndarray,
    moments: np.ndarray,
    slope: np.ndarray,
    damping: np.ndarray,
) -> int:
    """Goes once through a block of weights, in place -> how many took the other code."""
    flips = 0
    for k in range(codes.shape[2]):
        held = codes[:, :, k]
        step = np.where(held == nearest[:, :, k], other[:, :, k], nearest[:, :, k]) - held
        own = moments[:, k, k, None] + damping
        gain = step * (2 * (slope[:, k] + damping * (held - wanted[:, :, k])) + step * own)
        step = np.where(gain < -1e-9 * own, step, 0.0)
        taken = int(np.count_nonzero(step))
        if taken:
            flips += taken
            codes[:, :, k] += step
            slope += moments[:, :, k, None] * step[:, None, :]
    return flips


def _feed_back(root: np.ndarray, wanted: np.ndarray, nearest: np.ndarray, other: np.ndarray) -> np.ndarray:
    """-> [g, O, K] codes, chosen one after the other so that each makes up for those before it.

    Babai's nearest plane, as in Frantar et al. 2022, *GPTQ*: the rows of an upper triangular root [g, K, K] are met
    from the last one up, and each brings in one weight.
    """
    codes = nearest.copy()
    met = np.zeros((len(root), root.shape[1], wanted.shape[1]), np.float32)
    for end in range(root.shape[1], 0, -_BLOCK):
        start = max(0, end - _BLOCK)
        for k in range(end - 1, start - 1, -1):
            target = wanted[:, :, k] - met[:, k] / root[:, k, k, None]
            further = np.abs(nearest[:, :, k] - target) > np.abs(other[:, :, k] - target)
            codes[:, :, k] = np.where(further, other[:, :, k], nearest[:, :, k])
            off = (codes[:, :, k] - wanted[:, :, k]).astype(np.float32)
            met[:, start:k] += root[:, start:k, k, None] * off[:, None, :]
        off = (codes[:, :, start:end] - wanted[:, :, start:end]).transpose(0, 2, 1).astype(np.float32)
        met[:, :start] += np.matmul(root[:, :start, start:end], off)
    return codes


def _error(root: np.ndarray, off: np.ndarray) -> np.ndarray:
    """-> [g, O]."""
    return np.square(np.matmul(root, off.transpose(0, 2, 1).astype(np.float32))).sum(axis=1)


def _factor(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[g, N, K] -> [g, M, K] with the same second moments, and [g, 1] the damping that is not in it.

    It is an upper triangular root of them, damped, unless K is so large that the patches are smaller.
    """
    groups, count, width = patches.shape
    patches = patches / np.float32(np.sqrt(count))
    damping = DAMPING * np.square(patches, dtype=np.float64).sum(axis=(1, 2)) / width
    if width > max(count, WIDEST):
        return patches, damping[:, None]
    moments = np.matmul(patches.transpose(0, 2, 1), patches).astype(np.float64)
    # Of channels that are always zero, too, there must be a root.
    moments += (damping + 1e-20)[:, None, None] * np.eye(width)
    root = np.linalg.cholesky(moments).transpose(0, 2, 1)
    return root.astype(np.float32), np.zeros((groups, 1))


def _portions(linear: Sequence[LinearOp], images: int) -> Iterator[list[LinearOp]]:
    """Yields ops whose patches fit into memory together."""
    some: list[LinearOp] = []
    held = 0
    for one in linear:
        width = int(np.prod(one.weights_shape)) * one.groups // one.output_shape[-1]
        size = 4 * width * min(PATCHES, images * int(np.prod(one.output_shape[1:-1])))
        if some and held + size > _BYTES:
            yield some
            some, held = [], 0
        some.append(one)
        held += size
    if some:
        yield some


def _patches(
    edit: GraphEdit, tflite: bytes, images: Sequence[np.ndarray], linear: Sequence[LinearOp]
) -> list[np.ndarray]:
    """-> for each op [g, N, K], N at most `PATCHES`: as many of each image, at places drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    names = [edit.text(one.input) for one in linear]
    each = max(1, PATCHES // len(images))
    found: list[list[np.ndarray]] = [[] for _ in linear]
    for values in tensor_values(tflite, images, names):
        for place, (one, name) in enumerate(zip(linear, names, strict=True)):
            count = int(np.prod(one.output_shape[:-1]))
            drawn = np.arange(count) if count <= each else rng.choice(count, each, replace=False)
            found[place].append(one.patches(values[name], drawn))
    return [np.concatenate(parts, axis=1) for parts in found]
