"""The names of TFLite's builtin ops and of its types, as its schema has them."""

from __future__ import annotations

import functools


@functools.cache
def op_codes() -> dict[str, int]:
    """-> name -> number of every builtin op, ``CUSTOM`` and ``DELEGATE`` left out.

    >>> op_codes()["CONV_2D"]
    3
    """
    # A fifth of a second, so only for whoever asks.
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    others = ("CUSTOM", "DELEGATE", "PLACEHOLDER_FOR_GREATER_OP_CODES")
    return {name: code for name, code in vars(BuiltinOperator).items() if isinstance(code, int) and name not in others}
