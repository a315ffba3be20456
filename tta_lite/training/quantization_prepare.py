"""A network in layers that can be quantised, one op of the file each; what cannot be is named, before training.

In inference the outputs are the same up to rounding: fused activations become layers of their own, MobileNet V3's
chains of TensorFlow functions become hard swish or constants added and multiplied, swish becomes sigmoid and multiply,
a batch norm that follows no convolution becomes a depthwise convolution of 1 x 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tta_lite.compat import keras
from tta_lite.training.quantization_layers import (
    COMPUTES,
    FIXED,
    INPUT,
    LINEAR,
    MOVES,
    RELUS,
    follows_linear,
    is_relu,
    name_of,
)
from tta_lite.training.quantization_rewrites import constants_and_swishes, lone_batch_norms, own_activations
from tta_lite.transforms.graph import Call, Graph, check_graph, trace
from tta_lite.transforms.rewrite import Builder, rewrite
from tta_lite.types import InputError

L = keras.layers


def quantisable(model: keras.Model) -> keras.Model:
    """-> the network in layers that `quantization_aware` can quantise; its outputs are the same in inference.

    Args:
      model: functional or sequential; nested models are flattened. It is not changed.

    Raises:
      InputError: names the layers that cannot be quantised, a model that is quantised or computes in 16 bits, weights
        that are no numbers.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> net = keras.Model(image, L.Conv2D(4, 3, activation="swish", name="conv")(image))
      >>> [layer.name for layer in quantisable(net).layers[2:]]
      ['conv', 'conv_sigmoid', 'conv_swish']
    """
    _check_plain(model)
    flat = rewrite(model, {}, flatten=True)
    flat = _edited(flat, own_activations)
    flat = _edited(flat, constants_and_swishes)
    flat = _edited(flat, lone_batch_norms)
    check_quantisable(flat)
    return flat if _is_marked(flat) else _with_marked_input(flat)


def check_quantisable(flat: keras.Model) -> None:
    """Refuses a network with a layer that has no int8 form here.

    Raises:
      InputError: names every such layer.
    """
    graph = trace(flat)
    faults = []
    for call in graph.calls:
        fault = _fault(call, graph)
        if fault:
            faults.append(f"`{call.name}` ({type(call.layer).__name__}{f', {fault}' if fault != 'unknown' else ''})")
    if faults:
        raise InputError(
            f"Model `{flat.name}` has layers that quantisation-aware training cannot put into int8. Expected: layers "
            "of Keras for convolution, pooling, resizing, ReLU, hard swish, sigmoid, addition, multiplication, "
            f"concatenation, or the house's own. Received: {', '.join(faults[:8])}{', ...' if faults[8:] else ''}"
        )


def _fault(call: Call, graph: Graph) -> str:
    layer = call.layer
    if type(layer) is L.BatchNormalization:
        return "" if follows_linear(call, graph) else "not behind a convolution"
    if type(layer) in LINEAR:
        if sum(one.layer is layer for one in graph.calls) > 1:
            return "called more than once"
        return "channels first" if getattr(layer, "data_format", "channels_last") != "channels_last" else ""
    if type(layer) is L.UpSampling2D and layer.interpolation not in ("nearest", "bilinear"):
        return f"interpolation {layer.interpolation}"
    if type(layer) is L.Resizing and layer.interpolation not in ("nearest", "bilinear"):
        return f"interpolation {layer.interpolation}"
    if type(layer) is L.Activation:
        name = name_of(layer.activation)
        return "" if name in (*FIXED, *RELUS, "linear") else f"activation {name}"
    if type(layer) is L.Softmax:
        return "" if layer.axis in (-1, len(graph.shapes[call.reads[0]]) - 1) else f"axis {layer.axis}"
    if type(layer) is L.ReLU:
        return "" if is_relu(layer) else "a limit other than 6, a slope or a threshold"
    return "" if type(layer) in (*MOVES, *COMPUTES) else "unknown"


def _check_plain(model: keras.Model) -> None:
    check_graph(model)
    layers = [layer for layer in model.submodules if isinstance(layer, L.Layer)]
    wrapped = [layer for layer in layers if type(layer).__module__.startswith("tensorflow_model_optimization")]
    if wrapped:
        raise InputError(
            "Quantisation-aware training begins with a plain float32 network; strip a pruned or clustered one first. "
            f"Received: layer `{wrapped[0].name}`, a {type(wrapped[0]).__name__}"
        )
    half = [layer for layer in layers if layer.compute_dtype in ("float16", "bfloat16")]
    if half:
        raise InputError(
            "Quantisation-aware training begins with a float32 network. Give it the policy float32 first "
            "(`tta_lite.training.precision.with_policy(model, 'float32')`). "
            f"Received: {len(half)} layers in 16 bits, the first is `{half[0].name}`"
        )
    for layer in layers:
        if not isinstance(layer, keras.Model) and any(not np.isfinite(value).all() for value in layer.get_weights()):
            raise InputError(f"All weights must be numbers. Received: NaN or infinity in layer `{layer.name}`")


def _edited(model: keras.Model, find: Callable[[Graph], dict[str, Builder]]) -> keras.Model:
    edits = find(trace(model))
    return rewrite(model, edits) if edits else model


def _is_marked(model: keras.Model) -> bool:
    return any(layer.name == f"{INPUT}{model.input_names[0]}" for layer in model.layers)


def _with_marked_input(model: keras.Model) -> keras.Model:
    """Puts a layer behind the input that does nothing: its output is what the file's input quantises."""
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise InputError(
            f"Model `{model.name}` must have one input and one output to become an int8 file. "
            f"Received: inputs {model.input_names}, outputs {model.output_names}"
        )
    shape, name = model.inputs[0].shape, model.input_names[0]
    image = keras.Input(shape[1:], batch_size=shape[0], name=name)
    x = L.Activation("linear", name=f"{INPUT}{name}")(image)
    return rewrite(keras.Model(image, model(x), name=model.name), {}, flatten=True)
