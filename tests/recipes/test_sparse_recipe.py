"""``tta-lite sparse``: the rule, the file that it writes, and a file that is worse than its dense twin."""

from __future__ import annotations

import pytest

from tests import sparse_networks
from tests.recipes.in_process import recipe, typed
from tta_lite.export.sparse_encoding import encode_sparse, stored_sparse
from tta_lite.export.sparse_path import sparse_path


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    file = tmp_path_factory.mktemp("net") / "net.tflite"
    file.write_bytes(sparse_networks.network(["depthwise3"], zeros=0.5))
    return file


@pytest.fixture
def run(capfd):
    with recipe("sparse") as module:
        typing = typed(module, capfd)

        def run(*words):
            try:
                return typing(*words)
            except SystemExit as ended:
                return ended.code, *capfd.readouterr()

        yield run


def test_it_names_the_rule_and_writes_the_file(run, net, tmp_path):
    code, out, err = run(f"--model={net}")
    assert code == 0, err
    assert "sparse kernels run 0 of 2" in out and "no kernel is stored sparse" in out
    assert "50.0% of the weights of its 2 1 x 1 convolutions are zero" in out
    code, out, err = run(f"--model={net}", "--zeros=0.75", f"--out={tmp_path}/sparse.tflite")
    written = (tmp_path / "sparse.tflite").read_bytes()
    assert len(stored_sparse(written)) == 2 and sparse_path(written).taken
    assert "planes begin at the network's own stem" in out and "sparse kernels run 2 of 2" in out
    # Kernels of 64 weights: the records of what is stored sparse outweigh the zeros, and it says so.
    assert code == 1 and "Do not use this file: larger than the same network stored dense" in out


def test_a_file_that_comes_sparse_is_held_against_its_twin(run, net, tmp_path):
    file = tmp_path / "came.tflite"
    file.write_bytes(encode_sparse(net.read_bytes()))
    code, out, _ = run(f"--model={file}")
    assert code == 1 and "2 tensors are stored sparse" in out and "Do not use this file: larger" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--zeros=0.8",), "Flag --zeros changes weights, and needs --out"),
        (("--out=/no/such/folder/sparse.tflite",), "a folder that exists"),
    ],
)
def test_refuses(run, net, words, message):
    code, _, err = run(f"--model={net}", *words)
    assert code == 2 and message in err and "Traceback" not in err
