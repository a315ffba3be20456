"""A file in the ops that a runtime takes, for runtimes that do not take what the converter writes.

The converter fuses a Deconv's bias and activation into TRANSPOSE_CONV, and Arm NN 20.08 takes neither. A rewrite of the
flatbuffer says the same in other ops, after the export and for every preset alike; no TensorFlow is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.boards.runtime import Runtime
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.op_rewrites import (
    bias_apart,
    deconv_as_conv,
    depth_to_space_apart,
    pad_apart,
    split_forwards,
    unpack_weights,
)

Rewrite = Callable[[GraphEdit], None]


def armnn_deconvs(edit: GraphEdit) -> None:
    """A Deconv that the kernels of Arm NN's CpuAcc do not run -> a convolution and a shuffle."""
    deconv_as_conv(edit, _beyond_cpuacc)


def _beyond_cpuacc(edit: GraphEdit, op: schema.OperatorT) -> bool:
    """-> whether Arm NN 20.08 would leave a Deconv to its slow reference kernels."""
    weights, source, output = (int(tensor) for tensor in (*op.inputs[1:3], op.outputs[0]))
    kernel = edit.shape(weights)[1:3]
    # "Tensors have different data types": there is none with a scale for each channel.
    if edit.dtype(weights) == np.int8 or kernel[0] != kernel[1]:
        return True
    same = op.builtinOptions.padding == schema.Padding.SAME
    strides = (op.builtinOptions.strideH, op.builtinOptions.strideW)
    for size, out, stride in zip(edit.shape(source)[1:3], edit.shape(output)[1:3], strides, strict=True):
        # Its parser pads as for a convolution of that input: rightly where the stride divides it.
        padding = max(0, (math.ceil(size / stride) - 1) * stride + kernel[0] - size) if same else 0
        # "Output's height is invalid."
        if out != (size - 1) * stride + kernel[0] - padding:
            return True
    return False


# What the list of ops in a profile cannot say, found by asking the runtime (docs/boards.md): it also pads int8 with the
# stored value 0, whatever the zero point is.
REWRITES: Mapping[str, tuple[Rewrite, ...]] = {"armnn": (armnn_deconvs, pad_apart, split_forwards)}


def for_runtime(tflite: bytes, runtime: Runtime) -> bytes:
    """-> the same network in ops that `runtime` takes; the bytes as they are where it takes all of them.

    | what the record says | what becomes of the file |
    |---|---|
    | no preset ``fp16`` | 16-bit weights are unpacked: the values stay, the file grows to that of ``fp32`` |
    | ``max_inputs``: TRANSPOSE_CONV 3 | bias and activation of a float Deconv stand apart, in an ADD |
    | no op DEPTH_TO_SPACE | SLICE, RESHAPE and CONCATENATION |
    | the name ``armnn`` | what it takes and does not run right or fast is said otherwise: see `REWRITES` |

    LiteRT computes the same outputs from both files: bit for bit where only places change and in int8, to the last
    digits in floats. One case is a code off: an int8 Deconv whose kernel is smaller than its stride, which XNNPACK
    leaves to kernels that round otherwise. Ops that have no such rewrite stay, those of the preset ``dynamic`` among
    them; `tta_lite.measure.device.armnn` finds them.

    Args:
      tflite: the flatbuffer; its inputs, outputs and signature stay, its metadata does not.
      runtime: as ``get_board("rk3399").runtime("armnn")``.

    Raises:
      InputError: a file that must be rewritten and has more than one graph.
    """
    chosen = rewrites(runtime)
    if not chosen:
        return tflite
    edit = GraphEdit(tflite)
    before = [id(op) for op in edit.ops]
    for rewrite in chosen:
        rewrite(edit)
    return edit.to_bytes() if [id(op) for op in edit.ops] != before else tflite


def exported_for(tflite: bytes, runtime: Runtime | None) -> bytes:
    """-> what a run exports for a board: `for_runtime` where the runtime was asked how (`REWRITES`), else the bytes.

    A list of ops in a profile of one's own is taken as it stands: nobody asked that runtime what it takes instead.

    Args:
      tflite: the flatbuffer.
      runtime: of the board; None: no board is known.
    """
    return for_runtime(tflite, runtime) if runtime is not None and runtime.name in REWRITES else tflite


def rewrites(runtime: Runtime) -> tuple[Rewrite, ...]:
    """-> what `for_runtime` does for a runtime, in order."""
    chosen: list[Rewrite] = []
    if "fp16" not in runtime.presets:
        chosen.append(unpack_weights)
    chosen += REWRITES.get(runtime.name, ())
    if runtime.max_inputs.get("TRANSPOSE_CONV", 4) < 4:
        chosen.append(bias_apart)
    # A runtime that is asked itself has no list.
    if runtime.ops and "DEPTH_TO_SPACE" not in runtime.ops:
        chosen.append(depth_to_space_apart)
    return tuple(chosen)
