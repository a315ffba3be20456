"""How long does each stage of an artifact folder take here? In a process of its own, without TensorFlow.

    python -m tta_lite.adaptive.timing artifact --runs 200

Prints one JSON line. The stages run in turn, one image after the other as the runner runs them, so that the drift of a
shared machine hits all alike; what is timed is a stage with its inputs and outputs copied, as the runner sees it. Where
modes take pictures of several sizes, each run begins with the largest, and resizing is part of the time. The line also
says by how much the process has grown at most (as `tta_lite.measure.benchmark_worker` counts it), with all files loaded
and every stage run.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.adaptive.loaded import load_stages
from tta_lite.adaptive.modes import IMAGE
from tta_lite.adaptive.pictures import for_stage
from tta_lite.adaptive.policy import RESIZED, Policy, read_policy
from tta_lite.measure.benchmark_worker import peak_bytes, resident_bytes
from tta_lite.types import InputError

WARM_UP = 5


def time_stages(folder: str | Path, *, runs: int = 100, num_threads: int = 1) -> dict[str, list[float]]:
    """-> stage -> milliseconds of each run, on random images, in this process."""
    policy = read_policy(folder)
    loaded = load_stages(folder, policy, num_threads=num_threads)
    rng = np.random.default_rng(0)
    samples: dict[str, list[float]] = {stage.name: [] for stage in policy.stages}
    for run in range(WARM_UP + runs):
        made: dict[str, np.ndarray] = {}
        for stage in policy.stages:
            shape = policy.image_shape if policy.kind in RESIZED else stage.image_shape
            image = None if stage.image_shape is None else rng.uniform(-1, 1, shape).astype(np.float32)
            began = time.perf_counter()
            given = {
                argument: made[taken] if taken != IMAGE or image is None else for_stage(policy, stage, image)[None]
                for argument, taken in stage.inputs.items()
            }
            found = loaded[stage.name].run(given)
            spent_ms = 1000 * (time.perf_counter() - began)
            made |= {f"{stage.name}/{name}": values for name, values in found.items()}
            if run >= WARM_UP:
                samples[stage.name].append(spent_ms)
    return samples


def time_in_child(folder: str | Path, *, runs: int = 100, num_threads: int = 1) -> tuple[dict[str, list[float]], str]:
    """-> what `time_stages` gives in a process of its own, and where: machine, runtime, threads.

    Raises:
      InputError: the process failed.
    """
    record = _in_child(folder, runs, num_threads)
    return record["samples_ms"], record["source"]


def memory_in_child(folder: str | Path, *, num_threads: int = 1) -> int | None:
    """-> bytes by which a process of its own grows that loads all files and runs every stage; None: not told here.

    Raises:
      InputError: the process failed.
    """
    return _in_child(folder, 5, num_threads)["peak_memory_bytes"]


def _in_child(folder: str | Path, runs: int, num_threads: int) -> dict[str, Any]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-m", __name__, str(folder), f"--runs={runs}", f"--num_threads={num_threads}"]
    done = subprocess.run(words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"The stages of {folder} cannot be timed. Received: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def with_latencies(
    policy: Policy, samples_ms: Mapping[str, Sequence[float]], source: str, *, quantiles: int = 10
) -> Policy:
    """-> the policy with the latency of each stage: the median, and quantiles evenly spaced in probability.

    Args:
      policy: any; latencies that it has are replaced.
      samples_ms: stage -> its runs.
      source: machine, runtime and threads.
      quantiles: how many, e.g. 10 for those at 5, 15 .. 95 %.
    """
    at = (np.arange(quantiles) + 0.5) / quantiles
    stages = tuple(
        dataclasses.replace(
            stage,
            latency_ms=float(np.median(samples_ms[stage.name])),
            spread_ms=tuple(float(one) for one in np.quantile(samples_ms[stage.name], at)),
        )
        for stage in policy.stages
    )
    return dataclasses.replace(policy, stages=stages, latency_source=source)


def main(argv: Sequence[str] | None = None) -> None:
    """Times, prints."""
    from tta_lite.measure.machine import summary

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--num_threads", type=int, default=1)
    given = parser.parse_args(argv)
    before = resident_bytes()
    samples = time_stages(given.folder, runs=given.runs, num_threads=given.num_threads)
    peak = peak_bytes()
    version, threads = importlib.metadata.version("ai-edge-litert"), given.num_threads
    source = f"measured here: LiteRT {version}, XNNPACK, {threads} thread{'s' * (threads > 1)}; {summary()}"
    grown = None if peak is None or before is None else max(0, peak - before)
    print(json.dumps({"samples_ms": samples, "source": source, "peak_memory_bytes": grown}))


if __name__ == "__main__":
    main()
