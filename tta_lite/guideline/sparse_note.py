"""What XNNPACK's sparse kernels make of a pruned file, in a sentence for the table of several sparsities."""

from __future__ import annotations

from collections.abc import Sequence

from tta_lite.export.sparse_encoding import encode_sparse
from tta_lite.export.sparse_path import LEAST_ZEROS, SparsePath, sparse_path
from tta_lite.export.sparse_rewrite import onto_sparse_path
from tta_lite.types import InputError

# Rules that a note names before it counts the others.
NAMED = 2
NOT_HERE = "never on this machine, an x86 with AVX, where XNNPACK computes as densely as before"


def sparse_note(tflite: bytes, *, avx: bool) -> str:
    """-> the rule that keeps a file off XNNPACK's sparse path, or what share of its weights is on it.

    Args:
      tflite: the file.
      avx: whether it is timed on an x86 processor with AVX, see `tta_lite.export.sparse_path.has_avx`.
    """
    found = sparse_path(tflite)
    weights = sum(conv.weights for conv in found.convs)
    if not weights:
        return "no sparse kernels: XNNPACK's compute in float, and no 1 x 1 convolution of this file does"
    zeros = sum(conv.zeros * conv.weights for conv in found.convs) / weights
    if not zeros > LEAST_ZEROS:
        return (
            f"no sparse kernels: {zeros:.0%} of the weights of its 1 x 1 convolutions and dense layers are zero, and "
            "XNNPACK takes them from two of three on"
        )
    where = f"; {NOT_HERE}" if avx else ""
    if found.taken:
        return f"sparse kernels run {found.sparse_weights:.0%} of these weights{where}"
    try:
        brought = sparse_path(encode_sparse(onto_sparse_path(tflite).tflite))
    except InputError as error:
        return f"no sparse kernels: {_rules(found)}; no rewrite brings it there ({error})"
    if not brought.taken:
        return f"no sparse kernels: {_rules(found)}; {_rules(brought)}"
    return (
        f"no sparse kernels: {_rules(found)}; `tta-lite sparse` writes it so that they run "
        f"{brought.sparse_weights:.0%} of these weights{where}"
    )


def _rules(path: SparsePath) -> str:
    """-> the rules themselves, each once, without the part of the network that they keep off.

    The share of zeros is said of the whole file.
    """
    rules = dict.fromkeys(_rule(one) for one in path.why)
    return _few([one for one in rules if "of the weights of its" not in one])


def _rule(why: str) -> str:
    _, found, rule = why.partition(" on: ")
    return rule if found else why


def _few(rules: Sequence[str]) -> str:
    more = f"; and {len(rules) - NAMED} more" if len(rules) > NAMED else ""
    return "; ".join(rules[:NAMED]) + more
