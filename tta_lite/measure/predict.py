"""How long would a ``.tflite`` file take on a machine that is not at hand? By its model of latency.

What comes out is predicted and says so; it is never called measured. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tta_lite.measure.benchmark import Benchmark, Comparison, PathLike, Predicted
from tta_lite.measure.latency_model import OTHER, LatencyModel, amounts
from tta_lite.measure.op_features import NONE, OpFeatures, file_dtype, read_features
from tta_lite.types import InputError, Latency, MeasuredOn

PREDICTED = "predicted"
# Ops that were not in the fit may take this share of the time; more is an error, less a warning.
MOST_UNKNOWN = 0.1
# An op that is this many times larger than any in the fit is told of.
FAR = 4.0


@dataclasses.dataclass(frozen=True)
class OpPrediction:
    """What one op would take.

    Attributes:
      op: what it is.
      time_ms: milliseconds.
      share: of the whole, 0..1.
    """

    op: OpFeatures
    time_ms: float
    share: float


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a file would take.

    Attributes:
      latency_ms: of one inference, as the p50 of a measurement; of a model that was fitted to counts, millions of busy
        cycles.
      low_ms: the interval's lower end,
      high_ms: and its upper end.
      coverage: the share of networks left out of the fit whose latency lay in their interval, 0..1.
      ops: in order; those that take no time are there too.
      warnings: why it may be wrong by more.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    ops: tuple[OpPrediction, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values; it says that it is no measurement."""
        return {PREDICTED: True, **dataclasses.asdict(self)}


def predict(tflite: bytes, model: LatencyModel) -> Prediction:
    """-> what the file would take on the model's machine.

    Raises:
      InputError: it is no such file, or holds types or ops that the fit has not seen and that matter.
    """
    features = read_features(tflite)
    dtype = file_dtype(features)
    if dtype not in model.networks:
        raise InputError(
            f"The model of {model.place.board} was fitted to networks of the types {', '.join(model.networks)}. "
            f"Received: one of type {dtype or 'none'}"
        )
    warnings = _unknown(features, model)
    cost = model.networks[dtype]
    times = [cost.scale * model.op_us(op) / 1e3 for op in features]
    whole = sum(times) + cost.overhead_us / 1e3
    strangers = [
        (op, time)
        for op, time in zip(features, times, strict=True)
        if op.kind != NONE and op.kind not in model.kinds[op.dtype]
    ]
    if strangers:
        share = sum(time for _, time in strangers) / whole
        told = ", ".join(dict.fromkeys(f"{op.op} in {op.dtype}" for op, _ in strangers))
        if share > MOST_UNKNOWN:
            raise InputError(
                f"Ops that the fit has not seen would take {share:.0%} of the time; expected {MOST_UNKNOWN:.0%} at "
                f"most. Received: {told}. Fit again with a network that holds them"
            )
        warnings.append(
            f"the interval leaves out ops that are not in the fit and were taken as others without MACs ({share:.1%} "
            f"of the time): {told}"
        )
    ops = tuple(OpPrediction(op, time, time / whole) for op, time in zip(features, times, strict=True))
    return Prediction(whole, whole / cost.factor, whole * cost.factor, cost.coverage, ops, tuple(warnings))


def _unknown(features: tuple[OpFeatures, ...], model: LatencyModel) -> list[str]:
    """-> warnings of ops beyond the fit; raises for those that it says nothing of."""
    silent, beyond = [], []
    for op in features:
        if op.kind == NONE:
            continue
        kinds = model.kinds.get(op.dtype, {})
        if op.kind in kinds:
            largest = kinds[op.kind].most_work
            if amounts(op, model.sizes[op.dtype])[0] > FAR * largest:
                beyond.append(op.layer)
        elif op.macs or OTHER not in kinds:
            silent.append(f"{op.op} of {op.layer!r} in {op.dtype}")
    if silent:
        raise InputError(
            f"The model of {model.place.board} says nothing of some ops; expected ops of the kinds in its fit. "
            f"Received: {', '.join(dict.fromkeys(silent))}"
        )
    return [f"more than {FAR:g} times larger than any in the fit: {', '.join(beyond)}"] if beyond else []


def predict_together(
    paths: Mapping[str, PathLike],
    *,
    model: LatencyModel,
    num_threads: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """As `tta_lite.measure.benchmark.benchmark_together`, by prediction: nothing is run.

    Initialisation and memory are not predicted. Of the latency, ``p50`` and ``mean`` are the prediction, ``min`` and
    ``max`` the ends of its interval, and there is no other figure.

    Args:
      paths: name -> file.
      model: of the machine.
      num_threads: must be those of the model.
      progress: as there.

    Raises:
      InputError: a file cannot be predicted.
    """
    if not model.place.is_time:
        raise InputError(
            f"Latencies must be predicted by a model that was fitted to times. Received: one of {model.place.unit} of "
            f"{model.place.board}, which says how costs compare and no more"
        )
    if num_threads != model.place.threads:
        raise InputError(
            f"The model of {model.place.board} is for {model.place.threads} thread(s). Received: {num_threads}"
        )
    rows = {}
    for place, (name, path) in enumerate(paths.items(), start=1):
        rows[name] = _as_benchmark(predict(Path(path).read_bytes(), model), model)
        if progress is not None:
            progress(place, len(paths), name)
    return Comparison(rows, {name: (row.latency.p50,) for name, row in rows.items()})


def _as_benchmark(found: Prediction, model: LatencyModel) -> Benchmark:
    return Benchmark(
        init_s=None,
        latency=Latency(found.latency_ms, math.nan, found.latency_ms, found.low_ms, found.high_ms, math.nan, 0),
        peak_memory_bytes=None,
        measured_on=MeasuredOn(
            board=f"{PREDICTED} for {model.place.board}",
            runtime=f"{PREDICTED}, by a model of {model.place.runtime}",
            delegate="",
            threads=model.place.threads,
            cpu=str(model.place.machine.get("cpu", "")),
            emulated=False,
        ),
        predicted=Predicted(found.low_ms, found.high_ms, found.coverage, found.warnings),
    )
