"""A quantisation-aware network as the converter should see it: batch norm folded, kernels on their grid, ranges fixed.

The converter folds some batch norms behind fake quantisation itself and leaves others, as that of a Deconv, in float
(upstream reports outputs that are wrong by orders of magnitude); here it has none left to fold. A scale that batch
norm gives a channel multiplies the step of the channel's grid and moves no code, so that folding after rounding is
exact. The largest code of each channel stays 127, from which the converter finds the same steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.quantization_aware import Wrapper, is_quantization_aware, range_variables, weights_of
from tta_lite.training.quantizers import KERNELS, BatchNorm, FixedRange, on_grid, quantize_scope
from tta_lite.transforms.cleanup import affine, scaled_outputs
from tta_lite.transforms.graph import trace
from tta_lite.transforms.rewrite import Builder, Keep, copy_layer, rewrite
from tta_lite.types import InputError

# As a bias far below any step, so that it becomes 0 in int32.
TINY = 1e-30


def folded(model: keras.Model) -> keras.Model:
    """-> plain layers and `FixedRange`s that compute what the network computes in inference.

    Args:
      model: from `quantization_aware`. It is not changed.

    Raises:
      InputError: it is no such model.
    """
    if not is_quantization_aware(model):
        raise InputError(
            "A quantisation-aware network must come from `quantization_aware(model, images=...)`. "
            f"Received: {model.name!r} without any quantised layer"
        )
    graph = trace(model)
    norms = {
        id(graph.producers[call.reads[0]].layer): _inside(call.layer)
        for call in graph.calls
        if isinstance(_inside(call.layer), BatchNorm)
    }

    def rule(layer: keras.layers.Layer, path: str) -> Builder | None:
        if isinstance(layer, BatchNorm):
            return lambda x, keep: x
        return _deployed(layer, norms.get(id(layer))) if isinstance(layer, Wrapper) else None

    with quantize_scope():
        return rewrite(model, rule)


def _inside(layer: keras.layers.Layer) -> keras.layers.Layer:
    return layer.layer if isinstance(layer, Wrapper) else layer


def _deployed(wrapper: Any, norm: BatchNorm | None) -> Builder:
    layer, ends = wrapper.layer, range_variables(wrapper)

    def build(x: Any, keep: Keep) -> Any:
        if type(layer) in KERNELS:
            y = _linear(wrapper, norm, x)
        else:
            y = x if isinstance(layer, BatchNorm) else copy_layer(layer)(x)
        if ends is None:
            return y
        return FixedRange(float(ends["min_var"]), float(ends["max_var"]), name=f"{layer.name}_range")(y)

    return build


def _linear(wrapper: Any, norm: BatchNorm | None, x: Any) -> Any:
    layer = wrapper.layer
    kernel, *bias = weights_of(wrapper)
    rounded = on_grid(tf.constant(kernel), KERNELS[type(layer)][1]).numpy()
    deconv = type(layer) is keras.layers.Conv2DTranspose
    new = copy_layer(layer, use_bias=bool(bias) or norm is not None or deconv)
    y = new(x)
    new.set_weights([rounded, *bias] if bias or not new.use_bias else [rounded, tf.zeros(new.bias.shape)])
    if norm is not None:
        new.set_weights(scaled_outputs(new, *affine(norm)))
    if deconv and not np.any(new.get_weights()[1]):
        # The converter leaves out a bias that is zero, and without one it does not fuse a Deconv with its ReLU: the
        # tensor between them has no range, and both would stay float.
        new.set_weights([new.get_weights()[0], np.full(new.bias.shape, TINY, np.float32)])
    return y
