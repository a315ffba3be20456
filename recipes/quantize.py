"""G3 or G4 on a network of your own: 8 or 16 bits instead of 32, scored and timed before and after.

  tta-lite quantize --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --preset=int8 --out=runs/int8
  tta-lite quantize --model=net.tflite --calibration=/data/pictures --pixels=-1..1 --out=runs/int8
  tta-lite quantize --model=net.keras --task=pose:lspet:/data/lspet --pixels=imagenet --ranges=mse \
    --repairs=equalize,bias_correction --out=runs/repaired
  tta-lite quantize --model=net.keras --task=pose:lspet:/data/lspet --pixels=imagenet --preset=fp16 --board=rk3399 \
    --out=runs/half
  tta-lite quantize --model=net.keras --task=... --preset=fp16 --finetune_epochs=2 --out=runs/mixed
  tta-lite quantize --model=net.keras --task=... --preset=fp8_simulated --out=runs/fp8

The presets, the back ends, the range rules and the repairs are explained in docs/quantisation.md. The network is a
.keras or .h5 file, a SavedModel or a float .tflite; pictures that fix the ranges come from --task or from
--calibration, and are checked first. With --task the accuracy is scored before and after; --finetune_epochs trains in
mixed precision before fp16 (G4, clause 6.2.2). With --board its runtime must take every op of the file, and of fp16 it
is said whether the board's cores compute it and whether it was faster. fp8_simulated scores what FP8 would cost, and
writes no file but fp8.json. Writes the .tflite file (steps/01-g3 or -g4/model.tflite) and the table. Of a Keras network
with a task they are steps G3 and G4 of `tta-lite guideline`: the same flags and the same seed give the same file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from absl import flags, logging

from recipes import _app, _finetune, _model, _precision, _quantization, _run, _target, _task, _timing
from tta_lite.types import Candidate, InputError, LedgerEntry

if TYPE_CHECKING:
    from tta_lite.report.run_folder import RunFolder

_FINETUNE_EPOCHS = flags.DEFINE_integer("finetune_epochs", 0, "fp16: of training in mixed precision before.", 0)

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_finetune, _target, _run, _quantization, _precision, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, quantises, prints the table."""
    preset = _quantization.PRESET.value
    if _FINETUNE_EPOCHS.value and (preset != "fp16" or not _task.TASK.value or not _quantization.is_keras()):
        raise InputError(
            "--finetune_epochs are of --preset=fp16 with a --task and a Keras network: the other presets are "
            f"post-training (6.2.1). Received: --preset={preset}"
        )
    if not _FINETUNE_EPOCHS.value:
        _task.refuse("with --finetune_epochs", *_finetune.FLAGS, _precision.PRECISION)
    if not _task.TASK.value:
        _task.refuse("with --task", _task.BATCH_SIZE, _task.MIRROR, _task.FLIP_TEST)

    logging.set_verbosity(logging.WARNING)
    runtime = _target.runtime()
    step = "G4" if preset == "fp16" else "G3"

    def folder() -> RunFolder:
        return _run.open_folder("quantize", _FLAGS, seed=_task.SEED.value)

    if preset == _quantization.FP8:
        _ask_fp8(folder)
        return
    if _task.TASK.value and _quantization.is_keras() and not _quantization.CALIBRATION.value:
        from tta_lite.export.float_check import check_finite_weights
        from tta_lite.export.quantize.float_file import FloatFile
        from tta_lite.guideline.export_steps import export_trial, mixed_trial
        from tta_lite.tasks.calibration import checked_calibration

        model = _model.read(_quantization.MODEL.value)
        check_finite_weights(model)
        task = _task.find(model)
        spec = _quantization.spec(lambda: FloatFile.of_model(model))
        if spec.needs_images:
            checked_calibration(task, spec.calibration_images, seed=_task.SEED.value)
        trial = export_trial(Candidate(model), spec)
        if _FINETUNE_EPOCHS.value:
            trial = mixed_trial(
                Candidate(model), _FINETUNE_EPOCHS.value, _finetune.RATE.value, _precision.PRECISION.value
            )
        entries = _task.take(
            step,
            model,
            task,
            trial,
            folder(),
            _timing.rules(),
            learning_rate=_finetune.LEARNING_RATE.value,
            runtime=runtime,
        )
        _confirm(entries)
        return
    from tta_lite.guideline.quantize_file import edges_of, quantize_file
    from tta_lite.guideline.settings import CLAUSES

    source = _quantization.source()
    task_of_file = _task.find(edges_of(source.tflite)) if _task.TASK.value else None
    spec = _quantization.spec(lambda: source)
    images = _quantization.images(source, task_of_file)
    run = folder()
    entries = quantize_file(
        source, spec, images, run, _timing.rules(), step=step, clause=CLAUSES[step], task=task_of_file, runtime=runtime
    )
    _task.show(step, entries, run, task_of_file)
    _confirm(entries)


def _confirm(entries: Sequence[LedgerEntry]) -> None:
    """Prints whether the board computes FP16, and whether it was faster, if that was asked."""
    board = _target.board()
    if board is None or _quantization.PRESET.value != "fp16" or "speedup" not in entries[-1].details:
        return
    from tta_lite.guideline.half_precision import confirmed_by_rows

    print(confirmed_by_rows(entries[0], entries[-1], board, runtime=_target.RUNTIME.value))


def _ask_fp8(open_folder: Callable[[], RunFolder]) -> None:
    """Scores what FP8 would cost and writes ``fp8.json``."""
    from tta_lite.guideline.fp8_question import fp8_scores
    from tta_lite.guideline.quantize_file import edges_of

    if not _task.TASK.value:
        raise InputError("--preset=fp8_simulated answers with scores and needs --task. Received: nothing")
    _task.refuse(
        "with a preset that makes a file", _quantization.BACKEND, _quantization.REPAIRS, _quantization.PER_TENSOR,
        _quantization.KEEP_FLOAT, _quantization.KEEP_16X8, *_target.FLAGS,
    )  # fmt: skip
    source = _quantization.source()
    task = _task.find(edges_of(source.tflite))
    images = _quantization.images(source, task)
    run = open_folder()
    scores = fp8_scores(source, images, task, ranges=_quantization.RANGES.value)
    run.write_json("fp8.json", [dataclasses.asdict(one) for one in scores])
    for one in scores:
        print(one)
    print(f"{run.path}/fp8.json; there is no file, for no kernel computes in FP8")


if __name__ == "__main__":
    _app.run(main)
