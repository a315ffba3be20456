"""The guideline as a program: a network, a task, a board and a budget; it decides, explains, stops and resumes."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tta_lite.boards.profile import BoardProfile
from tta_lite.compat import keras
from tta_lite.guideline.advice import advice
from tta_lite.guideline.bench import START, Outcome, State, Step, Trial
from tta_lite.guideline.case_study import Journal, say
from tta_lite.guideline.ladder import climb
from tta_lite.guideline.preflight import Preflight
from tta_lite.guideline.progress import Cost, Tell, untold
from tta_lite.guideline.reasons import Reason, sentence
from tta_lite.guideline.settings import Setting, Settings
from tta_lite.guideline.steps import guideline_steps
from tta_lite.guideline.timing import QUICK_RULES
from tta_lite.guideline.workshop import Workshop
from tta_lite.tasks.find import normalisation_of
from tta_lite.tasks.stream import read_batches
from tta_lite.training.fit import FitSettings
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import Budget, Candidate, InputError, LedgerEntry, Report, Task, Verdict

# Steps of a training that are timed for the plan, after so many that are not.
TIMED_STEPS, WARM_UP = 3, 2


@dataclasses.dataclass(frozen=True)
class Request:
    """What is wanted.

    Attributes:
      budget: the limits.
      board: the target.
      runtime: one of the board's; its first if None.
      settings: what each step tries.
      fit: how what needs training is trained; its epochs are those of `settings`.
      rules: by which files are timed.
      promising: how many settings of a step are trained at most.
    """

    budget: Budget
    board: BoardProfile
    runtime: str | None = None
    settings: Settings = dataclasses.field(default_factory=Settings)
    fit: FitSettings = dataclasses.field(default_factory=FitSettings)
    rules: Mapping[str, Any] = dataclasses.field(default_factory=lambda: dict(QUICK_RULES))
    promising: int = 2

    def __post_init__(self) -> None:
        self.board.runtime(self.runtime)
        if self.rules.get("latency_model") and self.budget.max_peak_memory_mib is not None:
            raise InputError(
                "A limit on the peak memory needs measurements: a model predicts latencies only. Received: "
                f"max_peak_memory_mib={self.budget.max_peak_memory_mib:g} with {self.rules['latency_model']}"
            )
        if self.promising < 1:
            raise InputError(f"Argument `promising` must be 1 or more. Received: {self.promising}")


@dataclasses.dataclass(frozen=True)
class Result:
    """How a run ended, and what is advised if the budget is not met."""

    outcome: Outcome
    advice: tuple[Reason, ...]


def run(
    model: keras.Model,
    task: Task,
    request: Request,
    journal: Journal,
    *,
    write: Callable[[str], Any] = say,
    tell: Tell = untold,
) -> Result:
    """Goes through the guideline; goes on where a killed run stopped.

    Args:
      model: the unmodified, trained network: one picture of a fixed size in, one tensor out.
      task: its data, loss and metric. ``steps_per_epoch`` 0: it has no training data.
      request: the budget, the board and the rules.
      journal: where rows are kept, such as a `tta_lite.report.run_folder.RunFolder`.
      write: where progress goes,
      tell: and the same as records.

    Raises:
      InputError: the network or the data cannot be used, or what is limited cannot be measured.
    """
    setting = setting_of(task, request)
    steps = guideline_steps(setting)
    runtime = request.board.runtime(request.runtime)
    rows = [step.name for step in steps]
    bench = Workshop(model, task, runtime, rows, journal, request.fit, request.rules, write=write, tell=tell)

    def keep(entries: Sequence[LedgerEntry]) -> None:
        journal.write_ledger(entries)
        bench.write_reports(entries)

    outcome = climb(
        steps,
        bench,
        request.budget,
        read=journal.read_ledger,
        keep=keep,
        promising=request.promising,
        write=write,
        tell=tell,
    )
    side = model.inputs[0].shape[1]
    return Result(outcome, tuple(advice(outcome.state, request.board, side)))


@dataclasses.dataclass(frozen=True)
class PlanLine:
    """One step before the run.

    Attributes:
      step: its name.
      why: why it is left out, as far as is known before anything is measured; empty: it is tried.
      trials: what is tried.
      cost: what it takes on this machine at most, as far as is known.
    """

    step: str
    why: str
    trials: tuple[str, ...]
    cost: Cost

    @property
    def seconds(self) -> float:
        """That it takes at most."""
        return self.cost.seconds


def plan(model: keras.Model, task: Task, request: Request, known: Preflight) -> list[PlanLine]:
    """-> what a run would do, and how long that would take on this machine; nothing is kept.

    A step of training is timed on the unmodified network: the lighter ones take less.

    Args:
      model: as for `run`.
      task: as for `run`.
      request: as for `run`.
      known: what `preflight` found.
    """
    setting = setting_of(task, request)
    step_s = _seconds_a_step(model, task) if setting.trains else 0.0
    score_s = _seconds_to_score(model, task)
    state = first_state(model, request)
    # A file, the worker's start and its runs.
    timing_s = request.rules["rounds"] * (0.5 + request.rules["min_secs"] / request.rules["rounds"])
    cost = Cost(finishes=1, finish_s=known.convert_s + score_s, last_s=timing_s)
    lines = [PlanLine(START, "", ("the unmodified network",), cost)]
    for place, step in enumerate(guideline_steps(setting), start=1):
        why = known_gate(step, state)
        if why:
            lines.append(PlanLine(step.name, why, (), Cost()))
            continue
        trials = step.trials(state)
        rescues = [rescue for trial in trials for rescue in trial.rescues]
        finishes = min(len(trials), request.promising) + len(rescues)
        epochs = max((_passes(trial) for trial in trials), default=0.0) + sum(_passes(one) for one in rescues)
        # Keras looks at the test part after each epoch, which is half of a score.
        cost = Cost(
            trials=len(trials) + len(rescues),
            sketch_s=known.convert_s,
            finishes=finishes,
            finish_s=known.convert_s + score_s,
            train_s=epochs * (task.steps_per_epoch * step_s + score_s / 2),
            # Beside the trials the first row and the one that stands; in the end all rows.
            first_s=(len(trials) + 2 + 3 * len(rescues)) * timing_s,
            last_s=(place + finishes) * timing_s,
        )
        labels = [trial.label for trial in trials] + [f"if that loses too much: {one.label}" for one in rescues]
        lines.append(PlanLine(step.name, "", tuple(labels), cost))
    return lines


def _passes(trial: Trial) -> float:
    """-> epochs of training; a teacher is asked in each step, which is a third of a step of its own."""
    if trial.teaching is None:
        return trial.epochs
    return trial.epochs * (4 / 3 + trial.teaching.control)


def first_state(model: keras.Model, request: Request) -> State:
    """-> where a run begins, as far as it is known before anything is measured."""
    first = LedgerEntry(START, "", Verdict.TAKEN, "", Report(accuracy=100.0), 0.0)
    return State(request.budget, Candidate(model), START, {START: first})


def known_gate(step: Step, state: State) -> str:
    """-> why a step is left out, as far as that is known before anything is measured; empty: it is tried."""
    try:
        return sentence(step.gate(state))
    except InputError:
        # It asks for a figure that only a measurement gives.
        return ""


def setting_of(task: Task, request: Request) -> Setting:
    """-> what the steps need to know of the task and of what is wanted."""
    return Setting(
        request.settings,
        request.board,
        request.runtime,
        task.steps_per_epoch > 0,
        lambda count: task.calibration(count, seed=request.fit.seed),
        normalisation_of(task),
        request.rules,
        lambda count: [(x, y) for x, y, *_ in read_batches(task.train_data(seed=request.fit.seed).take(count))],
        task.loss,
        request.fit.seed,
    )


def _seconds_a_step(model: keras.Model, task: Task) -> float:
    copy = rewrite(model, {}, flatten=True)
    copy.compile(optimizer=keras.optimizers.Adam(1e-6), loss=task.loss())
    seconds = []
    for place, batch in enumerate(read_batches(task.train_data(seed=0).take(WARM_UP + TIMED_STEPS))):
        began = time.monotonic()
        copy.train_on_batch(*batch)
        if place >= WARM_UP:
            seconds.append(time.monotonic() - began)
    return statistics.median(seconds)


def _seconds_to_score(model: keras.Model, task: Task) -> float:
    """The first batch, as often as there are batches, once as a Keras model and once as a file."""
    batches = task.validation_data()
    images = next(read_batches(batches))[0]
    model.predict(images, verbose=0)
    began = time.monotonic()
    model.predict(images, verbose=0)
    return 2 * (time.monotonic() - began) * max(1, int(batches.cardinality()))
