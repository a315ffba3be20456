"""A user's loop in Keras 3, with the callbacks of the house; run as a process of its own, that has no other Keras.

python keras3_loop.py <folder>
"""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
from pathlib import Path

# First, as a user of Keras 3 has it: TensorFlow is loaded with it and looks for no other Keras.
import keras
import numpy as np
import tensorflow as tf

from tta_lite.training.callbacks import (
    BudgetWatch,
    EpochCheckpoint,
    EpochsDone,
    History,
    LossScaleLogger,
    LotteryRewind,
    NaNGuard,
    NetworkSlimming,
    Progress,
    PruneLowMagnitudeStep,
    SparsityLogger,
    StopOnNaN,
    TFLiteExport,
    TimeLimit,
    read_history,
)
from tta_lite.types import InputError

L = keras.layers
# Where the process works, see `main`.
FOLDER = Path()
IMAGES = np.random.default_rng(0).normal(size=(32, 6, 6, 3)).astype(np.float32)
LABELS = (np.arange(32) % 4).astype(np.int32)


def silent(line):
    pass


def make_net(**options):
    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            L.Conv2D(4, 3, activation="relu", name="conv"),
            L.BatchNormalization(name="norm"),
            L.DepthwiseConv2D(2, name="spatial"),
            L.Flatten(),
            L.Dense(4, name="dense", dtype="float32"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss, metrics=["accuracy"], **options)
    return net


def make_small(rate=0.05, **options):
    keras.utils.set_random_seed(3)
    net = keras.Sequential([keras.Input((3,)), L.Dense(1)])
    # To compile so small a network takes longer than to train it.
    net.compile(keras.optimizers.SGD(rate, momentum=0.9), "mse", **{"run_eagerly": True, **options})
    return net


def train(net, callbacks, epochs=4, **options):
    images = IMAGES if len(net.input_shape) == 4 else IMAGES[:, 0, 0]
    return net.fit(
        images, LABELS, batch_size=8, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks, **options
    )  # fmt: skip


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def all_together():
    net, lines, told = make_net(), [], []
    epoch = tf.Variable(0, dtype=tf.int64)
    checkpoint = tf.train.Checkpoint(model=net, optimizer=net.optimizer, epoch=epoch)
    manager = tf.train.CheckpointManager(checkpoint, str(FOLDER / "checkpoints"), max_to_keep=1)
    nan = StopOnNaN()
    best = TFLiteExport(
        FOLDER / "net.tflite",
        lambda model: model.get_weights()[0].tobytes(),
        lambda file: float(np.abs(np.frombuffer(file, np.float32)).sum()),
        every=2, metric="size_of_weights", mode="min", write=lines.append,
    )  # fmt: skip
    seen = []
    history = train(
        net,
        [
            nan, NaNGuard(write=lines.append, keep_every=2), SparsityLogger(FOLDER / "sparsity.csv"), LossScaleLogger(),
            BudgetWatch({"params": (lambda model: model.count_params(), 1e6)}, every=2), best,
            History(FOLDER / "history.csv"), EpochCheckpoint(manager, epoch, nan),
            EpochsDone(lambda done, epochs, logs: told.append(done)), TimeLimit(1e6, FOLDER / "state.npz"),
            Progress("net", every_s=0, write=lines.append),
            keras.callbacks.CSVLogger(str(FOLDER / "keras.csv")), keras.callbacks.EarlyStopping("val_loss", patience=9),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(sorted(logs))),
        ],
        validation_data=(IMAGES[:8], LABELS[:8]),
    ).history  # fmt: skip
    assert len(history["val_loss"]) == 4 and history["params"] == [net.count_params()] * 4
    assert math.isnan(history["size_of_weights"][0]) and history["size_of_weights"][1] == history["size_of_weights"][2]
    assert {"params", "size_of_weights", "sparsity", "val_accuracy"} < set(seen[0]), seen[0]
    assert told[:3] == [0, 0.25, 0.5] and told[-1] == 4.0
    rows = read_history(FOLDER / "history.csv")
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"] and float(rows[3]["loss"]) == history["loss"][3]
    assert lines[-1].startswith("net: epoch 4/4 done, ") and lines[-1].endswith(" 0 s left")
    # Kernels: 4 x 27 and 4 x 64; a depthwise one is not looked at.
    assert list(read_history(FOLDER / "sparsity.csv")[0]) == ["epoch", "sparsity", "conv", "dense"]
    other = make_net()
    other.optimizer.build(other.trainable_variables)
    tf.train.Checkpoint(model=other, optimizer=other.optimizer, epoch=epoch).restore(manager.latest_checkpoint)
    assert equal(net, other) and int(epoch) == 4
    record = json.loads((FOLDER / "net.json").read_text())
    assert record["epoch"] in (1, 3) and (FOLDER / "net.tflite").stat().st_size == record["size_bytes"]


def stopped_by_time():
    """Two epochs fit: then again with time enough. The weights are those of a training in one go."""
    whole = make_small()
    train(whole, None)
    path, now = FOLDER / "limit.npz", itertools.count(step=1.0)
    # A second passes at every look at the clock: an epoch is 6 looks.
    limit = TimeLimit(14, path, reserve_s=0, write=silent, clock=lambda: next(now))
    first = make_small()
    train(first, [limit])
    assert limit.stopped and limit.epochs_done == 2, limit.epochs_done
    again = TimeLimit(1e6, path)
    second = make_small()
    assert train(second, [again], initial_epoch=again.epochs_done).epoch == [2, 3] and not again.stopped
    assert equal(whole, second)
    try:
        train(make_small(), [TimeLimit(1e6, path)], initial_epoch=1)
    except InputError as error:
        assert "initial_epoch=limit.epochs_done" in str(error)
    else:
        raise AssertionError("went on from the wrong epoch")


def rolled_back():
    # The schedule in a compiled step: it must be compiled anew.
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1000], [1e20, 1e19])
    for rate, eager in ((1e20, True), (schedule, False)):
        net, lines = make_small(rate, run_eagerly=eager), []
        guard = NaNGuard(1e-22, write=lines.append)
        history = train(net, [guard], epochs=3).history
        assert guard.rollbacks and guard.rollbacks[0][0] == 0 and guard.gave_up_at is None, (lines, history)
        assert all(map(math.isfinite, history["loss"][1:])), history
        assert all(np.isfinite(weight).all() for weight in net.get_weights())
        # What of the momentum was lost is lost: only the steps after the last rollback count.
        assert int(net.optimizer.iterations.numpy()) == 12 - (guard.rollbacks[-1][1] + 1)


def loss_scales():
    image = keras.Input((1,))
    net = keras.Model(image, L.Dense(1, use_bias=False, kernel_initializer="zeros", dtype="mixed_float16")(image))
    sgd = keras.optimizers.SGD(0.0)
    scaled = keras.optimizers.LossScaleOptimizer(sgd, initial_scale=2.0**18, dynamic_growth_steps=3)
    net.compile(scaled, "mse", run_eagerly=True)
    logger = LossScaleLogger(FOLDER / "scale.csv")
    x = np.ones((8, 1), np.float32)
    history = net.fit(x, -x, batch_size=1, verbose=0, shuffle=False, callbacks=[logger]).history
    # As by hand in test_loss_scale.py: skipped at 2^18 to 2^15, three good ones at 2^14, one that is skipped at 2^15.
    assert [change.event for change in logger.changes] == ["start"] + ["overflow"] * 4 + ["growth", "overflow"]
    assert history["overflows"] == [5] and history["loss_scale"] == [2.0**14], history


def zeros():
    net = make_net(run_eagerly=True)
    prune = PruneLowMagnitudeStep(lambda step: (tf.equal(step, 1), 0.5))
    train(net, [prune, NetworkSlimming(10.0)], epochs=1)
    for name in ("conv", "dense"):
        kernel = net.get_layer(name).get_weights()[0]
        assert (kernel == 0).mean() == 0.5, name
    assert (net.get_layer("spatial").get_weights()[0] != 0).all()
    # 4 steps x 0.05 x 10 is more than their size.
    np.testing.assert_array_equal(net.get_layer("norm").get_weights()[0], 0)
    net = make_small()
    history = train(net, [LotteryRewind(0.33, epochs_a_round=1, share=0.33)], epochs=2).history
    assert np.allclose(history["weights_left"], [1, 2 / 3]), history


def main():
    os.chdir(sys.argv[1])
    all_together()
    stopped_by_time()
    rolled_back()
    loss_scales()
    zeros()
    others = [name for name in sys.modules if name.partition(".")[0] in ("tf_keras", "tensorflow_model_optimization")]
    assert others == [], others[:5]
    assert keras.__version__.startswith("3.")
    print("done")


if __name__ == "__main__":
    main()
