"""Each op of a ``.tflite`` file as a file of its own, so that a runtime can be asked about one at a time.

Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tta_lite.export.contents import read_contents
from tta_lite.export.quantize.names import layer_names
from tta_lite.export.single_op import is_constant, single_op


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
            single_op(model, model.subgraphs[0].operators[places[0]]),
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
        tuple((tuple(one.shape), one.type, is_constant(model, one), _points(one)) for one in tensors),
    )


def _plain(options: object) -> dict[str, object]:
    return {name: np.asarray(value).tolist() for name, value in vars(options).items()}


def _points(tensor: schema.TensorT) -> tuple[int, ...]:
    found = tensor.quantization
    points = None if found is None else found.zeroPoint
    return () if points is None else tuple(np.unique(points).tolist())
