"""The tables of the runtimes against the runtimes themselves, where they are installed."""

from __future__ import annotations

import importlib.metadata

import pytest

from benchmarks.ask_runtimes import NOT_INSTALLED, ONE, TWO, convert, litert_asker, litert_takes, micro_takes
from tta_lite.boards.checks import can_run
from tta_lite.boards.ops import op_codes
from tta_lite.boards.profile import get_runtime

LITERT, MICRO = get_runtime("litert-xnnpack-2.3.0"), get_runtime("tflite-micro")
SAMPLE = [
    ("CONV_2D", "float32"), ("CONV_2D", "int8"), ("CONV_2D", "int16"), ("TRANSPOSE_CONV", "float32"),
    ("TRANSPOSE_CONV", "int8"), ("DEPTH_TO_SPACE", "int8"), ("HARD_SWISH", "float32"), ("HARD_SWISH", "int8"),
    ("EXP", "int8"), ("RESIZE_BILINEAR", "int16"), ("ADD", "int8"), ("SPLIT", "int8"),
    ("STRIDED_SLICE", "float32"), ("TILE", "float32"),
]  # fmt: skip
same_version = pytest.mark.skipif(
    importlib.metadata.version("ai-edge-litert") != LITERT.version,
    reason=f"the tables are of ai-edge-litert {LITERT.version}",
)


def one_op(op: str, dtype: str) -> bytes:
    return convert(TWO[op] if op in TWO else ONE[op], 2 if op in TWO else 1, dtype)


@same_version
@pytest.mark.parametrize(("op", "dtype"), SAMPLE)
def test_litert_and_micro_answer_as_their_tables_say(op, dtype):
    file = one_op(op, dtype)
    by_table = {"op_taken": "xnnpack", "op_slow": "builtin"}[can_run(LITERT, op, dtype).code]
    assert litert_takes(op, file) == by_table
    if (answer := micro_takes(file)) != NOT_INSTALLED:
        assert (answer == "yes") is can_run(MICRO, op, dtype).yes


@same_version
def test_litert_has_the_versions_of_its_table():
    has, table = litert_asker(), LITERT.op_versions
    assert [op for op, newest in table.items() if not has(op, newest) or has(op, newest + 1)] == []
    assert [op for op in op_codes() if op not in table and (has(op, 1) or has(op, 2))] == []
