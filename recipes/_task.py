"""The flags that name a task, and what a recipe does with a step that is to be trained and scored on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from tta_lite.types import InputError, Verdict

if TYPE_CHECKING:
    from tta_lite.boards.profile import Runtime
    from tta_lite.compat import keras
    from tta_lite.guideline.bench import Trial
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.tasks.find import Edges
    from tta_lite.types import LedgerEntry, Task

TASK = flags.DEFINE_string(
    "task",
    None,
    "image_folder:PATH, pose:<data set>:PATH, digits[:N] (N to learn from), mnist:PATH, cifar10:PATH, or "
    "<module>:<function>, which gets the network.",
)
PIXELS = flags.DEFINE_enum(
    "pixels", None, ("0..255", "0..1", "-1..1", "imagenet"), "What the network expects of its pixels."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples a training step; a task of your own has its own.", 1)
MIRROR = flags.DEFINE_bool("mirror", True, "image_folder: a mirrored picture is of the same class.")
FLIP_TEST = flags.DEFINE_bool("flip_test", False, "pose: score the mean of a picture and its mirror image.")
HOLDOUT = flags.DEFINE_integer(
    "holdout",
    None,
    "So many training examples are not learnt from, and scored in place of the test part: to choose among networks.",
    0,
)
SEED = flags.DEFINE_integer("seed", 0, "Of weights, order and augmentation.", 0, 2**32 - 1)

FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]


def refuse_without_task(*holders: flags.FlagHolder[Any]) -> None:
    """Raises an `InputError` if a flag was given that means something only with --task."""
    refuse("with --task", *(holder for holder in FLAGS if holder is not TASK), *holders)


def refuse(when: str, *holders: flags.FlagHolder[Any]) -> None:
    """Raises an `InputError` if a flag was given that means something only `when`."""
    for holder in holders:
        if flags.FLAGS[holder.name].present:
            raise InputError(f"--{holder.name} means something only {when}. Received: --{holder.name}={holder.value}")


def find(model: keras.Model | Edges, *, pixels: str | None = None) -> Task:
    """-> the task that the flags name; without --pixels, with `pixels`."""
    return with_holdout(find_whole(model, pixels=pixels))


def with_holdout(task: Task) -> Task:
    """-> the task that is scored on examples that --holdout sets aside; the same one without it."""
    from tta_lite.tasks.held_out import held_out

    return held_out(task, HOLDOUT.value) if HOLDOUT.value else task


def find_whole(model: keras.Model | Edges, *, pixels: str | None = None) -> Task:
    """-> the task that the flags name, scored on its test part whatever --holdout says."""
    from tta_lite.tasks.find import find_task

    assert TASK.value is not None
    return find_task(
        TASK.value,
        model,
        pixels=PIXELS.value or pixels,
        batch_size=BATCH_SIZE.value,
        mirror=MIRROR.value,
        flip_test=FLIP_TEST.value,
    )


def take(
    step: str,
    model: keras.Model,
    task: Task,
    trial: Trial,
    folder: RunFolder,
    rules: Mapping[str, Any],
    *,
    learning_rate: float = 1e-3,
    runtime: Runtime | None = None,
    clause: str | None = None,
    note: Callable[[], str] = str,
) -> Sequence[LedgerEntry]:
    """Takes one step of the guideline, as `tta-lite guideline` would; writes and prints its table -> its two rows."""
    from tta_lite.guideline.alone import take_alone
    from tta_lite.training.fit import FitSettings

    fit = FitSettings(max(trial.epochs, 1), learning_rate, seed=SEED.value)
    entries = take_alone(step, model, task, trial, folder, fit, rules, runtime=runtime, clause=clause)
    show(step, entries, folder, task, note=note)
    return entries


def show(
    step: str,
    entries: Sequence[LedgerEntry],
    folder: RunFolder,
    task: Task | None,
    *,
    note: Callable[[], str] = str,
) -> None:
    """Writes and prints the table of one step."""
    from tta_lite.report import table

    table.write_tables(folder, entries, dataset=str(getattr(getattr(task, "test", None), "name", "")))
    if text := note():
        print(text)
    table.print_table(entries)
    print(f"{step}: {entries[-1].verdict.value}. {entries[-1].why}")
    if entries[-1].verdict is Verdict.TAKEN:
        place = folder.step_dir(len(entries) - 1, step)
        network = "the network (model.keras) and " if (place / "model.keras").is_file() else ""
        print(f"{place}/ has {network}the file (model.tflite)")
