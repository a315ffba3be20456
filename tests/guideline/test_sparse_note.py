"""The sentence that the table of several sparsities says of sparse kernels."""

from __future__ import annotations

import pytest

from tests import sparse_networks
from tta_lite.export.sparse_encoding import encode_sparse
from tta_lite.export.sparse_rewrite import with_zeros
from tta_lite.guideline.sparse_note import NOT_HERE, sparse_note


@pytest.fixture(scope="module")
def plain():
    return sparse_networks.network(["stem_same"], zeros=0.8)


def test_too_few_zeros(plain):
    said = sparse_note(with_zeros(sparse_networks.network(["plain"], zeros=0), 0.5), avx=False)
    assert said.startswith("no sparse kernels: 50% of the weights")


def test_the_rule_is_named_and_what_a_rewrite_brings(plain):
    # SAME at the stem, on an even size: of the two kernels of 64 weights, the rewrite leaves one before the planes.
    said = sparse_note(plain, avx=False)
    assert "no kernel is stored sparse" in said
    assert "stem_same_stem (CONV_2D): SAME with stride 2 is not a padding of 1 on each side" in said
    assert said.endswith("`tta-lite sparse` writes it so that they run 50% of these weights")


def test_a_file_on_the_path(plain):
    encoded = encode_sparse(sparse_networks.network(["plain"]))
    assert sparse_note(encoded, avx=False) == "sparse kernels run 100% of these weights"
    assert sparse_note(encoded, avx=True) == f"sparse kernels run 100% of these weights; {NOT_HERE}"
