"""Batch norms of hardly trained networks: statistics by hand, and nothing that stays."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.search.settled_norms import settled_norms

L = keras.layers
PICTURES = [np.array([[value]]) for value in (1.0, 3.0, 8.0)]


def net(momentum=0.9):
    image = keras.Input((1,))
    x = L.Dense(1, use_bias=False, name="dense")(image)
    x = L.BatchNormalization(momentum=momentum, center=False, scale=False, epsilon=0.0, name="norm")(x)
    model = keras.Model(image, x)
    # The moving averages are of a network that answered 7 on average, with a variance of 4.
    model.set_weights([np.array([[2.0]]), np.array([7.0]), np.array([4.0])])
    return model


def test_within_it_the_statistics_are_those_of_the_pictures():
    model = net()
    before = [array.copy() for array in model.get_weights()]
    picture = np.array([[5.0]], np.float32)
    assert float(model(picture)[0, 0]) == pytest.approx((10 - 7) / 2)
    with settled_norms(model, 12, lambda count: PICTURES) as done:
        assert done
        # 2, 6 and 16: a mean of 8, a variance of (36 + 4 + 64) / 3.
        assert float(model(picture)[0, 0]) == pytest.approx((10 - 8) / (104 / 3) ** 0.5)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    # What fails within it leaves nothing either.
    with pytest.raises(KeyError), settled_norms(model, 12, lambda count: PICTURES):
        raise KeyError
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(("momentum", "steps"), [(0.9, 110), (0.99, 1146), (0.0, 1)])
def test_averages_that_hold_next_to_nothing_of_their_beginning_stay(momentum, steps):
    def never(count):
        raise AssertionError("pictures are read for nothing")

    model = net(momentum)
    with settled_norms(model, steps, never) as done:
        assert not done and model.get_layer("norm").moving_mean.numpy() == 7
    if momentum:
        with settled_norms(model, steps - 1, lambda count: PICTURES) as done:
            assert done


def test_without_pictures_or_norms_nothing_happens():
    model = net()
    for pictures in ([], PICTURES[:1]):
        with settled_norms(model, 1, lambda count, pictures=pictures: pictures) as done:
            assert not done
    image = keras.Input((1,))
    with settled_norms(keras.Model(image, L.Dense(1)(image)), 1, lambda count: PICTURES) as done:
        assert not done
