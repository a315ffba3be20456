"""What became of each part of a network, as plain text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """-> columns under a head and a rule: the second to the fourth are numbers and stand to the right.

    >>> print(aligned(("block", "MACs"), [("a", "10"), ("bb", "2,000")]))
    block   MACs
    -----  -----
    a         10
    bb     2,000
    """
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < place < 4 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, tuple("-" * width for width in widths), *rows)
    )
