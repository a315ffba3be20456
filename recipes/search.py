"""Searches networks for a task and a latency: trials of a space, briefly trained, and the best ones trained in full.

  tta-lite search --space=pose --task=pose:lspet:/data/lspet --target_ms=4 --reward=hard --trials=60 --max_hours=3 \
    --epochs=2 --weights=imagenet --latency_model=this.json --finalists=3 --final_epochs=30 --out=runs/search
  tta-lite search --space=mnasnet --task=cifar10:/data/cifar10 --reward=front --sampler=nsga2 --out=runs/front

The space is pose, pose_by_stage, mnasnet, a .json file of one of these, or a function of yours; --only narrows it. The
latency of a network is measured on this machine, on a board (--connect), or predicted (--latency_model), and its source
stands beside it. It comes before the training: what is hopelessly slow is not trained. Needs tta_lite[search].

On more machines: --storage=postgresql://user:password@host/database (or redis://host, or journal:PATH on a shared
drive), and on each of the others

  tta-lite search --worker --storage=postgresql://user:password@host/database --out=runs/worker

with the same --study, if one was given; what differs there is given too, such as the path in --task. Any of them may be
killed; its trial is taken up by another. The same command and --out go on where a killed one stopped.

Writes search.json (every trial), table.md and plots/front.png, anew after each trial, and the finalists to steps/.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags, logging

from recipes import _app, _run, _task, _timing
from tta_lite.types import InputError

_SPACE = flags.DEFINE_string("space", None, "pose, pose_by_stage, mnasnet, a .json file, or <module>:<function>.")
_ONLY = flags.DEFINE_list("only", [], "What is left of choices: resolution=128,family=mobilenet_v2|shufflenet_v2.")
_FIRST = flags.DEFINE_string("first", None, "Points to begin with: case_study (pose), or a .json file with a list.")
_WEIGHTS = flags.DEFINE_string("weights", None, "imagenet, or a trained .keras network to inherit from.")
_INPUT_SIZE = flags.DEFINE_integer("input_size", None, "mnasnet: side of the pictures; what is usual if not given.", 8)
_REWARD = flags.DEFINE_enum(
    "reward", "hard", ("hard", "soft", "front"), "MnasNet's reward, or accuracy and latency as two objectives."
)
_TARGET_MS = flags.DEFINE_float("target_ms", None, "The latency that is wanted; --reward=front can do without.")
_GIVE_UP = flags.DEFINE_float("give_up", 2.0, "A network so many times slower than the target is not trained.", 1)
_SAMPLER = flags.DEFINE_enum("sampler", "tpe", ("random", "tpe", "nsga2"), "What chooses the points.")
_PRUNER = flags.DEFINE_enum("pruner", "median", ("median", "halving", "none"), "Which trials are given up early.")
_TRIALS = flags.DEFINE_integer("trials", 50, "Different networks, over all workers.", 1)
_MAX_HOURS = flags.DEFINE_float("max_hours", None, "Then it stops, to go on with the same command.")
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Of a trial's training.", 1)
_TRIAL_EXAMPLES = flags.DEFINE_integer(
    "trial_examples", None, "A trial's epoch has so many of the training examples, the same ones for all.", 1
)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_FINALISTS = flags.DEFINE_integer("finalists", 3, "So many of the best are trained in full.", 0)
_FINAL_EPOCHS = flags.DEFINE_integer("final_epochs", 30, "Of a full training.", 1)
_REFERENCE = flags.DEFINE_string(
    "reference", None, "A .tflite file that is timed in turn with each network: on a shared machine the ratio holds."
)
_REFERENCE_MS = flags.DEFINE_float("reference_ms", None, "What it takes; needed with several workers.")
_STORAGE = flags.DEFINE_string(
    "storage", None, "postgresql://..., redis://..., journal:PATH or a SQLite file; search.db in --out if not given."
)
_STUDY = flags.DEFINE_string("study", "search", "Its name in the storage.")
_WORKER = flags.DEFINE_bool("worker", False, "Take part in a search that has begun; its flags are read there.")
_BOARD = _timing.define_board()
_LANGUAGE = flags.DEFINE_enum("language", "en", ("en", "ko"), "Of table.md and the plot.")

# Of the training examples, where --holdout does not say how many.
HELD_OUT_ONE_OF = 10

# A storage's address may hold a password, which is written nowhere.
_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder) and value is not _STORAGE]
for _module in (_run, _task, _timing):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)
# Of a worker alone; the rest it reads where the search is kept, unless it is given.
_OWN = ("out", "worker", "study", "max_hours", "language")
# A search may be made longer.
_MAY_CHANGE = ("trials", "max_hours", "finalists", "language", "out")


def main(argv: Sequence[str]) -> None:
    """Reads the flags, searches, prints the table."""
    del argv
    if _WORKER.value:
        _read_flags()
    for holder, what in ((_SPACE, "what is searched"), (_TASK, "what is to be learnt")):
        if not holder.value:
            raise InputError(f"--{holder.name} must be given: {what}. Received: nothing")
    from tta_lite.search.goal import Goal

    # Better now than after the data has been read.
    goal = Goal(_REWARD.value, _TARGET_MS.value, _GIVE_UP.value)
    if _MAX_HOURS.value is not None and not _MAX_HOURS.value > 0:
        raise InputError(f"--max_hours must be above 0. Received: {_MAX_HOURS.value}")
    from tta_lite.search import subjects
    from tta_lite.search.optional import optuna

    optuna()
    began = time.monotonic()
    seconds = math.inf if _MAX_HOURS.value is None else 3600 * _MAX_HOURS.value
    logging.set_verbosity(logging.WARNING)
    subject = subjects.find_subject(
        _SPACE.value, _TASK.value, weights=_WEIGHTS.value, input_size=_INPUT_SIZE.value
    )  # fmt: skip
    if _ONLY.value:
        limits = subjects.only_of(_ONLY.value, subject.space)
        subject = subjects.narrowed(subject, limits)
    first = subjects.first_points(_FIRST.value, subject.space) if _FIRST.value else ()
    latency_of = _latency()
    from tta_lite.report.language import LANGUAGES
    from tta_lite.report.search import SearchReport, table
    from tta_lite.search.engine import Plan
    from tta_lite.search.run import Finals, run_search
    from tta_lite.search.trainer import Trainer
    from tta_lite.training.fit import FitSettings

    seed = _task.SEED.value
    plan = Plan(
        subject.space, goal, _TRIALS.value, _SAMPLER.value, _PRUNER.value, seed, first,
        setting={holder.name: holder.value for holder in _ALIKE},
        notes={} if _WORKER.value else {one.name: one.value for one in _FLAGS if one.name not in _OWN},
    )  # fmt: skip
    folder = _run.open_folder("search", _FLAGS, seed=seed, display_flags=_MAY_CHANGE)
    say = LANGUAGES[_LANGUAGE.value]
    whole = Tasks(lambda model, pixels: _task.find_whole(model, pixels=pixels))
    trainer = Trainer(
        subject, Tasks(lambda model, pixels: _for_trials(whole(model, pixels))), latency_of,
        FitSettings(_EPOCHS.value, _LEARNING_RATE.value, seed=seed), folder.path,
        None if seconds == math.inf else began + seconds, final_task_for=whole,
    )  # fmt: skip
    report = SearchReport(folder, goal, trainer.metrics, say)
    found = run_search(
        plan, trainer, _STORAGE.value or str(folder.path / "search.db"), _STUDY.value, folder,
        finals=None if _WORKER.value else Finals(_FINALISTS.value, _FINAL_EPOCHS.value),
        seconds=seconds - (time.monotonic() - began), tell=lambda line: print(line, flush=True), changed=report,
    )  # fmt: skip
    print(table(found, goal, report.metric, say))
    print(f"{folder.path}/ has search.json, table.md and plots/front.png")
    if not found.done:
        print("The search is not done; the same command goes on with it")


class Tasks:
    """Tasks by the edges of a network: one is made for all networks of one size.

    Args:
      find: (network, what it expects of its pixels) -> its task.
    """

    def __init__(self, find: Callable[[Any, str | None], Any]) -> None:
        self._find = find
        self._known: dict[tuple[Any, ...], Any] = {}

    def __call__(self, model: Any, pixels: str | None) -> Any:
        """-> the task that the flags name, for a network."""
        from tta_lite.models.outputs import ends_in_softmax
        from tta_lite.tasks.find import ARRAYS

        if (_TASK.value or "").partition(":")[0] not in ("image_folder", "pose", *ARRAYS):
            # A task of the user's own gets each network.
            return self._find(model, pixels)
        key = (model.input_shape, model.output_shape, ends_in_softmax(model), pixels)
        if key not in self._known:
            self._known[key] = self._find(model, pixels)
        return self._known[key]


def _for_trials(task: Any) -> Any:
    """-> what trials learn from, and are scored on: not the test part, where examples can be held out."""
    from tta_lite.tasks.held_out import can_be_parted, held_out, learning_from

    if _task.HOLDOUT.value is None and can_be_parted(task):
        task = held_out(task, max(1, len(task.train) // HELD_OUT_ONE_OF))
    else:
        task = _task.with_holdout(task)
    return task if _TRIAL_EXAMPLES.value is None else learning_from(task, _TRIAL_EXAMPLES.value)


def _latency() -> Callable[[Any], tuple[float, str]]:
    """-> where latencies come from, by the flags."""
    from pathlib import Path

    from tta_lite.search import latency

    rules = _timing.rules()
    if _REFERENCE.value is None:
        if _REFERENCE_MS.value is not None:
            raise InputError(f"--reference_ms is of a --reference. Received: {_REFERENCE_MS.value}")
        reference = None
    else:
        try:
            reference = Path(_REFERENCE.value).read_bytes()
        except OSError as error:
            raise InputError(f"--reference must be a readable file. Received: {_REFERENCE.value}, {error}") from error
    timed = {"reference": reference, "reference_ms": _REFERENCE_MS.value}
    if "latency_model" in rules:
        if reference is not None:
            raise InputError("A --reference is timed, and --latency_model predicts. Received: both")
        return latency.predicted(rules["latency_model"])
    if "connect" in rules:
        return latency.measured_on_board(rules.pop("connect"), rules.pop("board"), **timed, **rules)
    _timing.refuse_board_without_connection()
    return latency.measured_here(**timed, **rules)


def _read_flags() -> None:
    """Takes what was not typed from where the search is kept."""
    if not _STORAGE.value:
        raise InputError("--storage must be given with --worker: where the search is kept. Received: nothing")
    from tta_lite.search.log import notes_of

    for name, value in notes_of(_STORAGE.value, _STUDY.value).items():
        if name in flags.FLAGS and not flags.FLAGS[name].present:
            flags.FLAGS[name].value = value


_TASK = _task.TASK
# What a trial's figures hang on, whoever makes them.
_ALIKE = (
    _EPOCHS, _TRIAL_EXAMPLES, _LEARNING_RATE, _task.PIXELS, _task.HOLDOUT, _task.BATCH_SIZE, _task.MIRROR,
    _task.FLIP_TEST, _INPUT_SIZE, _timing.NUM_THREADS, _REFERENCE_MS,
)  # fmt: skip


if __name__ == "__main__":
    _app.run(main)
