"""Bias correction: what rounding the weights adds to the mean of a layer's outputs is taken off its bias.

Nagel et al. 2019, *Data-Free Quantization Through Weight Equalization and Bias Correction*, section 4.2: with an
error E of the weights, a layer's output moves by ``E x`` and its mean by ``E mean(x)``, each channel by another amount.
The means are those of the float layers' inputs on the calibration images, so that all layers are done at once: what a
layer inherits from those before it is taken off there. To take off the whole shift everywhere would do it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.linear_ops import LinearOp, bias_of, linear_ops, quantised_weights, set_bias
from tta_lite.export.quantize.tensor_values import tensor_values


def bias_correction(tflite: bytes, images: Sequence[np.ndarray], quantise: Callable[[bytes], bytes]) -> bytes:
    """-> the file with other biases: quantised, its layers have the means that the float layers had.

    Args:
      tflite: a float file.
      images: for calibration, each [1, H, W, C] float32.
      quantise: float file -> the quantised one, whose rounded weights are looked at.
    """
    rounded = quantised_weights(GraphEdit(quantise(tflite)))
    edit = GraphEdit(tflite)
    linear = [one for one in linear_ops(edit) if edit.text(one.output) in rounded]
    if not linear:
        return tflite
    for one, mean in zip(linear, _mean_patches(edit, tflite, images, linear), strict=True):
        weights = edit.value(one.weights)
        assert weights is not None
        error = one.rows(rounded[edit.text(one.output)].astype(np.float64) - weights)
        shift = np.einsum("gok,gk->go", error, mean).ravel()
        set_bias(edit, one, bias_of(edit, one) - shift)
    return edit.to_bytes()


def _mean_patches(
    edit: GraphEdit, tflite: bytes, images: Sequence[np.ndarray], linear: Sequence[LinearOp]
) -> list[np.ndarray]:
    """-> for each op [g, K], what its output pixels see on average."""
    names = [edit.text(one.input) for one in linear]
    sums = [np.zeros(1) for _ in linear]
    for values in tensor_values(tflite, images, names):
        for place, (one, name) in enumerate(zip(linear, names, strict=True)):
            sums[place] = sums[place] + one.patches(values[name]).mean(axis=1, dtype=np.float64)
    return [total / len(images) for total in sums]
