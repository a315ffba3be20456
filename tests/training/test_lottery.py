"""Searches for lottery tickets: bit for bit what they claim to rewind to, and to go on from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.lottery import Lottery, LotterySearch, masks_file
from tta_lite.training.lottery_masks import load_masks
from tta_lite.training.masked_training import MaskedTraining, Schedule
from tta_lite.types import InputError

STEPS, K = 12, 4
LOTTERY = Lottery(Schedule(STEPS, 0.01, warmup_steps=2), sparsity=0.5, rewind_step=K)
X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
Y = np.int32(X[:, :3].argmax(axis=1))


def batches(*, seed, start_step=0):
    def one(step):
        chosen = np.random.default_rng([seed, int(step)]).integers(0, len(X), 8)
        return X[chosen], Y[chosen]

    def load(step):
        x, y = tf.numpy_function(one, [step], (tf.float32, tf.int32))
        return tf.ensure_shape(x, (8, 6)), tf.ensure_shape(y, (8,))

    return tf.data.Dataset.counter(start_step).map(load)


@pytest.fixture(scope="module")
def training():
    net = keras.Sequential(
        [
            keras.layers.Dense(8, "relu", input_shape=(6,), name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="scores"),
        ]
    )
    return MaskedTraining(net, keras.losses.SparseCategoricalCrossentropy(from_logits=True))


def draw(seed):
    """All weights of `training`'s network: kernel, bias, gamma, beta, kernel, bias, mean, variance."""
    rng = np.random.default_rng(seed)
    zeros, ones = (np.zeros(8, np.float32), np.ones(8, np.float32))
    first, last = (np.float32(rng.normal(size=shape)) for shape in ((6, 8), (8, 3)))
    return [first, zeros, ones, zeros, zeros, ones, last, np.zeros(3, np.float32)]


@pytest.fixture(scope="module")
def search(training, tmp_path_factory):
    """A function: folder -> a search of these settings; it scores by minus the loss."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def make(folder=None, lottery=LOTTERY, score=None):
        folder = folder or tmp_path_factory.mktemp("search")
        minus_loss = lambda: -float(loss(Y, training.predictor()(X)))  # noqa: E731
        return LotterySearch(training, lottery, draw, batches, score or minus_loss, folder, seed=3)

    return make


@pytest.fixture(scope="module")
def done(search):
    made = search()
    return made, {rewind: list(made.tickets(rewind)) for rewind in ("weights", "rate", "fine_tune")}


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def test_the_dense_training_is_one_training_whether_it_stops_at_step_k_or_not(training, done):
    folder = done[0].folder / "dense"
    training.set(type(training.state())(tuple(draw(3))))
    training.run(batches(seed=3), LOTTERY.schedule.rates())
    kept = arrays(folder / "round-00-weights.npz")
    assert all(
        np.array_equal(kept[f"weight-{place:04d}"], one) for place, one in enumerate(training.model.get_weights())
    )
    start = arrays(folder / "start.npz")
    assert all(np.array_equal(start[f"weight-{place:04d}"], one) for place, one in enumerate(draw(3)))


def test_adam_under_masks_is_adam_of_the_published_equations(training):
    """Kingma and Ba, algorithm 1, in float64, for the kernel of the last layer alone: its gradient by hand."""
    masks = {"hidden": np.ones((6, 8), bool), "scores": np.random.default_rng(1).random((8, 3)) < 0.5}
    training.set(type(training.state())(tuple(draw(5))), masks)
    hidden = training.model.layers[0].kernel.numpy()
    kernel = np.where(masks["scores"], training.model.layers[2].kernel.numpy(), 0).astype(np.float64)
    x, y = next(iter(batches(seed=9)))
    h = np.maximum(x.numpy().astype(np.float64) @ hidden, 0)
    h = (h - h.mean(axis=0)) / np.sqrt(h.var(axis=0) + 1e-3)
    logits = h @ kernel
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    gradient = h.T @ (powers / powers.sum(axis=1, keepdims=True) - np.eye(3)[y.numpy()]) / len(x)
    expected = kernel - 0.01 * gradient / (np.abs(gradient) + 1e-8)
    training.run(batches(seed=9), np.array([0.01], np.float32))
    got = training.model.layers[2].kernel.numpy()
    assert (got[~masks["scores"]] == 0).all()
    np.testing.assert_allclose(got[masks["scores"]], expected[masks["scores"]], atol=2e-5)


def test_rounds_of_every_kind_have_the_share_of_weights(done):
    shares = [0.8, 0.64, 0.512, 0.5]
    for rewind, rounds in done[1].items():
        assert [one.number for one in rounds] == [1, 2, 3, 4]
        assert [one.weights for one in rounds] == [round(72 * share) for share in shares], rewind
        masks = [load_masks(done[0].folder / rewind / masks_file(number)) for number in (1, 2, 3, 4)]
        for before, after in itertools.pairwise(masks):
            assert all((before[name] | ~after[name]).all() for name in before)
    # All begin with the same dense network, and part company in the second round.
    first = [load_masks(done[0].folder / rewind / masks_file(1)) for rewind in done[1]]
    assert all(np.array_equal(first[0][name], other[name]) for other in first for name in other)


def test_a_mask_is_that_of_the_largest_weights_of_the_round_before(done):
    kept = arrays(done[0].folder / "dense/round-00-weights.npz")
    kernels = {"hidden": kept["weight-0000"], "scores": kept["weight-0006"]}
    both = np.sort(np.concatenate([np.abs(one).ravel() for one in kernels.values()]))[::-1]
    masks = load_masks(done[0].folder / "weights" / masks_file(1))
    for name, kernel in kernels.items():
        np.testing.assert_array_equal(masks[name], np.abs(kernel) >= both[round(0.8 * 72) - 1])


def test_a_round_goes_back_to_step_k_bit_by_bit(training, search, done, monkeypatch):
    """What each training begins with, and the rates it takes."""
    begun = []

    def run(data, rates):
        begun.append((training.state(), rates.copy(), next(iter(data))[0].numpy()))
        return 0.0

    rewound = arrays(done[0].folder / "dense/rewind.npz")
    dense = arrays(done[0].folder / "dense/round-00-weights.npz")
    rates = LOTTERY.schedule.rates()
    for rewind, source, expected, first in (
        ("weights", rewound, rates[K:], K),
        ("rate", dense, rates[K:], STEPS),
        ("fine_tune", dense, np.full(STEPS - K, rates[-1]), STEPS),
    ):
        made = search()
        made.dense()
        monkeypatch.setattr(training, "run", run)
        next(made.tickets(rewind))
        monkeypatch.undo()
        state, got, x = begun.pop()
        masks = load_masks(made.folder / rewind / masks_file(1))
        for place, weight in enumerate(state.weights):
            mask = {0: masks["hidden"], 6: masks["scores"]}.get(place, True)
            np.testing.assert_array_equal(weight, np.where(mask, source[f"weight-{place:04d}"], 0), err_msg=rewind)
        # Adam's own: as at step k with the weights, and anew otherwise.
        for place, moment in enumerate(state.moments):
            was = rewound[f"moment-{place:04d}"]
            np.testing.assert_array_equal(moment, was if rewind == "weights" else np.zeros_like(was))
        np.testing.assert_array_equal(got, expected)
        np.testing.assert_array_equal(x, next(iter(batches(seed=3, start_step=first)))[0])


def test_a_search_that_was_stopped_goes_on_to_the_same_masks_and_weights(search, done):
    whole, _ = done
    stopped, scored = search(), []

    def stops():
        scored.append(1)
        if len(scored) == 4:  # The dense network, and rounds 1 and 2 are done.
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        list(search(stopped.folder, score=stops).tickets("weights"))
    assert not (stopped.folder / "weights/round-03.json").exists()
    again = list(search(stopped.folder).tickets("weights"))
    assert [one.number for one in again] == [1, 2, 3, 4]
    for name in (*map(masks_file, (1, 2, 3, 4)), "round-04-weights.npz"):
        first, second = (arrays(one.folder / "weights" / name) for one in (whole, stopped))
        assert first.keys() == second.keys()
        assert all(np.array_equal(first[key], second[key]) for key in first), name


def test_a_search_that_is_done_trains_nothing(search, done, monkeypatch, training):
    monkeypatch.setattr(training, "run", lambda *_: pytest.fail("a training"))
    assert list(search(done[0].folder).tickets("rate")) == done[1]["rate"]


def test_controls_have_the_tickets_masks(search, done, training, monkeypatch):
    made, _ = done
    begun = []
    monkeypatch.setattr(training, "run", lambda data, rates: begun.append((training.state(), len(rates))) or 0.0)
    ticket = load_masks(made.folder / "weights" / masks_file(1))
    rewound = arrays(made.folder / "dense/rewind.npz")
    drawn = draw(3 + 1_000_003)
    next(search(made.folder).controls("reinit"))
    state, steps = begun.pop()
    assert steps == STEPS  # A new draw gets the whole training.
    np.testing.assert_array_equal(state.weights[0], np.where(ticket["hidden"], drawn[0], 0))
    np.testing.assert_array_equal(state.weights[6], np.where(ticket["scores"], drawn[6], 0))
    next(search(made.folder).controls("random_mask"))
    state, steps = begun.pop()
    assert steps == STEPS - K
    left = state.weights[0] != 0
    assert left.sum() == ticket["hidden"].sum() and not np.array_equal(left, ticket["hidden"])
    np.testing.assert_array_equal(state.weights[0][left], rewound["weight-0000"][left])
    with pytest.raises(InputError, match="Received: 'luck'"):
        next(made.controls("luck"))


def test_per_layer_takes_the_same_share_of_each_kernel(search):
    made = search(lottery=Lottery(Schedule(3), sparsity=0.2, scope="per_layer"))
    list(made.tickets())
    masks = load_masks(made.folder / "weights" / masks_file(1))
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {"hidden": 38, "scores": 19}


def test_mistakes(search, done, tmp_path):
    for values, words in (
        ({"sparsity": 1.0}, "between 0 and 1"),
        ({"rewind_step": STEPS}, f"0 to {STEPS - 1}. Received: {STEPS}"),
        ({"scope": "each"}, "Received: 'each'"),
    ):
        with pytest.raises(InputError, match=words):
            Lottery(**{"schedule": Schedule(STEPS), **values})
    for values, words in (
        ({"steps": 0}, "1 or more"),
        ({"learning_rate": 0.0}, "above 0"),
        ({"drops": (0.5, 0.2)}, "rising"),
        ({"warmup_steps": 5}, "below the steps"),
        ({"optimizer": "luck"}, "Received: 'luck'"),
    ):
        with pytest.raises(InputError, match=words):
            Schedule(**{"steps": 5, **values})
    with pytest.raises(InputError, match="Received: 'back'"):
        next(search(tmp_path / "a").tickets("back"))
    with pytest.raises(InputError, match="Received: 'luck'"):
        next(search(tmp_path / "a").tickets("weights", "luck"))
    assert not (tmp_path / "a").exists()


def test_a_loss_that_is_no_number_is_told(training):
    nan = tf.data.Dataset.from_tensors((np.full((8, 6), np.nan, np.float32), np.zeros(8, np.int32))).repeat()
    training.set(type(training.state())(tuple(draw(0))))
    with pytest.raises(InputError, match="smaller learning rate"):
        training.run(nan, np.ones(2, np.float32))


def test_batches_that_end_are_told(training):
    training.set(type(training.state())(tuple(draw(0))))
    with pytest.raises(InputError, match=r"needs 20 batches\. Received: 0"):
        training.run(batches(seed=0).take(5), np.full(20, 1e-3, np.float32))
