"""What TensorFlow functions, called on tensors of a `tf_keras` model, are among ``keras.ops``: one line a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tta_lite.compat import keras
from tta_lite.export.keras3.pieces import Piece, refuse

NUMPY, NN, IMAGE = "keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.image"

Given = dict[str, Any]
"""The arguments of the call by TensorFlow's names."""

Function = tuple[str, str, Callable[[Given], tuple[list[Any], dict[str, Any]]]]
"""Keras 3's module and class, and what gives its arguments and its settings."""


def _two(given: Given) -> tuple[list[Any], dict[str, Any]]:
    return [given["x"], given["y"]], {}


def _one(key: str = "x") -> Callable[[Given], tuple[list[Any], dict[str, Any]]]:
    return lambda given: ([given[key]], {})


def _reduce(given: Given) -> tuple[list[Any], dict[str, Any]]:
    axis = given["axis"]
    return [given["input_tensor"]], {
        "axis": list(axis) if isinstance(axis, (list, tuple)) else axis, "keepdims": bool(given["keepdims"]),
    }  # fmt: skip


def _split(given: Given) -> tuple[list[Any], dict[str, Any]]:
    sizes = given["num_or_size_splits"]
    if isinstance(sizes, (list, tuple)):
        # Keras 3 takes where the parts begin.
        sizes = [sum(sizes[:place]) for place in range(1, len(sizes))]
    return [given["value"]], {"indices_or_sections": sizes, "axis": given["axis"]}


def _pad(given: Given) -> tuple[list[Any], dict[str, Any]]:
    mode = str(given["mode"]).lower()
    fill = [given["constant_values"]] if mode == "constant" else []
    return [given["tensor"], *fill], {"pad_width": given["paddings"], "mode": mode}


def _item(given: Given) -> tuple[list[Any], dict[str, Any]]:
    spec = given["slice_spec"]
    spec = list(spec) if isinstance(spec, (list, tuple)) else [spec]
    # Keras keeps a slice as a dictionary.
    return [given["tensor"], [slice(*one.values()) if isinstance(one, dict) else one for one in spec]], {}


def _resize(given: Given) -> tuple[list[Any], dict[str, Any]]:
    return [given["images"]], {
        "size": given["size"], "interpolation": given["method"], "antialias": bool(given["antialias"]),
        "data_format": "channels_last",
    }  # fmt: skip


_FUNCTIONS: dict[str, Function] = {
    "add": (NUMPY, "Add", _two), "subtract": (NUMPY, "Subtract", _two), "sub": (NUMPY, "Subtract", _two),
    "multiply": (NUMPY, "Multiply", _two), "mul": (NUMPY, "Multiply", _two),
    "divide": (NUMPY, "TrueDivide", _two), "truediv": (NUMPY, "TrueDivide", _two), "pow": (NUMPY, "Power", _two),
    "maximum": (NUMPY, "Maximum", _two), "minimum": (NUMPY, "Minimum", _two),
    "neg": (NUMPY, "Negative", _one()), "negative": (NUMPY, "Negative", _one()), "abs": (NUMPY, "Absolute", _one()),
    "square": (NUMPY, "Square", _one()), "sqrt": (NUMPY, "Sqrt", _one()), "exp": (NUMPY, "Exp", _one()),
    "log": (NUMPY, "Log", _one()), "tanh": (NUMPY, "Tanh", _one()),
    "sigmoid": (NN, "Sigmoid", _one()), "relu": (NN, "Relu", _one("features")),
    "relu6": (NN, "Relu6", _one("features")),
    "silu": (NN, "Silu", _one("features")), "swish": (NN, "Silu", _one("features")),
    "leaky_relu": (NN, "LeakyRelu", lambda g: ([g["features"]], {"negative_slope": float(g["alpha"])})),
    "gelu": (NN, "Gelu", lambda g: ([g["features"]], {"approximate": bool(g["approximate"])})),
    "softmax": (NN, "Softmax", lambda g: ([g["logits"]], {"axis": -1 if g["axis"] is None else g["axis"]})),
    "log_softmax": (NN, "LogSoftmax", lambda g: ([g["logits"]], {"axis": -1 if g["axis"] is None else g["axis"]})),
    "clip_by_value": (NUMPY, "Clip", lambda g: (
        [g["t"]], {"x_min": g["clip_value_min"], "x_max": g["clip_value_max"]},
    )),
    "reduce_mean": (NUMPY, "Mean", _reduce), "reduce_sum": (NUMPY, "Sum", _reduce),
    "reduce_max": (NUMPY, "Max", _reduce), "reduce_min": (NUMPY, "Min", _reduce),
    "getitem": (NUMPY, "GetItem", _item),
    "reshape": (NUMPY, "Reshape", lambda g: ([g["tensor"]], {"newshape": g["shape"]})),
    "transpose": (NUMPY, "Transpose", lambda g: ([g["a"]], {"axes": g["perm"]})),
    "concat": (NUMPY, "Concatenate", lambda g: ([g["values"]], {"axis": g["axis"]})),
    "stack": (NUMPY, "Stack", lambda g: ([g["values"]], {"axis": g["axis"]})),
    "squeeze": (NUMPY, "Squeeze", lambda g: ([g["input"]], {"axis": g["axis"]})),
    "expand_dims": (NUMPY, "ExpandDims", lambda g: ([g["input"]], {"axis": g["axis"]})),
    "gather": (NUMPY, "Take", lambda g: ([g["params"], g["indices"]], {"axis": g["axis"]})),
    "split": (NUMPY, "Split", _split), "pad": (NUMPY, "Pad", _pad), "resize": (IMAGE, "Resize", _resize),
}  # fmt: skip
_SPACES = ("", "math", "nn", "__operators__", "image")


def op_of(layer: keras.layers.Layer, node: Any, read: Callable[[Any], Any], name: str) -> tuple[Piece, list[Any]]:
    """-> the op that a call of a TensorFlow function is, and its arguments.

    Args:
      layer: that the function became.
      node: Keras's record of the call.
      read: gives what stands for a tensor of the model.
      name: of the new layer.

    Raises:
      InputError: ``keras.ops`` has no such function here.
    """
    function = str(layer.get_config()["function"])
    space, _, own = function.removeprefix("compat.v1.").rpartition(".")
    if space not in _SPACES or own not in _FUNCTIONS:
        refuse(layer, f"TensorFlow functions among {', '.join(sorted(_FUNCTIONS))}", f"tf.{function}")
    module, kind, translate = _FUNCTIONS[own]
    bound = inspect.signature(layer.function).bind(*node.call_args, **node.call_kwargs)
    bound.apply_defaults()
    try:
        args, settings = translate(read(dict(bound.arguments)))
    except KeyError as error:
        refuse(layer, "the arguments of its TensorFlow 2 function", f"tf.{function} without {error}")
    return Piece(name, kind, settings, module, op=True), args
