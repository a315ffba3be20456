"""What is tried when plain int8 loses too much (6.2.1), the cheapest first; reduced precision (6.2.2) comes later."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from tta_lite.export.quantize.debug import debug_export, worst_ops
from tta_lite.export.quantize.float_file import FloatFile
from tta_lite.export.quantize.post_training import PostTraining
from tta_lite.guideline.bench import Trial
from tta_lite.guideline.reasons import reason
from tta_lite.training.pruning import magnitude_pruned
from tta_lite.training.quantization_plan import QuantizationAware
from tta_lite.training.quantization_prepare import quantisable
from tta_lite.types import Candidate, ExportSpec

# Name -> what it changes of the plain export. The network stays as it is and nothing is trained.
REPAIRS: dict[str, dict[str, object]] = {
    "int8-corrected": {"ranges": "mse", "repairs": ("bias_correction",)},
    "int8-equalised": {"ranges": "mse", "repairs": ("equalize", "bias_correction")},
    # It sets the biases itself; and equalisation is of use for activations alone where each channel has its scale.
    "int8-rounded": {"ranges": "mse", "repairs": ("adaptive_rounding",)},
}

# As many layers stay in float32, where no repair is enough.
WORST = 3
# Tell which layers are worst.
DEBUG_IMAGES = 8


def int8_rescues(
    candidate: Candidate,
    export: ExportSpec,
    calibration: Callable[[int], Sequence[np.ndarray]],
    *,
    epochs: int = 0,
    rate: float = 1.0,
) -> tuple[Trial, ...]:
    """-> the repairs of an int8 file as settings of G3: what needs no training, then quantisation-aware training.

    Args:
      candidate: the network before it.
      export: of the file that lost too much.
      calibration: number of images -> training images, each [1, H, W, C].
      epochs: of quantisation-aware training; 0: there is nothing to train on.
      rate: its learning rate as a share of the run's.
    """

    def make(spec: ExportSpec, name: str) -> Callable[[], Candidate]:
        return lambda: dataclasses.replace(candidate, export=spec, trail=(*candidate.trail, name))

    found = []
    for name, changes in REPAIRS.items():
        spec = dataclasses.replace(export, **changes)  # type: ignore[arg-type]
        found.append(Trial(name, reason("label_" + name.replace("-", "_")), make(spec, name)))

    def make_worst() -> Candidate:
        spec = dataclasses.replace(export, ranges="mse", repairs=("bias_correction",))
        return make(with_worst_in_float(candidate, spec, calibration), "int8-worst")()

    found.append(Trial("int8-worst", reason("label_int8_worst", count=WORST), make_worst))
    if epochs:
        plan = QuantizationAware(calibration_images=export.calibration_images)
        found.append(quantization_aware_trial(candidate, plan, epochs, rate))
    return tuple(found)


def quantization_aware_trial(candidate: Candidate, plan: QuantizationAware, epochs: int, rate: float) -> Trial:
    """-> a setting of G3: int8 after quantisation-aware training.

    Args:
      candidate: the float network before it.
      plan: what is frozen when, and what of the weights is kept.
      epochs: of training.
      rate: its learning rate as a share of the run's.
    """
    export = ExportSpec("int8", plan.calibration_images)

    def make() -> Candidate:
        # Says which layer cannot be quantised before anything is trained.
        quantisable(candidate.model)
        return dataclasses.replace(candidate, export=export, trail=(*candidate.trail, "quantisation-aware training"))

    def outline() -> Candidate:
        model = candidate.model if plan.sparsity is None else magnitude_pruned(candidate.model, plan.sparsity)
        return dataclasses.replace(candidate, model=model, export=export)

    return Trial(
        "quantization-aware", reason("label_quantization_aware"), make, epochs, rate, quantization=plan, outline=outline
    )


def with_worst_in_float(
    candidate: Candidate, spec: ExportSpec, calibration: Callable[[int], Sequence[np.ndarray]], count: int = WORST
) -> ExportSpec:
    """-> the same export, but the layers that lose most stay in float32.

    Args:
      candidate: the network.
      spec: of its integer file.
      calibration: number of images -> training images, each [1, H, W, C].
      count: how many layers.
    """
    images = list(calibration(spec.calibration_images))
    post = PostTraining(FloatFile.of_model(candidate.model), images)
    layers = [layer.name for layer in candidate.model.layers]
    losses = debug_export(post, spec, images[:DEBUG_IMAGES], layers=layers)
    return dataclasses.replace(spec, keep_float=worst_ops(losses, count))
