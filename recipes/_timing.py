"""The flags of a comparison of latencies, and the rules that they give."""

from __future__ import annotations

from typing import Any

from absl import flags

NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)
NUM_RUNS = flags.DEFINE_integer("num_runs", 50, "Timed inferences a file and round, at least.", 1)
MIN_SECS = flags.DEFINE_float("min_secs", 1.0, "Timed seconds a file and round, at least.", 0)
ROUNDS = flags.DEFINE_integer("rounds", 5, "The files are timed in turn, so many times.", 1)

FLAGS = (NUM_THREADS, NUM_RUNS, MIN_SECS, ROUNDS)


def rules() -> dict[str, Any]:
    """-> what `tta_lite.measure.benchmark.benchmark_together` takes."""
    return {holder.name: holder.value for holder in FLAGS}
