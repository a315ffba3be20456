"""What `sparse_path` says, against the kernels that LiteRT itself names on an emulated Cortex-A72, and its outputs."""

from __future__ import annotations

import dataclasses

import pytest

from tests import sparse_networks
from tests.measure.device.arm64 import need_compiler, need_emulator
from tta_lite.export import sparse_encoding
from tta_lite.export.sparse_path import sparse_path
from tta_lite.measure.device.counters import outputs_here
from tta_lite.measure.device.emulator import Emulated
from tta_lite.measure.device.runner import MODEL, install, profiled_ops, run_file
from tta_lite.measure.op_profile import match_ops

ONCE = ("--warmup_runs=0", "--warmup_min_secs=0", "--runs=1", "--min_secs=0", "--profile_runs=1")


@pytest.fixture(scope="module")
def board():
    need_emulator()
    need_compiler()
    with Emulated("cortex-a72") as board:
        yield board, install(board)


def ran(board, tflite, folder):
    """-> {place of an op: whether a sparse kernel ran it}, and whether each output is this machine's."""
    board, installed = board
    (folder / MODEL).write_bytes(tflite)
    board.put(folder / MODEL, MODEL)
    # This machine computes densely, or at least by other kernels.
    outputs = folder / "outputs"
    outputs.mkdir()
    expected = outputs_here(folder / MODEL, outputs, kernels="xnnpack", timeout_s=300)
    for file in expected:
        board.put(file, file.name)
    flags = [*ONCE, *(f"--expect={file.name}" for file in expected)]
    run = run_file(board, installed, MODEL, flags=flags, timeout_s=300)
    ops = match_ops(tflite, profiled_ops([run]))
    return {op.index: any("SPMM" in one for one in op.kernels) for op in ops}, [one.agrees for one in run.golden]


@pytest.fixture
def unguarded(monkeypatch):
    """Files that give wrong numbers are stored sparse too."""

    def none_wrong(tflite):
        return dataclasses.replace(sparse_path(tflite), wrong=())

    monkeypatch.setattr(sparse_encoding, "sparse_path", none_wrong)
    return sparse_encoding.encode_sparse


def check(board, names, tmp_path):
    """-> the layers that run sparse; all outputs are right."""
    tflite = sparse_encoding.encode_sparse(sparse_networks.network(names))
    sparse, agree = ran(board, tflite, tmp_path)
    found = sparse_path(tflite)
    assert {conv.layer: conv.is_sparse for conv in found.convs} == {
        conv.layer: sparse[conv.index] for conv in found.convs
    }
    assert found.wrong == ()
    assert all(agree)
    return {conv.layer.split("/")[0] for conv in found.convs if conv.is_sparse}


def test_the_runtime_takes_the_path_where_the_rules_say_so(board, tmp_path):
    taken = check(board, ["plain", "strided3", "squared", "excited", "stem_same", "subtracted"], tmp_path)
    assert taken == {"plain_a", "plain_b", "strided3_a", "strided3_b", "squared_a", "squared_b", "excited_a",
                     "excited_gate", "excited_b"}  # fmt: skip


@pytest.mark.slow
def test_the_runtime_takes_the_path_where_the_rules_say_so_for_every_rule(board, tmp_path):
    names = [*sparse_networks.ON, *sparse_networks.OFF]
    taken = check(board, names, tmp_path)
    assert {one.rsplit("_", 1)[0] for one in taken} == set(sparse_networks.ON)


def test_planes_without_an_end_give_wrong_numbers(board, unguarded, tmp_path):
    tflite = unguarded(sparse_networks.network(["pooled", "excited_open"]))
    sparse, agree = ran(board, tflite, tmp_path)
    found = sparse_path(tflite)
    assert {conv.index: conv.is_sparse for conv in found.convs} == {
        conv.index: sparse[conv.index] for conv in found.convs
    }
    assert {one.split("/")[0] for one in found.wrong} == {"pooled_a", "excited_open_b"}
    assert agree == [False, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(sparse_networks.WRONG))
def test_each_of_them_gives_wrong_numbers(board, unguarded, tmp_path, name):
    tflite = unguarded(sparse_networks.network([name]))
    assert sparse_path(tflite).wrong
    assert not any(ran(board, tflite, tmp_path)[1])
