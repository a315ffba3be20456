"""Each op of a ``.tflite`` file as a file of its own, so that a runtime can be asked about one at a time.

Imports no TensorFlow.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Hashable

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.contents import read_contents
from tta_lite.export.signature import AlignedBuffer
from tta_lite.measure.stages import layer_names


@dataclasses.dataclass(frozen=True)
class SingleOp:
    """An op, and others that differ from it in their weights alone.

    Attributes:
      name: as ``CONV_2D``.
      places: in the file's list of ops, the first one first.
      layers: of each place, as `layer_names` gives it.
      tflite: the file with the first of them; inputs ``input_0``, ...: what it reads and is no constant.
    """

    name: str
    places: tuple[int, ...]
    layers: tuple[str, ...]
    tflite: bytes


def single_ops(tflite: bytes) -> list[SingleOp]:
    """-> the ops of the main graph, in the order in which they run; those that are alike stand for each other.

    Alike are ops with the same options, version, shapes, types and zero points. Weights and scales stay as they are.
    """
    contents = read_contents(tflite)
    layers = layer_names(tflite, contents)
    model = flatbuffer_utils.read_model_from_bytearray(tflite)
    alike: dict[Hashable, list[int]] = {}
    for place, op in enumerate(model.subgraphs[0].operators):
        alike.setdefault(_kind(model, op), []).append(place)
    return [
        SingleOp(
            contents.ops[places[0]].name,
            tuple(places),
            tuple(layers[place] for place in places),
            _alone(model, model.subgraphs[0].operators[places[0]]),
        )
        for places in alike.values()
    ]


def _kind(model: schema.ModelT, op: schema.OperatorT) -> Hashable:
    tensors = [model.subgraphs[0].tensors[tensor] for tensor in (*op.inputs, *op.outputs) if tensor >= 0]
    options = "" if op.builtinOptions is None else repr(sorted(_plain(op.builtinOptions).items()))
    return (
        int(op.opcodeIndex),
        options,
        tuple(int(tensor) < 0 for tensor in op.inputs),
        tuple((tuple(one.shape), one.type, _is_constant(model, one), _points(one)) for one in tensors),
    )


def _plain(options: object) -> dict[str, object]:
    return {name: np.asarray(value).tolist() for name, value in vars(options).items()}


def _points(tensor: schema.TensorT) -> tuple[int, ...]:
    found = tensor.quantization
    points = None if found is None else found.zeroPoint
    return () if points is None else tuple(np.unique(points).tolist())


def _is_constant(model: schema.ModelT, tensor: schema.TensorT) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _alone(model: schema.ModelT, op: schema.OperatorT) -> bytes:
    old = model.subgraphs[0].tensors
    used = list(dict.fromkeys(int(tensor) for tensor in (*op.inputs, *op.outputs) if tensor >= 0))
    graph, alone = schema.SubGraphT(), schema.ModelT()
    alone.version, alone.subgraphs = model.version, [graph]
    alone.operatorCodes = [model.operatorCodes[op.opcodeIndex]]
    alone.buffers, graph.tensors = [AlignedBuffer()], [copy.copy(old[tensor]) for tensor in used]
    place = {tensor: number for number, tensor in enumerate(used)}
    for tensor in graph.tensors:
        if _is_constant(model, tensor):
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
