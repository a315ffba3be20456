"""A folder of networks and of what the runner said of them: the ground that a model of latency stands on.

    <name>.tflite           a network
                            (probe...: made for its ops, never judged by)
    <name>.<round>.json     a result of tta_runner on it, with --profile_runs; one or more

Imports no TensorFlow.
"""

from __future__ import annotations

import collections
import dataclasses
import re
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.files import atomic_write
from tta_lite.measure.device.runner import RESULTS, Run, install, profiled_ops, run_file
from tta_lite.measure.device.transport import Transport
from tta_lite.measure.latency_fit import Profiled
from tta_lite.measure.op_features import read_features
from tta_lite.measure.op_profile import match_ops
from tta_lite.types import InputError

# What the names of networks begin with that were made to be fitted to.
PROBE = "probe"
FLAGS = ("--runs=10", "--min_secs=0.25", "--profile_runs=15")


@dataclasses.dataclass(frozen=True)
class Profiles:
    """What a folder holds.

    Attributes:
      networks: one record each.
      threads: of the runtime.
      kernels: ``xnnpack`` or ``builtin``.
      processor: what the cores call themselves; empty: they do not say.
      machine: architecture, system and C library of the board.
    """

    networks: tuple[Profiled, ...]
    threads: int
    kernels: str
    processor: str
    machine: Mapping[str, Any]


def collect(
    transport: Transport,
    files: Sequence[str | Path],
    folder: str | Path,
    *,
    rounds: int = 3,
    num_threads: int = 1,
    timeout_s: float = 600,
    progress: Callable[[int, int, str], None] | None = None,
) -> None:
    """Profiles networks on a board in turn, and keeps what the runner said; what is there already is not run again.

    Args:
      transport: to the board, not entered yet.
      files: the ``.tflite`` files.
      folder: where results are kept.
      rounds: how often each network has its turn.
      num_threads: of the runtime.
      timeout_s: seconds that one process may take.
      progress: called after each process with (processes done, processes in all, name).

    Raises:
      DeviceError: the board cannot be reached, or a file does not run there.
      InputError: two files of one name.
    """
    names = [Path(file).stem for file in files]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"Each network must have a name of its own. Received: {', '.join(twice)} twice")
    flags = [*FLAGS, f"--threads={num_threads}"]
    with transport:
        installed = install(transport)
        for turn in range(rounds):
            for place, file in enumerate(files):
                target = Path(folder) / f"{names[place]}.{turn}.json"
                if not target.is_file():
                    there = transport.put(Path(file), "model.tflite")
                    run_file(transport, installed, there, flags=flags, timeout_s=timeout_s)
                    transport.get(RESULTS, target)
                if progress is not None:
                    progress(turn * len(files) + place + 1, rounds * len(files), names[place])
    for name, file in zip(names, files, strict=True):
        kept = Path(folder) / f"{name}.tflite"
        if not kept.is_file():
            atomic_write(kept, Path(file).read_bytes())


def family(name: str) -> str:
    """-> what the networks of one family have in common in their names: the first word, and a version behind it.

    >>> family("mobilenet_v2_0.35-160.int8"), family("resnet18-224.fp32"), family("pose_mobilenet_v2-256.fp32")
    ('mobilenet_v2', 'resnet', 'pose_mobilenet_v2')
    """
    first = re.split(r"[-.]", name)[0]
    found = re.match(r"[A-Za-z]+(?:_[A-Za-z]+(?![A-Za-z\d]))*(?:_v\d+)?", first)
    return found.group() if found else first


def read_profiles(folder: str | Path) -> Profiles:
    """-> what a folder holds; several rounds of one network are one, by their medians.

    Raises:
      InputError: there is nothing in it, a result without its network, one that does not fit it, or of other threads,
        kernels or cores than the rest.
    """
    results: dict[str, list[Path]] = collections.defaultdict(list)
    for file in sorted(Path(folder).glob("*.json")):
        results[_network(file)].append(file)
    if not results:
        raise InputError(
            f"A folder of profiles must hold <name>.tflite and <name>.<round>.json of each network. Received: {folder}"
        )
    networks, runs = [], []
    for name, files in results.items():
        path = Path(folder) / f"{name}.tflite"
        if not path.is_file():
            raise InputError(f"Beside each result its network must lie, as {path.name}. Received: {files[0]} alone")
        found = [_read(file) for file in files]
        runs += found
        try:
            networks.append(_pooled(name, path.read_bytes(), found))
        except InputError as error:
            raise InputError(f"{files[0]}: {error}") from error
    for what in ("threads", "kernels", "processor"):
        if len(values := {getattr(run, what) for run in runs}) > 1:
            raise InputError(
                f"All profiles must come from one machine and have the same {what}. Received: "
                f"{', '.join(sorted(map(str, values)))} in {folder}"
            )
    machine = {key: value for key, value in runs[0].machine.items() if key != "processors"}
    return Profiles(tuple(networks), runs[0].threads, runs[0].kernels, runs[0].processor, machine)


def _network(file: Path) -> str:
    # The round behind the name is whatever a user made of it.
    name = file.name.removesuffix(".json")
    return name if (file.parent / f"{name}.tflite").is_file() else name.rsplit(".", 1)[0]


def _read(file: Path) -> Run:
    return Run.from_json(file.read_text(encoding="utf-8", errors="replace"), str(file))


def _pooled(name: str, tflite: bytes, runs: Sequence[Run]) -> Profiled:
    features = read_features(tflite)
    profiled = [match_ops(tflite, profiled_ops([run])) for run in runs if run.profile]
    columns = zip(*([op.time_us for op in ops] for ops in profiled), strict=True)
    times = tuple(statistics.median(column) for column in columns)
    latency_us = 1e3 * statistics.median(statistics.median(run.samples_ms) for run in runs)
    return Profiled(name, family(name), features, times, latency_us, name.startswith(PROBE))
