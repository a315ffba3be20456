from __future__ import annotations

import math

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.parity import SQNR_LIMITS_DB, Parity, check_parity, compare, measure
from tta_lite.export.tflite import export_tflite
from tta_lite.types import INT8, PRESETS, InputError


def test_measure_by_hand():
    parity = measure(np.array([[1.0, -1.0], [3.0, -3.0]]), np.array([[1.1, -1.0], [3.0, -2.9]]))
    assert parity.max_error == pytest.approx(0.1)
    assert parity.mean_error == pytest.approx(0.05)
    # (1 + 1 + 9 + 9) / (0.01 + 0.01) = 1000: 30 dB.
    assert parity.sqnr_db == pytest.approx(30)
    # rmse sqrt(0.02 / 4), standard deviation sqrt(20 / 4).
    assert parity.relative_rmse == pytest.approx(math.sqrt(0.02 / 20))
    assert parity.images == 2


def test_equal_and_silent_outputs():
    assert measure(np.ones((1, 2)), np.ones((1, 2))) == Parity(0.0, 0.0, math.inf, 0.0, 1)
    assert measure(np.zeros((1, 2)), np.ones((1, 2))).sqnr_db == -math.inf


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r"\[1, 2\]. Received: \[1, 3\]"):
        measure(np.zeros((1, 2)), np.zeros((1, 3)))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_passes_on_an_honest_export(files, net, images, preset):
    parity = compare(net, files[preset], images[:4])
    check_parity(parity, preset)
    assert compare(net, files[preset], [image[None] for image in images[:4]]) == parity


def test_presets_lose_what_their_types_lose(files, net, images):
    sqnr = {preset: compare(net, files[preset], images[:4]).sqnr_db for preset in PRESETS}
    # float16 keeps 11 bits of a weight, float32 24: 13 bits of 6.02 dB are 78 dB; int8 keeps 8.
    assert sqnr["fp32"] - sqnr["fp16"] == pytest.approx(78, abs=20)
    assert sqnr["fp16"] > sqnr["dynamic"] > sqnr["int8"]


@pytest.fixture(scope="module")
def plain_net():
    """Without biases, so that its outputs follow the range of its inputs."""
    keras.utils.set_random_seed(0)
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Conv2D(16, 3, 2, "same", use_bias=False, activation="relu")(image)
    x = keras.layers.Conv2DTranspose(16, 4, 2, "same", use_bias=False, activation="relu")(x)
    return keras.Model(image, keras.layers.Conv2D(4, 1, use_bias=False, name="heatmaps")(x))


@pytest.mark.parametrize("factor", [1 / 128, 128], ids=["normalised twice", "not normalised"])
def test_calibration_in_another_range_is_refused(plain_net, images, factor):
    honest = export_tflite(plain_net, INT8, [image[None] for image in images])
    check_parity(compare(plain_net, honest, images[:4]), "int8")
    damaged = export_tflite(plain_net, INT8, [image[None] * np.float32(factor) for image in images])
    with pytest.raises(InputError, match=r"int8 file is not the same function.*SQNR of 10 dB.*Received: max .*SQNR"):
        check_parity(compare(plain_net, damaged, images[:4]), "int8")


@pytest.mark.parametrize("preset", PRESETS)
def test_other_weights_are_refused(files, other_net, images, preset):
    with pytest.raises(InputError, match=f"SQNR of {SQNR_LIMITS_DB[preset]:g} dB or more"):
        check_parity(compare(other_net, files[preset], images[:2]), preset)


def test_outputs_that_are_not_numbers_are_refused():
    with pytest.raises(InputError, match="nan"):
        check_parity(measure(np.ones((1, 2)), np.array([[1.0, np.nan]])), "int8")


def test_a_wrong_call_is_refused(files, net):
    with pytest.raises(InputError, match=r"one real input or more. Received: none"):
        compare(net, files["fp32"], [])
    with pytest.raises(InputError, match="inputs of one shape"):
        compare(net, files["fp32"], [np.zeros((1, 64, 64, 3)), np.zeros((1, 32, 32, 3))])
    with pytest.raises(InputError, match=r"`preset` must be one of fp32.*Received: 'int4'"):
        check_parity(Parity(0, 0, 99, 0, 1), "int4")
