"""What XNNPACK did not take of a file, as a note for the report."""

from __future__ import annotations

import collections

from tta_lite.export.contents import read_contents
from tta_lite.export.delegation import undelegated_ops
from tta_lite.guideline.reasons import Said, reason


def delegation_note(tflite: bytes) -> Said:
    """-> how many ops, and which; empty if it took every one. `check_delegation` names each with its tensors."""
    left = undelegated_ops(tflite)
    if not left:
        return ""
    ops = collections.Counter(op.op for op in left)
    return reason(
        "note_undelegated",
        count=len(left),
        total=len(read_contents(tflite).ops),
        ops=", ".join(f"{times} {op}" for op, times in ops.most_common()),
    )
