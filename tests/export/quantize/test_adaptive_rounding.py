from __future__ import annotations

import itertools

import numpy as np
import pytest

from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize import adaptive_rounding as module
from tta_lite.export.quantize.adaptive_rounding import adaptive_rounding, round_rows
from tta_lite.export.quantize.linear_ops import linear_ops, quantised_scales
from tta_lite.export.quantize.post_training import REPAIRS
from tta_lite.export.quantize.statistics import collect

BACKENDS = ("converter", "litert_quantizer")


def damped_error(codes, rows, scale, patches):
    off = codes * scale - rows
    outputs = np.einsum("gok,gnk->gno", off, patches)
    mean = np.square(patches).sum(axis=(1, 2)) / patches.shape[2]
    return np.square(outputs).sum() + module.DAMPING * (mean[:, None] * np.square(off).sum(axis=2)).sum()


@pytest.mark.parametrize("groups, count", [(1, 40), (1, 4), (3, 40)])
def test_no_single_change_is_better_and_the_nearest_is_worse(groups, count):
    rng = np.random.default_rng(count)
    rows, patches = rng.normal(size=(groups, 2, 6)), rng.normal(0.5, 1.0, (groups, count, 6))
    scale = np.full((groups, 2, 1), 0.3)
    codes = round_rows(rows, scale, patches)
    assert np.abs(codes - rows / scale).max() < 1
    best = damped_error(codes, rows, scale, patches)
    assert best < damped_error(np.rint(rows / scale), rows, scale, patches)
    for place in np.ndindex(codes.shape):
        other = codes.copy()
        other[place] += 1 if (rows / scale)[place] > codes[place] else -1
        assert damped_error(other, rows, scale, patches) > best * (1 - 1e-6)


def test_close_to_the_best_of_all():
    rng = np.random.default_rng(0)
    gained = possible = 0.0
    for _ in range(20):
        rows, patches = rng.normal(size=(1, 1, 7)), rng.normal(1.0, 1.0, (1, 30, 7))
        scale = np.full((1, 1, 1), 0.5)
        down = np.floor(rows / scale)
        every = [damped_error(down + np.array(up), rows, scale, patches) for up in itertools.product((0, 1), repeat=7)]
        found = damped_error(round_rows(rows, scale, patches), rows, scale, patches)
        nearest = damped_error(np.rint(rows / scale), rows, scale, patches)
        gained, possible = gained + nearest - found, possible + nearest - min(every)
    # Of what the best of all 128 gains over the nearest.
    assert gained > 0.9 * possible > 0


def test_codes_stay_within_eight_bits_and_a_met_code_stays():
    rows = np.array([[[127.0, -127.0, 126.6, 3.0, 2.5]]])
    codes = round_rows(rows, np.ones((1, 1, 1)), np.random.default_rng(0).normal(1.0, 0.1, (1, 50, 5)))
    assert codes.tolist()[0][0][:2] == [127.0, -127.0] and codes[0, 0, 3] == 3.0
    assert np.abs(codes).max() == 127


@pytest.mark.parametrize("per_tensor", [True, False])
@pytest.mark.parametrize("backend", BACKENDS)
def test_back_ends_find_the_codes_that_were_chosen(trial, backend, per_tensor):
    def quantise(tflite):
        return trial.quantise(tflite, backend=backend, per_tensor=per_tensor)

    before = quantised_scales(GraphEdit(quantise(trial.tflite)))
    repaired = adaptive_rounding(trial.tflite, trial.images, quantise)
    edit, file = GraphEdit(repaired), GraphEdit(quantise(repaired))
    scales = quantised_scales(file)
    moved = 0
    for one, original in zip(linear_ops(edit), linear_ops(GraphEdit(trial.tflite)), strict=True):
        name = edit.text(one.output)
        np.testing.assert_allclose(scales[name], before[name], rtol=1e-6)
        rows = one.rows(edit.value(one.weights).astype(np.float64))
        scale = np.broadcast_to(before[name], one.output_shape[-1:]).reshape(one.groups, -1, 1)
        codes = one.stored(np.rint(rows / scale))
        (op,) = [op for op in file.ops if file.text(int(op.outputs[0])) == name]
        place = 1
        np.testing.assert_array_equal(file.value(int(op.inputs[place])), codes)
        float_rows = original.rows(GraphEdit(trial.tflite).value(original.weights).astype(np.float64))
        moved += np.count_nonzero(one.stored(np.rint(float_rows / scale)) != codes)
    assert moved > 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_brings_back_what_one_scale_a_tensor_loses(trial, backend):
    plain = trial.error(backend=backend, per_tensor=True)
    rounded = trial.error(backend=backend, per_tensor=True, repairs=("adaptive_rounding",))
    assert rounded < 0.7 * plain
    assert rounded < trial.error(backend=backend, per_tensor=True, repairs=("bias_correction",))


def test_a_float_file_still(trial):
    repaired = adaptive_rounding(trial.tflite, trial.images, trial.quantise)
    held = collect(repaired, trial.images)
    assert set(held) == set(collect(trial.tflite, trial.images))


def test_ops_are_taken_in_portions(trial, monkeypatch):
    whole = adaptive_rounding(trial.tflite, trial.images, trial.quantise)
    monkeypatch.setattr(module, "_BYTES", 1)
    edit, other = GraphEdit(whole), GraphEdit(adaptive_rounding(trial.tflite, trial.images, trial.quantise))
    # Other places are drawn, and so some weights are rounded another way; none moves by more than a code.
    scales = quantised_scales(GraphEdit(trial.quantise()))
    for a, b in zip(linear_ops(edit), linear_ops(other), strict=True):
        step = scales[edit.text(a.output)].max()
        assert np.abs(edit.value(a.weights) - other.value(b.weights)).max() < 1.01 * step


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("repair", REPAIRS)
def test_a_channel_of_zeros_stays_one(trial, backend, repair):
    edit = GraphEdit(trial.tflite)
    for one in linear_ops(edit):
        rows = one.rows(edit.value(one.weights)).copy()
        rows[0, 0] = 0
        edit.set_value(one.weights, one.stored(rows))
    tflite = edit.to_bytes()
    repaired = GraphEdit(REPAIRS[repair](tflite, trial.images, lambda file: trial.quantise(file, backend=backend)))
    for one in linear_ops(repaired):
        values = repaired.value(one.weights)
        assert np.isfinite(values).all() and not one.rows(values)[0, 0].any() and values.any()
