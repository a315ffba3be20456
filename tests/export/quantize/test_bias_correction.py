from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantize.bias_correction import bias_correction
from tta_lite.export.quantize.linear_ops import bias_of, linear_ops, quantised_weights
from tta_lite.export.quantize.tensor_values import tensor_values
from tta_lite.export.tflite import export_tflite
from tta_lite.types import FP32

BACKENDS = ("converter", "litert_quantizer")


def test_the_shift_by_hand():
    image = keras.Input((1, 1, 2))
    model = keras.Model(image, keras.layers.Conv2D(1, 1)(image))
    model.set_weights([np.array([[[[1.27], [0.504]]]]), np.array([3.0])])
    tflite = export_tflite(model, FP32)
    from tta_lite.export.quantize.float_file import FloatFile
    from tta_lite.export.quantize.post_training import PostTraining
    from tta_lite.types import ExportSpec

    images = [np.array([[[[1.0, value]]]], np.float32) for value in (2.0, 6.0)]
    repaired = bias_correction(
        tflite, images, lambda file: PostTraining(FloatFile(file, "net"), images).quantize(ExportSpec("int8"))
    )
    # The scale is 0.01: 0.504 becomes 0.50, which times the mean 4 gives 0.016 too little.
    edit = GraphEdit(repaired)
    np.testing.assert_allclose(bias_of(edit, linear_ops(edit)[0]), [3.016], atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rounded_weights_keep_the_means_of_every_layer(trial, backend):
    def quantise(tflite):
        return trial.quantise(tflite, backend=backend, per_tensor=True)

    repaired = bias_correction(trial.tflite, trial.images, quantise)
    edit, after = GraphEdit(trial.tflite), GraphEdit(repaired)
    rounded = quantised_weights(GraphEdit(quantise(repaired)))
    linear, changed = linear_ops(edit), linear_ops(after)
    names = [edit.text(one.input) for one in linear]
    values = list(tensor_values(trial.tflite, trial.images, names))
    assert len(rounded) == len(linear) == 5
    for one, other, name in zip(linear, changed, names, strict=True):
        patches = np.concatenate([one.patches(held[name]) for held in values], axis=1).astype(np.float64)

        def mean(weights, bias, one=one, patches=patches):
            return np.einsum("gnk,gok->ngo", patches, one.rows(weights)).reshape(len(patches[0]), -1).mean(0) + bias

        wanted = mean(edit.value(one.weights), bias_of(edit, one))
        before = mean(rounded[edit.text(one.output)], bias_of(edit, one))
        found = mean(rounded[edit.text(one.output)], bias_of(after, other))
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())
        assert np.abs(found - wanted).max() < 0.1 * np.abs(before - wanted).max()
        np.testing.assert_array_equal(edit.value(one.weights), after.value(other.weights))


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_brings_back_what_one_scale_a_tensor_loses(trial, backend):
    plain = trial.error(backend=backend, per_tensor=True)
    assert trial.error(backend=backend, per_tensor=True, repairs=("bias_correction",)) < 0.8 * plain


def test_an_op_in_float32_is_left_alone(trial):
    edit = GraphEdit(trial.tflite)
    first, *others = linear_ops(edit)
    kept = (edit.text(first.output),)
    repaired = GraphEdit(
        bias_correction(trial.tflite, trial.images, lambda file: trial.quantise(file, keep_float=kept))
    )
    same = [np.array_equal(bias_of(edit, a), bias_of(repaired, b)) for a, b in
            zip((first, *others), linear_ops(repaired), strict=True)]  # fmt: skip
    assert same[0] and not any(same[1:])
