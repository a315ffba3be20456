from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.single_op_files import File
from tta_lite.export.quantize import statistics as subject
from tta_lite.export.quantize.statistics import BINS, MOMENTUM, SAMPLES, collect
from tta_lite.types import InputError

SHAPE = (1, 2, 3, 4)


def relu(shape=SHAPE):
    """-> RELU between the tensors ``net/layer0/op`` and ``net/layer1/op``."""
    file = File()
    x, y = file.tensor(shape), file.tensor(shape)
    file.op("RELU", [x], [y])
    return file.to_bytes([x], [y])


X, Y = "net/layer0/op", "net/layer1/op"


def dyadic(rng, shape, reach):
    """Multiples of reach / 8192 off the edges of any bin: their places can be computed without rounding."""
    return ((rng.integers(-4096, 4096, shape) * 2 + 1) * reach / 8192).astype(np.float32)


def test_extremes_and_histogram_are_those_of_numpy():
    rng = np.random.default_rng(0)
    images = [dyadic(rng, SHAPE, 4.0) for _ in range(5)]
    found = collect(relu(), images)
    assert set(found) == {X, Y}
    for name, values in ((X, np.stack(images)), (Y, np.maximum(np.stack(images), 0))):
        held = found[name]
        assert (held.low, held.high, held.images) == (values.min(), values.max(), 5)
        assert held.reach == 2.0 ** (math.floor(math.log2(np.abs(values).max())) + 1)
        wanted = np.histogram(values.astype(np.float64), BINS, (-held.reach, held.reach))[0]
        np.testing.assert_array_equal(held.counts, wanted)


def test_a_histogram_that_grew_is_the_one_that_was_wide_from_the_start():
    rng = np.random.default_rng(1)
    images = [dyadic(rng, SHAPE, reach) for reach in (0.5, 16.0, 2.0, 64.0)]
    held = collect(relu(), images)[X]
    assert held.reach == 64.0
    np.testing.assert_array_equal(held.counts, np.histogram(np.stack(images), BINS, (-64.0, 64.0))[0])
    width = 2 * 64.0 / BINS
    np.testing.assert_allclose(held.centres, np.arange(-64.0, 64.0, width) + width / 2, rtol=0)


def test_moving_averages_by_hand():
    images = [np.full(SHAPE, value, np.float32) for value in (1.0, 3.0, -5.0)]
    held = collect(relu(), images)[X]
    first = 1.0
    second = MOMENTUM * first + (1 - MOMENTUM) * 3.0
    third = MOMENTUM * second + (1 - MOMENTUM) * -5.0
    assert held.mean_low == held.mean_high == pytest.approx(third, rel=1e-12)


def test_a_large_tensor_is_sampled_at_other_places_in_each_image_and_its_extremes_are_exact():
    shape = (1, 2 * SAMPLES, 1, 1)
    image = np.tile(np.array([1.0, -1.0], np.float32), SAMPLES).reshape(shape)
    image[0, 1] = -7.0
    held = collect(relu(shape), [image, np.maximum(image, -1)])[X]
    assert held.low == -7.0
    # The even places of the first image, the odd ones of the second.
    assert held.counts.sum() == 2 * SAMPLES
    np.testing.assert_array_equal(held.counts[held.counts > 0], [SAMPLES, SAMPLES])
    np.testing.assert_allclose(held.centres[held.counts > 0], [-1, 1], atol=2 * held.reach / BINS)


def test_a_tensor_of_zeros_has_a_histogram():
    held = collect(relu(), [np.full(SHAPE, -1, np.float32)])[Y]
    assert (held.low, held.high) == (0, 0)
    assert held.counts.sum() == held.counts[BINS // 2] == np.prod(SHAPE)


def test_the_number_of_threads_changes_nothing(net, calibration):
    from tta_lite.export.quantize.float_file import FloatFile

    tflite = FloatFile.of_model(net).tflite
    one, two = (collect(tflite, calibration[:3], num_threads=count) for count in (1, 2))
    assert list(one) == list(two)
    for name in one:
        np.testing.assert_array_equal(one[name].counts, two[name].counts)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_tensor_that_is_no_number_is_named(bad):
    file = File()
    x, y = file.tensor(SHAPE), file.tensor(SHAPE)
    file.op("ADD", [x, file.constant(np.full(SHAPE, bad, np.float32))], [y], kind="AddOptions")
    with pytest.raises(InputError, match="Calibration image 0: the tensor `net/layer1/op` must hold numbers"):
        collect(file.to_bytes([x], [y]), [np.zeros(SHAPE, np.float32)])


@pytest.mark.parametrize(
    ("images", "received"),
    [
        ([], "no image"),
        ([np.zeros((1, 2, 3, 3), np.float32)], r"\[1, 2, 3, 3\] float32"),
        ([np.zeros(SHAPE, np.float64)], "float64"),
        ([np.full(SHAPE, np.nan, np.float32)], "not finite"),
    ],
)
def test_images_that_do_not_fit_are_refused(images, received):
    with pytest.raises(InputError, match=received):
        collect(relu(), images)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=30), st.integers(1, 5))
def test_nothing_is_lost_however_values_come(values, parts):
    histogram = subject._Histogram()
    array = np.array(values, np.float32)
    for part in np.array_split(array, parts):
        if part.size:
            assert histogram.add(part)
    held = histogram.finish()
    assert held.counts.sum() == len(array)
    assert (held.low, held.high) == (array.min(), array.max())
    assert held.reach > np.abs(array).max()
    # Each bin's count is right to within the neighbours: a float32 sum may round across an edge.
    width = 2 * held.reach / BINS
    order = np.repeat(held.centres, held.counts)
    np.testing.assert_allclose(order, np.sort(array.astype(np.float64)), rtol=0, atol=width * 0.51)
