"""``Lambda`` layers: Python code in a file. Refused, unless the user says that they trust it."""

from __future__ import annotations

import codecs
import marshal
import types
from collections.abc import Mapping
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.keras3.make import Made
from tta_lite.models.keras3.parts import Named, dtype
from tta_lite.types import InputError


def make_lambda(record: Mapping[str, Any], trust: bool) -> Made:
    """-> the layer, which runs the code of the file.

    The code finds ``tf``, ``np`` and ``keras`` (that of this toolkit), and what it imports itself.

    Raises:
      InputError: not trusted, or not written as a lambda.
    """
    config = record.get("config") or {}
    layer = Named(str(config.get("name")), "Lambda")
    if not trust:
        raise InputError(
            f"Layer {layer.name!r} is a Lambda: Python code in the file, which could do anything. Expected: a network "
            "without one, or trust_model_code (--trust_model_code) for a file whose maker you trust. "
            "Received: a Lambda that is not trusted"
        )
    function = config.get("function")
    if not isinstance(function, Mapping) or function.get("class_name") != "__lambda__":
        layer.refuse("a lambda; a function of a module is not in the file", function)
    own, _ = dtype(config.get("dtype"), layer)
    code = _function(function.get("config") or {}, layer)
    made = keras.layers.Lambda(code, arguments=config.get("arguments") or {}, name=layer.name, dtype=own)
    return Made((made,), layer.kind, made)


def _function(stored: Any, layer: Named) -> Any:
    import numpy as np
    import tensorflow as tf

    value = stored.get("value", stored)
    code, defaults, closure = (
        value if isinstance(value, (list, tuple)) else (value.get("code"), value.get("defaults"), value.get("closure"))
    )
    try:
        program = marshal.loads(codecs.decode(str(code).encode("ascii"), "base64"))
        cells = tuple(types.CellType(one) for one in closure) if closure else None
        return types.FunctionType(
            program, {"__builtins__": __builtins__, "tf": tf, "np": np, "keras": keras}, "lambda",
            tuple(defaults) if defaults else None, cells,
        )  # fmt: skip
    except (ValueError, TypeError, EOFError) as error:
        layer.refuse("code of this version of Python", error)
