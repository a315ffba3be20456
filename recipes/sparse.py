"""Does XNNPACK compute with a .tflite file's zeros left out? Names the rule that keeps it off, and brings it there.

  tta-lite sparse model.tflite
  tta-lite sparse model.tflite --out=sparse.tflite
  tta-lite sparse model.tflite --out=sparse.tflite --zeros=0.8

Without --out: which 1 x 1 convolutions run by sparse kernels, which do not, and by which rule. A file that stores
kernels sparse, as the converter's EXPERIMENTAL_SPARSITY does, is compared with the same network stored dense: exit
code 1 if it is larger, or computes something else.
With --out: the file is rewritten, with the same outputs, so that it keeps the rules, and its kernels are stored
sparse. They need more than two thirds of zeros (`tta-lite prune --sparsities`); --zeros sets the smallest weights of
each 1 x 1 convolution to zero first, to ask what the path brings before anything is trained: the accuracy is then
lost.

XNNPACK never takes this path on an x86 processor with AVX: there a pruned file is as slow as it was.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from recipes import _app
from tta_lite.types import InputError

_MODEL = flags.DEFINE_string("model", None, "The .tflite file; it may also be given without the flag.")
_OUT = flags.DEFINE_string("out", None, "A file to write: the network on the sparse path.")
_ZEROS = flags.DEFINE_float("zeros", None, "--out: share of zeros that 1 x 1 convolutions get first.", 0, 1)


def main(argv: Sequence[str]) -> None:
    """Reads, says, writes; ends the process with 1 if the file is worse than its dense twin."""
    from tta_lite.export.open_safely import open_safely
    from tta_lite.export.sparse_check import check_stored_sparse
    from tta_lite.files import atomic_write

    given = [*argv[1:], *([_MODEL.value] if _MODEL.value else [])]
    if len(given) != 1:
        raise InputError(f"Expected one .tflite file. Received: {', '.join(given) or 'none'}")
    if _ZEROS.value is not None and not _OUT.value:
        raise InputError(f"Flag --zeros changes weights, and needs --out. Received: --zeros={_ZEROS.value}")
    if _OUT.value and not Path(_OUT.value).resolve().parent.is_dir():
        raise InputError(f"Flag --out must name a file in a folder that exists. Received: {_OUT.value}")
    tflite = open_safely(given[0]).tflite
    check = check_stored_sparse(tflite)
    if _OUT.value:
        tflite = _onto_path(tflite)
        atomic_write(_OUT.value, tflite)
        check = check_stored_sparse(tflite)
    print("\n".join(_path_lines(tflite)))
    if check is None:
        return
    print(
        f"{len(check.tensors)} tensors are stored sparse: {check.bytes:,} bytes, {check.zip_bytes:,} after zip; stored "
        f"dense {check.twin_bytes:,} and {check.twin_zip_bytes:,}. Outputs differ by "
        + ", ".join(f"{difference:.1e} ({kernels})" for kernels, difference in check.differences.items())
        + " of the largest"
    )
    for fault in check.faults:
        print(f"Do not use this file: {fault}")
    if check.faults:
        sys.exit(1)


def _onto_path(tflite: bytes) -> bytes:
    from tta_lite.export.sparse_encoding import encode_sparse
    from tta_lite.export.sparse_rewrite import onto_sparse_path, with_zeros

    if _ZEROS.value is not None:
        tflite = with_zeros(tflite, _ZEROS.value)
    found = onto_sparse_path(tflite)
    begin = f"behind {found.begin}" if found.begin else "at the network's own stem"
    end = f"behind {found.end}" if found.end else "at the network's own mean or DEPTH_TO_SPACE"
    print(f"planes begin {begin} and end {end}; {found.extra_macs / 1e6:.1f} million multiplications more")
    for what, layers in (("padded alike on each side", found.padded), ("5 x 5 instead of 3 x 3", found.enlarged)):
        if layers:
            print(f"{what}: {', '.join(layers)}")
    return encode_sparse(found.tflite)


def _path_lines(tflite: bytes) -> list[str]:
    from tta_lite.export.delegation import undelegated_ops
    from tta_lite.export.sparse_path import AVX, has_avx, sparse_path

    path = sparse_path(tflite, left=[op.index for op in undelegated_ops(tflite)])
    run = sum(conv.is_sparse for conv in path.convs)
    lines = [
        f"sparse kernels run {run} of {len(path.convs)} 1 x 1 convolutions and dense layers, with "
        f"{path.sparse_weights:.1%} of their weights"
    ]
    lines += [f"  {one}" for one in path.why]
    if has_avx():
        lines.append(f"not on this machine: {AVX}")
    return lines


if __name__ == "__main__":
    _app.run(main, words=1)
