"""Channels off a network of your own: smaller layers that run faster, fine-tuned with the old network as a teacher.

  tta-lite remove-channels --model=net.keras --macs=0.5 --out=runs/half
  tta-lite remove-channels --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --macs=0.5 --out=runs/half
  tta-lite remove-channels --model=pose.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test \
    --within='Conv1,expanded_conv*,block_*,Conv_1' --macs=0.5 --finetune_epochs=4 --out=runs/taylor
  tta-lite remove-channels --model=net.keras --task=my_package.my_task:make_task --latency_ms=12 --out=runs/fast

Which channels must leave together is found from the network's graph; which are worth the least, by --criterion. What is
left has its weights from the old network, and with pictures (--task, or --images) the layers behind are fitted to their
old outputs. With --task the network is then fine-tuned, by distillation from the old one unless --nodistil, and both
are scored: it is the step `channels` of `tta-lite guideline`, and the same flags and the same seed give the same files.
Without --task only the structure changes and is timed. --macs and --params are of the layers --within. Writes the new
network (steps/01-channels/model.keras), both as .tflite, what became of each layer (changes.txt), and the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app, _images, _task, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    import numpy as np

    from tta_lite.boards.profile import BoardProfile
    from tta_lite.compat import keras
    from tta_lite.types import Task

STEP = "channels"
METHODS = ("greedy", "sensitivity")

_MODEL = flags.DEFINE_string("model", None, "The network, a .keras or .h5 file of tf_keras.", required=True)
_CRITERION = flags.DEFINE_string(
    "criterion",
    None,
    "What a channel is worth: l1_norm, l2_norm, network_slimming, hrank, taylor, ...; taylor with a --task that has "
    "training data, else l1_norm.",
)
_MACS = flags.DEFINE_float(
    "macs", None, "MACs to be left; below 1 a share of those now (0.5 if no target is given).", 0
)
_PARAMS = flags.DEFINE_float("params", None, "Or: parameters to be left; below 1 a share of those now.", 0)
_LATENCY = flags.DEFINE_float("latency_ms", None, "Or: p50 of the float32 file, measured again and again.", 0)
_WITHIN = flags.DEFINE_list("within", [], "Names and patterns of the layers that may lose channels; all if not given.")
_PROTECTED = flags.DEFINE_list("protected", [], "Names and patterns of layers whose channels all stay.")
_SCOPE = flags.DEFINE_string("scope", None, "How layers are compared: global, per_layer; what suits the criterion.")
_METHOD = flags.DEFINE_enum("method", "greedy", METHODS, "How much each layer loses.")
_ROUND_TO = flags.DEFINE_integer("round_to", None, "Channels are a multiple of it; what suits --board, or 8.", 1)
_FLOOR = flags.DEFINE_integer("floor", 8, "The fewest channels of a layer.", 1)
_REPAIR = flags.DEFINE_bool("repair", None, "Fit the layers behind to their old outputs; so if there are pictures.")
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

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
_FLAGS += [*_timing.FLAGS, *_task.FLAGS]
flags.adopt_module_key_flags(_timing)
flags.adopt_module_key_flags(_task)

_OF_TRAINING = (_CALIBRATION, _DISTIL, _DISTIL_WEIGHT, _TEMPERATURE, _FINETUNE_EPOCHS, _FINETUNE_RATE, _LEARNING_RATE)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, removes channels, prints what became of each layer and the table."""
    targets = [holder for holder in (_MACS, _PARAMS, _LATENCY) if holder.value is not None]
    if len(targets) > 1:
        raise InputError(f"One target: --macs, --params or --latency_ms. Received: {len(targets)}")
    if not _task.TASK.value:
        _task.refuse_without_task(*_OF_TRAINING)
    elif _IMAGES.value:
        raise InputError("--images are for a network without a --task, which has its own. Received: both")
    if not _DISTIL.value or not _FINETUNE_EPOCHS.value:
        _task.refuse("with --distil and --finetune_epochs", _DISTIL_WEIGHT, _TEMPERATURE)
    from tta_lite.boards.profile import get_board
    from tta_lite.models.files import load_network
    from tta_lite.report.environment import describe_run
    from tta_lite.transforms.channels.criteria import get_criterion

    logging.set_verbosity(logging.WARNING)
    if _CRITERION.value is not None:
        get_criterion(_CRITERION.value)
    board = get_board(_BOARD.value) if _BOARD.value else None
    model = load_network(_MODEL.value)
    values = {holder.name: holder.value for holder in _FLAGS}
    recipe = describe_run(values, recipe="remove_channels", seed=_task.SEED.value)
    if _task.TASK.value:
        _train(model, board, recipe)
    else:
        _measure(model, board, recipe)


def _measure(model: keras.Model, board: BoardProfile | None, recipe: dict[str, object]) -> None:
    from tta_lite.guideline import structure
    from tta_lite.guideline.settings import CLAUSES
    from tta_lite.report import table
    from tta_lite.report.run_folder import RunFolder

    images = _images.read_images(_IMAGES.value) if _IMAGES.value else None
    criterion = _CRITERION.value or "l1_norm"
    new, text = _shrunk(model, board, criterion, images, None)
    folder = RunFolder.open(_OUT.value, recipe)
    folder.write_text("changes.txt", text + "\n")
    print(text)
    networks = {"none": (model, "", "the unmodified network"), STEP: (new, CLAUSES[STEP], _what(criterion))}
    entries = structure.measure_networks(
        networks, folder, _timing.rules(),
        runtime=board.runtime(_RUNTIME.value) if board else None,
    )  # fmt: skip
    table.write_tables(folder, entries)
    table.print_table(entries)
    print(f"the new network, to be fine-tuned: {folder.path}/steps/01-{STEP}/model.keras")
    print("read it with tta_lite.models.files.load_network, which knows its layers")


def _train(model: keras.Model, board: BoardProfile | None, recipe: dict[str, object]) -> None:
    from tta_lite.guideline.bench import START, Teaching, Trial
    from tta_lite.guideline.structure_steps import factor_images
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import Candidate

    task = _task.find(model)
    # What the loss says is worth the most, see docs/pruning.md.
    criterion = _CRITERION.value or ("taylor" if task.steps_per_epoch else "l1_norm")
    folder = RunFolder.open(_OUT.value, recipe)

    def make() -> Candidate:
        images = factor_images(lambda count: task.calibration(count, seed=_task.SEED.value), _CALIBRATION.value)
        new, text = _shrunk(model, board, criterion, images, task)
        folder.write_text("changes.txt", text + "\n")
        print(text)
        return Candidate(new, trail=(f"{STEP} {_what(criterion)}",))

    epochs = _FINETUNE_EPOCHS.value if task.steps_per_epoch else 0
    taught = Teaching(START, _DISTIL_WEIGHT.value, _TEMPERATURE.value) if _DISTIL.value and epochs else None
    trial = Trial(STEP, _what(criterion), make, epochs, _FINETUNE_RATE.value, teaching=taught)
    _task.take(
        STEP, model, task, trial, folder, _timing.rules(), learning_rate=_LEARNING_RATE.value,
        runtime=board.runtime(_RUNTIME.value) if board else None,
    )  # fmt: skip


def _shrunk(
    model: keras.Model, board: BoardProfile | None, criterion: str, images: np.ndarray | None, task: Task | None
) -> tuple[keras.Model, str]:
    """-> the smaller network, and what became of each layer."""
    from tta_lite.boards.features import channel_multiple
    from tta_lite.guideline.channel_step import BATCHES
    from tta_lite.tasks.stream import read_batches
    from tta_lite.transforms.channels.criteria import get_criterion
    from tta_lite.transforms.shrink import shrink

    batches, loss = None, None
    if get_criterion(criterion).needs == "batches" and task is not None and task.steps_per_epoch:
        read = read_batches(task.train_data(seed=_task.SEED.value).take(BATCHES))
        batches = [(x, y) for x, y, *_ in read]
        loss = task.loss()
    features = [feature for cores in board.cores for feature in cores.features] if board else []
    found = shrink(
        model,
        criterion,
        macs=_target(_MACS.value),
        params=_target(_PARAMS.value),
        latency=None if _LATENCY.value is None else (_milliseconds, _LATENCY.value),
        within=_WITHIN.value or None,
        protected=_PROTECTED.value,
        scope=_SCOPE.value,
        method=_METHOD.value,
        round_to=_ROUND_TO.value or channel_multiple(features),
        floor=_FLOOR.value,
        images=images,
        batches=batches,
        loss=loss,
        repair=_REPAIR.value,
        seed=_task.SEED.value,
    )
    return found.model, found.table()


def _milliseconds(model: keras.Model) -> float:
    """-> p50 of the network's float32 file."""
    from tta_lite.guideline.timing import milliseconds

    return milliseconds(model, _timing.rules())


def _what(criterion: str) -> str:
    """-> what is done, for people."""
    within = f" of {', '.join(_WITHIN.value)}" if _WITHIN.value else ""
    if _LATENCY.value is not None:
        target = f"{_LATENCY.value:g} ms"
    elif _PARAMS.value is not None:
        target = f"{_told(_PARAMS.value)} parameters{within}"
    else:
        target = f"{_told(0.5 if _MACS.value is None else _MACS.value)} MACs{within}"
    return f"channels by {criterion}, {target}"


def _told(amount: float) -> str:
    """-> a share in percent, a number as it is.

    >>> _told(0.5), _told(2e9)
    ('50% of the', '2,000,000,000')
    """
    return f"{amount:.0%} of the" if amount < 1 else f"{amount:,.0f}"


def _target(amount: float | None) -> float | None:
    """-> a share as it is, a number of MACs or parameters as a whole number.

    >>> _target(0.5), _target(2e9)
    (0.5, 2000000000)
    """
    return amount if amount is None or amount < 1 else int(amount)


if __name__ == "__main__":
    _app.run(main)
