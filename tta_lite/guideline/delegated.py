"""What XNNPACK did not take, as a reason: `check_delegation` writes a text, and a page may need another language."""

from __future__ import annotations

import re

from tta_lite.guideline.reasons import Reason, Said, all_of, reason

# How `tta_lite.export.delegation` words it -> the reason with the same gaps.
HEAD = re.compile(r"XNNPACK did not take (?P<count>\d+) of (?P<total>\d+) ops\. .*")
LINES = {
    "delegated_types": re.compile(r"XNNPACK does not compute in (?P<types>[^:]*):"),
    "delegated_kernel": re.compile(r"XNNPACK has no kernel for (?P<op>\S+) with (?P<types>.*) and these settings:"),
    "delegated_open": re.compile(r"The file has an open batch dimension [^>]*:"),
    "delegated_op": re.compile(r"  op (?P<index>\d+), (?P<op>\S+) -> (?P<tensors>.*)"),
}


def as_reason(text: str) -> Said:
    """-> the text of `tta_lite.export.delegation.check_delegation` as a reason; as it is if it is worded otherwise.

    >>> as_reason("another text")
    'another text'
    """
    head, *lines = text.split("\n")
    found = HEAD.fullmatch(head)
    if not found:
        return text
    said = all_of([reason("note_undelegated", **found.groupdict()), *(_line(line) for line in lines)], "under")
    return said if str(said) == text else text


def _line(line: str) -> Said:
    for code, pattern in LINES.items():
        if found := pattern.fullmatch(line):
            return Reason(code, found.groupdict())
    return line
