"""How long, and in how much memory, does a ``.tflite`` file run: here, on a board, or as a model of latency predicts?

Here each file is run by `benchmark_worker` in a process of its own, and what each figure means stands there; on a board
by `tta_lite.measure.device`, and predicted by `tta_lite.measure.predict`. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tta_lite.measure import machine
from tta_lite.measure.benchmark_worker import latency_figures
from tta_lite.measure.device.benchmark import Conditions, check_cores, time_on_board
from tta_lite.types import InputError, Latency, MeasuredOn

WORKER = "tta_lite.measure.benchmark_worker"
_LOG_PREFIXES = ("INFO:", "WARNING:", "I0000", "W0000")

PathLike = str | os.PathLike[str]
Progress = Callable[[int, int, str], None]


@dataclasses.dataclass(frozen=True)
class Predicted:
    """What a predicted latency rests on; see `tta_lite.measure.predict`.

    Attributes:
      low_ms: the interval's lower end.
      high_ms: its upper end.
      coverage: the share of networks that lay in theirs where the model was judged, 0..1.
      warnings: why it may be wrong by more.
    """

    low_ms: float
    high_ms: float
    coverage: float
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What one ``.tflite`` file cost here.

    Attributes:
      init_s: seconds to load, allocate and run once; None if it was predicted.
      latency: milliseconds a run after the warm-up.
      peak_memory_bytes: growth of the resident set; None where the system does not tell.
      measured_on: the machine, the runtime and its threads.
      conditions: what a board said of its clocks and temperatures meanwhile; None: no board took part.
      predicted: that nothing was run, and the interval; None: it was measured.
    """

    init_s: float | None
    latency: Latency
    peak_memory_bytes: int | None
    measured_on: MeasuredOn
    conditions: Conditions | None = None
    predicted: Predicted | None = None

    def report_fields(self) -> dict[str, Any]:
        """-> the fields of `types.Report` that were measured: ``dataclasses.replace(report, **fields)``."""
        return {
            "init_s": self.init_s,
            "latency_ms": self.latency,
            "peak_memory_bytes": self.peak_memory_bytes,
            "measured_on": self.measured_on,
        }

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values, with the keys of ``report.json``."""
        return {
            "init_s": self.init_s,
            "latency_ms": dataclasses.asdict(self.latency),
            "peak_memory_bytes": self.peak_memory_bytes,
            "measured_on": dataclasses.asdict(self.measured_on),
            **({} if self.conditions is None else {"conditions": dataclasses.asdict(self.conditions)}),
            **({} if self.predicted is None else {"predicted": dataclasses.asdict(self.predicted)}),
        }


@dataclasses.dataclass(frozen=True)
class Speedup:
    """How many times faster than a baseline: the median over the rounds of the ratio of p50, its least and most.

    With 0 rounds both were predicted, and the least and the most are the ends of an interval.
    """

    median: float
    min: float
    max: float
    rounds: int


@dataclasses.dataclass(frozen=True)
class Comparison(Mapping[str, Benchmark]):
    """Files that were measured in turn: a mapping of name -> `Benchmark`, and the p50 (ms) of each round.

    Only figures of one comparison may be divided by one another: on a shared machine two calls, minutes apart, differ
    by a third.
    """

    benchmarks: Mapping[str, Benchmark]
    round_p50: Mapping[str, tuple[float, ...]]

    def __getitem__(self, name: str) -> Benchmark:
        return self.benchmarks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.benchmarks)

    def __len__(self) -> int:
        return len(self.benchmarks)

    def speedups(self, baseline: str) -> dict[str, Speedup]:
        """-> name -> how many times faster than `baseline` (its own entry is 1).

        >>> Comparison({}, {"old": (4.0, 6.0), "new": (2.0, 2.0)}).speedups("old")["new"]
        Speedup(median=2.5, min=2.0, max=3.0, rounds=2)
        """
        if baseline not in self.round_p50:
            raise InputError(f"Argument `baseline` must be one of {', '.join(self.round_p50)}. Received: {baseline!r}")
        return {name: self._speedup(baseline, name) for name in self.round_p50}

    def _speedup(self, baseline: str, name: str) -> Speedup:
        pairs = zip(self.round_p50[baseline], self.round_p50[name], strict=True)
        ratios = [before / after for before, after in pairs]
        median = statistics.median(ratios)
        guessed = [one for key in (baseline, name) if key in self.benchmarks and (one := self[key].predicted)]
        if not guessed:
            return Speedup(median, min(ratios), max(ratios), len(ratios))
        # A ratio of two predictions is as uncertain as the worse of them: what a model has wrong on one network it has
        # wrong, in part, on its relatives too.
        factor = 1.0 if name == baseline else max(math.sqrt(one.high_ms / one.low_ms) for one in guessed)
        return Speedup(median, median / factor, median * factor, 0)


def benchmark(
    path: PathLike,
    *,
    num_threads: int = 1,
    warmup_runs: int = 5,
    num_runs: int = 50,
    min_secs: float = 1.0,
    use_xnnpack: bool = True,
    timeout_s: float = 600,
) -> Benchmark:
    """Time one ``.tflite`` file in a process of its own.

    Args:
      path: the file.
      num_threads: threads of the interpreter.
      warmup_runs: runs that are thrown away (at least; the worker also warms up for 0.2 s).
      num_runs: at least this many runs are timed,
      min_secs: and at least this many seconds of them.
      use_xnnpack: False runs TFLite's builtin kernels.
      timeout_s: seconds after which the process is ended.

    Raises:
      InputError: the file is missing or no TFLite model, or the process failed or took too long.
    """
    together = benchmark_together(
        {"file": path},
        rounds=1,
        num_threads=num_threads,
        warmup_runs=warmup_runs,
        num_runs=num_runs,
        min_secs=min_secs,
        use_xnnpack=use_xnnpack,
        timeout_s=timeout_s,
    )
    return together["file"]


def benchmark_together(
    paths: Mapping[str, PathLike],
    *,
    rounds: int = 5,
    num_threads: int = 1,
    warmup_runs: int = 5,
    num_runs: int = 50,
    min_secs: float = 1.0,
    use_xnnpack: bool = True,
    timeout_s: float = 600,
    connect: str = "",
    board: str = "",
    cores: str = "all",
    cool_down_secs: float = 0.0,
    latency_model: PathLike = "",
    remote_folder: str = "",
    progress: Progress | None = None,
) -> Comparison:
    """Time several files in turn (A B C A B C ...), so that the drift of a shared machine hits all alike.

    Each file has one process a round. `num_runs` and `min_secs` are of a file in all, and shared out over the rounds.
    The percentiles are over the runs of all rounds, `init_s` is the median over the rounds, the memory the largest.

    Args:
      paths: name -> file.
      rounds: how often each file has its turn.
      num_threads, warmup_runs, num_runs, min_secs, use_xnnpack: as in `benchmark`.
      timeout_s: seconds that one process may take.
      connect: where: ``ssh://user@host``, ``adb:SERIAL``, or ``local`` for this machine by way of the same C program;
        empty: this machine, with LiteRT's Python interpreter.
      board: name or path of the profile of what is at the other end; it is checked.
      cores: ``big``, ``little`` or ``all`` of a board.
      cool_down_secs: pause before each process on a board.
      latency_model: a file of `tta-lite predict --fit`: nothing is run, the latencies are predicted by it.
      remote_folder: where on the board the work folder is made; empty: its temporary folder.
      progress: called after each process with (processes done, processes in all, name).

    Raises:
      InputError: as in `benchmark`; one file that cannot be run ends the whole comparison.
    """
    _check(paths, rounds, num_threads, warmup_runs, num_runs, min_secs, timeout_s)
    check_cores(cores)
    if latency_model:
        from tta_lite.measure.latency_model import load_model
        from tta_lite.measure.predict import predict_together

        if connect or board or not use_xnnpack:
            raise InputError(
                "Latencies are measured (`connect`, `board`, `use_xnnpack`) or predicted (`latency_model`), not both. "
                f"Received: {connect or board or 'use_xnnpack=False'!r} with {os.fspath(latency_model)}"
            )
        return predict_together(paths, model=load_model(latency_model), num_threads=num_threads, progress=progress)
    if connect:
        from tta_lite.measure.device.connect import open_transport

        found = time_on_board(
            open_transport(connect, remote_folder=remote_folder or None),
            board or ("host" if connect == "local" else ""),
            {name: Path(path) for name, path in paths.items()},
            rounds=rounds,
            num_threads=num_threads,
            warmup_runs=warmup_runs,
            num_runs=math.ceil(num_runs / rounds),
            min_secs=min_secs / rounds,
            use_xnnpack=use_xnnpack,
            timeout_s=timeout_s,
            cores=cores,
            cool_down_secs=cool_down_secs,
            progress=progress,
        )
        rows = {
            name: Benchmark(one.init_s, one.latency, one.peak_memory_bytes, one.measured_on, one.conditions)
            for name, one in found.items()
        }
        return Comparison(rows, {name: one.round_p50 for name, one in found.items()})
    if board or cores != "all" or cool_down_secs or remote_folder:
        raise InputError(
            "Arguments `board`, `cores`, `cool_down_secs` and `remote_folder` are for a board. Expected: `connect` "
            f"with them. Received: {board!r}, {cores!r}, {cool_down_secs:g}, {remote_folder!r}"
        )
    flags = {
        "num_threads": num_threads,
        "warmup_runs": warmup_runs,
        "num_runs": math.ceil(num_runs / rounds),
        "min_secs": min_secs / rounds,
        "use_xnnpack": str(bool(use_xnnpack)).lower(),
    }
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in paths}
    for turn in range(rounds):
        for place, (name, path) in enumerate(paths.items()):
            records[name].append(_run_worker(path, flags, timeout_s))
            if progress is not None:
                progress(turn * len(paths) + place + 1, rounds * len(paths), name)
    return Comparison(
        {name: _pool(rows) for name, rows in records.items()},
        {name: tuple(row["latency_ms"]["p50"] for row in rows) for name, rows in records.items()},
    )


def _pool(records: list[dict[str, Any]]) -> Benchmark:
    samples = [sample for record in records for sample in record["samples_ms"]]
    memory = [record["peak_memory_bytes"] for record in records if record["peak_memory_bytes"] is not None]
    first = records[0]
    return Benchmark(
        init_s=statistics.median(record["init_s"] for record in records),
        latency=Latency(**latency_figures(samples)),
        peak_memory_bytes=max(memory, default=None),
        measured_on=MeasuredOn(
            board=f"this machine: {machine.summary()}",
            runtime=first["runtime"],
            delegate=first["delegate"],
            threads=first["threads"],
            cpu=machine.cpu()[0],
            emulated=False,
        ),
    )


def _check(
    paths: Mapping[str, PathLike],
    rounds: int,
    num_threads: int,
    warmup_runs: int,
    num_runs: int,
    min_secs: float,
    timeout_s: float,
) -> None:
    counts = {"rounds": (rounds, 1), "num_threads": (num_threads, 1), "warmup_runs": (warmup_runs, 0)}
    for name, (value, low) in {**counts, "num_runs": (num_runs, 1)}.items():
        if not isinstance(value, int) or value < low:
            raise InputError(f"Argument `{name}` must be a whole number of {low} or more. Received: {value!r}")
    if not 0 <= min_secs < math.inf:
        raise InputError(f"Argument `min_secs` must be 0 or more seconds. Received: {min_secs!r}")
    if not timeout_s > 0:
        raise InputError(f"Argument `timeout_s` must be more than 0 seconds. Received: {timeout_s!r}")
    if not paths:
        raise InputError("Argument `paths` must name at least one file. Received: none")
    for path in paths.values():
        if not Path(path).is_file():
            raise InputError(f"There is no such file to benchmark: a .tflite file was expected. Received: {path}")


def _run_worker(path: PathLike, flags: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
    command = [sys.executable, "-m", WORKER, f"--graph={os.fspath(path)}"]
    command += [f"--{name}={value}" for name, value in flags.items()]
    # The child must find this package from whatever folder the caller is in, installed or not.
    root = str(Path(__file__).resolve().parents[2])
    search_path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    try:
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": search_path},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InputError(
            f"The benchmark must finish within {timeout_s:g} s; fewer `num_runs` take less. Received: {path}, "
            "which was still running"
        ) from None
    if done.returncode != 0:
        raise InputError(
            f"The benchmark of {path} failed ({_ending(done.returncode)}); a .tflite file that LiteRT runs was "
            f"expected. Received: {_last_line(done.stderr)}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _last_line(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_LOG_PREFIXES)]
    return (telling or lines or ["nothing on stderr"])[-1]
