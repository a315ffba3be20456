"""How to feed a network and read what it says, as C constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tta_lite.export.runner import Edge
from tta_lite.types import InputError

if TYPE_CHECKING:
    # Loads TensorFlow, which whoever checks an artifact may not have.
    from tta_lite.models.backbones import Normalisation

HEADER = "model_io.h"
# The types that an input or output of a network for boards has.
_C_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t", "int32": "int32_t",
    "int64": "int64_t", "float32": "float", "bool": "uint8_t",
}  # fmt: skip


def model_io_header(
    input_edge: Edge,
    output_edge: Edge,
    *,
    name: str,
    normalisation: Normalisation | None = None,
    labels: Sequence[str] | None = None,
) -> str:
    """-> ``model_io.h``; it reads as C99 and as C++, and includes nothing but the standard library.

    Args:
      input_edge: the file's input, of a shape without open dimensions.
      output_edge: the same of its output.
      name: what the network is called.
      normalisation: how RGB pixels become the numbers that the network takes; None: not known here.
      labels: what the places of the output's last dimension are called: classes, joints.

    Raises:
      InputError: a type that C has no name for, or labels that are not as many as the output's last dimension.
    """
    if labels is not None and len(labels) != (places := output_edge.shape[-1] if output_edge.shape else 1):
        raise InputError(
            f"Argument `labels` must name the {places} places of the last dimension of the output "
            f"`{output_edge.name}`. Received: {len(labels)} labels"
        )
    parts = [
        f"/* {c_comment(name)}: what goes in, what comes out. */\n#ifndef MODEL_IO_H_\n#define MODEL_IO_H_",
        "#include <math.h>\n#include <stdint.h>",
        _edge("input", input_edge),
        _edge("output", output_edge),
    ]
    if normalisation is not None:
        parts.append(_pixels(input_edge, normalisation))
    if labels is not None:
        parts.append(label_table(labels))
    return "\n\n".join([*parts, "#endif"]) + "\n"


def c_float(value: float) -> str:
    """-> a float constant that reads back as the same float32.

    >>> c_float(0.1), c_float(127.5), c_float(2.0), c_float(1e-9)
    ('0.1f', '127.5f', '2.0f', '1e-09f')
    """
    text = f"{np.float32(value):.9g}"
    # The shortest text that gives the same float32 is what a reader wants to see.
    text = next((short for n in range(1, 9) if np.float32(short := f"{value:.{n}g}") == np.float32(value)), text)
    return f"{text}f" if set(text) & set(".e") else f"{text}.0f"


def c_string(text: str) -> str:
    r"""-> a C string constant, in ASCII; other letters as the bytes of their UTF-8.

    >>> print(c_string('left "knee"?'), c_string("é"))
    "left \"knee\"\?" "\303\251"
    """
    kept = {ord("\\"): "\\\\", ord('"'): '\\"', ord("?"): "\\?"}
    # Three octal digits end by themselves; a hexadecimal escape would swallow the letter after it.
    letters = (kept.get(b) or (chr(b) if 32 <= b < 127 else f"\\{b:03o}") for b in text.encode("utf-8"))
    return f'"{"".join(letters)}"'


def c_comment(text: str) -> str:
    """-> text that may stand in a C comment: ASCII, on one line, and no end of the comment.

    >>> c_comment("net */ one")
    'net * / one'
    """
    plain = " ".join(text.split()).replace("*/", "* /").replace("/*", "/ *")
    return plain.encode("ascii", "replace").decode()


def c_type(edge: Edge) -> str:
    """-> the C type of one element.

    Raises:
      InputError: C has no such type, as for float16.
    """
    if edge.dtype.name not in _C_TYPES:
        raise InputError(
            f"The tensor `{edge.name}` must have one of the types {', '.join(_C_TYPES)} to be named in C. "
            f"Received: {edge.dtype.name}"
        )
    return _C_TYPES[edge.dtype.name]


def label_table(labels: Sequence[str]) -> str:
    """-> the labels as a C array, as `model_io_header` writes them."""
    lines = "".join(f"    {c_string(label)},\n" for label in labels)
    return (
        "/* The places of the output's last dimension, in UTF-8. */\n"
        f"#define MODEL_LABEL_COUNT {len(labels)}\n"
        f"static const char* const model_labels[MODEL_LABEL_COUNT] = {{\n{lines}}};"
    )


def _edge(side: str, edge: Edge) -> str:
    if min(edge.shape, default=1) < 1:
        raise InputError(
            f"The tensor `{edge.name}` must have a fixed shape to be named in C. Received: {list(edge.shape)}"
        )
    kind, upper = c_type(edge), f"MODEL_{side.upper()}"
    elements = math.prod(edge.shape)
    lines = [
        f"/* The {side}: `{c_comment(edge.name)}`. */",
        f"typedef {kind} model_{side}_t;",
        f"#define {upper}_NAME {c_string(edge.name)}",
        f"#define {upper}_DTYPE {c_string(edge.dtype.name)}",
        f"#define {upper}_RANK {len(edge.shape)}",
        *(f"#define {upper}_DIM_{i} {size}" for i, size in enumerate(edge.shape)),
        f"#define {upper}_ELEMENTS {elements}",
        f"#define {upper}_BYTES {elements * edge.dtype.itemsize}",
    ]
    if not edge.scale:
        return "\n".join([*lines, f"#define {upper}_IS_QUANTISED 0"])
    return "\n".join([
        *lines,
        "/* real = (stored - zero point) * scale; stored = round(real / scale) + zero point, clipped to the type. */",
        f"#define {upper}_IS_QUANTISED 1",
        f"#define {upper}_SCALE {c_float(edge.scale)}",
        f"#define {upper}_ZERO_POINT ({edge.zero_point})",
    ])  # fmt: skip


def _pixels(edge: Edge, normalisation: Normalisation) -> str:
    mean, std = ([c_float(value) for value in values] for values in (normalisation.mean, normalisation.std))
    body = "  const float real = ((float)pixel - model_input_mean[channel]) / model_input_std[channel];\n"
    if edge.scale:
        limits = np.iinfo(edge.dtype)
        body += (
            "  const float stored = nearbyintf(real / MODEL_INPUT_SCALE) + (float)MODEL_INPUT_ZERO_POINT;\n"
            f"  if (stored < {limits.min}.0f) return {limits.min};\n"
            f"  if (stored > {limits.max}.0f) return {limits.max};\n"
            "  return (model_input_t)stored;\n"
        )
    else:
        body += "  return (model_input_t)real;\n"
    return (
        "/* real = (pixel - mean) / std for each channel; pixels are 0..255, channels red, green, blue. */\n"
        f"static const float model_input_mean[{len(mean)}] = {{{', '.join(mean)}}};\n"
        f"static const float model_input_std[{len(std)}] = {{{', '.join(std)}}};\n\n"
        "/* A pixel as the network takes it. A table of 256 entries a channel saves the division. */\n"
        "static inline model_input_t model_input_from_pixel(unsigned char pixel, int channel) {\n"
        f"{body}}}"
    )
