"""`TFLiteExport`: the best file of a training, by the accuracy of the file itself."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tta_lite.files import atomic_write, digest, to_json_text
from tta_lite.training.watchers.base import Callback, check_whole, say
from tta_lite.types import InputError

MODES = ("max", "min")


class TFLiteExport(Callback):
    """Exports the network every few epochs, scores the file, logs the score and keeps the file that is best by it.

    How a network becomes a file, and what the file is worth, are functions, so that the score is of what will run on
    the board and not of the float network: `tta_lite.guideline.for_callbacks.export_and_score` makes both for a task.
    The score is added to what Keras logs; in epochs without an export the last one, and NaN before the first. Put it
    before the callbacks that shall see it.

    A training that goes on (its first epoch is not epoch 0) knows the best file so far from the record beside it. One
    that begins writes both anew.

    Args:
      path: of the file; beside it ``<name>.json`` with epoch, metric, value, mode, size_bytes and sha256. Both are
        written under a temporary name and renamed.
      export: model -> the bytes of the file.
      score: the bytes -> a number.
      every: epochs between two exports; the last epoch always has one.
      metric: the name of the score in the logs.
      mode: ``max`` or ``min``: which score is best.
      write: where a line goes for each export; standard error if None.

    Attributes:
      best: the record of the file that is kept; None: there is none.

    Raises:
      InputError: an argument that cannot be used.

    Example: the sum of the weights for a score.

      >>> import tempfile
      >>> import numpy as np
      >>> from tta_lite.training.watchers.example import small
      >>> net, x, y = small()
      >>> def export(model): return model.get_weights()[0].tobytes()
      >>> def score(file): return float(np.frombuffer(file, np.float32).sum())
      >>> keep = TFLiteExport(tempfile.mkdtemp() + "/net.tflite", export, score, metric="sum", write=print)
      >>> history = net.fit(x, y, epochs=2, verbose=0, callbacks=[keep])
      Epoch 1: sum 0.241, the best so far
      Epoch 2: sum 0.454, the best so far
      >>> [round(value, 3) for value in history.history["sum"]], keep.best["epoch"]
      ([0.241, 0.454], 1)
    """

    def __init__(
        self,
        path: str | Path,
        export: Callable[[Any], bytes],
        score: Callable[[bytes], float],
        *,
        every: int = 1,
        metric: str = "int8_accuracy",
        mode: str = "max",
        write: Callable[[str], Any] | None = None,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        if self.path.suffix in ("", ".json"):
            raise InputError(f"Argument `path` must be of a file such as net.tflite. Received: {str(path)!r}")
        for name, function in (("export", export), ("score", score)):
            if not callable(function):
                raise InputError(f"Argument `{name}` must be a function. Received: {function!r}")
        check_whole("every", every, 1)
        if mode not in MODES:
            raise InputError(f"Argument `mode` must be one of {', '.join(MODES)}. Received: {mode!r}")
        if not metric:
            raise InputError(f"Argument `metric` must be a name. Received: {metric!r}")
        self.export, self.score, self.every, self.metric, self.mode = export, score, every, metric, mode
        self.write = write or say
        self.best: dict[str, Any] | None = None
        self._last = math.nan
        self._first = True

    @property
    def record(self) -> Path:
        """The JSON file beside the exported one."""
        return self.path.with_suffix(".json")

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Before the first epoch of a training that goes on: reads what is best so far.

        Raises:
          InputError: the record is of another metric, or damaged.
        """
        if self._first:
            self._first = False
            if epoch > 0 and self.record.exists() and self.path.exists():
                self.best = self._read()
                self._last = self.best["last"]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Exports, scores and keeps the file, if it is time; logs."""
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.params.get("epochs"):
            self._export(epoch)
        if logs is not None:
            logs[self.metric] = self._last

    def _export(self, epoch: int) -> None:
        file = self.export(self.model)
        if not isinstance(file, (bytes, bytearray)):
            raise InputError(f"Argument `export` must give the bytes of a file. Received: {type(file).__name__}")
        self._last = float(self.score(bytes(file)))
        better = self._is_better(self._last)
        if better:
            self.best = {
                "epoch": epoch,
                "metric": self.metric,
                "value": self._last,
                "mode": self.mode,
                "size_bytes": len(file),
                "sha256": hashlib.sha256(file).hexdigest(),
            }
            atomic_write(self.path, bytes(file))
        if self.best is not None:
            # The last score too: a training that goes on logs it until the next export.
            self.best["last"] = self._last
            atomic_write(self.record, to_json_text(self.best, indent=2))
        told = "the best so far" if better else self._told()
        self.write(f"Epoch {epoch + 1}: {self.metric} {self._last:.3g}, {told}")

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        return value > self.best["value"] if self.mode == "max" else value < self.best["value"]

    def _told(self) -> str:
        if self.best is None:
            return "not kept"
        return f"not better than {self.best['value']:.3g} of epoch {self.best['epoch'] + 1}"

    def _read(self) -> dict[str, Any]:
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            found = (record["metric"], record["mode"])
            best = {**record, "epoch": int(record["epoch"]), "value": float(record["value"])}
            best["last"] = math.nan if record["last"] is None else float(record["last"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{self.record} must be the record of {self.path.name}. Received: {type(error).__name__}: {error}"
            ) from error
        if found != (self.metric, self.mode):
            raise InputError(
                f"{self.record} must be of {self.metric} ({self.mode}), or be removed. "
                f"Received: {found[0]} ({found[1]})"
            )
        if best["sha256"] != digest(self.path):
            # Killed between the two writes: the file is whole, and newer.
            file = self.path.read_bytes()
            best |= {"value": float(self.score(file)), "sha256": digest(self.path), "size_bytes": len(file)}
        return best
