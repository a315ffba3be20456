"""Two runs from one step, and masks without training, on searches of a network of 72 weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.lottery import Lottery, LotterySearch, masks_file, weights_file
from tta_lite.training.lottery_masks import load_arrays, load_masks
from tta_lite.training.lottery_stability import REORDERED, mean_loss, part
from tta_lite.training.lottery_untrained import LEARNED, NO_MASK, SIMPLE, untrained
from tta_lite.training.masked_training import MaskedTraining, Schedule
from tta_lite.training.supermask import SupermaskTraining
from tta_lite.types import InputError

STEPS = 12
X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
Y = np.int32(X[:, :3].argmax(axis=1))
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def batches(*, seed, start_step=0):
    places = [np.random.default_rng([seed, step]).integers(0, 64, 8) for step in range(start_step, start_step + 100)]
    return tf.data.Dataset.from_tensor_slices((X[np.stack(places)], Y[np.stack(places)]))


def draw(seed):
    rng = np.random.default_rng(seed)
    shapes = (6, 8), (8,), (8, 3), (3,)
    return [np.float32(rng.normal(size=shape)) * (len(shape) == 2) for shape in shapes]


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    net = keras.Sequential(
        [keras.layers.Dense(8, "relu", input_shape=(6,), name="hidden"), keras.layers.Dense(3, name="scores")]
    )
    training = MaskedTraining(net, LOSS, jit=False)
    score = lambda: 100 * float((training.predictor()(X).argmax(1) == Y).mean())  # noqa: E731
    lottery = Lottery(Schedule(STEPS, 0.05), sparsity=0.36)
    made = LotterySearch(training, lottery, draw, batches, score, tmp_path_factory.mktemp("search"), seed=3)
    list(made.tickets())
    return made


def loss_of(search):
    return {"loss": lambda: float(LOSS(Y, search.training.predictor()(X)))}


def test_the_first_run_is_the_dense_training_and_the_second_another(search, monkeypatch):
    """Both from step 5 on: the first goes on as the dense training did, to the same weights, bit by bit."""
    ends = []
    monkeypatch.setattr(
        "tta_lite.training.lottery_stability.lines_between",
        lambda model, first, second, *_, **__: ends.extend((first, second)) or {},
    )
    part(search, 5, {"loss": lambda: 0.0})
    kept = load_arrays(search.folder / "dense" / weights_file(0))
    for place, (first, second) in enumerate(zip(*ends, strict=True)):
        np.testing.assert_array_equal(first, kept[f"weight-{place:04d}"])
        assert not np.array_equal(first, second)
    # By hand: five steps in the order of the seed, the rest in the other one.
    training = search.training
    rows = [*batches(seed=3).take(5), *batches(seed=3 + REORDERED, start_step=5).take(STEPS - 5)]
    data = tf.data.Dataset.from_tensor_slices(tuple(np.stack(one) for one in zip(*rows, strict=True)))
    training.set(type(training.state())(tuple(draw(3))))
    training.run(data.concatenate(data.repeat(9)), search.rates)
    for other, second in zip(training.state().weights, ends[1], strict=True):
        np.testing.assert_array_equal(other, second)


def test_lines_of_a_ticket_wear_its_mask_and_are_kept(search, monkeypatch):
    zeros = []

    def loss():
        zeros.append([int((kernel == 0).sum()) for kernel in search.training.kernel_values().values()])
        return float(LOSS(Y, search.training.predictor()(X)))

    lines = part(search, 0, {"loss": loss}, round_number=2, points=5)
    masks = load_masks(search.folder / "weights" / masks_file(2))
    assert zeros == [[int((~mask).sum()) for mask in masks.values()]] * 5
    assert lines["loss"].losses.std() > 0
    monkeypatch.setattr(search.training, "run", lambda *_: pytest.fail("a training"))
    again = part(search, 0, {"loss": loss}, round_number=2, points=5)["loss"]
    np.testing.assert_array_equal(again.losses, lines["loss"].losses)
    np.testing.assert_array_equal(again.shares, [0, 0.25, 0.5, 0.75, 1])


def test_masks_without_training(search):
    learner = SupermaskTraining(search.training.model, LOSS, jit=False)
    name = list(LEARNED)[1]
    found = untrained(search, {name: learner})
    # Rounds to 0.8 and 0.64 of 72 weights.
    shares = [58 / 72, 46 / 72]
    assert [(one.name, one.left) for one in found[:-1]] == [(NO_MASK, 1.0), *((a, b) for a in SIMPLE for b in shares)]
    assert found[-1].name == name and 0 < found[-1].left < 1
    search.training.model.set_weights(draw(3))
    assert found[0].score == search.score()
    before = (search.folder / "supermasks.json").read_text()
    assert untrained(search, {name: learner}) == found
    assert (search.folder / "supermasks.json").read_text() == before


def test_the_mean_is_over_examples_and_not_over_batches():
    data = [(np.zeros((3, 1)), 2.0), (np.zeros((1, 1)), 6.0)]
    assert mean_loss(lambda x: x, data, lambda y, x: y + x.mean()) == 3.0


def test_mistakes(search):
    for step in (-1, STEPS):
        with pytest.raises(InputError, match=f"0 to {STEPS - 1}. Received: {step}"):
            part(search, step, loss_of(search))
    with pytest.raises(InputError, match="Received: none"):
        mean_loss(lambda x: x, [], LOSS)
    file = search.folder / "lines/round-00-step-000001.json"
    file.parent.mkdir(exist_ok=True)
    for text in ("", "[]", '{"loss": {"shares": [0]}}', '{"loss": {"shares": ["a"], "losses": [1]}}'):
        file.write_text(text)
        with pytest.raises(InputError, match="must hold lines as a search wrote them"):
            part(search, 1, loss_of(search))
    kept = search.folder / "supermasks.json"
    text = kept.read_text() if kept.exists() else None
    kept.write_text(json.dumps([{"name": "a"}]))
    with pytest.raises(InputError, match="must hold scores as a search wrote them"):
        untrained(search, {})
    kept.unlink() if text is None else kept.write_text(text)
