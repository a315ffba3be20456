"""What trainings have scored, in files: for one that goes on, and for points whose networks are trained alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tta_lite.files import atomic_write, to_json_text


class KeptScores:
    """The scores of one training.

    Args:
      file: that keeps them; it need not be there yet.
      report: (epochs done, accuracy) -> anything; it may raise.

    Attributes:
      found: epochs done -> accuracy.
    """

    def __init__(self, file: Path, report: Callable[[int, float], Any]) -> None:
        self._file, self._report = file, report
        self.found: dict[int, float] = {}
        if file.is_file():
            self.found.update(json.loads(file.read_text(encoding="utf-8"))["scores"])

    def keep(self, step: int, accuracy: float) -> None:
        """Writes a score."""
        self.found[step] = accuracy
        atomic_write(self._file, to_json_text({"scores": sorted(self.found.items())}))

    def __call__(self, step: int, accuracy: float) -> None:
        """Writes a score, and says it; raises as the report does."""
        self.keep(step, accuracy)
        self._report(step, accuracy)

    def say_again(self) -> None:
        """Says all scores; raises as the report does."""
        for step, accuracy in sorted(self.found.items()):
            self._report(step, accuracy)
