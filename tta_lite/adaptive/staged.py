"""From networks to the stages and modes of a policy: early exits of one network, cascades of several.

`early_exit_file` cuts a network with exits into a file with a signature for each stage; `cascade_stages` takes files
that are there. `tuned_modes` finds their thresholds on a validation set and scores them on a test set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tta_lite.adaptive.modes import IMAGE, Mode, Stage
from tta_lite.adaptive.sureness import ENTROPY, MAX_SOFTMAX
from tta_lite.adaptive.thresholds import Tuned, answers, curve, ends
from tta_lite.compat import keras
from tta_lite.export.joined import join_files
from tta_lite.export.runner import TFLitePredictor, load
from tta_lite.export.signatures import export_part
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.tasks.pckh import bootstrap_interval
from tta_lite.transforms.early_exits import SCORES, StageModel, split_stages
from tta_lite.types import InputError

MODEL = "model.tflite"


def early_exit_file(model: keras.Model, preset: str = "fp32", *, file: str = MODEL) -> tuple[tuple[Stage, ...], bytes]:
    """-> the stages of a network with exits, and one file with a signature for each: together they run nothing twice.

    Args:
      model: of `tta_lite.transforms.early_exits.add_exits`, trained.
      preset: of `tta_lite.export.signatures.PRESETS`.
      file: what the file will be called.
    """
    stages: list[Stage] = []
    files: dict[str, bytes] = {}
    for part in split_stages(model):
        name = part.model.name
        files[name] = export_part(part.model, preset, inputs=_arguments(part), outputs=part.outputs)
        stages.append(_exit_stage(model, part, file, name, files[name]))
    return tuple(stages), join_files(files)


def early_exit_int8(
    model: keras.Model, calibration: Sequence[np.ndarray]
) -> tuple[tuple[Stage, ...], dict[str, bytes]]:
    """-> the stages of a network with exits in int8, and a file for each: integer presets share no bytes.

    Features go from file to file as real numbers, so that each stage has scales of its own.

    Args:
      model: of `tta_lite.transforms.early_exits.add_exits`, trained.
      calibration: training images, each [1, H, W, C] float32, one or more.
    """
    stages: list[Stage] = []
    files: dict[str, bytes] = {}
    made: list[dict[str, np.ndarray]] = [{IMAGE: image} for image in calibration]
    for part in split_stages(model):
        name = part.model.name
        samples = [[known[source] for source in part.inputs] for known in made]
        tflite = export_part(
            part.model, "int8", inputs=_arguments(part), outputs=part.outputs, calibration=samples
        )  # fmt: skip
        file = f"{name}.tflite"
        files[file] = tflite
        (signature,) = load(tflite).get_signature_list()
        stages.append(_exit_stage(model, part, file, signature, tflite))
        for known, given in zip(made, samples, strict=True):
            found = part.model(given if len(given) > 1 else given[0], training=False)
            outputs = found if isinstance(found, list) else [found]
            known |= {f"{name}/{output}": np.asarray(one) for output, one in zip(part.outputs, outputs, strict=True)}
    return tuple(stages), files


def _arguments(part: StageModel) -> list[str]:
    return [source.replace("/", "_") for source in part.inputs]


def _exit_stage(model: keras.Model, part: StageModel, file: str, signature: str, tflite: bytes) -> Stage:
    return Stage(
        name=part.model.name,
        file=file,
        signature=signature,
        inputs=dict(zip(_arguments(part), part.inputs, strict=True)),
        scores=SCORES,
        image_shape=tuple(model.input_shape[1:]) if IMAGE in part.inputs else None,
        macs=count_tflite(tflite).macs,
    )


def cascade_stages(files: Mapping[str, bytes]) -> tuple[Stage, ...]:
    """-> a stage for each file, the lightest first: each takes the image itself.

    Args:
      files: name of the stage -> a flatbuffer with one input [1, H, W, C], one output and a signature; it goes into the
        folder as ``<name>.tflite``.

    Raises:
      InputError: a file with other inputs and outputs.
    """
    stages = []
    for name, tflite in files.items():
        signatures = list(load(tflite).get_signature_list())
        if len(signatures) != 1:
            raise InputError(f"A stage of a cascade is a file with one signature. Received: {signatures} in {name!r}")
        predictor = TFLitePredictor(tflite)
        shape = predictor.input.shape[1:]
        if len(shape) != 3:
            raise InputError(
                f"A stage of a cascade must take an image [1, H, W, C]. Received: {[1, *shape]} of {name!r}"
            )
        stages.append(
            Stage(
                name=name,
                file=f"{name}.tflite",
                signature=signatures[0],
                inputs={predictor.input.name: IMAGE},
                scores=predictor.output.name,
                image_shape=shape,
                macs=count_tflite(tflite).macs,
            )
        )
    return tuple(stages)


def tuned_modes(
    stages: Sequence[Stage],
    validation: tuple[Sequence[np.ndarray], np.ndarray],
    test: tuple[Sequence[np.ndarray], np.ndarray],
    *,
    targets: Sequence[float] | None = None,
    signal: str = MAX_SOFTMAX,
    logits: bool = False,
) -> tuple[Mode, ...]:
    """-> the modes of early exits or of a cascade, by rising cost.

    Thresholds are tuned on the validation set; accuracy, its interval and the shares are of the test set.

    Args:
      stages: in the order in which they run. Costs are latencies where all have one, else MACs.
      validation: (scores of each stage, each [N, classes]; labels [N]).
      test: the same of other examples.
      targets: mean costs, in ms or MACs; evenly spaced ones, if not given.
      signal: of `tta_lite.adaptive.sureness.SIGNALS`.
      logits: whether scores are not yet probabilities.
    """
    timed = all(stage.latency_ms is not None for stage in stages)
    costs = [float(stage.latency_ms or 0) if timed else float(stage.macs) for stage in stages]
    found = curve(validation[0], validation[1], costs, targets=targets, signal=signal, logits=logits)
    modes: dict[str, Mode] = {}
    for tuned in found:
        mode = _mode(stages, tuned, sum(costs), test, signal, logits)
        # Two that cost the same to a percent are one.
        modes.setdefault(mode.name, mode)
    return tuple(modes.values())


def _mode(
    stages: Sequence[Stage],
    tuned: Tuned,
    whole: float,
    test: tuple[Sequence[np.ndarray], np.ndarray],
    signal: str,
    logits: bool,
) -> Mode:
    outputs, labels = test
    last = _last_stage(tuned, signal)
    thresholds = tuned.thresholds[:last]
    answered = ends(outputs[: last + 1], thresholds, signal=signal, logits=logits)
    correct = answers(outputs[: last + 1], answered) == labels
    low, high = bootstrap_interval(np.ones((len(correct), 1), bool), correct[:, None])
    value = 100.0 * float(correct.mean())
    return Mode(
        name=f"{100 * tuned.cost / whole:.0f}%",
        stages=tuple(stage.name for stage in stages[: last + 1]),
        accuracy=value,
        interval=(min(low, value), max(high, value)),
        examples=len(correct),
        thresholds=thresholds,
        shares=tuple(float(share) for share in np.bincount(answered, minlength=last + 1) / len(correct)),
        answered=tuple(_percent(correct[answered == place]) for place in range(last + 1)),
        cut=tuple(_percent((np.argmax(outputs[place], axis=-1) == labels)[answered > place]) for place in range(last)),
    )


def _percent(correct: np.ndarray) -> float | None:
    return 100.0 * float(correct.mean()) if len(correct) else None


def _last_stage(tuned: Tuned, signal: str) -> int:
    """-> the first stage that takes every answer: those behind it never run."""
    for place, threshold in enumerate(tuned.thresholds):
        if threshold is not None and (threshold <= 0 if signal != ENTROPY else threshold >= 1e3):
            return place
    return len(tuned.thresholds)
