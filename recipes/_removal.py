"""What recipes share that make a network smaller: the flags, and the way from the network to the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from recipes import _images, _model, _task, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.boards.profile import BoardProfile
    from tta_lite.compat import keras
    from tta_lite.types import Task

MODEL = flags.DEFINE_string("model", None, "The network, a .keras or .h5 file of tf_keras.", required=True)
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
_DISTIL = flags.DEFINE_bool("distil", True, "With --task: it also learns from the network as it was.")
_DISTIL_WEIGHT = flags.DEFINE_float("distil_weight", 0.5, "Of the teacher's answers beside the labels.", 0, 1)
_TEMPERATURE = flags.DEFINE_float("temperature", 4.0, "Of the teacher's classes; heat maps have none.", 0)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 2, "Of training after the removal, with --task.", 0)
_FINETUNE_RATE = flags.DEFINE_float("finetune_rate", 0.3, "Its learning rate, as a share of --learning_rate.", 0)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_BOARD = flags.DEFINE_string("board", None, "The target, e.g. rk3399, must take the file.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board; its usual one if not given.")
_OUT = flags.DEFINE_string("out", None, "The run folder.", required=True)

FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
FLAGS += [*_model.FLAGS, *_timing.FLAGS, *_task.FLAGS]
flags.adopt_module_key_flags(_model)
flags.adopt_module_key_flags(_timing)
flags.adopt_module_key_flags(_task)

_OF_TRAINING = (_CALIBRATION, _DISTIL, _DISTIL_WEIGHT, _TEMPERATURE, _FINETUNE_EPOCHS, _FINETUNE_RATE, _LEARNING_RATE)
CLAUSE = "6.2.3"

Make = Callable[["keras.Model", "BoardProfile | None", "np.ndarray | None", "Task | None"], "tuple[keras.Model, str]"]
"""Network, board, calibration images, task -> the smaller network, and what became of its parts, as text."""


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
    if not _DISTIL.value or not _FINETUNE_EPOCHS.value:
        _task.refuse("with --distil and --finetune_epochs", _DISTIL_WEIGHT, _TEMPERATURE)
    from tta_lite.boards.profile import get_board
    from tta_lite.report.environment import describe_run

    logging.set_verbosity(logging.WARNING)
    check()
    board = get_board(_BOARD.value) if _BOARD.value else None
    model = _model.read(MODEL.value)
    values = {holder.name: holder.value for holder in (*own, *FLAGS)}
    described = describe_run(values, recipe=recipe, seed=_task.SEED.value)
    (_train if _task.TASK.value else _measure)(step, make, what, model, board, described)


def _measure(
    step: str, make: Make, what: str, model: keras.Model, board: BoardProfile | None, recipe: Mapping[str, object]
) -> None:
    from tta_lite.guideline import structure
    from tta_lite.report import table
    from tta_lite.report.run_folder import RunFolder

    images = _images.read_images(_IMAGES.value) if _IMAGES.value else None
    new, text = make(model, board, images, None)
    folder = RunFolder.open(_OUT.value, recipe)
    folder.write_text("changes.txt", text + "\n")
    print(text)
    entries = structure.measure_networks(
        {"none": (model, "", "the unmodified network"), step: (new, CLAUSE, what)}, folder, _timing.rules(),
        runtime=board.runtime(_RUNTIME.value) if board else None,
    )  # fmt: skip
    table.write_tables(folder, entries)
    table.print_table(entries)
    print(f"the new network, to be fine-tuned: {folder.path}/steps/01-{step}/model.keras")
    print("read it with tta_lite.load_model, which knows its layers")


def _train(
    step: str, make: Make, what: str, model: keras.Model, board: BoardProfile | None, recipe: Mapping[str, object]
) -> None:
    from tta_lite.guideline.bench import START, Teaching, Trial
    from tta_lite.guideline.structure_steps import factor_images
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import Candidate

    task = _task.find(model)
    folder = RunFolder.open(_OUT.value, recipe)

    def candidate() -> Candidate:
        images = factor_images(lambda count: task.calibration(count, seed=_task.SEED.value), _CALIBRATION.value)
        new, text = make(model, board, images, task)
        folder.write_text("changes.txt", text + "\n")
        print(text)
        return Candidate(new, trail=(f"{step} {what}",))

    epochs = _FINETUNE_EPOCHS.value if task.steps_per_epoch else 0
    taught = Teaching(START, _DISTIL_WEIGHT.value, _TEMPERATURE.value) if _DISTIL.value and epochs else None
    trial = Trial(step, what, candidate, epochs, _FINETUNE_RATE.value, teaching=taught)
    _task.take(
        step, model, task, trial, folder, _timing.rules(), learning_rate=_LEARNING_RATE.value,
        runtime=board.runtime(_RUNTIME.value) if board else None, clause=CLAUSE,
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
