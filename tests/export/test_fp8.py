"""FP8 by hand: the numbers of both formats from their definition, the nearest by search, and a network in float64."""

from __future__ import annotations

import numpy as np
import pytest

from tests import single_op_files as one
from tta_lite.export.quantize.fp8 import FORMATS, fp8_predictor
from tta_lite.export.runner import TFLitePredictor
from tta_lite.types import InputError

# Format -> bits of exponent, of mantissa, bias, and how many of the topmost numbers are none (Micikevicius et al.
# 2022, table 1: E4M3 has NaN in one code of the largest exponent, E5M2 keeps all four for infinity and NaN).
LAYOUT = {"e4m3": (4, 3, 7, 1), "e5m2": (5, 2, 15, 4)}
LARGEST = {"e4m3": 448.0, "e5m2": 57344.0}


def numbers(name: str) -> np.ndarray:
    """-> the positive numbers of a format and 0, in order; the place of an even mantissa is even."""
    exponent, mantissa, bias, none = LAYOUT[name]
    steps = 2**mantissa
    found = [m / steps * 2.0 ** (1 - bias) for m in range(steps)]
    found += [(1 + m / steps) * 2.0 ** (e - bias) for e in range(1, 2**exponent) for m in range(steps)]
    return np.array(found[: len(found) - none])


def nearest(name: str, values: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """By search among all numbers, in float64; of two equally near ones that with the even mantissa."""
    grid = numbers(name)
    units = np.abs(np.asarray(values, np.float64) / scale)
    distance = np.abs(units[..., None] - grid)
    least = distance.min(axis=-1, keepdims=True)
    candidates = distance <= least
    even = candidates & (np.arange(len(grid)) % 2 == 0)
    chosen = np.where(even.any(axis=-1), even.argmax(axis=-1), candidates.argmax(axis=-1))
    return np.sign(values) * grid[chosen] * scale


def network(rng: np.random.Generator) -> tuple[bytes, dict[str, np.ndarray]]:
    """A 1 x 1 convolution with ReLU, a DWConv on one pixel, a sum with a constant -> the file and what it holds."""
    held = {
        "conv": rng.normal(0, 0.3, (5, 1, 1, 4)), "conv_bias": rng.normal(0, 1, 5),
        "depthwise": rng.normal(0, 2, (1, 1, 1, 5)), "depthwise_bias": rng.normal(0, 1, 5), "add": rng.normal(0, 1, 5),
    }  # fmt: skip
    held = {name: values.astype(np.float32) for name, values in held.items()}
    file = one.File()
    x = file.tensor((1, 2, 3, 4))
    settings = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
    y, z, out = (file.tensor((1, 2, 3, 5)) for _ in range(3))
    weights = [file.constant(held[name]) for name in ("conv", "conv_bias")]
    file.op("CONV_2D", [x, *weights], [y], kind="Conv2DOptions", fusedActivationFunction=1, **settings)
    weights = [file.constant(held[name]) for name in ("depthwise", "depthwise_bias")]
    file.op("DEPTHWISE_CONV_2D", [y, *weights], [z], kind="DepthwiseConv2DOptions", depthMultiplier=1, **settings)
    file.op("ADD", [z, file.constant(held["add"])], [out], kind="AddOptions")
    return file.to_bytes([x], [out]), held


NAMES = [f"net/layer{number}/op" for number in range(4)]


@pytest.mark.parametrize("name", LAYOUT)
def test_every_value_goes_to_the_nearest_number(name):
    rng, grid = np.random.default_rng(0), numbers(name)
    assert grid[-1] == LARGEST[name] == FORMATS[name].largest
    middles = (grid[1:] + grid[:-1]) / 2
    values = np.concatenate([grid, middles, np.nextafter(middles, 0), rng.uniform(0, grid[-1], 500)])
    values = np.concatenate([values, -values]).astype(np.float32)
    found, saturated = FORMATS[name].rounded(values)
    assert found.dtype == np.float32 and saturated == 0
    np.testing.assert_array_equal(np.abs(found), np.abs(nearest(name, values, 1.0)))
    np.testing.assert_array_equal(np.sign(found), np.sign(values) * (found != 0))


@pytest.mark.parametrize("name", LAYOUT)
def test_what_lies_outside_saturates_and_is_counted(name):
    top = LARGEST[name]
    values = np.array([top, top * 1.001, -top * 2, 1e30, -1.0], np.float32)
    found, saturated = FORMATS[name].rounded(values)
    assert found.tolist() == [top, top, -top, top, -1.0] and saturated == 3
    # With a scale of 2 the largest is twice as large.
    assert FORMATS[name].rounded(values, 2.0)[1] == 1
    assert values[3] == np.float32(1e30)


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", LAYOUT)
def test_a_network_computes_what_float64_says(name, per_channel):
    rng = np.random.default_rng(1)
    tflite, held = network(rng)
    images = rng.normal(0, 1, (6, 2, 3, 4)).astype(np.float32)
    # Wide enough for all but the second tensor, of which some values saturate.
    ranges = dict(zip(NAMES, [(-4.0, 4.0), (0.0, 0.6), (-1.0, 9.0), (-10.0, 2.0)], strict=True))
    scales = [max(-low, high) / LARGEST[name] for low, high in ranges.values()]
    # The ways in which float32 may come down on the other side of a middle are left out by exact arithmetic: sums of
    # a few products of 3-bit numbers fit float32.
    predict = fp8_predictor(tflite, ranges=ranges, format=name, per_channel=per_channel)
    found = predict(images)

    def weights(values: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        largest = np.abs(values).max(axis=axes if per_channel else None, keepdims=True)
        return nearest(name, values, (largest / np.float32(LARGEST[name])).astype(np.float64))

    def clipped(values: np.ndarray, place: int) -> np.ndarray:
        largest = scales[place] * LARGEST[name]
        return nearest(name, np.clip(values, -largest, largest), scales[place])

    x = clipped(images.astype(np.float64), 0)
    before = np.maximum(x @ weights(held["conv"], (1, 2, 3))[:, 0, 0].T + held["conv_bias"], 0)
    y = clipped(before, 1)
    z = clipped(y * weights(held["depthwise"], (0, 1, 2))[0, 0, 0] + held["depthwise_bias"], 2)
    added = np.abs(held["add"]).max() / np.float32(LARGEST[name])
    out = clipped(z + nearest(name, held["add"], np.float64(added)), 3)

    step = np.abs(out) * 2.0 ** -LAYOUT[name][1] + 1e-6
    assert (np.abs(found - out) <= step).all()
    # One number in a hundred may come down on the other side of a middle.
    assert np.mean(np.abs(found - out) > 1e-5 * np.abs(out).max()) < 0.01
    assert predict.saturated[NAMES[1]] == np.count_nonzero(before > 0.6) > 0
    assert predict.saturated[NAMES[0]] == np.count_nonzero(np.abs(images) > 4)
    assert predict.total == images.size + 3 * found.size


def test_the_ranges_of_images_and_the_order_of_the_formats():
    rng = np.random.default_rng(2)
    tflite, _ = network(rng)
    images = rng.normal(0, 1, (40, 2, 3, 4)).astype(np.float32)
    exact = TFLitePredictor(tflite)(images)
    errors = {}
    for name in FORMATS:
        predict = fp8_predictor(tflite, images=[image[None] for image in images], format=name)
        errors[name] = float(np.sqrt(np.mean((predict(images) - exact) ** 2)) / exact.std())
        # The input is calibrated on the very images; behind it a rounded value may lie a step above the largest.
        assert predict.saturated[NAMES[0]] == 0
        assert sum(predict.saturated.values()) < 5
    # A relative step of 2^-4 or 2^-3 at most, at a handful of places.
    assert 0.01 < errors["e4m3"] < 0.1 and errors["e4m3"] * 1.5 < errors["e5m2"] < 0.2


def test_numbers_of_the_format_stay_as_they_are():
    file = one.File()
    x, y = file.tensor((1, 2, 2, 3)), file.tensor((1, 2, 2, 3))
    file.op("ADD", [x, file.constant(np.float32(0))], [y], kind="AddOptions")
    ranges = dict.fromkeys(NAMES[:2], (-448.0, 448.0))
    images = np.random.default_rng(3).choice(numbers("e4m3"), (5, 2, 2, 3)).astype(np.float32)
    np.testing.assert_array_equal(fp8_predictor(file.to_bytes([x], [y]), ranges=ranges)(images), images)


def test_mistakes_are_told():
    tflite, _ = network(np.random.default_rng(4))
    ranges = dict.fromkeys(NAMES, (-1.0, 1.0))
    with pytest.raises(InputError, match=r"`format` must be one of e4m3, e5m2. Received: 'e3m4'"):
        fp8_predictor(tflite, ranges=ranges, format="e3m4")
    with pytest.raises(InputError, match="Received: neither"):
        fp8_predictor(tflite)
    with pytest.raises(InputError, match="Received: both"):
        fp8_predictor(tflite, ranges=ranges, images=[np.zeros((1, 2, 3, 4), np.float32)])
    with pytest.raises(InputError, match=r"none of `net/layer3/op`"):
        fp8_predictor(tflite, ranges={name: ranges[name] for name in NAMES[:3]})
    with pytest.raises(InputError, match=r"two numbers in order\. Received: nan"):
        fp8_predictor(tflite, ranges={**ranges, NAMES[0]: (float("nan"), 1.0)})
    predict = fp8_predictor(tflite, ranges=ranges)
    with pytest.raises(InputError, match=r"shape \[B, 2, 3, 4\].* Received: \[2, 3, 4\]"):
        predict(np.zeros((2, 3, 4), np.float32))
    with pytest.raises(InputError, match=r"`net/layer0/op` must hold numbers. Received: NaN or infinity"):
        predict(np.full((1, 2, 3, 4), np.nan, np.float32))
