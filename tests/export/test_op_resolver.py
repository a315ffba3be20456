from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.op_resolver import METHODS, lacking_ops, op_resolver_header, resolver_method
from tta_lite.types import InputError

NAMES = [name for name in vars(schema.BuiltinOperator) if not name.startswith("_")]


def test_every_method_is_that_of_one_op_of_the_schema():
    found = [resolver_method(name) for name in NAMES]
    assert sorted(filter(None, found)) == sorted(f"Add{method}" for method in METHODS)


@pytest.mark.parametrize(
    ("op", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("TRANSPOSE_CONV", "AddTransposeConv"),
        ("PADV2", "AddPadV2"),
        ("L2_POOL_2D", "AddL2Pool2D"),
        ("BATCH_MATMUL", "AddBatchMatMul"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
        ("RESIZE_NEAREST_NEIGHBOR", "AddResizeNearestNeighbor"),
        ("CONV_3D", None),
        ("GELU", None),
    ],
)
def test_names_as_the_resolver_spells_them(op, method):
    assert resolver_method(op) == method


def test_an_op_counts_once_and_the_size_is_theirs():
    header = op_resolver_header(["CONV_2D", "ADD", "CONV_2D"])
    assert "MicroMutableOpResolver<2>" in header
    assert header.count("resolver.Add") == 2


def test_an_op_without_a_kernel_is_named():
    assert lacking_ops(["ADD", "GELU", "MyOp", "GELU"]) == ["GELU", "MyOp"]
    with pytest.raises(InputError, match=r"kernel for every op\. Received: GELU, MyOp"):
        op_resolver_header(["ADD", "GELU", "MyOp"])
