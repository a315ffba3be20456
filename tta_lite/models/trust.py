"""What a model file of Keras 2 says is looked at before `tf_keras` reads it, for that runs what it is told to.

``safe_mode`` of `tf_keras` refuses a ``Lambda`` in a ``.keras`` file and no more: the config of such a file can name
any function of any installed module, which is imported and called, and in a ``.h5`` file or a SavedModel a ``Lambda``
runs as it is. So nothing reaches `tf_keras` here but classes and functions of Keras itself, registered classes, and
TensorFlow functions that only compute.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.compat import OF_APPLICATIONS, keras
from tta_lite.types import InputError

# What a config may name outside of the layers, by the module it is looked up in.
_FUNCTIONS = (
    keras.activations, keras.initializers, keras.regularizers, keras.constraints, keras.losses, keras.metrics,
)  # fmt: skip
_OBJECTS = (
    keras.layers.Layer, keras.initializers.Initializer, keras.regularizers.Regularizer,
    keras.constraints.Constraint, keras.mixed_precision.Policy,
)  # fmt: skip

# Of TensorFlow's functions those that compute, and touch neither files nor Python.
_PURE_SPACES = ("__operators__", "math", "nn", "linalg", "image", "signal", "bitwise", "dtypes", "random")
_PURE = frozenset({
    "abs", "acos", "acosh", "add", "add_n", "argmax", "argmin", "argsort", "asin", "asinh", "atan", "atan2",
    "atanh", "batch_to_space", "broadcast_to", "cast", "ceil", "clip_by_norm", "clip_by_value", "complex", "concat",
    "constant", "convert_to_tensor", "cos", "cosh", "cumsum", "depth_to_space", "divide", "dynamic_partition",
    "dynamic_stitch", "einsum", "equal", "exp", "expand_dims", "eye", "fill", "floor", "floordiv", "floormod",
    "gather", "gather_nd", "greater", "greater_equal", "identity", "less", "less_equal", "linspace", "log", "log1p",
    "logical_and", "logical_not", "logical_or", "matmul", "maximum", "meshgrid", "minimum", "mod", "multiply",
    "negative", "norm", "not_equal", "one_hot", "ones", "ones_like", "pad", "pow", "range", "rank", "realdiv",
    "reduce_all", "reduce_any", "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod",
    "reduce_sum", "relu", "repeat", "reshape", "reverse", "roll", "round", "rsqrt", "scalar_mul", "scatter_nd",
    "searchsorted", "sequence_mask", "shape", "shape_n", "sigmoid", "sign", "sin", "sinh", "size", "slice",
    "softmax", "sort", "space_to_batch", "space_to_depth", "split", "sqrt", "square", "squeeze", "stack",
    "stop_gradient", "strided_slice", "subtract", "tan", "tanh", "tensor_scatter_nd_add",
    "tensor_scatter_nd_update", "tensordot", "tile", "transpose", "truediv", "truncatediv", "truncatemod",
    "unstack", "where", "zeros", "zeros_like",
})  # fmt: skip
# Layers that call what their config names, be it a method, an op of any kind or Python code.
_CALLING = ("ClassMethod", "InstanceMethod", "InstanceProperty", "TensorFlowOpLayer")


def check_config(config: Any, path: Path, *, trust_model_code: bool = False) -> None:
    """Looks at a whole config before anything is made of it.

    Args:
      config: as JSON gave it.
      path: of the file, for messages.
      trust_model_code: the user trusts the file: let all pass.

    Raises:
      InputError: names the layer and what it would run.
    """
    if trust_model_code:
        return
    stack: list[tuple[Any, str]] = [(config, "")]
    while stack:
        value, layer = stack.pop()
        if isinstance(value, (list, tuple)):
            stack += [(one, layer) for one in value]
        if not isinstance(value, Mapping):
            continue
        inner = value.get("config")
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            layer = inner["name"]
        if "class_name" in value and (what := _what_runs(value)):
            raise InputError(
                f"{path}: layer {layer!r} would run {what}, and nothing in a file is run. Expected: a network of "
                "Keras's own layers, or trust_model_code (--trust_model_code) for a file whose maker you trust. "
                f"Received: class {value['class_name']!r} of module {value.get('module')!r}"
            )
        # What compile() had set is not read.
        stack += [(one, layer) for key, one in value.items() if key not in ("compile_config", "training_config")]


def _what_runs(record: Mapping[str, Any]) -> str:
    """-> what would be run that is neither Keras's nor harmless, or nothing."""
    name, config = record["class_name"], record.get("config")
    if name in ("Lambda", "__lambda__"):
        return "Python code that is in the file (a Lambda)"
    if isinstance(config, Mapping) and "lambda" in (config.get("function_type"), config.get("output_shape_type")):
        return "Python code that is in the file"
    if name in _CALLING:
        return "a method or an op that the file names"
    if name in ("TFOpLambda", "SlicingOpLambda"):
        function = str((config or {}).get("function"))
        return "" if is_pure(function) else f"tf.{function}"
    module = record.get("module")
    if name == "function":
        return "" if _is_keras_function(record) else f"the function {module}.{config}"
    # What tf_keras looks up first.
    registered = record.get("registered_name", name)
    known = registered in OF_APPLICATIONS or keras.utils.get_registered_object(str(registered)) is not None
    if module is None or known or _is_keras_object(record):
        # Without a module only Keras's own and registered names are looked up.
        return ""
    return f"the class {module}.{name}"


def is_pure(function: str) -> bool:
    """Whether a TensorFlow function only computes.

    >>> [is_pure(name) for name in ("math.add", "compat.v1.transpose", "io.write_file", "py_function", "print")]
    [True, True, False, False, False]
    """
    space, _, own = function.removeprefix("compat.v1.").rpartition(".")
    return own in _PURE if not space else space.split(".")[0] in _PURE_SPACES


def _is_keras_function(record: Mapping[str, Any]) -> bool:
    """Whether a record names a function of Keras that layers take as a setting."""
    name, (root, *rest) = record.get("config"), str(record.get("module")).split(".")
    if not isinstance(name, str) or record.get("registered_name") not in (None, name):
        return False
    spaces = [one.__name__.rpartition(".")[2] for one in _FUNCTIONS if callable(vars(one).get(name))]
    if [root, *rest] == ["builtins"]:
        return bool(spaces)
    return root in ("keras", "tf_keras") and bool({*spaces}.intersection(rest[:2]))


def _is_keras_object(record: Mapping[str, Any]) -> bool:
    """Whether a record names a layer, a model or a part of one, in one of Keras's modules."""
    name, (root, *rest) = str(record["class_name"]), str(record.get("module")).split(".")
    if root not in ("keras", "tf_keras") or record.get("registered_name") not in (None, name):
        return False
    found: Any = keras
    if rest[:1] == ["src"]:
        found = sys.modules.get(".".join(("tf_keras", *rest)))
        rest = []
    for part in (*rest, name):
        found = getattr(found, part, None)
    return isinstance(found, type) and issubclass(found, _OBJECTS)
