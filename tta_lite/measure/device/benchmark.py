"""Times ``.tflite`` files on a board in turn, with the runner and no Python there. Imports no TensorFlow.

As `tta_lite.measure.benchmark.benchmark_together`, which calls it where a connection is named. What a board adds: on
big.LITTLE one kind of core is measured at a time, there are pauses to cool down, and governor, clock and temperature
are recorded just before and just after the timed runs. A run whose clock moved in between is marked.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tta_lite.boards.profile import BoardProfile, get_board
from tta_lite.measure import machine
from tta_lite.measure.benchmark_worker import latency_figures
from tta_lite.measure.device import library
from tta_lite.measure.device.runner import Installed, Run, install, run_file
from tta_lite.measure.device.transport import DeviceError, Transport
from tta_lite.types import InputError, Latency, MeasuredOn

Progress = Callable[[int, int, str], None]

CORES = ("all", "big", "little")
# What `MeasuredOn.board` begins with where no board took part.
THIS_MACHINE = "this machine"


@dataclasses.dataclass(frozen=True)
class Conditions:
    """Under which one file was timed on a board; the board's own words, as far as it says any.

    Attributes:
      governors: that ruled the clocks of the cores that were used.
      khz: the slowest and the fastest clock of those cores, just before or after a round; None: not known.
      degrees: of the coolest and the hottest thermal zone, Celsius; None: not known.
      moved: the rounds, from 1, in which a clock moved while runs were timed.
    """

    governors: tuple[str, ...]
    khz: tuple[int, int] | None
    degrees: tuple[float, float] | None
    moved: tuple[int, ...]

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Conditions:
        """-> of the rounds of one file."""
        states = [(state, run.cpus) for run in runs for state in (run.before, run.after)]
        khz = [state.khz[cpu] for state, cpus in states for cpu in cpus if cpu in state.khz]
        degrees = [degree for state, _ in states for degree in state.degrees.values()]
        governors = {state.governors[cpu] for state, cpus in states for cpu in cpus if cpu in state.governors}
        return cls(
            tuple(sorted(governors)),
            (min(khz), max(khz)) if khz else None,
            (min(degrees), max(degrees)) if degrees else None,
            tuple(place for place, run in enumerate(runs, start=1) if run.clock_moved),
        )

    def __str__(self) -> str:
        parts = [f"governor {', '.join(self.governors)}"] if self.governors else []
        if self.khz:
            low, high = (f"{khz / 1e3:.0f}" for khz in self.khz)
            parts.append(f"{low} MHz" if low == high else f"{low} to {high} MHz")
        if self.degrees:
            parts.append(f"{self.degrees[0]:.0f} to {self.degrees[1]:.0f} °C")
        if self.moved:
            parts.append(f"the clock moved while it was timed, round {', '.join(map(str, self.moved))}")
        return "; ".join(parts) or "the board says nothing of clocks and temperatures"


@dataclasses.dataclass(frozen=True)
class OnBoard:
    """One file's figures: the arguments of `tta_lite.measure.benchmark.Benchmark`, and the p50 (ms) of each round."""

    init_s: float
    latency: Latency
    peak_memory_bytes: int | None
    measured_on: MeasuredOn
    conditions: Conditions
    round_p50: tuple[float, ...]


def time_on_board(
    transport: Transport,
    board: str,
    paths: Mapping[str, Path],
    *,
    rounds: int,
    num_threads: int,
    warmup_runs: int,
    num_runs: int,
    min_secs: float,
    use_xnnpack: bool,
    timeout_s: float,
    cores: str = "all",
    cool_down_secs: float = 0.0,
    progress: Progress | None = None,
) -> dict[str, OnBoard]:
    """-> name -> its figures; A B C A B C, a process each.

    Args:
      transport: to the board, not entered yet.
      board: name or path of its profile.
      paths: name -> ``.tflite`` file.
      rounds, num_threads, warmup_runs, num_runs, min_secs, use_xnnpack, timeout_s, progress: as in
        `benchmark_together`, but `num_runs` and `min_secs` are those of one round.
      cores: ``big``, ``little`` or ``all``.
      cool_down_secs: pause before each process.

    Raises:
      DeviceError: the board cannot be reached, is another one, or a file does not run there.
      InputError: an argument is wrong, or times there say nothing.
    """
    profile = get_board(board)
    flags = [f"--threads={num_threads}", f"--warmup_runs={warmup_runs}", f"--runs={num_runs}"]
    flags += [f"--min_secs={min_secs:g}", f"--kernels={'xnnpack' if use_xnnpack else 'builtin'}"]
    runs, installed = run_in_turn(
        transport,
        profile,
        paths,
        flags,
        rounds=rounds,
        cores=cores,
        timeout_s=timeout_s,
        cool_down_secs=cool_down_secs,
        progress=progress,
    )
    here = f"{THIS_MACHINE}: {machine.summary()}" if transport.title == THIS_MACHINE else profile.title
    return {name: pool(found, here, installed.own_libc, cores, profile) for name, found in runs.items()}


def run_in_turn(
    transport: Transport,
    profile: BoardProfile,
    paths: Mapping[str, Path],
    flags: Sequence[str],
    *,
    rounds: int,
    cores: str = "all",
    timeout_s: float = 600.0,
    cool_down_secs: float = 0.0,
    progress: Progress | None = None,
) -> tuple[dict[str, list[Run]], Installed]:
    """-> name -> one run a round, and what was put there; A B C A B C, a process each.

    Args:
      transport: to the board, not entered yet.
      profile: of the board; its cores must be there.
      paths: name -> ``.tflite`` file.
      flags: of the runner.
      rounds, cores, timeout_s, cool_down_secs, progress: as in `time_on_board`.

    Raises:
      DeviceError: as in `time_on_board`.
      InputError: an argument is wrong, or times there say nothing.
    """
    check_cores(cores)
    with transport:
        if transport.emulated:
            raise InputError(
                f"Latencies need a real board. Received: {transport.title}, which counts instructions (tta-lite counts)"
            )
        installed = install(transport)
        flags = [*flags, *([f"--cores={cores}"] if cores != "all" else [])]
        runs: dict[str, list[Run]] = {name: [] for name in paths}
        there = {name: transport.put(path, f"{place}.tflite") for place, (name, path) in enumerate(paths.items())}
        for turn in range(rounds):
            for place, name in enumerate(paths):
                time.sleep(cool_down_secs)
                run = run_file(transport, installed, there[name], flags=flags, timeout_s=timeout_s)
                check_board(run, profile, transport.title)
                runs[name].append(run)
                if progress is not None:
                    progress(turn * len(paths) + place + 1, rounds * len(paths), name)
    return runs, installed


def check_cores(cores: str) -> None:
    """Raises an `InputError` if there is no such group of cores."""
    if cores not in CORES:
        raise InputError(f"Argument `cores` must be one of {', '.join(CORES)}. Received: {cores!r}")


def check_board(run: Run, profile: BoardProfile, where: str) -> None:
    """Raises a `DeviceError` if the cores that ran it are not those of the profile; nothing if they do not say.

    Args:
      run: of the runner there.
      profile: of the board that was named.
      where: it ran, for the message.
    """
    expected = {cores.name for cores in profile.cores}
    found = {part.split(" x ", 1)[-1] for part in run.processor.split(" + ")} if run.processor else expected
    if found != expected:
        raise DeviceError(
            f"{where} must be the board that was named: {profile.title} has cores of the kinds "
            f"{', '.join(sorted(expected))}. Received: {run.processor}. Name the right board, or write a profile of it"
        )


def pool(runs: Sequence[Run], board: str, own_libc: bool, cores: str, profile: BoardProfile | None = None) -> OnBoard:
    """-> what several runs of one file say together.

    Args:
      runs: on the same cores.
      board: what reports call the board.
      own_libc: whether the runner used a C library that was brought along.
      cores: the group of cores, as it was named.
      profile: names the cores where they do not themselves.
    """
    memory = [run.memory_bytes for run in runs if run.memory_bytes is not None]
    group = "" if cores == "all" else f"{cores} "
    used = f", {group}cores {', '.join(map(str, runs[0].cpus))}" if group or runs[0].pinned else ""
    told = " + ".join(f"{one.count} x {one.name}" for one in profile.cores) if profile else "cores not known"
    return OnBoard(
        init_s=statistics.median(run.init_s for run in runs),
        latency=Latency(**latency_figures([sample for run in runs for sample in run.samples_ms])),
        peak_memory_bytes=max(memory, default=None),
        measured_on=MeasuredOn(
            board=board,
            runtime=f"LiteRT {library.version()} (C runner{', with a glibc of its own' if own_libc else ''})",
            delegate=_delegate(runs[0]),
            threads=runs[0].threads,
            cpu=f"{runs[0].processor or told}{used}",
            emulated=False,
        ),
        conditions=Conditions.of(runs),
        round_p50=tuple(statistics.median(run.samples_ms) for run in runs),
    )


def _delegate(run: Run) -> str:
    if run.kernels != "xnnpack":
        return f"none ({run.kernels} kernels)"
    return "XNNPACK" if run.fully_delegated else "XNNPACK, for some ops"
