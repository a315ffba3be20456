"""What the callbacks of `tta_lite.training.callbacks` measure, as functions of the model: size, MACs, latency, score.

    export, score = export_and_score(task)
    best = TFLiteExport("best.tflite", export, score, every=5)
    watch = BudgetWatch({"size_bytes": (size_bytes(export), 2_000_000), "latency_ms": (latency_ms(export), 30)})

They take a model as it is while it learns: mixed precision and the wrappers of a pruning stay in it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.checks import as_if_trained
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.counting import count
from tta_lite.measure.interpreter import TFLitePredictor
from tta_lite.training.precision import with_policy
from tta_lite.training.pruning import strip
from tta_lite.training.quantization_aware import is_quantization_aware
from tta_lite.types import FP32, INT8, ExportSpec, InputError, Task

Export = Callable[[keras.Model], bytes]


def exporter(spec: ExportSpec = FP32, calibration: Sequence[np.ndarray] = ()) -> Export:
    """-> model -> its ``.tflite`` file, as `tta_lite.export.tflite.export_tflite` makes it.

    >>> net = keras.Sequential([keras.layers.Dense(4, input_shape=(8,))])
    >>> len(exporter()(net)) > 4 * 8 * 4
    True
    """
    if spec.needs_images and not calibration:
        raise InputError(f"{spec.preset} needs images that fix its ranges. Received: no `calibration`")

    def export(model: keras.Model) -> bytes:
        return export_tflite(plain(model), spec, calibration)

    return export


def export_and_score(task: Task, spec: ExportSpec = INT8, *, seed: int = 0) -> tuple[Export, Callable[[bytes], float]]:
    """-> (model -> file, file -> its accuracy, 0..100), for `TFLiteExport`.

    The file is scored by the interpreter on the test part of the task, as every file of a guideline run is.

    Args:
      task: gives the images that fix the ranges, and the score.
      spec: how the file is made.
      seed: of the draw of the images.
    """
    images = task.calibration(spec.calibration_images, seed=seed) if spec.needs_images else ()

    def score(tflite: bytes) -> float:
        return task.score(TFLitePredictor(tflite)).value

    return exporter(spec, images), score


def size_bytes(export: Export) -> Callable[[keras.Model], int]:
    """-> model -> bytes of its file, which before the first step is as large as after it.

    >>> net = keras.Sequential([keras.layers.Dense(4, input_shape=(8,))])
    >>> before = size_bytes(exporter())(net)
    >>> net.set_weights([value + 0.5 for value in net.get_weights()])
    >>> net.layers[0].bias.assign([1, 2, 3, 4]) is not None
    True
    >>> size_bytes(exporter())(net) == before
    True
    """
    return lambda model: len(export(_as_if_trained(model)))


def macs() -> Callable[[keras.Model], int]:
    """-> model -> multiply-accumulates of one inference, see `tta_lite.measure.counting`.

    >>> net = keras.Sequential([keras.layers.Dense(4, input_shape=(8,))])
    >>> macs()(net)
    32
    """
    return lambda model: count(plain(model)).macs


def latency_ms(export: Export, **rules: Any) -> Callable[[keras.Model], float]:
    """-> model -> p50 of one inference of its file on this machine, in ms. Never to be called the board's.

    Args:
      export: see `exporter`.
      rules: of `tta_lite.measure.benchmark.benchmark_together`; with ``connect=`` it is a board that is measured, with
        ``latency_model=`` nothing is run.
    """

    def latency(model: keras.Model) -> float:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "model.tflite")
            file.write_bytes(export(_as_if_trained(model)))
            return float(benchmark_together({"model": file}, **rules)["model"].latency.p50)

    return latency


def plain(model: keras.Model) -> keras.Model:
    """-> the model in float32 and without the wrappers of a pruning; itself, if it is that already."""
    if any(type(layer).__name__.startswith("PruneLowMagnitude") for layer in model.layers):
        model = strip(model)
    if any(layer.dtype_policy.name != "float32" for layer in model._flatten_layers() if hasattr(layer, "dtype_policy")):
        model = with_policy(model, "float32")
    return model


def _as_if_trained(model: keras.Model) -> keras.Model:
    # The converter leaves out a bias that is zero, as all are before the first step.
    model = plain(model)
    return model if is_quantization_aware(model) else as_if_trained(model)
