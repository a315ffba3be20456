"""From several networks in one set of weights to an artifact folder: a mode each, scored and timed through LiteRT.

Whatever has `keys` and gives a network for each of them will do: `tta_lite.training.slimmable.Slimmable`,
`tta_lite.training.resolutions.MultiResolution` and others. A mode is a stage of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tta_lite.adaptive.folder import GOLDEN_IMAGES, rewrite_policy, write_adaptive
from tta_lite.adaptive.modes import IMAGE, Mode, Stage
from tta_lite.adaptive.pictures import resize
from tta_lite.adaptive.policy import HEAT_MAPS, SCORES, Policy
from tta_lite.adaptive.timing import time_in_child, with_latencies
from tta_lite.compat import keras
from tta_lite.export.joined import join_files
from tta_lite.export.runner import TFLitePredictor, load
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.tflite_counting import count_tflite
from tta_lite.tasks.pose import PoseTask
from tta_lite.tasks.stream import first_inputs
from tta_lite.training.resolutions import MultiResolution
from tta_lite.training.slimmable import Slimmable
from tta_lite.types import FP32, Accuracy, ExportSpec, InputError, Predictor, Task

MODEL = "model.tflite"
# One file is made of several where it is this share smaller or more: all of it is loaded, whichever mode runs.
WORTH = 0.1


class Networks(Protocol):
    """Several networks in one set of weights."""

    @property
    def keys(self) -> Sequence[Any]:
        """What they are asked for by, the largest first."""

    def network(self, key: Any) -> keras.Model:
        """-> one of them."""


class Scored(Protocol):
    """What a mode is exported and scored by: a `Task` is one."""

    def calibration(self, count: int, *, seed: int = 0) -> Sequence[np.ndarray]:
        """`count` training inputs, each with a batch dimension of 1."""

    def score(self, predict: Predictor) -> Accuracy:
        """How good the predictions for the test part are."""


@dataclasses.dataclass(frozen=True)
class SmallerPictures:
    """A task in pictures of another size, made of its own as the runner makes them.

    Attributes:
      task: of the largest pictures; its answers do not hang on the size.
      size: height and width.
    """

    task: Task
    size: tuple[int, int]

    def calibration(self, count: int, *, seed: int = 0) -> list[np.ndarray]:
        """`count` training inputs, each with a batch dimension of 1."""
        return [resize(image, self.size) for image in self.task.calibration(count, seed=seed)]

    def score(self, predict: Predictor) -> Accuracy:
        """How good the predictions for the resized test part are."""
        return self.task.score(lambda images: predict(resize(images, self.size)))


@dataclasses.dataclass(frozen=True, eq=False)
class Modes:
    """A policy without latencies, and its files.

    Attributes:
      policy: a mode a network.
      files: name -> flatbuffer; one, or one a mode.
      one_file_bytes: of one file with a signature a mode; None: the preset has none.
      separate_bytes: of a file a mode, together.
    """

    policy: Policy
    files: Mapping[str, bytes]
    one_file_bytes: int | None
    separate_bytes: int


def many_in_one_modes(
    many: Networks,
    task: Task,
    spec: ExportSpec = FP32,
    *,
    name: str = "",
    kind: str | None = None,
    task_of: Callable[[keras.Model], Scored] | None = None,
    join: bool | None = None,
) -> Modes:
    """-> a mode for each network, each scored as the file that it becomes.

    Args:
      many: trained.
      task: of the largest network.
      spec: how each is exported.
      name: of the policy; that of the largest network, if empty.
      kind: of `tta_lite.adaptive.policy.KINDS`; of a `Slimmable` and a `MultiResolution` it is known.
      task_of: network -> its task; `task_for`, if not given.
      join: one file with a signature a mode, or a file a mode; None: one file where that is `WORTH` smaller. Integer
        presets have a scale for each tensor of each graph, share nothing, and stay files.

    Raises:
      InputError: networks with other inputs than one picture, a kind that is not known, or a preset that cannot be
        joined.
    """
    kind = kind or _kind(many)
    find = task_of or (lambda model: task_for(task, model))
    joinable = not spec.needs_images
    if join and not joinable:
        raise InputError(f"Integer presets are files of their own, for they share no bytes. Received: {spec.preset}")
    parts: dict[str, bytes] = {}
    stages, modes, metric, maps = [], [], "", False
    for key in many.keys:
        model = many.network(key)
        name = name or model.name
        mode = f"{key:g}" if isinstance(key, (int, float)) else str(key)
        scored = find(model)
        images = scored.calibration(spec.calibration_images) if spec.needs_images else ()
        tflite = parts[mode] = export_tflite(model, spec, images)
        stage = stage_of(mode, tflite)
        made, metric = scored_mode(stage, tflite, scored)
        stages.append(stage)
        modes.append(made)
        maps = isinstance(scored, PoseTask)
    separate = sum(map(len, parts.values()))
    one_file = join_files(parts) if joinable else None
    if join is None:
        join = one_file is not None and len(one_file) <= (1 - WORTH) * separate
    files = {stage.file: parts[stage.name] for stage in stages}
    if join and one_file is not None:
        files = {MODEL: one_file}
        stages = [dataclasses.replace(stage, file=MODEL, signature=stage.name) for stage in stages]
    policy = Policy(name, kind, metric, tuple(stages), tuple(modes), answers=HEAT_MAPS if maps else SCORES)
    return Modes(policy, files, None if one_file is None else len(one_file), separate)


def write_many_in_one(
    folder: str | Path,
    many: Networks,
    task: Task,
    spec: ExportSpec = FP32,
    *,
    runs: int = 200,
    num_threads: int = 1,
    **options: Any,
) -> Modes:
    """Writes the artifact folder: files, golden answers, and a policy with accuracy, MACs and latency of each mode.

    Args:
      folder: the artifact folder.
      many, task, spec: as for `many_in_one_modes`, and so are the `options`.
      runs: timed ones of each mode, in a process of their own.
      num_threads: of the interpreter.

    Returns:
      what was written; the policy has latencies.

    Example:
      settings = FitSettings(40, together=functools.partial(Slimmable, widths=(0.5,)))
      write_many_in_one("artifact", fit(Candidate(net), task, settings, "run").model, task)
    """
    found = many_in_one_modes(many, task, spec, **options)
    write_adaptive(folder, found.policy, found.files, list(first_inputs(task.validation_data(), GOLDEN_IMAGES)))
    policy = with_latencies(found.policy, *time_in_child(folder, runs=runs, num_threads=num_threads))
    rewrite_policy(folder, policy)
    return dataclasses.replace(found, policy=policy)


def task_for(task: Task, model: keras.Model) -> Scored:
    """-> the task that a mode is scored by: without a flip test, which a runner does not make, and in its size.

    A `PoseTask` crops people in the size itself, as a camera's pipeline would; other tasks' pictures are resized, and
    their answers must not hang on the size.

    Args:
      task: of the largest network.
      model: one of the networks.
    """
    return task_at(task, tuple(model.input_shape[1:3]))


def task_at(task: Task, size: tuple[int, int]) -> Scored:
    """-> what `task_for` gives for a network that takes pictures of that height and width."""
    if isinstance(task, PoseTask):
        return dataclasses.replace(task, input_size=size[0], flip_test=False)
    return SmallerPictures(task, size)


class _Counted:
    """A predictor that knows how many images it was given."""

    def __init__(self, predict: Predictor) -> None:
        self._predict, self.images = predict, 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.images += len(images)
        return self._predict(images)


def _kind(many: Networks) -> str:
    if isinstance(many, Slimmable):
        return "slimmable"
    if isinstance(many, MultiResolution):
        return "resolution"
    raise InputError(f"Argument `kind` must be given for other networks than Slimmable's. Received: {type(many)}")


def stage_of(mode: str, tflite: bytes) -> Stage:
    """-> a stage that is a file of its own, ``mode-<name>.tflite``."""
    predictor = TFLitePredictor(tflite)
    shape = predictor.input.shape[1:]
    if len(shape) != 3:
        raise InputError(f"A mode must take one picture [1, H, W, C]. Received: {[1, *shape]} of {mode!r}")
    return Stage(
        name=mode,
        file=f"mode-{mode}.tflite",
        signature=next(iter(load(tflite).get_signature_list())),
        inputs={predictor.input.name: IMAGE},
        scores=predictor.output.name,
        image_shape=(shape[0], shape[1], shape[2]),
        macs=count_tflite(tflite).macs,
    )


def scored_mode(stage: Stage, tflite: bytes, scored: Scored) -> tuple[Mode, str]:
    """-> a mode that is this stage alone, scored as the file that it is, and the metric."""
    predict = _Counted(TFLitePredictor(tflite))
    accuracy = scored.score(predict)
    low, high = accuracy.interval
    value = accuracy.value
    interval = min(low, value), max(high, value)
    return Mode(stage.name, (stage.name,), value, interval, accuracy.examples or predict.images), accuracy.metric
