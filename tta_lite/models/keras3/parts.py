"""What the settings of layers are called in Keras 3 and in `tf_keras`: initialisers, regularisers, activations, dtypes.

Most are called alike. Each table here is one line a name; what is in none is refused by name.
"""

from __future__ import annotations

import dataclasses
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from tta_lite.compat import TFOpLambda, keras
from tta_lite.models.layers import HardSwish
from tta_lite.types import InputError

L = keras.layers

# Class -> its settings, the same in both.
INITIALIZERS: dict[str, tuple[str, ...]] = {
    "Zeros": (), "Ones": (), "Constant": ("value",), "Identity": ("gain",), "Orthogonal": ("gain", "seed"),
    "RandomNormal": ("mean", "stddev", "seed"), "RandomUniform": ("minval", "maxval", "seed"),
    "TruncatedNormal": ("mean", "stddev", "seed"), "VarianceScaling": ("scale", "mode", "distribution", "seed"),
    "GlorotNormal": ("seed",), "GlorotUniform": ("seed",), "HeNormal": ("seed",), "HeUniform": ("seed",),
    "LecunNormal": ("seed",), "LecunUniform": ("seed",),
}  # fmt: skip
REGULARIZERS: dict[str, tuple[str, ...]] = {
    "L1": ("l1",), "L2": ("l2",), "L1L2": ("l1", "l2"), "OrthogonalRegularizer": ("factor", "mode"),
}  # fmt: skip
CONSTRAINTS: dict[str, tuple[str, ...]] = {
    "MaxNorm": ("max_value", "axis"), "MinMaxNorm": ("min_value", "max_value", "rate", "axis"), "NonNeg": (),
    "UnitNorm": ("axis",),
}  # fmt: skip
_KINDS = {
    "initializer": (keras.initializers, INITIALIZERS),
    "regularizer": (keras.regularizers, REGULARIZERS),
    "constraint": (keras.constraints, CONSTRAINTS),
}
# Older Keras 3 wrote some classes under a second name.
_ALSO = {"IdentityInitializer": "Identity", "OrthogonalInitializer": "Orthogonal"}

# Keras 3's name -> that of `tf_keras`. Not here: hard_sigmoid, which is another function in each.
ACTIVATIONS = {name: name for name in (
    "linear", "relu", "sigmoid", "tanh", "softmax", "softplus", "softsign", "elu", "selu", "exponential", "gelu",
    "mish",
)} | {"silu": "swish"}  # fmt: skip


def _hard_sigmoid(name: str, dtype: str) -> list[Any]:
    # Keras 3's is relu6(x + 3) / 6; that of `tf_keras`, clip(0.2 x + 0.5, 0, 1), is another function.
    return [
        L.Rescaling(1.0, 3.0, name=f"{name}_shift", dtype=dtype),
        L.ReLU(6.0, name=f"{name}_relu6", dtype=dtype),
        L.Rescaling(1 / 6, name=name, dtype=dtype),
    ]


def _hard_swish(name: str, dtype: str) -> list[Any]:
    return [HardSwish(name=name, dtype=dtype)]


# Activations of Keras 3 that `tf_keras` lacks, by name and dtype -> the layers that do the same; the last has the name.
AS_LAYERS: dict[str, Callable[[str, str], list[Any]]] = {
    "relu6": lambda name, dtype: [L.ReLU(6.0, name=name, dtype=dtype)],
    "leaky_relu": lambda name, dtype: [L.LeakyReLU(0.2, name=name, dtype=dtype)],
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _hard_swish,
    "hard_swish": _hard_swish,
    "log_softmax": lambda name, dtype: [TFOpLambda(tf.nn.log_softmax, name=name)],
}


@dataclasses.dataclass(frozen=True)
class Named:
    """A layer of a file, for messages."""

    name: str
    kind: str

    def refuse(self, expected: str, received: object) -> NoReturn:
        """Raises the `InputError` that names the layer."""
        raise InputError(
            f"Layer {self.name!r} of class {self.kind} cannot be translated. Expected: {expected}. "
            f"Received: {str(received)[:200]}"
        )


def part(kind: str, given: Any, layer: Named) -> Any:
    """-> an initialiser, regulariser or constraint of `tf_keras`, from what Keras 3 wrote.

    Args:
      kind: ``initializer``, ``regularizer`` or ``constraint``.
      given: the record of the file; None is none.
      layer: whose it is.
    """
    if given is None:
        return None
    module, table = _KINDS[kind]
    name = given.get("class_name") if isinstance(given, Mapping) else None
    name = _ALSO.get(str(name), name)
    if not of_keras(given, f"{kind}s") or name not in table:
        layer.refuse(f"an {kind} of Keras ({', '.join(table)})", given)
    settings = given.get("config") or {}
    values = {key: plain(settings[key], layer) for key in table[name] if key in settings}
    if not isinstance(values.get("seed", 0), (int, type(None))):
        values["seed"] = None
    return getattr(module, name)(**values)


def of_keras(given: Any, module: str) -> bool:
    """Whether a record of a file means something of Keras's own, from one of its modules.

    >>> of_keras({"module": "keras.initializers", "class_name": "Zeros"}, "initializers")
    True
    >>> of_keras({"module": "os", "class_name": "Zeros"}, "initializers")
    False
    """
    if not isinstance(given, Mapping):
        return False
    where, own = str(given.get("module")), given.get("registered_name")
    known = where == f"keras.{module}" or where.startswith(f"keras.src.{module}")
    return known and own in (None, given.get("class_name"))


def activation(given: Any, layer: Named) -> tuple[str, str]:
    """-> the name of an activation in `tf_keras`, and the name in `AS_LAYERS` of what must follow, or nothing."""
    name = given
    if isinstance(given, Mapping) and given.get("class_name") == "function":
        own = str(given.get("module"))
        name = (
            given.get("config") if own in ("builtins", "keras.activations") or own.startswith("keras.src.act") else None
        )
    if name is None and given is None:
        return "linear", ""
    if isinstance(name, str) and name in ACTIVATIONS:
        return ACTIVATIONS[name], ""
    if isinstance(name, str) and name in AS_LAYERS:
        return "linear", name
    layer.refuse(f"an activation among {', '.join((*ACTIVATIONS, *AS_LAYERS))}", given)


def dtype(given: Any, layer: Named) -> tuple[str | None, str]:
    """-> the dtype of a layer here, and the policy that it had if that was another one.

    Training in mixed precision keeps its weights in float32; so are they read, and so is all computed.

    >>> dtype("mixed_float16", Named("conv", "Conv2D"))
    ('float32', 'mixed_float16')
    """
    if given is None:
        return None, ""
    name = given
    if isinstance(given, Mapping):
        fits = given.get("class_name") == "DTypePolicy" and str(given.get("module")).split(".")[0] == "keras"
        name = (given.get("config") or {}).get("name") if fits else None
    if name in ("float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"):
        return str(name), ""
    if name in ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16"):
        return "float32", str(name)
    layer.refuse("a dtype policy of floating-point numbers; quantised ones are not read", given)


def plain(value: Any, layer: Named) -> Any:
    """-> numbers, text, lists and arrays, which Keras 3 writes as records of their own.

    >>> plain({"class_name": "__numpy__", "config": {"value": [1.0, 2.0], "dtype": "float32"}}, Named("a", "Add"))
    [1.0, 2.0]
    """
    if value is None or isinstance(value, (str, bool, numbers.Number)):
        return value
    if isinstance(value, Sequence):
        return [plain(one, layer) for one in value]
    if isinstance(value, Mapping):
        inner = value.get("config")
        if value.get("class_name") in ("__numpy__", "__tensor__") and isinstance(inner, Mapping):
            return np.asarray(inner.get("value")).tolist()
    layer.refuse("a number, text or list", value)
