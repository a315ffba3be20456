"""G3 with training on a network of your own: int8 whose rounding the network has learnt to live with.

  tta-lite quantize-aware-train --model=net.keras --task=image_folder:/data/flowers --pixels=-1..1 --out=runs/aware
  tta-lite quantize-aware-train --model=net.keras --task=pose:lspet:/data/lspet --pixels=-1..1 --flip_test \
    --epochs=2 --batch_size=16 --out=runs/aware
  tta-lite quantize-aware-train --model=net.keras --task=... --sparsity=0.5 --out=runs/sparse
  tta-lite quantize-aware-train --model=net.keras --task=... --clusters=16 --out=runs/clustered

For a network that loses too much in `tta-lite quantize`, which needs no training and is tried first. It begins with the
trained float network and ranges from training pictures; batch norm and then the ranges are frozen on the way. With
--sparsity or --clusters the weights are also pruned or clustered, and stay so: the compressed file becomes smaller
(6.2.3). Writes the int8 file (steps/02-g3-aware/model.tflite), the float network that was trained (model.keras) with
its ranges (model.ranges.json), and a table with the float file and the int8 file without training beside it.
`tta_lite.training.quantization_files.load_trained` reads the pair back to go on training. An epoch takes about twice as
long as one in float32. A run that was killed goes on with the same command.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from recipes import _app, _model, _run, _target, _task, _timing
from tta_lite.types import InputError

_MODEL = flags.DEFINE_string(
    "model", None, "The trained network, a .keras (of Keras 2 or 3) or .h5 file.", required=True
)
_EPOCHS = flags.DEFINE_integer("epochs", 2, "Of training.", 1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-4, "Of Adam; it falls to a tenth at 9/14 and 12/14.")
_FREEZE_BATCH_NORM = flags.DEFINE_float(
    "freeze_batch_norm", 0.5, "Share of the training after which it is frozen.", 0, 1
)
_FREEZE_RANGES = flags.DEFINE_float("freeze_ranges", 0.75, "Share of the training after which they are frozen.", 0, 1)
_CALIBRATION = flags.DEFINE_integer("calibration_images", 100, "Training pictures that the ranges begin with.", 1)
_SPARSITY = flags.DEFINE_float("sparsity", None, "Share of the weights of each kernel that become and stay zero.", 0, 1)
_CLUSTERS = flags.DEFINE_integer("clusters", None, "Values that each kernel keeps, 3 to 255.")

_FLAGS = [value for value in list(globals().values()) if isinstance(value, flags.FlagHolder)]
for _module in (_model, _target, _run, _timing, _task):
    _FLAGS += _module.FLAGS
    flags.adopt_module_key_flags(_module)


def main(argv: Sequence[str]) -> None:
    """Reads the flags, trains, prints the table."""
    if not _task.TASK.value:
        raise InputError("--task must be given: quantisation-aware training needs training data. Received: nothing")
    from tta_lite.training.quantization_plan import QuantizationAware

    plan = QuantizationAware(
        _FREEZE_BATCH_NORM.value, _FREEZE_RANGES.value, _CALIBRATION.value, _SPARSITY.value, _CLUSTERS.value
    )
    from tta_lite.guideline.quantize_aware import AWARE, take_quantization_aware
    from tta_lite.tasks.calibration import checked_calibration
    from tta_lite.training.fit import FitSettings

    logging.set_verbosity(logging.WARNING)
    runtime = _target.runtime()
    fit = FitSettings(_EPOCHS.value, _LEARNING_RATE.value, seed=_task.SEED.value)
    model = _model.read(_MODEL.value)
    task = _task.find(model)
    checked_calibration(task, plan.calibration_images, seed=_task.SEED.value)
    folder = _run.open_folder("quantize_aware_train", _FLAGS, seed=_task.SEED.value)
    entries = take_quantization_aware(model, task, plan, folder, fit, _timing.rules(), runtime=runtime)
    _task.show(AWARE, entries, folder, task)


if __name__ == "__main__":
    _app.run(main)
