"""`LotteryRewind` in a plain `fit`: masks, states and rates go back bit by bit; a stopped training goes on."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.training.callbacks import LotteryRewind
from tta_lite.types import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(32, 6)).astype(np.float32)
Y = np.int32(X[:, :3].argmax(axis=1))


def net(rate=0.05, **options):
    keras.utils.set_random_seed(1)
    made = keras.Sequential(
        [keras.layers.Dense(8, "relu", input_shape=(6,), name="hidden"), keras.layers.Dense(3, name="scores")]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Without a graph: a few steps of a few units cost less than tracing them.
    made.compile(keras.optimizers.Adam(rate), loss, run_eagerly=True, **options)
    return made


def learn(model, callbacks, epochs, initial_epoch=0):
    return model.fit(X, Y, 8, epochs, verbose=0, shuffle=False, callbacks=callbacks, initial_epoch=initial_epoch)


class Watch(keras.callbacks.Callback):
    """Weights and the optimizer's state before some steps, and zeros after every one."""

    def on_train_begin(self, logs=None):
        self.before, self.zeros = {}, []

    def on_train_batch_begin(self, batch, logs=None):
        self.before[len(self.zeros)] = (
            self.model.get_weights(),
            [one.numpy() for one in self.model.optimizer.variables],
        )

    def on_train_batch_end(self, batch, logs=None):
        self.zeros.append(sum(int((layer.kernel.numpy() == 0).sum()) for layer in self.model.layers))


def watched(epochs=None, **options):
    rewind = LotteryRewind(0.5, epochs_a_round=2, rewind_step=3, **options)
    watch, model = Watch(), net(keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.05, 0.005]))
    # Four steps an epoch; rounds to 0.8, 0.64, 0.512, 0.5 of 72 weights.
    history = learn(model, [rewind, watch], epochs or 2 * (rewind.rounds + 1))
    return rewind, watch, model, history


@pytest.fixture(scope="module")
def by_weights():
    return watched()


def test_rounds_by_hand(by_weights):
    rewind, watch, model, history = by_weights
    assert rewind.rounds == rewind.round == 4
    gone = [72 - round(72 * left) for left in (1, 0.8, 0.64, 0.512, 0.5)]
    assert watch.zeros == [count for count in gone for _ in range(8)]
    assert history.history["weights_left"] == pytest.approx([1 - count / 72 for count in gone for _ in range(2)])
    for layer in model.layers:
        np.testing.assert_array_equal(layer.kernel.numpy() != 0, rewind.masks[layer.name])


def test_weights_moments_and_steps_go_back_bit_by_bit(by_weights):
    _, watch, *_ = by_weights
    weights, state = watch.before[3]
    for number in (1, 2, 3, 4):
        again, restored = watch.before[8 * number]
        for old, new in zip(weights, again, strict=True):
            left = new != 0
            np.testing.assert_array_equal(new[left], old[left])
        # Iterations, and with them the schedule's rate, and Adam's moments.
        for old, new in zip(state, restored, strict=True):
            np.testing.assert_array_equal(new, old)
        assert int(restored[0]) == 3


def test_the_smallest_of_the_last_weights_leave(by_weights):
    _, watch, *_ = by_weights
    # The first round looks at the weights after step 8, which nobody saw: a training without rounds has them.
    model = net(keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.05, 0.005]))
    learn(model, [], 2)
    sizes = np.concatenate([np.abs(layer.kernel.numpy()).ravel() for layer in model.layers])
    limit = np.sort(sizes)[72 - 58]
    after = watch.before[8][0]
    for place, layer in ((0, model.layers[0]), (2, model.layers[1])):
        np.testing.assert_array_equal(after[place] != 0, np.abs(layer.kernel.numpy()) >= limit)


def test_rate_and_fine_tune_keep_the_weights():
    whole = net(keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.05, 0.005]))
    learn(whole, [], 2)
    moments = [one.numpy() for one in whole.optimizer.variables]
    for how, iterations in (("rate", 3), ("fine_tune", 8)):
        _, watch, *_ = watched(3, rewind=how)
        weights, state = watch.before[8]
        for new, old in zip(weights, whole.get_weights(), strict=True):
            np.testing.assert_array_equal(new[new != 0], old[new != 0])
        assert int(state[0]) == iterations
        for new, old in zip(state[2:], moments[2:], strict=True):
            np.testing.assert_array_equal(new, np.zeros_like(old) if how == "rate" else old)


class KilledError(Exception):
    """As if the process had ended."""


def kill_in(epoch, batch):
    def step(number, logs):
        if (epoch, number) == (seen[0], batch):
            raise KilledError

    seen = [0]
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda number, logs: seen.__setitem__(0, number), on_train_batch_begin=step
    )


@pytest.mark.parametrize(("rewind", "first"), [("weights", True), ("rate", False)])
def test_a_killed_training_goes_on_to_the_same_ticket(tmp_path, rewind, first):
    """Keras' own backup, before and after the callback, and a kill right after a round, before any backup of it."""

    def made(name):
        return LotteryRewind(
            0.3, epochs_a_round=1, rewind=rewind, rewind_step=2, scope="per_layer", path=tmp_path / f"{name}.npz"
        )

    whole = net()
    learn(whole, [made("whole")], 3)

    def backed_up(*more):
        rewinds = made("killed")
        both = [rewinds, keras.callbacks.BackupAndRestore(tmp_path / "backup")]
        model = net()
        learn(model, [*(both if first else both[::-1]), *more], 3)
        return model, rewinds

    for epoch, batch in ((1, 3), (2, 0)):
        with pytest.raises(KilledError):
            backed_up(kill_in(epoch, batch))
    model, rewinds = backed_up()
    # Of 48 and 24 weights.
    assert rewinds.round == 2 and sum(int(mask.sum()) for mask in rewinds.masks.values()) == 34 + 17
    for one, other in zip(whole.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_one_object_serves_two_fits():
    whole, parts, rewind = net(), net(), LotteryRewind(0.3, epochs_a_round=1)
    learn(whole, [LotteryRewind(0.3, epochs_a_round=1)], 3)
    learn(parts, [rewind], 2)
    assert rewind.round == 1
    learn(parts, [rewind], 3, initial_epoch=2)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # With the first epoch it begins anew.
    learn(parts, [rewind], 1)
    assert rewind.round == 0 and all(mask.all() for mask in rewind.masks.values())


def test_a_checkpoint_at_the_end_of_an_epoch_sees_the_network_trained():
    model, seen = net(), []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()))
    learn(model, [LotteryRewind(0.2, epochs_a_round=1), look], 2)
    trained = net()
    learn(trained, [], 1)
    for one, other in zip(seen[0], trained.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["Nadam", "Adagrad"])
def test_rate_begins_the_moments_as_the_optimizer_does(name):
    """Adagrad's are 0.1 at the start and Nadam has a number that is 1: neither may become 0."""
    model, watch = net(), Watch()
    model.compile(getattr(keras.optimizers, name)(0.05), "mse", run_eagerly=True)
    model.fit(X, X[:, :3], 8, 2, verbose=0, callbacks=[LotteryRewind(0.2, epochs_a_round=1, rewind="rate"), watch])
    for start, again in zip(watch.before[0][1], watch.before[4][1], strict=True):
        np.testing.assert_array_equal(start, again)
    assert int(watch.before[3][1][0]) == 3


def test_mistakes(tmp_path):
    for values, words in (
        ({"sparsity": 1.0}, "between 0 and 1"),
        ({"rewind": "back"}, "Received: 'back'"),
        ({"scope": "all"}, "Received: 'all'"),
        ({"epochs_a_round": 0}, "1 or more. Received: 0"),
        ({"rewind_step": -1}, "0 or more. Received: -1"),
    ):
        with pytest.raises(InputError, match=words):
            LotteryRewind(**{"sparsity": 0.5, "epochs_a_round": 1, **values})
    with pytest.raises(InputError, match=r"first 1 epoch.* of 4 steps\. Received: 4"):
        learn(net(), [LotteryRewind(0.5, epochs_a_round=1, rewind_step=4)], 2)
    with pytest.raises(InputError, match=r"steps_per_execution=1\. Received: 2"):
        learn(net(steps_per_execution=2), [LotteryRewind(0.5, epochs_a_round=1)], 2)
    with pytest.raises(InputError, match="which is none"):
        learn(net(), [LotteryRewind(0.5, epochs_a_round=1, layers=["stem*"])], 2)
    old = net()
    old.compile(keras.optimizers.legacy.SGD(), "mse")
    with pytest.raises(InputError, match="legacy"):
        learn(old, [LotteryRewind(0.5, epochs_a_round=1)], 2)
    late = net()
    np.savez(tmp_path / "other.npz", round=1, **{"left_in/hidden": np.ones((2, 2), np.int16)})
    for path, words in (
        ("other.npz", "masks of this network .*Received: masks of hidden, 0 weights and 0 of an optimizer"),
        ("none.npz", "epoch 2 needs the masks of 0 round.* Received: .*none.npz with no masks"),
    ):
        with pytest.raises(InputError, match=words):
            learn(late, [LotteryRewind(0.5, epochs_a_round=1, path=tmp_path / path)], 3, initial_epoch=1)
    rewind = LotteryRewind(0.5, epochs_a_round=1, path=tmp_path / "first.npz")
    learn(late, [rewind], 1)
    with pytest.raises(InputError, match=r"epoch 4 needs the masks of 2 round.* with 0 round\(s\) of hidden, scores"):
        learn(late, [rewind], 5, initial_epoch=3)
    with pytest.raises(InputError, match="step 3 must have been seen"):
        early = LotteryRewind(0.5, epochs_a_round=1, rewind_step=3)
        # Stopped before step 3, and then its weights are of a later one.
        stop = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: setattr(late, "stop_training", batch == 1)
        )
        learn(late, [early, stop], 1)
        learn(late, [early], 3, initial_epoch=1)
