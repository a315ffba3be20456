"""Calls of ``keras.ops`` within a model of Keras 3, as layers of `tf_keras` or as TensorFlow functions on its tensors.

A table: (Keras 3's module, class) -> a function of the call. TensorFlow functions become the layers that `tf_keras`
itself makes of them, which save, convert and lose channels as such.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import TFOpLambda, keras
from tta_lite.models.keras3.parts import AS_LAYERS, Named
from tta_lite.models.layers import DepthToSpace

L = keras.layers


@dataclasses.dataclass(frozen=True)
class OpCall:
    """One call.

    Attributes:
      layer: its name and class.
      settings: what the op was made with, e.g. ``axis``.
      args: what it was called with: tensors of `tf_keras`, numbers, lists, slices.
    """

    layer: Named
    settings: Mapping[str, Any]
    args: Sequence[Any]

    @property
    def name(self) -> str:
        """Of the layer."""
        return self.layer.name

    @property
    def x(self) -> Any:
        """The first argument, which must be a tensor."""
        if not self.args or not keras.backend.is_keras_tensor(self.args[0]):
            self.layer.refuse("a tensor as its first argument", self.args[:1])
        return self.args[0]

    @property
    def own(self) -> dict[str, Any]:
        """Name and dtype of the layer that it becomes; float64 stays what it is."""
        tensors = [one for one in tf.nest.flatten(self.args) if _is_tensor(one)]
        double = any(one.dtype == tf.float64 for one in tensors)
        return {"name": self.name, "dtype": "float64" if double else "float32"}

    def function(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """-> the tensor of a TensorFlow function, under this call's name."""
        return TFOpLambda(function, name=self.name)(*args, **kwargs)


Op = Callable[[OpCall], Any]


def _is_tensor(value: Any) -> bool:
    return tf.is_tensor(value) and keras.backend.is_keras_tensor(value)


def _arithmetic(layer: Any, function: Any, rescale: Callable[[Any, bool], tuple[Any, Any] | None]) -> Op:
    """-> two tensors by `layer`; one and a constant as scale and offset where that can be, else by `function`."""

    def op(call: OpCall) -> Any:
        if len(call.args) != 2:
            call.layer.refuse("two operands", call.args)
        first, second = call.args
        if _is_tensor(first) and _is_tensor(second):
            return layer(**call.own)([first, second]) if layer else call.function(function, first, second)
        x, constant = (first, second) if _is_tensor(first) else (second, first)
        if not _is_tensor(x) or not np.issubdtype(np.asarray(constant).dtype, np.number):
            call.layer.refuse("a tensor and a number", call.args)
        scaled = rescale(np.asarray(constant, np.float64), x is first)
        if scaled is None:
            return call.function(function, first, second)
        if not x.dtype.is_floating and layer:
            call.layer.refuse("tensors of floating-point numbers", x.dtype.name)
        scale, offset = (one.tolist() if isinstance(one, np.ndarray) else one for one in scaled)
        return L.Rescaling(scale, offset, **call.own)(x)

    return op


def _elementwise(function: Any) -> Op:
    return lambda call: call.function(function, call.x)


def _activation(name: str) -> Op:
    return lambda call: L.Activation(name, **call.own)(call.x)


def _as_layers(name: str) -> Op:
    def op(call: OpCall) -> Any:
        y = call.x
        for layer in AS_LAYERS[name](call.name, call.own["dtype"]):
            y = layer(y)
        return y

    return op


def _reduction(function: Any) -> Op:
    return lambda call: call.function(
        function, call.x, axis=call.settings.get("axis"), keepdims=bool(call.settings.get("keepdims"))
    )


def _get_item(call: OpCall) -> Any:
    index = call.args[1]
    # The layer that tf_keras makes of x[...] cannot be given a name.
    return call.x[tuple(index) if isinstance(index, (list, tuple)) else index]


def _pad(call: OpCall) -> Any:
    mode = str(call.settings.get("mode", "constant"))
    if mode not in ("constant", "reflect", "symmetric"):
        call.layer.refuse("a mode among constant, reflect and symmetric", mode)
    fill = call.args[1] if len(call.args) > 1 else None
    options = {"mode": mode.upper(), **({"constant_values": fill} if fill is not None else {})}
    return call.function(tf.pad, call.x, call.settings["pad_width"], **options)


def _transpose(call: OpCall) -> Any:
    axes = call.settings.get("axes")
    if axes and axes[0] == 0:
        return L.Permute(axes[1:], **call.own)(call.x)
    return call.function(tf.transpose, call.x, axes)


def _reshape(call: OpCall) -> Any:
    shape = [-1 if size is None else size for size in call.settings["newshape"]]
    # The layer leaves the batch alone; the function may spread pictures over it.
    if shape[0] == -1 and None not in call.x.shape[1:] and np.prod(shape[1:]) == np.prod(call.x.shape[1:]):
        return L.Reshape(shape[1:], **call.own)(call.x)
    return call.function(tf.reshape, call.x, shape)


def _joined(make: Callable[[OpCall, Any], Any]) -> Op:
    def op(call: OpCall) -> Any:
        parts = list(call.args[0]) if call.args and isinstance(call.args[0], (list, tuple)) else []
        if not parts or not all(map(_is_tensor, parts)):
            call.layer.refuse("a list of tensors", call.args)
        return make(call, parts)

    return op


def _split(call: OpCall) -> Any:
    places, axis = call.settings["indices_or_sections"], call.settings.get("axis", 0)
    if isinstance(places, int):
        return call.function(tf.split, call.x, places, axis)
    ends = [0, *places, call.x.shape[axis]]
    return call.function(tf.split, call.x, np.diff(ends).tolist(), axis)


def _pool(layer: Any) -> Op:
    def op(call: OpCall) -> Any:
        own = call.settings
        size = own["pool_size"]
        if len(call.x.shape) != 4 or own.get("data_format") not in (None, "channels_last"):
            call.layer.refuse("pictures [N, H, W, C]", (call.x.shape, own.get("data_format")))
        return layer(size, own.get("strides") or size, own.get("padding", "valid"), **call.own)(call.x)

    return op


def _resize(call: OpCall) -> Any:
    own = call.settings
    for key in ("antialias", "pad_to_aspect_ratio"):
        if own.get(key):
            call.layer.refuse(f"{key}=False, for tf_keras has no other", own[key])
    if own.get("data_format") not in (None, "channels_last"):
        call.layer.refuse("data_format channels_last, in which this toolkit works", own["data_format"])
    crop = bool(own.get("crop_to_aspect_ratio"))
    return L.Resizing(*own["size"], own.get("interpolation", "bilinear"), crop, **call.own)(call.x)


def _gelu(call: OpCall) -> Any:
    return call.function(tf.nn.gelu, call.x, approximate=bool(call.settings.get("approximate", True)))


_NUMPY: dict[str, Op] = {
    "Add": _arithmetic(L.Add, tf.math.add, lambda c, first: (1.0, c)),
    "Subtract": _arithmetic(L.Subtract, tf.math.subtract, lambda c, first: (1.0, -c) if first else (-1.0, c)),
    "Multiply": _arithmetic(L.Multiply, tf.math.multiply, lambda c, first: (c, 0.0)),
    "Maximum": _arithmetic(L.Maximum, tf.math.maximum, lambda c, first: None),
    "Minimum": _arithmetic(L.Minimum, tf.math.minimum, lambda c, first: None),
    "TrueDivide": _arithmetic(None, tf.math.divide, lambda c, first: None),
    "Divide": _arithmetic(None, tf.math.divide, lambda c, first: None),
    "Power": _arithmetic(None, tf.math.pow, lambda c, first: None),
    "Negative": lambda call: L.Rescaling(-1.0, **call.own)(call.x),
    "Absolute": _elementwise(tf.math.abs),
    "Abs": _elementwise(tf.math.abs),
    "Square": _elementwise(tf.math.square),
    "Sqrt": _elementwise(tf.math.sqrt),
    "Exp": _elementwise(tf.math.exp),
    "Log": _elementwise(tf.math.log),
    "Tanh": _activation("tanh"),
    "Clip": lambda call: call.function(tf.clip_by_value, call.x, call.settings["x_min"], call.settings["x_max"]),
    "Mean": _reduction(tf.math.reduce_mean),
    "Sum": _reduction(tf.math.reduce_sum),
    "Max": _reduction(tf.math.reduce_max),
    "Min": _reduction(tf.math.reduce_min),
    "GetItem": _get_item,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Squeeze": lambda call: call.function(tf.squeeze, call.x, call.settings.get("axis")),
    "ExpandDims": lambda call: call.function(tf.expand_dims, call.x, call.settings["axis"]),
    "Concatenate": _joined(lambda call, parts: L.Concatenate(call.settings.get("axis", 0), **call.own)(parts)),
    "Stack": _joined(lambda call, parts: call.function(tf.stack, parts, call.settings.get("axis", 0))),
    "Split": _split,
    "Pad": _pad,
}
_NN: dict[str, Op] = {
    "Relu": lambda call: L.ReLU(**call.own)(call.x),
    "Relu6": _as_layers("relu6"),
    "LeakyRelu": lambda call: L.LeakyReLU(call.settings.get("negative_slope", 0.2), **call.own)(call.x),
    "Elu": lambda call: L.ELU(call.settings.get("alpha", 1.0), **call.own)(call.x),
    "Sigmoid": _activation("sigmoid"),
    "HardSigmoid": _as_layers("hard_sigmoid"),
    "Silu": _activation("swish"),
    "HardSilu": _as_layers("hard_silu"),
    "Gelu": _gelu,
    "Selu": _activation("selu"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "Softmax": lambda call: L.Softmax(call.settings.get("axis", -1), **call.own)(call.x),
    "LogSoftmax": lambda call: call.function(tf.nn.log_softmax, call.x, axis=call.settings.get("axis", -1)),
    "MaxPool": _pool(L.MaxPooling2D),
    "AveragePool": _pool(L.AveragePooling2D),
    "DepthToSpace": lambda call: DepthToSpace(call.settings["block_size"], **call.own)(call.x),
}
OPS: dict[tuple[str, str], Op] = {
    **{("keras.src.ops.numpy", name): op for name, op in _NUMPY.items()},
    **{("keras.src.ops.nn", name): op for name, op in _NN.items()},
    ("keras.src.ops.image", "Resize"): _resize,
}


def op_of(record: Mapping[str, Any]) -> Op | None:
    """-> what a call of ``keras.ops`` becomes, or None if the record is none, or one that is not known."""
    name = str(record.get("class_name"))
    if record.get("registered_name") not in (None, name):
        return None
    return OPS.get((str(record.get("module")), name))
