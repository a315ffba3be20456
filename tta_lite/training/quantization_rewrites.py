"""Layers exchanged for others that compute the same and can be quantised; each function gives edits for `rewrite`."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.layers import HardSwish
from tta_lite.training.quantization_layers import LINEAR, follows_linear, is_relu, name_of
from tta_lite.transforms.graph import Call, Graph
from tta_lite.transforms.rewrite import Builder, Keep, copy_layer

L = keras.layers


def _pass_on(x: Any, keep: Keep) -> Any:
    return x


def own_activations(graph: Graph) -> dict[str, Builder]:
    """Activations that are a setting of another layer become layers; separable convolutions become two."""
    edits: dict[str, Builder] = {}
    for call in graph.calls:
        layer = call.layer
        if type(layer) is L.SeparableConv2D:
            edits[call.name] = _separated(layer)
        elif type(layer) in LINEAR and name_of(layer.activation) != "linear":
            edits[call.name] = _split(layer)
        elif type(layer) is L.Activation and name_of(layer.activation) in ("swish", "silu"):
            edits[call.name] = _swish(layer.name)
        elif _is_two_constants(layer):
            edits[call.name] = _two_constants(layer)
    return edits


def _is_two_constants(layer: keras.layers.Layer) -> bool:
    if type(layer) is not L.Rescaling or not (_plain(layer.scale) and _plain(layer.offset)):
        return False
    return bool(layer.scale != 1 and layer.offset != 0)


def _plain(value: Any) -> bool:
    return isinstance(value, numbers.Number)


def _activated(y: Any, activation: Any, name: str) -> Any:
    if name_of(activation) in ("swish", "silu"):
        return _swish(name)(y, lambda: None)
    return L.Activation(activation, name=f"{name}_{name_of(activation)}")(y)


def _swish(name: str) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        return L.Multiply(name=f"{name}_swish")([x, L.Activation("sigmoid", name=f"{name}_sigmoid")(x)])

    return build


def _split(layer: keras.layers.Layer) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        new = copy_layer(layer, activation="linear")
        y = new(x)
        new.set_weights(layer.get_weights())
        return _activated(y, layer.activation, layer.name)

    return build


def _separated(layer: keras.layers.Layer) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        depthwise = L.DepthwiseConv2D(
            layer.kernel_size, layer.strides, layer.padding, layer.depth_multiplier, layer.data_format,
            layer.dilation_rate, use_bias=False, name=f"{layer.name}_depthwise",
        )  # fmt: skip
        pointwise = L.Conv2D(layer.filters, 1, use_bias=layer.use_bias, name=f"{layer.name}_pointwise")
        y = pointwise(depthwise(x))
        kernel, *rest = layer.get_weights()
        depthwise.set_weights([kernel])
        pointwise.set_weights(rest)
        return y if name_of(layer.activation) == "linear" else _activated(y, layer.activation, layer.name)

    return build


def _two_constants(layer: keras.layers.Layer) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        y = L.Rescaling(layer.scale, name=f"{layer.name}_scale")(x)
        return L.Rescaling(1.0, layer.offset, name=f"{layer.name}_offset")(y)

    return build


def constants_and_swishes(graph: Graph) -> dict[str, Builder]:
    """x + 3, ReLU6, / 6 and * x become one hard swish; what is left of TensorFlow's functions become layers."""
    edits: dict[str, Builder] = {}
    for call in graph.calls:
        if type(call.layer) is L.Multiply and len(call.reads) == 2 and (gate := _hard_gate(call, graph)):
            edits[call.name] = _hard_swish(call.layer.name, gate[1])
            edits.update((one.name, _pass_on) for one in gate[0])
    for call in graph.calls:
        constant = _constant(call)
        if call.name not in edits and constant and type(call.layer) is not L.Rescaling:
            edits[call.name] = _constant_layer(call.layer.name, *constant)
    return edits


def _constant(call: Call) -> tuple[str, float] | None:
    """-> "add" or "multiply" and the constant, if that is all that a call does."""
    layer = call.layer
    if type(layer) is L.Rescaling and _plain(layer.scale) and _plain(layer.offset):
        if layer.scale == 1:
            return "add", float(layer.offset)
        return ("multiply", float(layer.scale)) if layer.offset == 0 else None
    if type(layer).__name__ != "TFOpLambda" or len(layer._inbound_nodes) != 1 or len(call.reads) != 1:
        return None
    node = layer._inbound_nodes[0]
    given = list(node.call_args) + [value for key, value in node.call_kwargs.items() if key != "name"]
    if len(given) != 2 or not keras.backend.is_keras_tensor(given[0]) or not _plain(given[1]):
        return None
    value = float(given[1])
    kind = layer.get_config()["function"]
    return {
        "__operators__.add": ("add", value), "math.add": ("add", value),
        "math.multiply": ("multiply", value), "__operators__.mul": ("multiply", value),
        "__operators__.sub": ("add", -value), "math.subtract": ("add", -value),
        "__operators__.truediv": ("multiply", 1 / value if value else 0.0),
    }.get(kind)  # fmt: skip


def _hard_gate(call: Call, graph: Graph) -> tuple[list[Call], int] | None:
    """-> the calls of relu6(x + 3) / 6 that lead to one operand, and the place of x among the operands."""
    for place in (0, 1):
        chain: list[Call] = []
        number = call.reads[1 - place]
        for wanted in ("multiply", "relu", "add"):
            one = graph.producers.get(number)
            if one is None or graph.only_reader(number) is None or not _is_part(one, wanted):
                break
            chain.append(one)
            number = one.reads[0]
        if len(chain) == 3 and number == call.reads[place]:
            return chain, place
    return None


def _is_part(call: Call, wanted: str) -> bool:
    if wanted == "relu":
        return is_relu(call.layer) and (
            getattr(call.layer, "max_value", None) == 6 or name_of(getattr(call.layer, "activation", None)) == "relu6"
        )
    constant = _constant(call)
    expected = 3.0 if wanted == "add" else 1 / 6
    return constant is not None and constant[0] == wanted and abs(constant[1] - expected) < 1e-6


def _hard_swish(name: str, place: int) -> Builder:
    return lambda x, keep: HardSwish(name=name)(x[place])


def _constant_layer(name: str, kind: str, value: float) -> Builder:
    # Names of TensorFlow's functions hold dots, which are no part of a scope.
    own = name.replace(".", "_").strip("_")
    if kind == "add":
        return lambda x, keep: L.Rescaling(1.0, value, name=own)(x)
    return lambda x, keep: L.Rescaling(value, name=own)(x)


def lone_batch_norms(graph: Graph) -> dict[str, Builder]:
    """A batch norm that follows no convolution becomes a depthwise convolution of 1 x 1."""
    return {
        call.name: _as_depthwise(call.layer)
        for call in graph.calls
        if type(call.layer) is L.BatchNormalization and not follows_linear(call, graph)
    }


def _as_depthwise(norm: keras.layers.Layer) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        if len(x.shape) != 4 or list(norm.axis) != [3]:
            return keep()
        new = L.DepthwiseConv2D(1, name=norm.name)
        y = new(x)
        scale = 1 / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
        scale = scale * (norm.gamma.numpy() if norm.scale else 1)
        shift = (norm.beta.numpy() if norm.center else 0) - norm.moving_mean.numpy() * scale
        new.set_weights([scale.reshape(1, 1, -1, 1), shift])
        return y

    return build
