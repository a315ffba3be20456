"""Before a run: what would the network and each setting of each step take on a board, by a model of its latency?

Nothing is trained and nothing is timed. A step is looked at on the unmodified network; in a run it comes after others.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.export.tflite import export_tflite
from tta_lite.guideline.bench import START, Trial
from tta_lite.guideline.checks import as_if_trained
from tta_lite.guideline.program import Request, first_state, known_gate, setting_of
from tta_lite.guideline.reasons import fault_of, spoken
from tta_lite.guideline.steps import guideline_steps
from tta_lite.measure.latency_model import LatencyModel
from tta_lite.measure.predict import Prediction, predict
from tta_lite.types import FP32, Candidate, InputError, Task


@dataclasses.dataclass(frozen=True)
class Forecast:
    """One network.

    Attributes:
      step: that makes it; `START` is the unmodified one.
      what: setting of the step.
      found: what is predicted; None: it cannot be built, or not predicted.
      fault: why not.
    """

    step: str
    what: str
    found: Prediction | None
    fault: str = ""

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.step}, {self.what}: no prediction: {self.fault}"
        one = self.found
        warnings = "".join(f"; {warning}" for warning in one.warnings)
        return (
            f"{self.step}, {self.what}: predicted {one.latency_ms:.3g} ms ({one.low_ms:.3g} to {one.high_ms:.3g}, "
            f"{one.coverage:.0%} interval){warnings}"
        )


def forecast(model: keras.Model, task: Task, request: Request, latency: LatencyModel) -> Iterator[Forecast]:
    """-> the unmodified network, then every setting of every step that would be tried; some seconds each.

    Args:
      model: the unmodified network, as for `tta_lite.guideline.program.run`.
      task: its data; only the calibration images of int8 are read.
      request: what is wanted.
      latency: the model of the board.
    """
    state = first_state(model, request)
    yield _forecast(START, "the unmodified network", lambda: (Candidate(model, FP32), model), task, request, latency)
    for step in guideline_steps(setting_of(task, request)):
        if known_gate(step, state):
            continue
        try:
            trials: Sequence[Trial] = step.trials(state)
        except InputError as error:
            yield Forecast(step.name, "no setting", None, spoken(fault_of(error)))
            continue
        for trial in trials:
            yield _forecast(step.name, trial.label, functools.partial(_outline, trial), task, request, latency)


def _outline(trial: Trial) -> tuple[Candidate, keras.Model]:
    candidate = trial.make()
    if trial.outline is not None:
        return candidate, trial.outline().model
    return candidate, as_if_trained(candidate.model) if trial.epochs else candidate.model


def _forecast(
    step: str,
    what: str,
    make: Callable[[], tuple[Candidate, keras.Model]],
    task: Task,
    request: Request,
    latency: LatencyModel,
) -> Forecast:
    try:
        candidate, shown = make()
        images: Sequence[np.ndarray] = ()
        if candidate.export.needs_images:
            images = task.calibration(candidate.export.calibration_images, seed=request.fit.seed)
        return Forecast(step, what, predict(export_tflite(shown, candidate.export, images), latency))
    except InputError as error:
        return Forecast(step, what, None, spoken(fault_of(error)))
