"""What makes tests quick that train and time networks of a few weights."""

from __future__ import annotations

import pytest

from tta_lite.adaptive import beside, many_in_one, staged_folder
from tta_lite.adaptive.timing import time_stages
from tta_lite.compat import keras


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step or two is taken op by op, for a graph of it takes longer to make; stages are timed in this process."""
    compiled = keras.Model.compile

    def compile_eagerly(self, *words, **named):
        return compiled(self, *words, **{**named, "run_eagerly": True})

    def timed_here(folder, *, runs, num_threads):
        return time_stages(folder, runs=1, num_threads=num_threads), "this process"

    monkeypatch.setattr(keras.Model, "compile", compile_eagerly)
    for module in (beside, many_in_one, staged_folder):
        monkeypatch.setattr(module, "time_in_child", timed_here)
