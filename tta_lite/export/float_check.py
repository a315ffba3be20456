"""Is this a float network that can be quantised? Asked of a flatbuffer, and of a Keras model, before any work on it.

Imports no TensorFlow. A flatbuffer from elsewhere goes through `tta_lite.export.open_safely` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.contents import read_contents
from tta_lite.export.open_checks import check_identifier
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras

_SHOWN = 3
_FLOATS = {"float32": np.float32, "float16": np.float16, "float64": np.float64}
_WHOLE = ("int8", "uint8", "int16", "int4")


def check_float_tflite(tflite: bytes) -> None:
    """Raises an `InputError` unless the file is a float32 network of one picture that can be quantised.

    It must have one graph, one float32 input and one output, a size that is fixed but for the batch, weights that are
    finite, and none of them quantised already.

    Args:
      tflite: the flatbuffer; its references must be known to be good.
    """
    check_identifier(tflite)
    model = schema.Model.GetRootAs(tflite)
    if model.SubgraphsLength() != 1:
        raise InputError(f"A file to be quantised has one graph. Received: {model.SubgraphsLength()}")
    contents, graph = read_contents(tflite), model.Subgraphs(0)
    if len(contents.inputs) != 1 or len(contents.outputs) != 1:
        raise InputError(
            "A file to be quantised has one input and one output. "
            f"Received: {len(contents.inputs)} inputs, {len(contents.outputs)} outputs"
        )
    quantised = [
        tensor for tensor in contents.tensors
        if tensor.dtype in _WHOLE and (found := graph.Tensors(tensor.index).Quantization()) and found.ScaleLength()
    ]  # fmt: skip
    if quantised:
        names = ", ".join(tensor.name for tensor in quantised[:_SHOWN])
        raise InputError(
            "The file is quantised already; expected the float32 one that it was made from. Received: "
            f"{len(quantised)} of {len(contents.tensors)} tensors in {_kinds(quantised)}, as {names}"
        )
    half = [tensor for tensor in contents.tensors if tensor.dtype == "float16"]
    if half:
        raise InputError(
            "The file's weights are of 16 bits; expected the float32 file that it was made from. "
            f"Received: {len(half)} tensors in float16, as {half[0].name}"
        )
    for what, place in (("input", contents.inputs[0]), ("output", contents.outputs[0])):
        tensor, table = contents.tensors[place], graph.Tensors(place)
        if tensor.dtype != "float32":
            raise InputError(f"A file to be quantised has a float32 {what}. Received: {tensor.name} in {tensor.dtype}")
        shape = [table.ShapeSignature(i) for i in range(table.ShapeSignatureLength())] or list(tensor.shape)
        if min(shape[1:], default=1) < 1 or tensor.shape[:1] not in ((1,), ()):
            raise InputError(
                "A file to be quantised has a fixed size and a batch of 1. "
                f"Received: {what} {tensor.name} of the shape {shape}"
            )
    check_finite_constants(tflite)


def check_finite_constants(tflite: bytes) -> None:
    """Raises an `InputError` that names the tensors if a file has float constants that are NaN or infinite."""
    model = schema.Model.GetRootAs(tflite)
    graph = model.Subgraphs(0)
    _check_finite([
        (tensor.name, np.frombuffer(_data(model, graph, tensor.index), _FLOATS[tensor.dtype]))
        for tensor in read_contents(tflite).tensors
        if tensor.is_constant and tensor.dtype in _FLOATS
    ])  # fmt: skip


def check_finite_weights(model: keras.Model) -> None:
    """Raises an `InputError` that names the layers if a Keras model has weights that are NaN or infinite."""
    _check_finite([(weight.name, np.asarray(weight)) for weight in model.weights])


def _check_finite(weights: list[tuple[str, np.ndarray]]) -> None:
    bad = []
    for name, values in weights:
        if values.dtype.kind != "f":
            continue
        nans, infinite = int(np.isnan(values).sum()), int(_infinite(values).sum())
        if nans or infinite:
            bad.append(f"{name} ({nans} NaN, {infinite} infinite)")
    if bad:
        shown = ", ".join(bad[:_SHOWN]) + ", ..." * (len(bad) > _SHOWN)
        raise InputError(f"Weights must be finite numbers to be quantised. Received: {len(bad)} that are not: {shown}")


def _infinite(values: np.ndarray) -> np.ndarray:
    # TensorFlow's converter writes the largest number that there is for infinity. Alone it may be meant, as what a
    # maximum is padded with.
    largest = np.finfo(values.dtype).max
    return np.isinf(values) if values.size == 1 else np.abs(values) >= largest


def _data(model: schema.Model, graph: schema.SubGraph, tensor: int) -> bytes:
    return bytes(model.Buffers(graph.Tensors(tensor).Buffer()).DataAsNumpy())


def _kinds(tensors: list) -> str:
    return ", ".join(sorted({tensor.dtype for tensor in tensors}))
