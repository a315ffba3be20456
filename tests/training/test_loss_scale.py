"""Dynamic loss scaling against hand arithmetic: one weight, one gradient, and float16, which ends at 65,504."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training import precision
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.loss_scale import LossScaleLogger, ScaleChange
from tta_lite.types import Candidate, InputError


def one_weight(optimizer: keras.optimizers.Optimizer, dtype: str = "mixed_float16", **options) -> keras.Model:
    """y = w x, with w = 0; for x = 1 and a wanted y of -1 the squared error has the gradient 2."""
    x = keras.Input((1,))
    model = keras.Model(x, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", dtype=dtype)(x))
    model.compile(optimizer, "mse", **options)
    return model


def scaled(rate: float = 0.0, **options) -> keras.optimizers.Optimizer:
    return keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(rate), **options)


def run(model: keras.Model, steps: int, epochs: int, *callbacks: keras.callbacks.Callback) -> dict[str, list]:
    x, y = np.ones((steps, 1), np.float32), -np.ones((steps, 1), np.float32)
    return model.fit(x, y, batch_size=1, epochs=epochs, verbose=0, shuffle=False, callbacks=list(callbacks)).history


def test_the_scale_falls_and_rises_as_by_hand(tmp_path):
    # 2 x 2^15 = 65,536 is past float16's end and 2 x 2^14 is not: from 2^20 six steps are skipped, at 2^20 to 2^15.
    # Three good ones at 2^14 double it; one at 2^15 is skipped, and so on in circles of four.
    logger = LossScaleLogger(tmp_path / "scale.csv")
    history = run(one_weight(scaled(initial_scale=2.0**20, dynamic_growth_steps=3)), 8, 2, logger)
    down, up = "overflow", "growth"
    assert logger.changes == [
        ScaleChange(0, 0, 2.0**20, "start"),
        *(ScaleChange(0, step, 2.0 ** (19 - step), down) for step in range(6)),
        # Steps 6 and 7 were good, and so is step 0 of the next epoch.
        ScaleChange(1, 0, 2.0**15, up), ScaleChange(1, 1, 2.0**14, down),
        ScaleChange(1, 4, 2.0**15, up), ScaleChange(1, 5, 2.0**14, down),
    ]  # fmt: skip
    assert logger.overflows == 8
    assert history["overflows"] == [6, 2] and history["loss_scale"] == [2.0**14, 2.0**14]
    with (tmp_path / "scale.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["epoch"]), int(row["step"]), float(row["loss_scale"]), row["event"]) for row in rows] == [
        (change.epoch, change.step, change.loss_scale, change.event) for change in logger.changes
    ]


def test_a_skipped_step_leaves_the_weight_and_the_weight_is_float32():
    # Skipped at 2^16 and 2^15; the third step goes 0.25 x 2 down.
    model, logger = one_weight(scaled(0.25, initial_scale=2.0**16)), LossScaleLogger()
    run(model, 2, 1, logger)
    (weight,) = model.weights
    assert logger.overflows == 2 and weight.numpy() == 0.0
    run(model, 1, 1, logger)
    assert logger.overflows == 0 and weight.numpy() == -0.5
    assert weight.dtype == tf.float32 and model.layers[-1].compute_dtype == "float16"


def test_the_scale_does_not_fall_below_1():
    # A loss of infinity: every step is skipped, also where the scale can fall no further.
    logger = LossScaleLogger()
    model = one_weight(scaled(initial_scale=2.0))
    x = np.full((4, 1), np.inf, np.float32)
    model.fit(x, np.zeros((4, 1), np.float32), batch_size=1, verbose=0, callbacks=[logger])
    assert logger.overflows == 4 and [change.loss_scale for change in logger.changes] == [2.0, 1.0, 1.0, 1.0, 1.0]


def test_steps_and_epochs_log_it_for_whoever_comes_after():
    seen = []
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    run(one_weight(scaled(initial_scale=2.0**16)), 3, 1, LossScaleLogger(), look)
    assert [(logs["loss_scale"], logs["overflows"]) for logs in seen] == [(2.0**15, 1), (2.0**14, 2), (2.0**14, 2)]


def test_other_optimizers():
    history = run(one_weight(keras.optimizers.SGD(0.1), "float32"), 2, 1, logger := LossScaleLogger())
    assert set(history) == {"loss"} and logger.changes == [] and logger.overflows == 0
    # A fixed scale has nothing to count, and float32 does not overflow.
    fixed = scaled(dynamic=False, initial_scale=8.0)
    history = run(one_weight(fixed, "float32"), 2, 1, logger := LossScaleLogger())
    assert history["loss_scale"] == [8.0] and history["overflows"] == [0] and len(logger.changes) == 1


def test_several_steps_at_once_cannot_be_counted():
    model = one_weight(scaled(), steps_per_execution=2)
    with pytest.raises(InputError, match=r"compile with steps_per_execution=1. Received: 2"):
        run(model, 2, 1, LossScaleLogger())


def rows(folder):
    with (folder / "history.csv").open(newline="") as file:
        return [(row["loss_scale"], row["overflows"], row["loss"]) for row in csv.DictReader(file)]


def test_fit_logs_it_and_a_resumed_training_keeps_its_scale(
    make_net, make_task, same, interrupt, tmp_path, monkeypatch
):
    # So high that some steps are skipped, and so eager that it grows within four epochs.
    monkeypatch.setattr(
        precision, "optimizer_for", lambda policy, adam: keras.mixed_precision.LossScaleOptimizer(
            adam, initial_scale=2.0**24, dynamic_growth_steps=2
        )
    )  # fmt: skip
    net, task = make_net(), make_task()
    settings = FitSettings(epochs=4, precision="mixed_float16", tensorboard=False)
    whole = fit(Candidate(net), task, settings, tmp_path / "whole", write=lambda line: None).model
    found = rows(tmp_path / "whole")
    assert int(found[0][1]) == 2 and float(found[0][0]) == 2.0**22
    assert 3 <= sum(int(skipped) for _, skipped, _ in found) < 8

    interrupt(fit, Candidate(net), task, settings, tmp_path / "halves", epoch=2)
    resumed = fit(Candidate(net), task, settings, tmp_path / "halves", write=lambda line: None).model
    assert rows(tmp_path / "halves") == found
    assert same(whole, resumed)

    def changes(folder):
        with (folder / "loss_scale.csv").open(newline="") as file:
            return [tuple(row.values()) for row in csv.DictReader(file) if row["event"] != "start"]

    assert changes(tmp_path / "halves") == changes(tmp_path / "whole")
    assert {weight.dtype for weight in whole.weights} == {tf.float32}
