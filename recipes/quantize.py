"""G3 or G4 on a network of your own: 8 or 16 bits instead of 32, scored and timed before and after.

  tta-lite quantize --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --preset=int8 --out=runs/int8
  tta-lite quantize --model=net.keras --task=pose:lspet:/data/lspet --pixels=imagenet --preset=fp16 --board=rk3399 \
    --out=runs/half

  tta-lite quantize --model=net.keras --task=... --preset=fp16 --finetune_epochs=2 --out=runs/mixed

int8: weights and activations, whose ranges are fixed by training pictures (G3, clause 6.2.1); dynamic: weights of 8
bits, arithmetic in float (G3); fp16: weights of 16 bits, after training in mixed precision if --finetune_epochs are
given (G4, clause 6.2.2). With --board its runtime must take every op of the file. Writes the .tflite file
(steps/01-g3 or -g4/model.tflite) and the table. They are steps G3 and G4 of `tta-lite guideline`: the same flags and
the same seed give the same file.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from recipes import _app, _task, _timing
from tta_lite.types import Candidate, ExportSpec, InputError

PRESETS = ("int8", "dynamic", "fp16")

_MODEL = flags.DEFINE_string("model", None, "The trained network, a .keras or .h5 file of tf_keras.", required=True)
_PRESET = flags.DEFINE_enum("preset", "int8", PRESETS, "Of the export.")
_CALIBRATION = flags.DEFINE_integer("calibration_images", 100, "Training pictures that fix the ranges of int8.", 1)
_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 0, "fp16: of training in mixed precision before.", 0)
_FINETUNE_RATE = flags.DEFINE_float("finetune_rate", 0.3, "Its learning rate, as a share of --learning_rate.", 0)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_BOARD = flags.DEFINE_string("board", None, "The target, e.g. rk3399, must take the file.")
_RUNTIME = flags.DEFINE_string("runtime", None, "Of the board; its usual one if not given.")
_OUT = flags.DEFINE_string("out", None, "The run folder.", required=True)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
_FLAGS += [*_timing.FLAGS, *_task.FLAGS]
flags.adopt_module_key_flags(_timing)
flags.adopt_module_key_flags(_task)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, quantises, prints the table."""
    if not _task.TASK.value:
        raise InputError("--task must be given: it calibrates and scores (6.2.1). Received: nothing")
    if _FINETUNE_EPOCHS.value and _PRESET.value != "fp16":
        raise InputError(
            f"--finetune_epochs are of --preset=fp16: int8 and dynamic are post-training (6.2.1). "
            f"Received: --preset={_PRESET.value}"
        )
    if not _FINETUNE_EPOCHS.value:
        _task.refuse("with --finetune_epochs", _FINETUNE_RATE, _LEARNING_RATE)
    from tta_lite.boards.profile import get_board
    from tta_lite.guideline.steps import export_trial, mixed_trial
    from tta_lite.models.files import load_network
    from tta_lite.report.environment import describe_run
    from tta_lite.report.run_folder import RunFolder

    logging.set_verbosity(logging.WARNING)
    runtime = get_board(_BOARD.value).runtime(_RUNTIME.value) if _BOARD.value else None
    model = load_network(_MODEL.value)
    task = _task.find(model)
    trial = export_trial(Candidate(model), ExportSpec(_PRESET.value, _CALIBRATION.value))
    if _FINETUNE_EPOCHS.value:
        trial = mixed_trial(Candidate(model), _FINETUNE_EPOCHS.value, _FINETUNE_RATE.value)
    values = {holder.name: holder.value for holder in _FLAGS}
    folder = RunFolder.open(_OUT.value, describe_run(values, recipe="quantize", seed=_task.SEED.value))
    _task.take(
        "G4" if _PRESET.value == "fp16" else "G3", model, task, trial, folder, _timing.rules(),
        learning_rate=_LEARNING_RATE.value, runtime=runtime,
    )  # fmt: skip


if __name__ == "__main__":
    _app.run(main)
