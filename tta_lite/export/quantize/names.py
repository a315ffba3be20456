"""From the ops of a flatbuffer back to the layers of the Keras network. Imports no TensorFlow.

The converter merges layers: Conv, batch norm and ReLU become one op. The tensor that it writes bears the names of all
of them, as in ``net/act/Relu;net/bn/FusedBatchNormV3;net/conv/Conv2D``, the last to run first.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection

from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.contents import Contents, Op, read_contents

# What was read or padded for a layer, and is none that computes.
_BESIDE = re.compile(r"/(ReadVariableOp|Pad(V2)?\d*)(/|$)")
_NO_LAYERS = ("QUANTIZE", "DEQUANTIZE")
# The place of the weights among the inputs; their names tell the layer where the output is called by another name.
WEIGHTS = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1}


@dataclasses.dataclass(frozen=True)
class OpLayers:
    """Where an op comes from.

    Attributes:
      tensor: the name of the tensor that it writes, by which back ends know it.
      op: as ``CONV_2D``.
      layer: the layer that computes, as ``conv`` of Conv, batch norm and ReLU; empty if no name in the file tells it.
      fused: all layers that the op stands for, in the order in which they run; `layer` is the first.
    """

    tensor: str
    op: str
    layer: str
    fused: tuple[str, ...]

    @property
    def title(self) -> str:
        """-> what to call the op: its layer; where it is not known, the tensor."""
        return self.layer or self.tensor


def op_layers(tflite: bytes, layers: Collection[str] = (), contents: Contents | None = None) -> list[OpLayers]:
    """-> one for each op of the file, in order.

    Args:
      tflite: the file.
      layers: names of the Keras network's layers, if it is at hand: a name with slashes, or a network within the
        network, is then found for certain.
      contents: of the file, if it was read before.
    """
    contents = contents or read_contents(tflite)
    known, outputs = set(layers), _output_names(tflite)
    return [_of_op(contents, op, known, outputs) for op in contents.ops]


def layer_names(tflite: bytes, contents: Contents, layers: Collection[str] = ()) -> list[str]:
    """-> one an op: the layer that it comes from; else the op's own name."""
    return [one.layer or one.op for one in op_layers(tflite, layers, contents)]


def _of_op(contents: Contents, op: Op, known: Collection[str], outputs: dict[int, str]) -> OpLayers:
    tensor = contents.tensors[op.outputs[0]].name if op.outputs else ""
    fused = () if op.name in _NO_LAYERS and "/" not in tensor else _fused(tensor, known)
    if not fused and op.name in WEIGHTS and len(op.inputs) > WEIGHTS[op.name]:
        # The output tensor is called as the network's output is. The bias, the last input, bears all names.
        constants = [
            place for place in (op.inputs[-1], op.inputs[WEIGHTS[op.name]]) if contents.tensors[place].is_constant
        ]
        fused = next((names for place in constants if (names := _fused(contents.tensors[place].name, known))), ())
    if not fused and op.name not in _NO_LAYERS:
        fused = tuple(outputs[place] for place in op.outputs if place in outputs)[:1]
    return OpLayers(tensor, op.name, fused[0] if fused else "", fused)


def _fused(text: str, known: Collection[str]) -> tuple[str, ...]:
    """-> the layers that a tensor's name tells, the one that computes first.

    >>> _fused("net/act/Relu;net/bn/FusedBatchNormV3;net/conv/Conv2D;net/pad/Pad", ())
    ('conv', 'bn', 'act')
    >>> _fused("net/inner/conv/Conv2D", {"inner"})
    ('inner',)
    """
    parts = text.split(";")
    computed = [one for one in parts if not _BESIDE.search(one)]
    names = [_layer(one, known) for one in reversed(computed or parts)]
    return tuple(dict.fromkeys(name for name in names if name))


def _layer(path: str, known: Collection[str]) -> str:
    parts = path.split("/")
    for start in range(len(parts) if known else 0):
        for end in range(len(parts), start, -1):
            if (name := "/".join(parts[start:end])) in known:
                return name
    # In front stands the network, behind the op.
    return "/".join(parts[1:-1])


def _output_names(tflite: bytes) -> dict[int, str]:
    model = schema.Model.GetRootAs(tflite)
    if not model.SignatureDefsLength():
        return {}
    signature = model.SignatureDefs(0)
    entries = [signature.Outputs(place) for place in range(signature.OutputsLength())]
    return {entry.TensorIndex(): entry.Name().decode() for entry in entries}
