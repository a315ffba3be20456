"""Changes of structure that cost no accuracy: what a layer does is done by its neighbour, or was nothing to begin with.

All of them are exact in inference, up to rounding. Layers that are called more than once are left alone. Nested models
are flattened. Jacob et al., *Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference*, CVPR 2018, section 3.2, gives the algebra of batch norm folding, https://arxiv.org/abs/1712.05877.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms import op_counts
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.low_rank import compose
from tta_lite.transforms.rewrite import Builder, Keep, copy_layer, rewrite

L = keras.layers
LINEAR = (L.Conv2D, L.DepthwiseConv2D, L.Conv2DTranspose, L.Dense)


def clean(model: keras.Model) -> keras.Model:
    """-> the model without no-ops, batch norm folded, adjacent linear convolutions merged: for inference.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> net = keras.Model(image, L.BatchNormalization()(L.Dropout(0.1)(L.Conv2D(4, 3, name="conv")(image))))
      >>> [layer.name for layer in clean(net).layers[1:]]
      ['conv']
    """
    return merge_linear(fold_batch_norm(remove_no_ops(model)))


def remove_no_ops(model: keras.Model) -> keras.Model:
    """-> the model without layers that do nothing in inference: dropout, noise, padding by 0, pooling of 1 x 1."""
    flat = rewrite(model, {}, flatten=True)
    graph = trace(flat)
    return rewrite(flat, {call.name: _pass_on for call in graph.calls if _is_no_op(call, graph)})


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """-> the model with its batch norms inside the Conv, DWConv, Deconv or Dense before them, or else behind them.

    A batch norm is left where neither neighbour can take it: something else reads the tensor between, there is an
    activation between, or a convolution behind it pads with zeros, which batch norm would have moved.
    """
    flat = rewrite(model, {}, flatten=True)
    while edits := _foldings(trace(flat)):
        # A convolution between two batch norms takes one in each round.
        flat = rewrite(flat, edits)
    return flat


def _foldings(graph: Graph) -> dict[str, Builder]:
    edits: dict[str, Builder] = {}
    for call in graph.calls:
        if not _is_batch_norm(call.layer) or _calls_of(graph, call.layer) > 1:
            continue
        before = graph.producers.get(call.reads[0])
        after = graph.only_reader(call.writes[0])
        scale, shift = affine(call.layer)
        if (
            before is not None
            and graph.only_reader(call.reads[0]) is call
            and _may_take(graph, before, edits)
            and before.layer.activation is keras.activations.linear
        ):
            edits[before.name] = _with_weights(before.layer, *scaled_outputs(before.layer, scale, shift))
            edits[call.name] = _pass_on
        elif after is not None and _may_take(graph, after, edits) and _sees_no_padding(after.layer):
            edits[after.name] = _with_weights(after.layer, *_scaled_inputs(after.layer, scale, shift))
            edits[call.name] = _pass_on
    return edits


def merge_linear(model: keras.Model) -> keras.Model:
    """-> the model with pairs of convolutions that have nothing between them as one, where that takes no more MACs.

    One of the two must be 1 x 1: two larger ones would differ at the border. A bottleneck stays, for one convolution
    would take more.
    """
    flat = rewrite(model, {}, flatten=True)
    while edits := _mergers(trace(flat)):
        flat = rewrite(flat, edits)
    return flat


def _mergers(graph: Graph) -> dict[str, Builder]:
    edits: dict[str, Builder] = {}
    for first in graph.calls:
        second = graph.only_reader(first.writes[0])
        if second is None or not all(_is_plain(one) and _may_take(graph, one, edits) for one in (first, second)):
            continue
        if first.layer.activation is not keras.activations.linear:
            continue
        merged = _merged(first.layer, second.layer)
        if merged is None:
            continue
        layer, kernel, bias = merged
        inputs, outputs = _fixed(graph, first.reads[0]), _fixed(graph, second.writes[0])
        if inputs is None or outputs is None:
            continue
        between = _fixed(graph, first.writes[0])
        assert between is not None
        apart = op_counts.conv(first.layer, inputs, between) + op_counts.conv(second.layer, between, outputs)
        if math.prod(outputs) * math.prod(kernel.shape[:3]) > apart:
            continue
        edits[first.name] = _pass_on
        edits[second.name] = _with_weights(layer, kernel, bias)
    return edits


def _pass_on(x: Any, keep: Keep) -> Any:
    return x


def _calls_of(graph: Graph, layer: keras.layers.Layer) -> int:
    return sum(call.layer is layer for call in graph.calls)


def _may_take(graph: Graph, call: Call, edits: dict[str, Builder]) -> bool:
    """Has it weights that can take a factor, one call, and nothing else done to it in this round?"""
    return (
        type(call.layer) in LINEAR
        and getattr(call.layer, "data_format", "channels_last") == "channels_last"
        and _calls_of(graph, call.layer) == 1
        and call.name not in edits
    )


def _is_batch_norm(layer: keras.layers.Layer) -> bool:
    return type(layer) is L.BatchNormalization and list(layer.axis) == [layer.input_spec.ndim - 1]


def affine(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """-> factor and summand of a batch norm for each channel, float64."""
    mean, variance = (value.numpy().astype(np.float64) for value in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma.numpy()
    shift = -mean * scale
    if norm.center:
        shift = shift + norm.beta.numpy()
    return scale, shift


def _weights(layer: keras.layers.Layer) -> tuple[np.ndarray, np.ndarray | float]:
    kernel = layer.depthwise_kernel if isinstance(layer, L.DepthwiseConv2D) else layer.kernel
    return kernel.numpy().astype(np.float64), layer.bias.numpy().astype(np.float64) if layer.use_bias else 0.0


def scaled_outputs(layer: keras.layers.Layer, scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """-> kernel and bias, float64, of a Conv, DWConv, Deconv or Dense whose outputs are multiplied and shifted."""
    kernel, bias = _weights(layer)
    if isinstance(layer, L.DepthwiseConv2D):
        factor = scale.reshape(kernel.shape[2:])
    else:
        factor = scale[:, None] if isinstance(layer, L.Conv2DTranspose) else scale
    return kernel * factor, bias * scale + shift


def _scaled_inputs(layer: keras.layers.Layer, scale: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel, bias = _weights(layer)
    if isinstance(layer, L.DepthwiseConv2D):
        added = (kernel * shift[:, None]).sum((0, 1)).reshape(-1)
        return kernel * scale[:, None], bias + added
    if isinstance(layer, L.Dense):
        return kernel * scale[:, None], bias + shift @ kernel
    each = kernel.shape[2]
    # In groups, each group of filters sees its own part of the channels.
    parts = kernel.reshape(*kernel.shape[:3], layer.groups, -1)
    scales, shifts = (values.reshape(layer.groups, each).T[:, :, None] for values in (scale, shift))
    return (parts * scales).reshape(kernel.shape), bias + (parts * shifts).sum((0, 1, 2)).reshape(-1)


def _sees_no_padding(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, L.Conv2DTranspose):
        # At the border, and between the pixels if the stride is larger, fewer taps than inside meet the shift.
        return False
    return isinstance(layer, L.Dense) or layer.padding == "valid" or set(layer.kernel_size) == {1}


def _with_weights(layer: keras.layers.Layer, kernel: np.ndarray, bias: np.ndarray) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        new = copy_layer(layer, use_bias=True)
        y = new(x)
        new.set_weights([kernel, np.broadcast_to(bias, new.bias.shape)])
        return y

    return build


def _is_plain(call: Call) -> bool:
    return type(call.layer) is L.Conv2D and call.layer.groups == 1


def _merged(
    first: keras.layers.Layer, second: keras.layers.Layer
) -> tuple[keras.layers.Layer, np.ndarray, np.ndarray] | None:
    (kernel_a, bias_a), (kernel_b, bias_b) = _weights(first), _weights(second)
    added = np.tensordot(kernel_b.sum((0, 1)).T, np.broadcast_to(bias_a, kernel_b.shape[2]), 1)
    if set(second.kernel_size) == {1} and set(second.strides) == {1}:
        config = first.get_config()
    elif set(first.kernel_size) == {1} and set(first.strides) == {1}:
        if np.any(bias_a) and not _sees_no_padding(second):
            return None
        config = second.get_config()
    else:
        return None
    settings = {key: config[key] for key in ("kernel_size", "strides", "padding", "dilation_rate")}
    return copy_layer(second, **settings), compose(kernel_a, kernel_b), added + bias_b


def _fixed(graph: Graph, number: int) -> tuple[int, ...] | None:
    shape = graph.shapes[number][1:]
    return None if None in shape else (1, *(size or 0 for size in shape))


IN_TRAINING_ONLY = (
    L.Dropout, L.SpatialDropout1D, L.SpatialDropout2D, L.AlphaDropout, L.GaussianDropout, L.GaussianNoise,
    L.ActivityRegularization,
)  # fmt: skip
POOLINGS = (L.MaxPooling2D, L.AveragePooling2D)


def _is_no_op(call: Call, graph: Graph) -> bool:
    layer = call.layer
    if _calls_of(graph, layer) > 1:
        return False
    if type(layer) in IN_TRAINING_ONLY:
        return True
    if type(layer) is L.Activation:
        return layer.activation is keras.activations.linear
    if type(layer) in POOLINGS:
        return set(layer.pool_size) == set(layer.strides) == {1}
    if type(layer) is L.UpSampling2D:
        return set(layer.size) == {1}
    if type(layer) in (L.ZeroPadding2D, L.Cropping2D):
        edges = layer.padding if type(layer) is L.ZeroPadding2D else layer.cropping
        return not any(edge for pair in edges for edge in pair)
    shapes = [graph.shapes[number] for number in (*call.reads, *call.writes)]
    return type(layer) in (L.Reshape, L.Flatten) and shapes[0] == shapes[1] and None not in shapes[0][1:]
