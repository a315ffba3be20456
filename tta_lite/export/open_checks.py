"""Does every reference of a flatbuffer lead to something that is there? Read without running it; no TensorFlow.

There is no verifier of flatbuffers in Python. This reads every field of the file by the schema's reader, which raises
where one lies outside, and then follows the numbers that the schema does not know as references: of tensors, buffers,
ops and sizes. It is for a child process (see `tta_lite.export.open_safely`): a damaged length can make it take long.
"""

from __future__ import annotations

import math
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.contents import TYPE_BITS, read_contents
from tta_lite.types import InputError

IDENTIFIER = b"TFL3"
# One tensor of an embedded network; a larger one is a damaged number.
MOST_TENSOR_BYTES = 1 << 32
_TYPES = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}


def check_identifier(tflite: bytes) -> None:
    """Raises an `InputError` unless the bytes say that they are a ``.tflite`` file."""
    if len(tflite) < 8 or tflite[4:8] != IDENTIFIER:
        received = f"{bytes(tflite[4:8])!r} in {len(tflite)} bytes"
        raise InputError(f"A .tflite file has the letters TFL3 at its 5th byte. Received: {received}")


def check_bytes(tflite: bytes) -> None:
    """Reads all of a file.

    Raises:
      InputError: it is none, ends too early, or refers to what is not there.
    """
    check_identifier(tflite)
    try:
        model = schema.ModelT.InitFromPackedBuf(tflite, 0)
        _check_model(model, len(tflite))
        # What all others read it by.
        read_contents(tflite)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise _damaged("a name in it is no text", len(tflite)) from error
    except Exception as error:  # The reader raises whatever NumPy and struct raise on bytes that are not there.
        raise _damaged("its tables lead to bytes that are not there", len(tflite)) from error


def _check_model(model: Any, size: int) -> None:
    if not model.subgraphs:
        raise _damaged("it has no graph", size)
    for place, buffer in enumerate(model.buffers or ()):
        # Data behind the tables, as files of 2 GB and more have it.
        if buffer.offset > 1 and buffer.offset + buffer.size > size:
            raise _damaged(f"buffer {place} ends at byte {buffer.offset + buffer.size}", size)
    for code in _listed(model.operatorCodes):
        _text(code.customCode)
    for signature in _listed(model.signatureDefs):
        for entry in (signature, *_listed(signature.inputs), *_listed(signature.outputs)):
            _text(getattr(entry, "name", None) or getattr(entry, "signatureKey", None))
    for graph in model.subgraphs:
        _text(graph.name)
        _check_graph(model, graph, size)


def _check_graph(model: Any, graph: Any, size: int) -> None:
    tensors = _listed(graph.tensors)
    for place, tensor in enumerate(tensors):
        _check_tensor(model, place, tensor, size)
    written: set[int] = set()
    for place, op in enumerate(_listed(graph.operators)):
        if not 0 <= op.opcodeIndex < len(_listed(model.operatorCodes)):
            raise _damaged(f"op {place} is of kind {op.opcodeIndex}, which the file does not list", size)
        outputs = _listed(op.outputs)
        # -1 stands for an optional input that is left out.
        for tensor in (*_listed(op.inputs), *outputs):
            if not -1 <= tensor < len(tensors) or (tensor == -1 and tensor in outputs):
                raise _damaged(f"op {place} names tensor {tensor} of {len(tensors)}", size)
        if written.intersection(outputs):
            raise _damaged(f"op {place} writes a tensor that another op writes too", size)
        written.update(int(tensor) for tensor in outputs)
    for tensor in (*_listed(graph.inputs), *_listed(graph.outputs)):
        if not 0 <= tensor < len(tensors):
            raise _damaged(f"the graph's inputs or outputs name tensor {tensor} of {len(tensors)}", size)


def _text(name: bytes | str | None) -> None:
    if isinstance(name, bytes):
        name.decode()


def _check_tensor(model: Any, place: int, tensor: Any, size: int) -> None:
    _text(tensor.name)
    if not 0 <= tensor.buffer < len(_listed(model.buffers)):
        raise _damaged(f"tensor {place} has its data in buffer {tensor.buffer} of {len(_listed(model.buffers))}", size)
    if tensor.type not in _TYPES:
        raise _damaged(f"tensor {place} is of the unknown type {tensor.type}", size)
    shape = [int(n) for n in _listed(tensor.shape)]
    bits = TYPE_BITS.get(_TYPES[tensor.type], 0)
    wanted = -(-math.prod(shape) * bits // 8)
    if min(shape, default=0) < -1 or wanted > MOST_TENSOR_BYTES:
        raise _damaged(f"tensor {place} has the shape {shape}", size)
    buffer = model.buffers[tensor.buffer]
    held = buffer.size if buffer.offset > 1 else len(_listed(buffer.data))
    # Texts and sparse weights have a form of their own.
    if held and bits and tensor.sparsity is None and held != wanted:
        raise _damaged(f"tensor {place} of {wanted} bytes has {held} bytes of data", size)
    found = tensor.quantization
    scales = _listed(found.scale) if found is not None else []
    if any(not 0 <= scale < math.inf for scale in scales):
        raise _damaged(f"tensor {place} has a scale that is no number, or below 0", size)
    if len(scales) > 1 and not (
        0 <= found.quantizedDimension < len(shape)
        and len(scales) == shape[found.quantizedDimension] == len(_listed(found.zeroPoint))
    ):
        raise _damaged(f"tensor {place} of the shape {shape} has {len(scales)} scales", size)


def _listed(values: Any) -> Any:
    return [] if values is None else values


def _damaged(what: str, size: int) -> InputError:
    return InputError(f"The .tflite file is damaged: {what}. Expected: a whole file. Received: {size} bytes")
