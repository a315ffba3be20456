"""`History`: a CSV file with a row an epoch."""

from __future__ import annotations

import csv
import io
import time
from pathlib import Path
from typing import Any

from tta_lite.files import atomic_write
from tta_lite.training.watchers.base import Callback


class History(Callback):
    """A CSV file with one row an epoch: its number from 0, its seconds, and what Keras logs.

    It comes before `EpochCheckpoint`: a run that is killed between the two repeats the epoch, and its row is replaced.

    Example:
      >>> import tempfile
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> history = History(tempfile.mkdtemp() + "/history.csv")
      >>> _ = net.fit(x, y, epochs=2, verbose=0, callbacks=[history])
      >>> [row["epoch"] for row in read_history(history.path)]
      ['0', '1']
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path, self._began = Path(path), 0.0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Starts the clock."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Writes the file anew, without what it held of this epoch or later ones."""
        row = {"epoch": epoch, "seconds": round(time.monotonic() - self._began, 3), **(logs or {})}
        write_row(self.path, row)


def read_history(path: Path) -> list[dict[str, str]]:
    """-> the rows of a `History`; none if it is not there."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_row(path: Path, row: dict[str, Any]) -> None:
    """Writes the file anew: the rows of earlier epochs, and this one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(row), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(old for old in read_history(path) if int(old["epoch"]) < row["epoch"])
    writer.writerow(row)
    atomic_write(path, text.getvalue())
