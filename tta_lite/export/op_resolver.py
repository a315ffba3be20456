"""The kernels that TensorFlow Lite Micro must link for a network, as source."""

from __future__ import annotations

from collections.abc import Iterable

from tta_lite.types import InputError

HEADER = "op_resolver.h"
# The builtin ops of TensorFlow Lite Micro, by the methods of its MicroMutableOpResolver:
# https://github.com/tensorflow/tflite-micro, tensorflow/lite/micro/micro_mutable_op_resolver.h and
# python/tflite_micro/python_ops_resolver.cc (commit 85e19ddd). A new op is one entry.
_NAMES = """
    Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs BroadcastTo
    CallOnce Cast Ceil Concatenation Conv2D Cos CumSum DepthToSpace DepthwiseConv2D Dequantize Div Elu EmbeddingLookup
    Equal Exp ExpandDims Fill Floor FloorDiv FloorMod FullyConnected Gather GatherNd Greater GreaterEqual HardSwish If
    L2Normalization L2Pool2D LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr Logistic MaxPool2D
    Maximum Mean Minimum MirrorPad Mul Neg NotEqual Pack Pad PadV2 Prelu Quantize ReadVariable ReduceMax Relu Relu6
    Reshape ResizeBilinear ResizeNearestNeighbor Round Rsqrt SelectV2 Shape Sin Slice Softmax SpaceToBatchNd
    SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh Transpose
    TransposeConv UnidirectionalSequenceLSTM Unpack VarHandle While ZerosLike
"""
METHODS = tuple(_NAMES.split())
# The schema writes CUMSUM and PADV2 where the methods say CumSum and PadV2: only the letters are the same.
_METHOD_OF = {method.lower(): method for method in METHODS}


def resolver_method(op: str) -> str | None:
    """-> the method that adds an op of the schema; None: TensorFlow Lite Micro has none.

    >>> resolver_method("DEPTHWISE_CONV_2D"), resolver_method("CUMSUM"), resolver_method("CONV_3D")
    ('AddDepthwiseConv2D', 'AddCumSum', None)
    """
    method = _METHOD_OF.get(op.replace("_", "").lower())
    return f"Add{method}" if method else None


def lacking_ops(ops: Iterable[str]) -> list[str]:
    """-> those ops that TensorFlow Lite Micro has no kernel for, each once.

    >>> lacking_ops(["CONV_2D", "CONV_3D", "CONV_3D"])
    ['CONV_3D']
    """
    return [op for op in dict.fromkeys(ops) if resolver_method(op) is None]


def op_resolver_header(ops: Iterable[str]) -> str:
    """-> ``op_resolver.h``: a MicroMutableOpResolver of the right size, and a function that fills it.

    Args:
      ops: names of the schema; repeats count once.

    Raises:
      InputError: an op that TensorFlow Lite Micro has no kernel for.
    """
    names = list(dict.fromkeys(ops))
    if lacking := lacking_ops(names):
        raise InputError(f"TensorFlow Lite Micro must have a kernel for every op. Received: {', '.join(lacking)}")
    calls = " ||\n      ".join(f"resolver.{resolver_method(name)}() != kTfLiteOk" for name in sorted(names))
    return f"""\
/* The kernels of TensorFlow Lite Micro that the network needs, and no others. C++. */
#ifndef OP_RESOLVER_H_
#define OP_RESOLVER_H_

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

using ModelOpResolver = tflite::MicroMutableOpResolver<{len(names)}>;

inline TfLiteStatus AddModelOps(ModelOpResolver& resolver) {{
  if ({calls}) {{
    return kTfLiteError;
  }}
  return kTfLiteOk;
}}

#endif
"""
