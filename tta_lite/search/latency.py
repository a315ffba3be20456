"""How long does the network of a point take? One kind of function, model -> (milliseconds, source), in three forms.

    latency_of = predicted("rk3399.json")
    latency_of = measured_here()
    latency_of = measured_on_board("ssh://user@host", "rk3399")
    milliseconds, source = latency_of(model)

The source says where a figure comes from, and stands beside it wherever it goes. A figure of this machine is never
called a board's, and a predicted one never measured.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.boards.profile import THIS_MACHINE
from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.benchmark import Comparison, benchmark_together
from tta_lite.measure.latency_model import load_model
from tta_lite.measure.predict import predict_together
from tta_lite.transforms.as_if_trained import as_if_trained
from tta_lite.types import FP32, ExportSpec, InputError, MeasuredOn

LatencyOf = Callable[[keras.Model], tuple[float, str]]
"""model -> (p50 of one inference in milliseconds, where that figure comes from)."""

CANDIDATE, REFERENCE = "candidate", "reference"


def predicted(
    latency_model: str | os.PathLike[str], spec: ExportSpec = FP32, calibration: Sequence[np.ndarray] = ()
) -> LatencyOf:
    """-> by the model of a machine's latency (``tta-lite predict --fit``); nothing is run.

    Args:
      latency_model: its file.
      spec: how a network is exported.
      calibration: images, for presets that need some.

    Raises:
      InputError: the file cannot be read, or was not fitted to times; later, a network that it says nothing of.
    """
    model = load_model(latency_model)
    if not model.place.is_time:
        raise InputError(
            f"Latencies must be predicted by a model that was fitted to times. Received: one of {model.place.unit}, "
            f"{os.fspath(latency_model)}"
        )
    source = f"predicted by {Path(latency_model).name} for {model.place.board}, not measured"

    def latency(net: keras.Model) -> tuple[float, str]:
        with tempfile.TemporaryDirectory() as folder:
            file = _exported(net, spec, calibration, folder)
            found = predict_together({CANDIDATE: file}, model=model, num_threads=model.place.threads)
        return found[CANDIDATE].latency.p50, source

    return latency


def measured_here(
    spec: ExportSpec = FP32,
    calibration: Sequence[np.ndarray] = (),
    *,
    reference: bytes | None = None,
    reference_ms: float | None = None,
    **rules: Any,
) -> LatencyOf:
    """-> measured on this machine by LiteRT's interpreter, in a process of its own.

    Args:
      spec: how a network is exported.
      calibration: images, for presets that need some.
      reference: a ``.tflite`` file that is timed in turn with each network. On a shared machine two calls, minutes
        apart, differ by a third, and the ratio of their fastest runs to those of the same file far less: a network's
        figure is then that ratio, times what the reference takes.
      reference_ms: what that is; None: what it took in the first call. Several processes of one search need the same.
      rules: of `benchmark_together`, as ``num_threads=1, rounds=3``.

    Raises:
      InputError: rules of a board or of a prediction; later, a network that cannot be exported or run.
    """
    if wrong := sorted({"connect", "board", "latency_model"} & set(rules)):
        raise InputError(f"This machine is no board and is measured. Received: {', '.join(wrong)}")
    return _timed(spec, calibration, reference, reference_ms, rules)


def measured_on_board(
    connect: str,
    board: str,
    spec: ExportSpec = FP32,
    calibration: Sequence[np.ndarray] = (),
    *,
    reference: bytes | None = None,
    reference_ms: float | None = None,
    **rules: Any,
) -> LatencyOf:
    """-> measured on a board in the loop.

    Args:
      connect: ``ssh://user@host``, ``adb:SERIAL``, or ``local`` for this machine by way of the same C program, which
        is then called this machine.
      board: name or path of the profile of what is at the other end.
      spec, calibration, reference, reference_ms, rules: as in `measured_here`; also ``cores`` and ``cool_down_secs``.

    Raises:
      InputError: no connection or no board; later, what `benchmark_together` raises.
    """
    if not connect or not board:
        raise InputError(f"A board needs `connect` and `board`. Received: {connect!r}, {board!r}")
    return _timed(spec, calibration, reference, reference_ms, {**rules, "connect": connect, "board": board})


def _timed(
    spec: ExportSpec,
    calibration: Sequence[np.ndarray],
    reference: bytes | None,
    reference_ms: float | None,
    rules: Mapping[str, Any],
) -> LatencyOf:
    if reference_ms is not None and (reference is None or not 0 < reference_ms < math.inf):
        raise InputError(
            f"Argument `reference_ms` must be a number above 0, of a `reference`. Received: {reference_ms!r}"
        )
    unit = [] if reference_ms is None else [reference_ms]

    def latency(net: keras.Model) -> tuple[float, str]:
        with tempfile.TemporaryDirectory() as folder:
            files = {CANDIDATE: _exported(net, spec, calibration, folder)}
            if reference is not None:
                files[REFERENCE] = Path(folder, f"{REFERENCE}.tflite")
                files[REFERENCE].write_bytes(reference)
            found = benchmark_together(files, **rules)
        source = _told(found[CANDIDATE].measured_on)
        if reference is None:
            return found[CANDIDATE].latency.p50, source
        if not unit:
            unit.append(found[REFERENCE].latency.p50)
        return unit[0] * _ratio(found), f"{source}; as a multiple of a reference that was timed in turn"

    return latency


def _ratio(found: Comparison) -> float:
    """-> the fastest run of one over that of the other: what else a machine does only ever adds to a time.

    While both cores were busy with trainings, medians of the rounds' ratios scattered by 35 %, these by 4 %.
    """
    return found[CANDIDATE].latency.min / found[REFERENCE].latency.min


def _told(on: MeasuredOn) -> str:
    """-> where it was measured, of `MeasuredOn`.

    >>> _told(MeasuredOn("this machine: AMD EPYC, 2 cores", "LiteRT 2.3.0", "XNNPACK", 1, "AMD EPYC"))
    'measured here: AMD EPYC, 2 cores, LiteRT 2.3.0, XNNPACK, 1 thread'
    >>> _told(MeasuredOn("Firefly RK3399", "LiteRT 2.3.0", "", 2, "Cortex-A72"))
    'measured on Firefly RK3399, LiteRT 2.3.0, 2 threads'
    """
    here = f"{THIS_MACHINE}: "
    where = f"here: {on.board.removeprefix(here)}" if on.board.startswith(here) else f"on {on.board}"
    threads = f"{on.threads} thread" + "s" * (on.threads != 1)
    return "measured " + ", ".join(filter(None, (where, on.runtime, on.delegate, threads)))


def _exported(net: keras.Model, spec: ExportSpec, calibration: Sequence[np.ndarray], folder: str) -> Path:
    file = Path(folder, f"{CANDIDATE}.tflite")
    # The converter leaves out a bias that is zero, as all are before the first step.
    file.write_bytes(export_tflite(as_if_trained(net), spec, calibration))
    return file
