"""One op of a flatbuffer as a file of its own. Imports no TensorFlow."""

from __future__ import annotations

import copy

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.signature import AlignedBuffer


def single_op(model: schema.ModelT, op: schema.OperatorT) -> bytes:
    """-> a file with this op alone.

    Its inputs, ``input_0``, ..., are the tensors that the op reads and that are no constants, each once, in the op's
    order; its outputs, ``output_0``, ..., are the op's.

    Args:
      model: as `flatbuffer_utils` reads it; it is not changed.
      op: of its main graph.
    """
    old = model.subgraphs[0].tensors
    used = list(dict.fromkeys(int(tensor) for tensor in (*op.inputs, *op.outputs) if tensor >= 0))
    graph, alone = schema.SubGraphT(), schema.ModelT()
    alone.version, alone.subgraphs = model.version, [graph]
    alone.operatorCodes = [model.operatorCodes[op.opcodeIndex]]
    alone.buffers, graph.tensors = [AlignedBuffer()], [copy.copy(old[tensor]) for tensor in used]
    place = {tensor: number for number, tensor in enumerate(used)}
    for tensor in graph.tensors:
        if is_constant(model, tensor):
            buffer = AlignedBuffer()
            buffer.data = model.buffers[tensor.buffer].data
            alone.buffers.append(buffer)
            tensor.buffer = len(alone.buffers) - 1
        else:
            tensor.buffer = 0
    single = copy.copy(op)
    single.opcodeIndex = 0
    single.inputs = np.array([place.get(int(tensor), -1) for tensor in op.inputs], np.int32)
    single.outputs = np.array([place[int(tensor)] for tensor in op.outputs], np.int32)
    graph.operators = [single]
    read = (int(tensor) for tensor in single.inputs if tensor >= 0 and not graph.tensors[tensor].buffer)
    graph.inputs, graph.outputs = list(dict.fromkeys(read)), list(single.outputs)
    constants = [number for number, tensor in enumerate(graph.tensors) if tensor.buffer]
    for side, tensors in (("input", graph.inputs), ("output", graph.outputs), ("constant", constants)):
        for number, tensor in enumerate(tensors):
            # Names of a file may occur twice, and runtimes ask by name.
            graph.tensors[tensor].name = f"{side}_{number}".encode()
    return bytes(flatbuffer_utils.convert_object_to_bytearray(alone))


def is_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    """-> whether the file holds the tensor's values."""
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
