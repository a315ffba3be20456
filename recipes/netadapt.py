"""NetAdapt: a network loses channels, a little of its latency at a time, until it keeps a limit; then it is fine-tuned.

  tta-lite netadapt --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --latency_share=0.5 \
    --out=runs/half
  tta-lite netadapt --model=pose.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test --max_latency_ms=20 \
    --board=rk3399 --connect=ssh://user@rk3399 --cores=big --tuned=5 --finetune_epochs=10 --out=runs/adapted

In each iteration every group of channels makes a proposal: it alone shrinks until the iteration's share of latency is
freed, by a table of what each layer takes with how many channels, which is measured first, here or on the board.
The proposals are trained for --short_steps, and the one with the least loss on other batches of training data becomes
the network (Yang et al., ECCV 2018). What is timed in each iteration is the whole file, in turn with the unmodified
one. `tta-lite remove-channels` reaches a latency in one cut, in minutes; here each proposal is trained. Writes the
network (steps/01-netadapt/model.keras), its file, the iterations (netadapt/iterations/) and the table. The same command
goes on where a killed one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags, logging

from recipes import _app, _distil, _finetune, _model, _run, _target, _task, _timing
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.report.run_folder import RunFolder
    from tta_lite.types import Candidate

STEP = "netadapt"

_MODEL = flags.DEFINE_string(
    "model", None, "The trained network, a .keras (of Keras 2 or 3) or .h5 file.", required=True
)
_MAX_LATENCY = flags.DEFINE_float("max_latency_ms", None, "The limit: p50 of the file.", 0)
_SHARE = flags.DEFINE_float("latency_share", None, "Or: as a share of what the network takes now.", 0, 1)
_STEP = flags.DEFINE_float("step", 0.05, "Share of the first latency that the first iteration frees.", 0, 1)
_DECAY = flags.DEFINE_float("decay", 0.96, "By how much each later iteration frees less.", 0, 1)
_CRITERION = flags.DEFINE_string("criterion", "l2_norm", "Which channels of a group leave: l2_norm, taylor, ...")
_TUNED = flags.DEFINE_integer(
    "tuned", 5, "Proposals an iteration that are trained, those of the least loss; 0: all.", 0
)
_SHORT_STEPS = flags.DEFINE_integer("short_steps", 50, "Of training, for each of them.", 1)
_SHORT_RATE = flags.DEFINE_float("short_rate", 3e-4, "The learning rate of that.", 0)
_SCORE_BATCHES = flags.DEFINE_integer("score_batches", 8, "Of training data, whose loss decides.", 1)
_WITHIN = flags.DEFINE_list("within", [], "Names and patterns of the layers that may lose channels; all if not given.")
_PROTECTED = flags.DEFINE_list("protected", [], "Names and patterns of layers that stay as they are.")
_ROUND_TO = flags.DEFINE_integer("round_to", None, "Channels are a multiple of it; what suits --board, or 8.", 1)
_FLOOR = flags.DEFINE_integer("floor", 8, "The fewest channels of a layer.", 1)
_REPAIR = flags.DEFINE_bool("repair", True, "Fit the layers behind to their old outputs.")
_PRESET = flags.DEFINE_enum("preset", "fp32", ("fp32", "int8"), "Of the files that are timed; the network stays float.")
_CALIBRATION = flags.DEFINE_integer("calibration_images", 100, "Of int8; 32 of them at most for the repair.", 1)
_EPOCHS = flags.DEFINE_integer("finetune_epochs", 10, "Of the long training at the end.", 0)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _distil, _finetune, _target, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, shrinks, trains, prints the iterations and the table."""
    if not _task.TASK.value:
        raise InputError("--task must be given: proposals are judged on its data. Received: nothing")
    if (_MAX_LATENCY.value is None) == (_SHARE.value is None):
        received = "neither" if _SHARE.value is None else "both"
        raise InputError(f"One of --max_latency_ms and --latency_share must say the limit. Received: {received}")
    _distil.check(bool(_EPOCHS.value))
    rules = _timing.rules()
    if _timing.LATENCY_MODEL.value:
        raise InputError("NetAdapt measures a table of layers. Expected: no --latency_model. Received: one")

    from tta_lite.guideline.bench import Trial
    from tta_lite.transforms.channels.criteria import get_criterion

    logging.set_verbosity(logging.WARNING)
    get_criterion(_CRITERION.value)
    runtime = _target.runtime()
    model = _model.read(_MODEL.value)
    task = _task.find(model)
    if not task.steps_per_epoch:
        raise InputError(f"A training needs training data. Received: --task={_task.TASK.value}, which has none")
    _distil.try_teacher(model, task)
    folder = _run.open_folder(STEP, _FLAGS, seed=_task.SEED.value)
    trial = Trial(
        STEP, _what(), lambda: _adapted(model, task, folder, rules), _EPOCHS.value, _finetune.RATE.value,
        teaching=_distil.teaching(_EPOCHS.value),
    )  # fmt: skip
    _task.take(
        STEP, model, task, trial, folder, rules, learning_rate=_finetune.LEARNING_RATE.value, runtime=runtime,
        clause="6.2.3",
    )  # fmt: skip


def _what() -> str:
    limit = f"{_SHARE.value:.0%} of the latency" if _SHARE.value else f"{_MAX_LATENCY.value:g} ms"
    return f"channels by NetAdapt, {limit}, {_CRITERION.value}"


def _adapted(model: Any, task: Any, folder: RunFolder, rules: dict[str, Any]) -> Candidate:
    from tta_lite.boards.features import channel_multiple
    from tta_lite.guideline.netadapt_step import Short, adapted
    from tta_lite.guideline.structure_steps import factor_images
    from tta_lite.search.netadapt import NetAdapt
    from tta_lite.types import FP32, INT8, Candidate

    board = _target.board()
    features = [feature for cores in board.cores for feature in cores.features] if board else []

    def calibration(count: int) -> Any:
        return task.calibration(count, seed=_task.SEED.value)

    spec, images = FP32, ()
    if _PRESET.value == "int8":
        spec, images = INT8, calibration(_CALIBRATION.value)
    settings = NetAdapt(
        _MAX_LATENCY.value or 1.0,
        _STEP.value,
        _DECAY.value,
        _CRITERION.value,
        _TUNED.value or None,
        _WITHIN.value or None,
        _PROTECTED.value,
        _ROUND_TO.value or channel_multiple(features),
        _FLOOR.value,
        _task.SEED.value,
    )
    of_board: dict[str, Any] = {
        name: rules[name] for name in ("connect", "board", "cores", "cool_down_secs", "remote_folder") if name in rules
    }
    new, iterations = adapted(
        model,
        task,
        settings,
        folder.path / STEP,
        rules=rules,
        spec=spec,
        calibration=images,
        profile_rules={**of_board, "num_threads": rules["num_threads"]},
        latency_share=_SHARE.value,
        short=Short(_SHORT_STEPS.value, _SHORT_RATE.value, _SCORE_BATCHES.value),
        images=factor_images(calibration, _CALIBRATION.value) if _REPAIR.value else None,
    )
    return Candidate(new, trail=(f"netadapt {_what()}, {len(iterations) - 1} iterations",))


if __name__ == "__main__":
    _app.run(main)
