"""A training loop of a few weights for the tests of callbacks, and their hooks called by hand."""

from __future__ import annotations

import numpy as np

from tta_lite.compat import keras

X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)


def silent(line):
    pass


def make_net(optimizer=None):
    keras.utils.set_random_seed(1)
    net = keras.Sequential([keras.layers.Dense(1, input_shape=(3,))])
    # So small a network takes longer to compile than to train.
    net.compile(optimizer or keras.optimizers.Adam(0.05), "mse", run_eagerly=True)
    return net


def train(net, watchers, epochs=4, **options):
    return net.fit(
        X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=watchers, **options
    )  # fmt: skip


def drive(callback, net, epochs, steps, *, first=0, told=None, step=lambda epoch, batch: {"loss": 1.0}):
    """Calls the hooks as `fit` does. -> the logs of each epoch."""
    net.stop_training = False
    callback.set_model(net)
    callback.set_params({"epochs": epochs, "steps": told, "verbose": 0})
    callback.on_train_begin({})
    seen = []
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch, {})
        for batch in range(steps):
            callback.on_train_batch_begin(batch, {})
            callback.on_train_batch_end(batch, step(epoch, batch))
            if net.stop_training:
                break
        seen.append({"loss": 1.0})
        callback.on_epoch_end(epoch, seen[-1])
        if net.stop_training:
            break
    callback.on_train_end({})
    return seen


def drive_timed(callback, now, seconds, *, epochs, steps, first=0, told=None, net=None):
    """`seconds` of a step, and of the end of an epoch; the clock stands still elsewhere."""
    callback.set_model(net)
    callback.set_params({"epochs": epochs, "steps": told, "verbose": 0})
    callback.on_train_begin({})
    for epoch in range(first, epochs):
        callback.on_epoch_begin(epoch, {})
        for batch in range(steps):
            now[0] += seconds[0]
            callback.on_train_batch_end(batch, {"loss": 1.0})
            if net is not None and net.stop_training:
                break
        now[0] += seconds[1]
        callback.on_epoch_end(epoch, {"loss": 1.0})
        if net is not None and net.stop_training:
            break
