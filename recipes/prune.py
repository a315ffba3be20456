"""G5 on a network of your own: the smallest weights become zero while it is fine-tuned; measured before and after.

  tta-lite prune --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --sparsity=0.5 --out=runs/pruned
  tta-lite prune --model=net.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test --batch_size=16 \
    --sparsities=0.5,0.7,0.8,0.9 --weight_bits=5 --finetune_epochs=4 --out=runs/sparsities
  tta-lite prune --model=net.keras --task=my_package.my_task:make_task --sparsities=0.5 --pattern=2:4 --out=runs/2_4

A zero makes the compressed file smaller and nothing else: neither the .tflite file itself nor the inference (clause
6.2.3), unless the runtime has kernels that leave zeros out, see `tta-lite sparse`. With --sparsity: writes the network
(steps/01-g5/model.keras), its .tflite file and the table; it is step G5 of `tta-lite guideline`: the same flags and the
same seed give the same network. With --sparsities: the trials that the clause asks for, each from the given network, as
float32 and as int8 files; writes table.md, table.csv and the plots accuracy_sparsity.png and accuracy_zip.png. `zip` is
the file after deflate at level 9, the archive's own 100 bytes left out. A run that was killed goes on with the same
command.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app, _finetune, _model, _run, _task, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.training.pruning import Pruning
    from tta_lite.types import Task

_MODEL = flags.DEFINE_string(
    "model", None, "The trained network, a .keras (of Keras 2 or 3) or .h5 file.", required=True
)
_SPARSITY = flags.DEFINE_float("sparsity", 0.5, "Share of the weights of each kernel that become zero.", 0, 1)
_SPARSITIES = flags.DEFINE_list("sparsities", None, "Several of them, each tried by itself: 0.5,0.7,0.8,0.9.")
_SCHEDULE = flags.DEFINE_string("schedule", "polynomial_decay", "--sparsities: or constant: all zeros come at --begin.")
_BEGIN = flags.DEFINE_float("begin", 0.2, "--sparsities: share of the training after which zeros come.", 0, 1)
_END = flags.DEFINE_float("end", 0.7, "--sparsities: share of the training after which no more come.", 0, 1)
_PATTERN = flags.DEFINE_string("pattern", "", "--sparsities: N:M, such as 2:4, two non-zeros in every four inputs.")
_LAYERS = flags.DEFINE_list("layers", [], "--sparsities: names or patterns (block_*) of the layers; all by default.")
_SKIP_LAYERS = flags.DEFINE_list("skip_layers", [], "--sparsities: names or patterns of layers that keep all weights.")
_ENDS = flags.DEFINE_bool("ends", True, "--sparsities: the first and the last layer too.")
_DEPTHWISE = flags.DEFINE_bool("depthwise", False, "--sparsities: depthwise kernels too.")
_CALIBRATION = flags.DEFINE_integer("calibration_images", 100, "--sparsities: of the int8 files; 0: none are made.", 0)
_WEIGHT_BITS = flags.DEFINE_list(
    "weight_bits", [], "--sparsities: more int8 files, whose kernels hold fewer different weights: 5 or 6,5,4."
)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 2, "Of the training in which they do.", 1)
_BOARD = _timing.define_board()

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
_OF_SEVERAL = (_SCHEDULE, _BEGIN, _END, _PATTERN, _LAYERS, _SKIP_LAYERS, _ENDS, _DEPTHWISE, _CALIBRATION, _WEIGHT_BITS)
for _module in (_model, _finetune, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, prunes, prints the table."""
    _timing.refuse_board_without_connection()
    if not _task.TASK.value:
        raise InputError("--task must be given: pruning needs training data (6.2.3). Received: nothing")
    if _SPARSITIES.value:
        _task.refuse("without --sparsities", _SPARSITY)
    else:
        _task.refuse("with --sparsities", *_OF_SEVERAL)
    bits = _bits()
    prunings = _prunings() if _SPARSITIES.value else []

    logging.set_verbosity(logging.WARNING)
    model = _model.read(_MODEL.value)
    for pruning in prunings:
        pruning.check(model)
    task = _task.find(model)
    folder = _run.open_folder("prune", _FLAGS, seed=_task.SEED.value)
    if prunings:
        _several(model, task, prunings, bits, folder)
    else:
        _one(model, task, folder)


def _one(model: keras.Model, task: Task, folder: RunFolder) -> None:
    from tta_lite.guideline.pruning_step import sparsity_trial
    from tta_lite.types import Candidate

    trial = sparsity_trial(Candidate(model), _SPARSITY.value, _FINETUNE_EPOCHS.value, _finetune.RATE.value)
    _task.take("G5", model, task, trial, folder, _timing.rules(), learning_rate=_finetune.LEARNING_RATE.value)


def _several(
    model: keras.Model, task: Task, prunings: Sequence[Pruning], bits: tuple[int, ...], folder: RunFolder
) -> None:
    from tta_lite.guideline.sparsities import SparsityPlan, take_sparsities
    from tta_lite.report import table
    from tta_lite.report.sparsity_plots import write_sparsity_plots
    from tta_lite.training.fit import FitSettings

    plan = SparsityPlan(tuple(prunings), _FINETUNE_EPOCHS.value, _finetune.RATE.value, _CALIBRATION.value, bits)
    fit = FitSettings(_FINETUNE_EPOCHS.value, _finetune.LEARNING_RATE.value, seed=_task.SEED.value)
    entries = take_sparsities(model, task, plan, folder, fit, _timing.rules())
    dataset = str(getattr(getattr(task, "test", None), "name", ""))
    table.write_tables(folder, entries, dataset=dataset)
    write_sparsity_plots(folder, entries)
    table.print_table(entries, dataset=dataset)
    for entry in entries:
        print(f"{entry.name}: {entry.details.get('note') or entry.why}")
    print(f"{folder.path}/ has table.md, table.csv, plots/ and the networks and files of every row (steps/)")


def _bits() -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in _WEIGHT_BITS.value)
    except ValueError as error:
        raise InputError(
            f"--weight_bits must list whole numbers of 2 to 7. Received: {','.join(_WEIGHT_BITS.value)}"
        ) from error


def _prunings() -> list[Pruning]:
    from tta_lite.training.pruning import Pruning
    from tta_lite.training.pruning_policies import LayerPolicy

    try:
        shares = [float(text) for text in _SPARSITIES.value]
    except ValueError as error:
        raise InputError(
            f"--sparsities must list numbers above 0 and below 1. Received: {','.join(_SPARSITIES.value)}"
        ) from error
    layers = LayerPolicy(tuple(_LAYERS.value), tuple(_SKIP_LAYERS.value), _ENDS.value, _DEPTHWISE.value)
    return [Pruning(share, _BEGIN.value, _END.value, _SCHEDULE.value, layers, _PATTERN.value) for share in shares]


if __name__ == "__main__":
    _app.run(main)
