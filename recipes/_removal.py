"""What recipes share that make a network smaller: the flags, and the way from the network to the table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from recipes import _distil, _finetune, _images, _model, _run, _target, _task, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.boards.profile import BoardProfile
    from tta_lite.compat import keras
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import Task

MODEL = flags.DEFINE_string("model", None, "The network, a .keras (of Keras 2 or 3) or .h5 file.", required=True)
MACS = flags.DEFINE_float("macs", None, "MACs to be left; below 1 a share of those now (0.5 if no target is given).", 0)
PARAMS = flags.DEFINE_float("params", None, "Or: parameters to be left; below 1 a share of those now.", 0)
LATENCY = flags.DEFINE_float("latency_ms", None, "Or: p50 of the float32 file, measured again and again.", 0)
WITHIN = flags.DEFINE_list("within", [], "Names and patterns of the layers that may lose something; all if not given.")
PROTECTED = flags.DEFINE_list("protected", [], "Names and patterns of layers that stay as they are.")
REPAIR = flags.DEFINE_bool("repair", None, "Fit the layers behind to their old outputs; so if there are pictures.")
_IMAGES = flags.DEFINE_string("images", None, "Without --task: calibration images, a .npy file [N, H, W, C].")
_CALIBRATION = flags.DEFINE_integer(
    "calibration_images", 100, "With --task: that int8 would take; 32 of them at most are looked at here.", 1
)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 2, "Of training after the removal, with --task.", 0)

FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _distil, _finetune, _target, _run, _timing, _task):
    FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)

_OF_TRAINING = (_CALIBRATION, *_distil.FLAGS, _FINETUNE_EPOCHS, *_finetune.FLAGS)
CLAUSE = "6.2.3"

Make = Callable[["keras.Model", "BoardProfile | None", "np.ndarray | None", "Task | None"], "tuple[keras.Model, str]"]
"""Network, board, calibration images, task -> the smaller network, and what became of its parts, as text."""
OpenFolder = Callable[[], "RunFolder"]


def run(
    step: str, recipe: str, own: Sequence[flags.FlagHolder[Any]], make: Make, what: str, check: Callable[[], object]
) -> None:
    """Makes a network smaller, trains and scores it with --task, and times it; writes and prints all that.

    Args:
      step: its name in the table.
      recipe: the name of the recipe;
      own: and its own flags.
      make: what makes the network smaller.
      what: is done, for people.
      check: of the recipe's own flags, before anything is read.

    Raises:
      InputError: flags that exclude each other.
    """
    if not _task.TASK.value:
        _task.refuse_without_task(*_OF_TRAINING)
    elif _IMAGES.value:
        raise InputError("--images are for a network without a --task, which has its own. Received: both")
    _distil.check(bool(_task.TASK.value and _FINETUNE_EPOCHS.value))

    logging.set_verbosity(logging.WARNING)
    check()
    board = _target.board()
    _target.runtime()
    model = _model.read(MODEL.value)

    def folder() -> RunFolder:
        return _run.open_folder(recipe, (*own, *FLAGS), seed=_task.SEED.value)

    (_train if _task.TASK.value else _measure)(step, make, what, model, board, folder)


def _measure(
    step: str, make: Make, what: str, model: keras.Model, board: BoardProfile | None, open_folder: OpenFolder
) -> None:
    from tta_lite.guideline import structure
    from tta_lite.report import table

    images = _images.read_images(_IMAGES.value) if _IMAGES.value else None
    new, text = make(model, board, images, None)
    folder = open_folder()
    folder.write_text("changes.txt", text + "\n")
    print(text)
    entries = structure.measure_networks(
        {"none": (model, "", "the unmodified network"), step: (new, CLAUSE, what)}, folder, _timing.rules(),
        runtime=_target.runtime(),
    )  # fmt: skip
    table.write_tables(folder, entries)
    table.print_table(entries)
    print(f"the new network, to be fine-tuned: {folder.path}/steps/01-{step}/model.keras")
    print("read it with tta_lite.load_model, which knows its layers")


def _train(
    step: str, make: Make, what: str, model: keras.Model, board: BoardProfile | None, open_folder: OpenFolder
) -> None:
    from tta_lite.guideline.bench import Trial
    from tta_lite.guideline.structure_steps import factor_images
    from tta_lite.types import Candidate

    task = _task.find(model)
    _distil.try_teacher(model, task)
    folder = open_folder()

    def candidate() -> Candidate:
        images = factor_images(lambda count: task.calibration(count, seed=_task.SEED.value), _CALIBRATION.value)
        new, text = make(model, board, images, task)
        folder.write_text("changes.txt", text + "\n")
        print(text)
        return Candidate(new, trail=(f"{step} {what}",))

    epochs = _FINETUNE_EPOCHS.value if task.steps_per_epoch else 0
    trial = Trial(step, what, candidate, epochs, _finetune.RATE.value, teaching=_distil.teaching(epochs))
    _task.take(
        step, model, task, trial, folder, _timing.rules(), learning_rate=_finetune.LEARNING_RATE.value,
        runtime=_target.runtime(), clause=CLAUSE,
    )  # fmt: skip


def examples(task: Task | None, needs: str) -> tuple[list[tuple[Any, Any]] | None, Any]:
    """-> batches with their labels, and the loss, for a criterion that needs them; else nothing."""
    if needs != "batches" or task is None or not task.steps_per_epoch:
        return None, None
    from tta_lite.guideline.channel_step import BATCHES
    from tta_lite.tasks.stream import read_batches

    read = read_batches(task.train_data(seed=_task.SEED.value).take(BATCHES))
    return [(x, y) for x, y, *_ in read], task.loss()


def targets(**others: object) -> dict[str, Any]:
    """-> the target as a library call takes it; `others` by the names of their flags.

    Raises:
      InputError: several.
    """
    values = {"macs": _whole(MACS.value), "params": _whole(PARAMS.value), "latency_ms": LATENCY.value, **others}
    given = [name for name, value in values.items() if value is not None]
    if len(given) > 1:
        *most, last = (f"--{name}" for name in values)
        raise InputError(f"One target: {', '.join(most)} or {last}. Received: {len(given)}")
    limit = values.pop("latency_ms")
    values["latency"] = None if limit is None else (_milliseconds, limit)
    return values


def target_text() -> str:
    """-> how small the network shall be, for people."""
    within = f" of {', '.join(WITHIN.value)}" if WITHIN.value else ""
    if LATENCY.value is not None:
        return f"{LATENCY.value:g} ms"
    if PARAMS.value is not None:
        return f"{_told(PARAMS.value)} parameters{within}"
    return f"{_told(0.5 if MACS.value is None else MACS.value)} MACs{within}"


def _milliseconds(model: keras.Model) -> float:
    """-> p50 of the network's float32 file."""
    from tta_lite.guideline.timing import milliseconds

    return milliseconds(model, _timing.rules())


def _told(amount: float) -> str:
    """-> a share in percent, a number as it is.

    >>> _told(0.5), _told(2e9)
    ('50% of the', '2,000,000,000')
    """
    return f"{amount:.0%} of the" if amount < 1 else f"{amount:,.0f}"


def _whole(amount: float | None) -> float | None:
    """-> a share as it is, a number of MACs or parameters as a whole number.

    >>> _whole(0.5), _whole(2e9)
    (0.5, 2000000000)
    """
    return amount if amount is None or amount < 1 else int(amount)
