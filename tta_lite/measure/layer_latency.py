"""Which layers of a ``.tflite`` file take the time? LiteRT's profiler says, op by op, through the C runner.

The profiled runs are apart from the timed ones, so that the profiler does not slow these. XNNPACK's operators are
matched with the file's ops and so with Keras layers by `tta_lite.measure.op_profile`. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.boards.profile import get_board
from tta_lite.measure.benchmark import PathLike
from tta_lite.measure.device.benchmark import run_in_turn
from tta_lite.measure.device.connect import open_transport
from tta_lite.measure.device.runner import Run, profiled_ops
from tta_lite.measure.op_profile import OpTime, match_ops
from tta_lite.measure.stages import MOST, Stage, stages
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.types import InputError

# Seconds a file: a profiled run takes a few percent longer than another.
RULES: Mapping[str, Any] = {"rounds": 3, "num_runs": 15, "min_secs": 0.3, "warmup_runs": 2}
# On this machine; of a board they are those of the run.
HERE: Mapping[str, Any] = {
    "connect": "local",
    "board": "host",
    "cores": "all",
    "cool_down_secs": 0.0,
    "remote_folder": "",
}


@dataclasses.dataclass(frozen=True)
class LayerTime:
    """What one op of the file took.

    Attributes:
      layer: the Keras layer that it comes from.
      op: as ``CONV_2D``.
      macs: of the op.
      latency_ms: typical over all profiled runs.
      low_ms: the least that a round said.
      high_ms: the most that a round said.
    """

    layer: str
    op: str
    macs: int
    latency_ms: float
    low_ms: float
    high_ms: float


@dataclasses.dataclass(frozen=True)
class StageCost:
    """What one stage costs: the sums of its ops, in the units of `LayerTime`."""

    stage: Stage
    latency_ms: float
    low_ms: float
    high_ms: float


@dataclasses.dataclass(frozen=True)
class LayerCosts:
    """Where a file's time goes.

    Attributes:
      stages: in order; they hold all ops of the file.
      layers: every op that the runtime ran by itself, in order; what it merged into another is counted there.
      latency_ms: p50 of the whole file, not profiled.
      rounds: how often the file had its turn.
      where: the processor that ran it.
      threads: of the runtime.
    """

    stages: tuple[StageCost, ...]
    layers: tuple[LayerTime, ...]
    latency_ms: float
    rounds: int
    where: str
    threads: int

    @property
    def macs(self) -> int:
        """Of the whole file."""
        return sum(one.stage.macs for one in self.stages)

    @property
    def profiled_ms(self) -> float:
        """The sum over all ops."""
        return sum(one.latency_ms for one in self.stages)

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LayerCosts:
        """The inverse of `to_json`."""
        costs = (StageCost(**{**one, "stage": Stage(**one["stage"])}) for one in record["stages"])
        layers = (LayerTime(**one) for one in record["layers"])
        return cls(
            tuple(costs), tuple(layers), record["latency_ms"], record["rounds"], record["where"], record["threads"]
        )


def layer_costs(
    files: Mapping[str, PathLike],
    *,
    most: int = MOST,
    run: Callable[..., dict[str, list[Run]]] | None = None,
    **rules: Any,
) -> dict[str, LayerCosts]:
    """-> name -> where its time goes; all files are profiled in turn, so that they compare with each other.

    Args:
      files: name -> ``.tflite`` file.
      most: stages a file.
      run: profiles files in turn, as `profile_in_turn` does.
      rules: of `profile_in_turn`; what is not given is that of `RULES` and `HERE`.

    Raises:
      InputError: a file is none or cannot be run, or there is no C compiler for the runner.
    """
    runs = (run or profile_in_turn)(files, **{**RULES, **HERE, **rules})
    return {name: costs_of(Path(path).read_bytes(), runs[name], most) for name, path in files.items()}


def profile_in_turn(
    files: Mapping[str, PathLike],
    *,
    rounds: int,
    num_runs: int,
    min_secs: float,
    warmup_runs: int,
    connect: str,
    board: str,
    cores: str,
    cool_down_secs: float,
    remote_folder: str,
    num_threads: int = 1,
) -> dict[str, list[Run]]:
    """-> name -> one run a round, timed and profiled; see `tta_lite.measure.benchmark.benchmark_together`."""
    flags = [f"--threads={num_threads}", f"--warmup_runs={warmup_runs}", f"--runs={num_runs}"]
    flags += [f"--min_secs={min_secs / rounds:g}", f"--profile_runs={num_runs}"]
    runs, _ = run_in_turn(
        open_transport(connect, remote_folder=remote_folder or None),
        get_board(board),
        {name: Path(path) for name, path in files.items()},
        flags,
        rounds=rounds,
        cores=cores,
        cool_down_secs=cool_down_secs,
    )
    return runs


def costs_of(tflite: bytes, runs: Sequence[Run], most: int = MOST) -> LayerCosts:
    """-> where a file's time goes, from its profiled runs.

    Args:
      tflite: the file that was run.
      runs: one a round.
      most: stages.

    Raises:
      InputError: the runs are not of this file.
    """
    if not runs:
        raise InputError("Layer costs need one run or more. Received: none")
    macs = [layer.macs or 0 for layer in count_tflite(tflite).layers]
    whole = match_ops(tflite, profiled_ops(runs))
    rounds = [match_ops(tflite, profiled_ops([run])) for run in runs]
    layers = [_layer(op, macs[op.index], [one[op.index] for one in rounds]) for op in whole]
    costs = [
        StageCost(
            stage,
            sum(one.latency_ms for one in layers[stage.begin : stage.end]),
            min(_milliseconds(one[stage.begin : stage.end]) for one in rounds),
            max(_milliseconds(one[stage.begin : stage.end]) for one in rounds),
        )
        for stage in stages(tflite, most)
    ]
    p50 = statistics.median(sample for run in runs for sample in run.samples_ms)
    ran = tuple(one for one, op in zip(layers, whole, strict=True) if op.kernels)
    return LayerCosts(tuple(costs), ran, p50, len(runs), runs[0].processor, runs[0].threads)


def _layer(op: OpTime, macs: int, rounds: Sequence[OpTime]) -> LayerTime:
    times = [one.time_us / 1e3 for one in rounds]
    return LayerTime(op.layer, op.op, macs, op.time_us / 1e3, min(times), max(times))


def _milliseconds(ops: Sequence[OpTime]) -> float:
    return sum(op.time_us for op in ops) / 1e3
