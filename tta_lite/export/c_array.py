"""A flatbuffer as C source, for firmware without a file system."""

from __future__ import annotations

import re

import numpy as np

from tta_lite.types import InputError

BYTES_A_LINE = 16
ALIGNMENT = 16


def c_symbol(name: str) -> str:
    """-> a C identifier.

    >>> c_symbol("pose mobilenet_v2-0.35")
    'pose_mobilenet_v2_0_35_tflite'

    Raises:
      InputError: nothing of the name is left.
    """
    symbol = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_").lower()
    if not symbol:
        raise InputError(f"A model's name must hold an ASCII letter or digit, to name its C array. Received: {name!r}")
    return f"{'m_' if symbol[0].isdigit() else ''}{symbol}_tflite"


def c_header(symbol: str, header: str = "model_data.h") -> str:
    """-> the header that declares the array; it reads as C and as C++."""
    guard = re.sub(r"\W", "_", header).upper() + "_"
    return f"""\
#ifndef {guard}
#define {guard}

#ifdef __cplusplus
extern "C" {{
#endif

/* The network as a .tflite file, on a {ALIGNMENT}-byte boundary; constant, so that a linker may leave it in flash. */
extern const unsigned char {symbol}[];
extern const unsigned int {symbol}_len;

#ifdef __cplusplus
}}
#endif

#endif
"""


def c_source(data: bytes, symbol: str, header: str = "model_data.h") -> bytes:
    """-> the source (C++11, ASCII) that defines the array, `BYTES_A_LINE` bytes a line."""
    table = np.frombuffer("".join(f"0x{value:02x}," for value in range(256)).encode(), np.uint8).reshape(256, 5)
    values = np.frombuffer(data, dtype=np.uint8)
    whole = len(data) // BYTES_A_LINE
    # One table look-up for all lines: a loop over a 20 MB file takes tens of seconds.
    lines = np.full((whole, 5 * BYTES_A_LINE + 1), ord("\n"), dtype=np.uint8)
    lines[:, :-1] = table[values[: whole * BYTES_A_LINE]].reshape(whole, 5 * BYTES_A_LINE)
    rest = table[values[whole * BYTES_A_LINE :]].tobytes()
    opening = f'#include "{header}"\n\nalignas({ALIGNMENT}) const unsigned char {symbol}[] = {{\n'
    closing = f"}};\nconst unsigned int {symbol}_len = {len(data)};\n"
    return b"".join((opening.encode(), lines.tobytes(), rest + b"\n" if rest else b"", closing.encode()))
