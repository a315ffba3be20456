"""What the runtimes that are installed on this machine say of a file: LiteRT with XNNPACK, TensorFlow Lite Micro.

Imports no TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import numpy as np

from tta_lite.export.contents import Contents, read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.export.golden import make_golden, runtime
from tta_lite.export.micro import measure_micro
from tta_lite.export.op_resolver import lacking_ops
from tta_lite.export.quantize.names import layer_names
from tta_lite.export.runner import TFLitePredictor
from tta_lite.measure.runtime_answers import (
    CODES,
    FALLBACK,
    PARTS,
    REFUSED,
    TAKEN,
    UNKNOWN,
    Answer,
    OpAnswer,
    RuntimeAnswer,
)
from tta_lite.types import InputError

HERE = "this machine"
_FAILED_NODE = re.compile(r"Node \S+ \(number (\d+)")


def ask_xnnpack(tflite: bytes) -> RuntimeAnswer:
    """-> which ops XNNPACK takes; LiteRT's own kernels run the others, more slowly.

    Raises:
      InputError: the file cannot be run.
    """
    left = {op.index: op.why for op in undelegated_ops(tflite)}
    contents, layers = read_contents(tflite), layer_names(tflite, read_contents(tflite))
    ops = tuple(
        OpAnswer(
            op.index,
            op.name,
            layers[op.index],
            Answer(FALLBACK, left[op.index]) if op.index in left else Answer(TAKEN),
        )
        for op in contents.ops
    )
    answer = FALLBACK if left else TAKEN
    return RuntimeAnswer(runtime(), HERE, ops, Answer(answer))


def ask_micro(tflite: bytes) -> RuntimeAnswer:
    """-> what TensorFlow Lite Micro's interpreter says.

    Raises:
      InputError: it is not installed here, or the file has more than one input or output.
    """
    # An open batch becomes 1.
    shape = [max(1, size) for size in TFLitePredictor(tflite).input.shape]
    contents, layers = read_contents(tflite), layer_names(tflite, read_contents(tflite))
    golden = make_golden(tflite, np.random.default_rng(0).standard_normal(shape))
    result = measure_micro(tflite, golden)
    if not result.version:
        raise InputError(f"TensorFlow Lite Micro must be there to be asked. Received: {result.reason}")
    said = _refused(contents, result.reason)
    ran = result.difference is not None
    ops = tuple(
        OpAnswer(
            op.index,
            op.name,
            layers[op.index],
            Answer(REFUSED, said[op.index]) if op.index in said else Answer(TAKEN if ran else UNKNOWN),
        )
        for op in contents.ops
    )
    if result.difference is None:
        return RuntimeAnswer(f"tflite-micro {result.version}", HERE, ops, Answer(REFUSED, result.reason))
    largest = float(np.abs(golden.output.dequantise(golden.outputs[0])).max())
    difference = result.difference / (golden.output.scale or largest or 1.0)
    words = f"an arena of {result.arena_bytes} bytes"
    whole = Answer(TAKEN, words, difference, CODES if golden.output.scale else PARTS)
    return RuntimeAnswer(f"tflite-micro {result.version}", HERE, ops, whole)


def _refused(contents: Contents, reason: str) -> dict[int, str]:
    """-> place of an op that it does not take -> why."""
    lacking = set(lacking_ops(op.name for op in contents.ops))
    said = {op.index: "TensorFlow Lite Micro has no kernel for it" for op in contents.ops if op.name in lacking}
    if failed := _FAILED_NODE.search(reason):
        said[int(failed[1])] = reason
    return said


# Name in a profile -> how it is asked.
LOCAL: Mapping[str, Callable[[bytes], RuntimeAnswer]] = {"litert-xnnpack": ask_xnnpack, "tflite-micro": ask_micro}
