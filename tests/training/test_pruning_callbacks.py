"""`PruneLowMagnitudeStep` and `SparsityLogger` in a `fit` of one's own, against TFMOT's wrappers and by hand."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.callbacks import PruneLowMagnitudeStep, SparsityLogger
from tta_lite.training.pruning import Pruning, sparsity, strip
from tta_lite.training.pruning_policies import LayerPolicy
from tta_lite.types import InputError

L = keras.layers
RNG = np.random.default_rng(0)
IMAGES, ANSWERS = RNG.normal(size=(16, 4, 4, 4)).astype(np.float32), RNG.normal(size=(16, 3)).astype(np.float32)
EPOCHS, STEPS = 4, 16


def make_net():
    keras.utils.set_random_seed(5)
    return keras.Sequential(
        [
            L.Conv2D(8, 3, input_shape=(4, 4, 4), activation="relu", name="conv"),
            L.Flatten(name="flat"),
            L.Dense(3, name="dense"),
        ]
    )


def train(net, callbacks, *, epochs=EPOCHS, initial=0, optimizer=None):
    if optimizer is not None or net.optimizer is None:
        net.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9), "mse", run_eagerly=False)
    net.fit(
        IMAGES, ANSWERS, batch_size=4, epochs=epochs, initial_epoch=initial, shuffle=False, verbose=0,
        callbacks=callbacks,
    )  # fmt: skip
    return net


def trained(pruning, **more):
    net, callbacks = pruning.prepared(make_net(), STEPS)
    train(net, callbacks, **more)
    return strip(net) if pruning.how == "wrappers" else net


@pytest.mark.parametrize(
    "values", [{"sparsity": 0.75}, {"pattern": "2:4", "layers": LayerPolicy(only=("conv",))}, {"schedule": "constant"}]
)
def test_the_callback_gives_the_zeros_of_the_wrappers(values):
    ours, theirs = (trained(Pruning(how=how, **values)) for how in ("callback", "wrappers"))
    for name in ("conv", "dense"):
        for one, other in zip(ours.get_layer(name).get_weights(), theirs.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(one == 0, other == 0, err_msg=name)
            np.testing.assert_allclose(one, other, atol=1e-6, err_msg=name)
    assert (ours.get_layer("conv").get_weights()[0] == 0).mean() == pytest.approx(values.get("sparsity", 0.5))


def test_the_pattern_is_kept_to_the_end():
    kernel = trained(Pruning(pattern="1:4", sparsity=0.75, layers=LayerPolicy(("conv",)))).get_weights()[0]
    assert ((kernel != 0).sum(axis=2) == 1).all()


def test_a_resumed_fit_finds_the_same_zeros(tmp_path):
    """In another process: nothing is known but what Keras keeps in a file of its own, and the step's own state."""
    pruning = Pruning(0.6)
    whole = trained(pruning)
    first, callbacks = pruning.prepared(make_net(), STEPS)
    train(first, callbacks, epochs=3)
    first.save(tmp_path / "net.keras")
    second = keras.models.load_model(tmp_path / "net.keras")
    train(second, pruning.prepared(second, STEPS)[1], initial=3)
    for one, other in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Only while masks are renewed can weights that were zero come back: after step 12 of 16 they do not.
    zeros = [weights == 0 for weights in first.get_weights()[::2]]
    assert all((one == 0)[zero].all() for one, zero in zip(second.get_weights()[::2], zeros, strict=True))
    assert sparsity(second) == pytest.approx(0.6, abs=0.005)


def test_stopped_while_zeros_still_come(tmp_path):
    pruning = Pruning(0.6, begin=0.0, end=1.0)
    whole = trained(pruning)
    first, callbacks = pruning.prepared(make_net(), STEPS)
    train(first, callbacks, epochs=2)
    state = tf.train.Checkpoint(model=first, optimizer=first.optimizer, masks=callbacks[0].state)
    path = state.write(str(tmp_path / "state"))
    second, callbacks = pruning.prepared(make_net(), STEPS)
    second.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse")
    second.optimizer.build(second.trainable_variables)
    tf.train.Checkpoint(model=second, optimizer=second.optimizer, masks=callbacks[0].state).read(path).assert_consumed()
    train(second, callbacks, initial=2)
    for one, other in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_refuses_several_steps_at_once():
    net = make_net()
    net.compile("sgd", "mse", steps_per_execution=2)
    with pytest.raises(InputError, match=r"compile with steps_per_execution=1. Received: 2"):
        net.fit(IMAGES, ANSWERS, verbose=0, callbacks=[PruneLowMagnitudeStep(Pruning().schedule_for(8))])


def test_refuses_a_pattern_without_inputs():
    net = keras.Sequential([L.DepthwiseConv2D(3, input_shape=(4, 4, 2), name="spatial")])
    step = PruneLowMagnitudeStep(Pruning().schedule_for(8), layers=LayerPolicy(depthwise=True), pattern="2:4")
    with pytest.raises(InputError, match=r"sum over input channels. Received: spatial"):
        step.attach(net)


def test_logger(tmp_path):
    file, seen = tmp_path / "sparsity.csv", []
    net = make_net()
    conv, dense = (net.get_layer(name) for name in ("conv", "dense"))
    # 72 of 288 and 9 of 96 weights.
    kernel = np.ones((3, 3, 4, 8))
    kernel[..., :2] = 0
    conv.set_weights([kernel, np.ones(8)])
    ones = np.ones((32, 3))[: dense.kernel.shape[0]]
    ones[:3] = 0
    dense.set_weights([ones, np.ones(3)])
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    still = keras.optimizers.SGD(0.0)
    train(net, [SparsityLogger(file, tmp_path / "logs"), watch], epochs=3, optimizer=still)
    total = (72 + 9) / (288 + dense.kernel.shape[0] * 3)
    assert [logs["sparsity"] for logs in seen] == [pytest.approx(total)] * 3
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"] and list(rows[0]) == ["epoch", "sparsity", "conv", "dense"]
    assert float(rows[0]["conv"]) == 0.25 and float(rows[0]["sparsity"]) == pytest.approx(total)
    # Again from the second epoch: with more zeros, and no row twice.
    dense.set_weights([np.zeros_like(ones), np.ones(3)])
    train(net, [SparsityLogger(file)], epochs=2, initial=1)
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["epoch"], float(row["dense"]) == 1) for row in rows] == [("0", False), ("1", True)]
    (events,) = (tmp_path / "logs").glob("events.out.tfevents.*")
    tags = {value.tag for event in tf.compat.v1.train.summary_iterator(str(events)) for value in event.summary.value}
    assert tags == {"sparsity", "sparsity/conv", "sparsity/dense"}
