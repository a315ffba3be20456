"""What came of one check of an artifact."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Check:
    """One check: what was looked at, whether it is right (None: it could not be looked at here), and what was found.

    >>> print(Check("files", False, "ops.json: missing"))
    FAIL  files: ops.json: missing
    """

    name: str
    passed: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "ok", False: "FAIL", None: "skip"}[self.passed]
        return f"{word:<4}  {self.name}: {self.text}"
