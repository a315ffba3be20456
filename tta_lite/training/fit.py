"""`fit`: Adam on a step schedule over `keras.Model.fit`, with checkpoints, resume, logs and one seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training import precision as precisions
from tta_lite.training import pruning as prunings
from tta_lite.training import quantization_plan as plans
from tta_lite.training.callbacks import (
    EpochCheckpoint,
    History,
    Progress,
    PruneLowMagnitudeStep,
    SparsityLogger,
    StopOnNaN,
    TimeLimit,
    read_history,
)
from tta_lite.training.distillation import Distillation
from tta_lite.training.loss_scale import LossScaleLogger
from tta_lite.training.strategy import get_strategy, is_chief, mean_and_variance
from tta_lite.types import INT8, Candidate, InputError, Task, input_error_in

HISTORY = "history.csv"
LOSS_SCALE = "loss_scale.csv"
SPARSITY = "sparsity.csv"


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How long and how fast a network learns. The defaults are the reference's (Simple Baselines, section 3).

    Attributes:
      epochs: passes over the training set.
      learning_rate: of Adam.
      drops: shares of the training at which the learning rate falls to a tenth (epochs 90 and 120 of 140).
      seed: of the order and the augmentation of the examples.
      strategy: ``none``, ``mirrored`` or ``multi_worker``.
      precision: ``float32``, ``mixed_float16`` or ``mixed_bfloat16``.
      pruning: the G5 schedule, or None.
      quantization: how the network learns with int8's rounding (G3), or None.
      distillation: the teacher that it also learns from, or None.
      together: makes of the network several in one set of weights, such as
        ``functools.partial(Slimmable, widths=(0.75, 0.5))``, which learn together, or None.
      tensorboard: write logs to ``<workdir>/logs``.
    """

    epochs: int = 140
    learning_rate: float = 1e-3
    drops: tuple[float, ...] = (90 / 140, 120 / 140)
    seed: int = 0
    strategy: str = "none"
    precision: str = "float32"
    pruning: prunings.Pruning | None = None
    quantization: plans.QuantizationAware | None = None
    distillation: Distillation | None = None
    together: Callable[[keras.Model], keras.Model] | None = None
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"Argument `epochs` must be 1 or more. Received: {self.epochs}")
        if not self.learning_rate > 0:
            raise InputError(f"Argument `learning_rate` must be above 0. Received: {self.learning_rate}")
        if any(not 0 < drop < 1 for drop in self.drops) or list(self.drops) != sorted(self.drops):
            raise InputError(f"Argument `drops` must be rising shares between 0 and 1. Received: {self.drops}")
        if self.precision not in precisions.POLICIES:
            raise InputError(
                f"Argument `precision` must be one of {', '.join(precisions.POLICIES)}. Received: {self.precision!r}"
            )
        if self.quantization is not None and (self.precision != "float32" or self.pruning is not None):
            raise InputError(
                "Quantisation-aware training computes in float32 and keeps its own zeros. Expected: precision float32 "
                f"and no pruning schedule. Received: {self.precision!r}, {self.pruning}"
            )
        others = (self.pruning, self.quantization, self.distillation)
        if self.together is not None and (self.precision != "float32" or any(one is not None for one in others)):
            raise InputError(
                "Networks in one set of weights learn together in float32, without pruning, quantisation or a teacher. "
                f"Received: {self.precision!r}, {', '.join(type(one).__name__ for one in others if one is not None)}"
            )


def learning_rate_schedule(settings: FitSettings, total_steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """-> step -> learning rate: a tenth of the one before after every drop."""
    # Keras counts a boundary itself to the time before it.
    boundaries = [max(1, round(drop * total_steps)) - 1 for drop in settings.drops]
    rates = [settings.learning_rate * 0.1**k for k in range(len(boundaries) + 1)]
    if not boundaries:
        # Keras wants one boundary or more.
        boundaries, rates = [total_steps], rates * 2
    return keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, rates)


def fit(
    candidate: Candidate,
    task: Task,
    settings: FitSettings,
    workdir: str | Path,
    *,
    label: str = "training",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    write: Callable[[str], object] | None = None,
) -> Candidate:
    """Trains a copy of the candidate's model; a call with the same `workdir` goes on where a killed one stopped.

    Two runs with the same seed on the same machine give the same weights, stopped in between or not.

    Args:
      candidate: its model is copied and not changed.
      task: the data and the loss.
      settings: see `FitSettings`.
      workdir: gets ``checkpoints/``, ``logs/`` and ``history.csv``, for mixed_float16 ``loss_scale.csv`` and
        for pruning ``sparsity.csv``. Every worker of a cluster needs its own.
      label: what progress lines begin with.
      callbacks: more of the caller's own. With a `TimeLimit` whose attribute `stopped` is true afterwards, the training
        is not done: call again with the same `workdir`.
      write: where progress lines go; standard error if None.

    Returns:
      the candidate with the trained model: float32, without wrappers, not compiled, and with nothing of a teacher.
      With `settings.quantization` it is the quantisation-aware model, to be exported as int8; with `settings.together`
      what that made, which gives each of its networks.

    Raises:
      InputError: an example could not be read, the loss or the weights are no longer numbers, or `workdir` holds
        another training.
    """
    workdir = Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    total_steps = settings.epochs * task.steps_per_epoch
    keras.utils.set_random_seed(settings.seed)
    strategy = get_strategy(settings.strategy)
    with strategy.scope():
        model = precisions.with_policy(candidate.model, settings.precision)
        pruners: list[keras.callbacks.Callback] = []
        if settings.pruning is not None:
            model, pruners = settings.pruning.prepared(model, total_steps)
        if settings.quantization is not None:
            images = task.calibration(settings.quantization.calibration_images, seed=settings.seed)
            model, kept = settings.quantization.wrap(model, images)
        if settings.together is not None:
            model = settings.together(model)
        # The reference's epsilon. Keras's own is 1e-7, and a tenth of the gradients of these losses are below 6e-8.
        adam = keras.optimizers.Adam(learning_rate_schedule(settings, total_steps), epsilon=1e-8)
        optimizer = precisions.optimizer_for(settings.precision, adam)
        model.compile(optimizer=optimizer, loss=task.loss())
        lessons = [] if settings.distillation is None else [settings.distillation.teach(model, task.loss())]
        regressors = [layer for one in lessons for layer in one.lesson.regressors]
        beside = [variable for one in lessons for variable in one.lesson.extra_variables]
        optimizer.build([*model.trainable_variables, *beside])
        epoch = tf.Variable(0, trainable=False, dtype=tf.int64, name="epoch")
    masks = [one.state for one in pruners if isinstance(one, PruneLowMagnitudeStep)]
    parts = {name: part for name, part in (("masks", masks), ("regressors", regressors)) if part}
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, epoch=epoch, **parts)
    manager = tf.train.CheckpointManager(checkpoint, str(workdir / "checkpoints"), max_to_keep=1)
    if manager.latest_checkpoint:
        _restore(checkpoint, manager.latest_checkpoint)
    start = int(epoch.numpy())
    _check_common_start(strategy, start, workdir)
    nan = StopOnNaN()
    watchers: list[keras.callbacks.Callback] = [nan, *lessons]
    if settings.precision == "mixed_float16":
        # First, so that the history and TensorBoard see what it logs.
        watchers.append(LossScaleLogger(workdir / LOSS_SCALE if is_chief(strategy) else None))
    if is_chief(strategy):
        watchers.append(History(workdir / HISTORY))
    limit = next((one for one in callbacks if isinstance(one, TimeLimit)), None)
    watchers += [EpochCheckpoint(manager, epoch, nan, limit), *callbacks]
    if pruners:
        if is_chief(strategy) and masks:
            log_dir = workdir / "logs" / "sparsity" if settings.tensorboard else None
            pruners.append(SparsityLogger(workdir / SPARSITY, log_dir))
        # Before the state is kept, and before what logs.
        watchers[1:1] = pruners
    if settings.quantization is not None:
        # Before the state is kept: what a callback puts right must be in it.
        watchers[1:1] = [settings.quantization.schedule(settings.epochs), *kept]
    if is_chief(strategy):
        watchers.append(Progress(label, write=write))
        if settings.tensorboard:
            watchers.append(keras.callbacks.TensorBoard(str(workdir / "logs"), write_graph=False, profile_batch=0))
    if start < settings.epochs:
        try:
            model.fit(
                task.train_data(seed=settings.seed, start_step=start * task.steps_per_epoch),
                steps_per_epoch=task.steps_per_epoch,
                epochs=settings.epochs,
                initial_epoch=start,
                validation_data=task.validation_data(),
                callbacks=watchers,
                verbose=0,
            )
        except tf.errors.OpError as error:
            mistake = input_error_in(error)
            if mistake is None:
                raise
            raise mistake from None
        if nan.at is not None:
            raise InputError(
                f"{label}: the loss and the weights must stay numbers. Received: NaN or infinity in epoch "
                f"{nan.at[0] + 1}, step {nan.at[1] + 1}; a smaller learning rate than {settings.learning_rate} may help"
            )
    if settings.quantization is not None:
        return dataclasses.replace(candidate, model=model, export=INT8)
    if settings.together is not None:
        return dataclasses.replace(candidate, model=model)
    wrapped = settings.pruning is not None and settings.pruning.how == "wrappers"
    trained = prunings.strip(model) if wrapped else model
    # A plain copy: out of the strategy's scope, the float32 master weights, and without the optimizer, whose state
    # would make a saved file three times as large.
    trained = precisions.with_policy(trained, "float32")
    return dataclasses.replace(candidate, model=trained)


def training_seconds(workdir: str | Path) -> float:
    """-> what the epochs of a training have taken so far, those before a kill included; 0 before the first."""
    return sum(float(row["seconds"] or 0) for row in read_history(Path(workdir) / HISTORY) if "seconds" in row)


def _restore(checkpoint: tf.train.Checkpoint, path: str) -> None:
    try:
        checkpoint.restore(path).assert_existing_objects_matched()
    except Exception as error:  # TensorFlow raises half a dozen kinds on another or a damaged checkpoint.
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{path} is no checkpoint of this training. Expected: the same network, precision and pruning, or another "
            f"folder. Received: {type(error).__name__}: {reason}"
        ) from error


def _check_common_start(strategy: tf.distribute.Strategy, start: int, workdir: Path) -> None:
    mean, variance = mean_and_variance(strategy, start)
    if variance > 1e-6:
        raise InputError(
            f"The checkpoints of all workers must be of one epoch; that of {workdir} is of epoch {start}. "
            f"Received: a mean of {mean:.2f} over the workers"
        )
