"""Rows are timed all together: only figures of one comparison may be divided by one another."""

from __future__ import annotations

import dataclasses
import datetime
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.checks import as_if_trained
from tta_lite.guideline.figures import conditions_details
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.types import FP32, LedgerEntry

# Of a comparison whose caller says nothing else: enough to tell forms and sizes apart in seconds a file.
QUICK_RULES: Mapping[str, Any] = {"num_threads": 1, "rounds": 5, "num_runs": 20, "min_secs": 0.2}


def timed_together(entries: Sequence[LedgerEntry], rules: Mapping[str, Any]) -> bool:
    """Whether the figures of all entries are of one comparison that followed `rules`."""
    timings = [entry.details.get("timing") if entry.report.latency_ms is not None else None for entry in entries]
    first = timings[0]
    if not isinstance(first, Mapping) or any(timing != first for timing in timings):
        return False
    return all(first.get(name) == value for name, value in rules.items())


def time_together(
    entries: Sequence[LedgerEntry], files: Mapping[str, Path], rules: Mapping[str, Any]
) -> list[LedgerEntry]:
    """-> the entries with their latencies, and in `details` when and how they were timed and how much faster they are.

    Args:
      entries: the rows; the speed-ups are over the first one.
      files: name -> ``.tflite`` file.
      rules: of `benchmark_together`.
    """
    comparison = benchmark_together({entry.name: files[entry.name] for entry in entries}, **rules)
    first = entries[0].name
    speedups = comparison.speedups(first)
    timing = {"at": datetime.datetime.now(datetime.timezone.utc).isoformat(), **rules}
    return [
        dataclasses.replace(
            entry,
            report=dataclasses.replace(entry.report, **comparison[entry.name].report_fields()),
            details={
                **entry.details,
                "speedup": {"over": first, **dataclasses.asdict(speedups[entry.name])},
                "timing": timing,
                **conditions_details(comparison[entry.name]),
            },
        )
        for entry in entries
    ]


def milliseconds(model: keras.Model, rules: Mapping[str, Any]) -> float:
    """-> p50 of one inference of the network's float32 file, trained or not.

    Args:
      model: one picture of a fixed size in.
      rules: of `benchmark_together`.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "model.tflite")
        file.write_bytes(export_tflite(as_if_trained(model), FP32))
        return benchmark_together({"model": file}, **rules)["model"].latency.p50
