"""Quantisation-aware training: a float network becomes one that computes with int8's rounding while it learns.

Jacob et al., CVPR 2018, section 3, https://arxiv.org/abs/1712.05877, by TensorFlow Model Optimization's
`quantize_annotate_layer` and `quantize_apply`. Every kernel is rounded to its grid, and every tensor that the file will
hold in int8 to its range. Batch norm stays a layer while it trains, and is folded when the file is made
(`tta_lite.training.quantization_fold`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tta_lite.compat import keras
from tta_lite.training.quantization_prepare import quantisable
from tta_lite.training.quantization_ranges import measured_ranges, output_places
from tta_lite.training.quantizers import KERNELS, LEAST_WIDTH, RATE, BatchNorm, LayerConfig, quantize_scope
from tta_lite.transforms.graph import trace
from tta_lite.transforms.rewrite import Builder, Keep, rewrite
from tta_lite.types import InputError

L = keras.layers
PREFIX = "quant_"
Wrapper = tfmot.quantization.keras.QuantizeWrapperV2

Ranges = Mapping[str, tuple[float, float]]
"""Name of a layer of the float network -> the least and the largest value of its output."""


def quantization_aware(
    model: keras.Model, *, images: Sequence[np.ndarray] = (), ranges: Ranges | None = None
) -> keras.Model:
    """-> the network with int8's rounding in it, to be trained by any `model.fit`; weights are copied, not shared.

    Args:
      model: a float32 network, one input and one output. It is not changed.
      images: training images, each [1, H, W, C] float32: the ranges begin with what they give. TFMOT's own -6..6 costs
        a short training its accuracy.
      ranges: in their place, what `ranges_of` gave of another such network.

    Returns:
      a functional model whose layers are TFMOT's wrappers, named ``quant_`` and the layer's name.

    Raises:
      InputError: a layer that cannot be quantised, named; a model that is quantised already, pruned with wrappers, in
        16 bits or with NaN in it; images or ranges that do not fit it.
    """
    flat = quantisable(model)
    graph = trace(flat)
    places = output_places(graph)
    if ranges is None:
        ranges = measured_ranges(flat, [name for name, fixed in places.items() if fixed is None], images)
    missing = [name for name, fixed in places.items() if fixed is None and name not in ranges]
    if missing:
        raise InputError(
            f"Argument `ranges` must name every layer of {flat.name!r} whose output is quantised. "
            f"Received: nothing for {', '.join(missing[:5])}"
        )
    edits: dict[str, Builder] = {}
    for call in graph.calls:
        config = LayerConfig(*KERNELS.get(type(call.layer), (None, ())))
        if call.name in places:
            fixed = places[call.name]
            config.low, config.high = fixed or _widened(*ranges[call.name])
            config.rate = 0.0 if fixed else RATE
        if config.kernel or call.name in places:
            edits[call.name] = _annotated(call.layer, config)
        elif type(call.layer) is L.BatchNormalization:
            edits[call.name] = _batch_norm(call.layer)
    with quantize_scope():
        annotated = rewrite(flat, edits)
        quantised = tfmot.quantization.keras.quantize_apply(annotated, _Scheme(), PREFIX)
    # `rewrite` keeps which layers are trainable, but not the wrappers of TFMOT.
    for layer in flat.layers:
        if not layer.trainable:
            wrapped_layer(quantised, layer.name).trainable = False
    return quantised


def _widened(low: float, high: float) -> tuple[float, float]:
    """-> the range with zero in it, and not empty."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"A range must be two numbers. Received: {low}..{high}")
    low = min(low, 0.0)
    return low, max(high, 0.0, low + LEAST_WIDTH)


def _annotated(layer: keras.layers.Layer, config: LayerConfig) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        kind = BatchNorm if type(layer) is L.BatchNormalization else type(layer)
        new = kind.from_config(layer.get_config())
        y = tfmot.quantization.keras.quantize_annotate_layer(new, config)(x)
        new.set_weights(layer.get_weights())
        return y

    return build


def _batch_norm(layer: keras.layers.Layer) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        new = BatchNorm.from_config(layer.get_config())
        y = new(x)
        new.set_weights(layer.get_weights())
        return y

    return build


class _Scheme(tfmot.quantization.keras.QuantizeScheme):
    """Every layer is annotated with all that it needs: nothing to transform, nothing to look up."""

    def get_layout_transformer(self) -> Any:
        return self

    def get_quantize_registry(self) -> Any:
        return self

    def apply(self, model: keras.Model, layer_quantize_map: dict) -> tuple[keras.Model, dict]:
        return model, layer_quantize_map

    def supports(self, layer: keras.layers.Layer) -> bool:
        return False


def is_quantization_aware(model: keras.Model) -> bool:
    """-> whether it comes from `quantization_aware`."""
    return any(isinstance(layer, Wrapper) for layer in model.layers)


def wrapped_layer(model: keras.Model, name: str) -> keras.layers.Layer:
    """-> the layer of a quantisation-aware model that stands for `name` of the float network."""
    names = {layer.name for layer in model.layers}
    return model.get_layer(PREFIX + name if PREFIX + name in names else name)


def wrappers(model: keras.Model) -> Iterator[Any]:
    """Yields the wrappers of a quantisation-aware model."""
    yield from (layer for layer in model.layers if isinstance(layer, Wrapper))


def range_variables(wrapper: Any) -> dict[str, tf.Variable] | None:
    """-> the variables of a wrapper's output range; None if the output has none."""
    return wrapper._output_quantizer_vars if wrapper._output_quantizers else None


def kernel_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """-> {layer of the float network: its kernel before rounding}."""
    return {wrapper.layer.name: wrapper._weight_vars[0][0] for wrapper in wrappers(model) if wrapper._weight_vars}


def ranges_of(model: keras.Model) -> dict[str, tuple[float, float]]:
    """-> {layer of the float network: the range of its output}, of a quantisation-aware model."""
    found = {}
    for wrapper in wrappers(model):
        variables = range_variables(wrapper)
        if variables is not None:
            found[wrapper.layer.name] = (float(variables["min_var"]), float(variables["max_var"]))
    return found


def freeze_ranges(model: keras.Model) -> None:
    """The ranges of a quantisation-aware model move no more."""
    for wrapper in wrappers(model):
        variables = range_variables(wrapper)
        if variables is not None:
            variables["rate_var"].assign(0.0)


def freeze_batch_norm(model: keras.Model) -> bool:
    """Batch norms take and leave their moving statistics from now on -> whether any did not before.

    What Keras has compiled must be made anew: ``model.make_train_function(force=True)``.
    """
    moving = [layer for layer in model.submodules if isinstance(layer, BatchNorm) and not layer.frozen]
    for layer in moving:
        layer.frozen = True
    return bool(moving)


def float_network(model: keras.Model) -> keras.Model:
    """-> the plain float32 network that a quantisation-aware one trains: no wrappers, its weights unrounded.

    It and `ranges_of` make the same quantisation-aware network again:
    ``quantization_aware(float_network(net), ranges=ranges_of(net))``. Both can be kept in files; the wrappers cannot,
    for a ``.keras`` file of them is not read back.
    """
    with quantize_scope():
        return rewrite(model, lambda layer, path: _plain(layer))


def plain_network(model: keras.Model) -> keras.Model:
    """-> `float_network` of a quantisation-aware network; any other one as it is."""
    return float_network(model) if is_quantization_aware(model) else model


def _plain(layer: keras.layers.Layer) -> Builder | None:
    if isinstance(layer, Wrapper):
        kind = L.BatchNormalization if isinstance(layer.layer, BatchNorm) else type(layer.layer)
        return _rebuilt(layer.layer, kind, weights_of(layer))
    if isinstance(layer, BatchNorm):
        return _rebuilt(layer, L.BatchNormalization, layer.get_weights())
    return None


def weights_of(wrapper: Any) -> list[np.ndarray]:
    """-> the weights of the layer inside: the kernel before rounding, the bias if there is one."""
    layer = wrapper.layer
    if not wrapper._weight_vars:
        return layer.get_weights()
    # While it computes, TFMOT puts the rounded kernel in the place of the layer's own.
    return [wrapper._weight_vars[0][0].numpy(), *([layer.bias.numpy()] if layer.use_bias else [])]


def _rebuilt(layer: keras.layers.Layer, kind: type[keras.layers.Layer], weights: list[np.ndarray]) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        new = kind.from_config(layer.get_config())
        y = new(x)
        if weights:
            new.set_weights(weights)
        new.trainable = layer.trainable
        return y

    return build
