"""Slimmable networks against masks on the wide network: the same answers, the same step, and batch norms apart."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.shared_slices import narrowed
from tta_lite.training.slimmable import Slimmable
from tta_lite.types import InputError

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(8, 6, 6, 2)).astype("float32"), RNG.integers(0, 3, 8)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def net(norm=False):
    """[B, 6, 6, 2] -> [B, 3]: two branches of 8 and 4 channels that are concatenated, so that slices are no corners."""
    keras.utils.set_random_seed(3)
    image = keras.Input((6, 6, 2), name="image")
    x = L.Conv2D(8, 3, padding="same", name="one")(image)
    x = L.BatchNormalization(name="norm")(x) if norm else x
    x = L.ReLU()(x)
    y = L.ReLU()(L.Conv2D(4, 3, padding="same", name="other")(image))
    x = L.Conv2D(6, 3, padding="same", activation="relu", name="both")(L.Concatenate()([x, y]))
    return keras.Model(image, L.Dense(3, name="scores")(L.GlobalAveragePooling2D()(x)), name="net")


def masked_answers(model, x, share):
    """-> the wide network without batch norm, in which channels beyond the share are multiplied by zero."""

    def first(y, count):
        mask = np.zeros(y.shape[-1], "float32")
        mask[:count] = 1
        return y * mask

    one, other, both, scores = (model.get_layer(name) for name in ("one", "other", "both", "scores"))
    # Multiples of two, as `round_to` says.
    sizes = [int(count * share) // 2 * 2 for count in (8, 4, 6)]
    x = tf.concat([first(tf.nn.relu(one(x)), sizes[0]), first(tf.nn.relu(other(x)), sizes[1])], axis=-1)
    x = first(both(x), sizes[2])
    return scores(tf.reduce_mean(x, axis=[1, 2]))


def slim(model, widths=(0.5,), **options):
    found = Slimmable(model, widths, **{"round_to": 2, "floor": 1, **options})
    found.compile(keras.optimizers.SGD(0.1), LOSS)
    return found


def test_a_narrow_network_is_the_wide_one_with_masks():
    model = net()
    found = slim(model, (0.75, 0.5))
    for width in (0.75, 0.5):
        wanted = masked_answers(model, X, width).numpy()
        np.testing.assert_allclose(found.network(width)(X).numpy(), wanted, atol=1e-6)
    assert found.widths == (1.0, 0.75, 0.5) and found.network(1)(X).shape == (8, 3)


@pytest.mark.parametrize("distil", [False, True], ids=["labels", "in_place"])
def test_a_step_is_that_of_masks(distil):
    """The gradient of the sum of the losses, by TensorFlow through the masked wide network."""
    model, twin = net(), net()
    with tf.GradientTape() as tape:
        wide = twin(X)
        narrow = masked_answers(twin, X, 0.5)
        loss = LOSS(Y, wide)
        if distil:
            taught = tf.nn.softmax(tf.stop_gradient(wide))
            gap = tf.reduce_sum(taught * (tf.math.log(taught) - tf.nn.log_softmax(narrow)), axis=-1)
            loss += tf.reduce_mean(gap)
        else:
            loss += LOSS(Y, narrow)
    variables = twin.trainable_variables
    wanted = [v - 0.1 * g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)]
    found = slim(model, distil=distil)
    logs = found.train_on_batch(X, Y, return_dict=True)
    for variable, value in zip(model.trainable_variables, wanted, strict=True):
        np.testing.assert_allclose(variable.numpy(), value.numpy(), atol=1e-6)
    assert logs["loss"] + logs["loss_0.5"] == pytest.approx(float(loss), abs=1e-5)


def test_slices_are_those_of_remove_channels_also_behind_a_concatenation():
    model = net()
    small, slices = narrowed(model, {"one": range(4, 8), "other": range(2, 4)})
    both = next(k for k, weight in enumerate(model.weights) if weight.name.startswith("both/kernel"))
    assert slices[both].axes[2].tolist() == [0, 1, 2, 3, 8, 9] and not slices[both].is_prefix
    kernel = model.get_layer("both").kernel.numpy()
    cut = slices[both].read(tf.constant(kernel)).numpy()
    assert np.array_equal(cut, kernel[:, :, [0, 1, 2, 3, 8, 9]]) and cut.shape == small.get_layer("both").kernel.shape
    back = slices[both].spread(tf.constant(cut)).numpy()
    wanted = np.zeros_like(kernel)
    wanted[:, :, [0, 1, 2, 3, 8, 9]] = cut
    assert np.array_equal(back, wanted)


def test_batch_norms_are_apart_if_switchable_and_share_factors_if_universal():
    for how, own in (("switchable", 4), ("universal", 2)):
        model = net(norm=True)
        found = slim(model, how=how)
        assert len(found.own_weights) == own
        before = [weight.numpy() for weight in found.own_weights]
        found.fit(X, Y, epochs=3, verbose=0)
        # Statistics move in both; factors of its own only if switchable.
        assert all(
            not np.array_equal(a, b) for a, b in zip(before, [w.numpy() for w in found.own_weights], strict=True)
        )
        narrow, wide = found.network(0.5).get_layer("norm"), model.get_layer("norm")
        assert np.array_equal(narrow.gamma, wide.gamma[:4]) == (how == "universal")


def test_recalibrated_statistics_are_those_of_the_batches():
    model = net(norm=True)
    found = slim(model, how="universal")
    found.fit(X, Y, epochs=1, verbose=0)
    found.recalibrate([X[:4], X[4:]])
    for width in (1, 0.5):
        one = found.network(width)
        before = one.get_layer("one")(X).numpy().astype(np.float64)
        means = [before[part].mean(axis=(0, 1, 2)) for part in (slice(4), slice(4, 8))]
        np.testing.assert_allclose(one.get_layer("norm").moving_mean, np.mean(means, axis=0), atol=1e-5)


def test_the_sandwich_has_its_ends_in_each_step_and_draws_the_others_from_the_seed():
    found = slim(net(), (0.75, 0.5, 0.25), how="universal", sampled=1)
    turns = []
    for step in range(40):
        found._steps.assign(step)
        turns.append(found._turns().numpy().tolist())
    assert all(sum(one) == 1 for one in turns) and 5 < sum(one[0] for one in turns) < 35
    again = slim(net(), (0.75, 0.5, 0.25), how="universal", sampled=1)
    again._steps.assign(7)
    assert again._turns().numpy().tolist() == turns[7]
    assert slim(net(), (0.75, 0.25), how="universal")._turns() is None


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    def trained(steps, found):
        for _ in range(steps):
            found.train_on_batch(X, Y)
        return found

    whole = trained(4, slim(net(norm=True), (0.75, 0.5), how="universal", sampled=0))
    half = trained(2, slim(net(norm=True), (0.75, 0.5), how="universal", sampled=0))
    path = tf.train.Checkpoint(model=half).save(str(tmp_path / "state"))
    rest = slim(net(norm=True), (0.75, 0.5), how="universal", sampled=0)
    tf.train.Checkpoint(model=rest).restore(path)
    trained(2, rest)
    for width in whole.widths:
        pairs = zip(whole.network(width).get_weights(), rest.network(width).get_weights(), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs), width


def test_what_cannot_be():
    for widths in ((), (1.5,), (0.5, 0.5), (1.0,)):
        with pytest.raises(InputError, match="`widths`"):
            Slimmable(net(), widths)
    with pytest.raises(InputError, match="`how`"):
        Slimmable(net(), (0.5,), how="both")
    with pytest.raises(InputError, match="No layer can shrink"):
        Slimmable(net(), (0.5,), round_to=64, floor=64)
    with pytest.raises(InputError, match="Received: None"):
        Slimmable(net(), (0.5,), round_to=2, floor=1).compile("adam")
    with pytest.raises(InputError, match=r"one of 1, 0\.5"):
        slim(net()).network(0.3)
