"""Zeros and clusters that survive quantisation-aware training, counted in the int8 file itself."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.quantization_aware import export_quantization_aware
from tta_lite.export.runner import TFLitePredictor
from tta_lite.training import quantization_aware as aware
from tta_lite.training.fit import FitSettings, fit
from tta_lite.training.kept_weights import find_clusters
from tta_lite.training.pruning import magnitude_pruned
from tta_lite.training.quantization_plan import QuantizationAware
from tta_lite.types import FP32, INT8, Candidate, InputError

L = keras.layers
AXES = (0, 1, 2)


def wide_net() -> keras.Model:
    """[B, 16, 16, 3] -> [B, 16, 16, 2]: kernels large enough that the file is mostly weights."""
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(48, 3, 2, "same", use_bias=False, name="conv")(image)
    x = L.ReLU(name="conv_relu")(L.BatchNormalization(name="conv_bn")(x))
    x = L.DepthwiseConv2D(3, padding="same", name="dw")(x)
    x = L.Conv2DTranspose(48, 4, 2, "same", use_bias=False, name="deconv")(x)
    x = L.ReLU(name="deconv_relu")(L.BatchNormalization(name="deconv_bn")(x))
    return keras.Model(image, L.Conv2D(2, 1, name="heatmaps")(x), name="wide")


def trained(plan: QuantizationAware, net: keras.Model | None = None) -> keras.Model:
    """-> the quantisation-aware network after 12 steps."""
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(32, 16, 16, 3)).astype(np.float32)
    model, kept = plan.wrap(net or wide_net(), list(pictures[:8, None]))
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    target = rng.normal(size=(32, 16, 16, 2))
    model.fit(pictures, target, 8, 3, verbose=0, callbacks=[*kept, plan.schedule(3)])
    return model


def codes(tflite: bytes) -> dict[str, np.ndarray]:
    """-> the int8 kernels of a file: {"CONV_2D 0": codes}."""
    edit = GraphEdit(tflite)
    found = {}
    for place, op in enumerate(edit.ops):
        for tensor in op.inputs:
            values = edit.value(int(tensor)) if tensor >= 0 else None
            if values is not None and values.ndim == 4 and values.dtype == np.int8:
                found[f"{edit.name(op)} {place}"] = values
    return found


@pytest.fixture(scope="module")
def plain() -> bytes:
    return export_quantization_aware(QuantizationAware().wrap(wide_net(), [np.ones((1, 16, 16, 3), np.float32)])[0])


@pytest.mark.slow
def test_a_plain_training_keeps_neither_zeros_nor_clusters():
    kernels = codes(export_quantization_aware(trained(QuantizationAware())))
    assert sorted(name.split()[0] for name in kernels) == ["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV"]
    deconv = next(values for name, values in kernels.items() if name.startswith("TRANSPOSE_CONV"))
    assert (deconv == 0).mean() < 0.1 and len(np.unique(deconv)) > 200


def test_zeros_stay_in_every_kernel_of_the_file_and_the_zip_is_smaller(plain):
    tflite = export_quantization_aware(trained(QuantizationAware(sparsity=0.7)))
    for name, values in codes(tflite).items():
        if name.startswith("DEPTHWISE"):
            assert (values == 0).mean() < 0.1
        else:
            assert (values == 0).mean() >= 0.7 - 1 / values.size, name
    assert len(zlib.compress(tflite, 9)) < 0.6 * len(zlib.compress(plain, 9))
    assert len(tflite) == pytest.approx(len(plain), rel=0.03)


@pytest.mark.slow
def test_zeros_that_the_network_came_with_stay():
    net = magnitude_pruned(wide_net(), 0.5)
    before = {name: net.get_layer(name).get_weights()[0] == 0 for name in ("conv", "deconv", "heatmaps")}
    after = aware.kernel_variables(trained(QuantizationAware(), net))
    for name, zeros in before.items():
        assert zeros.mean() == pytest.approx(0.5, abs=0.01)
        assert (after[name].numpy()[zeros] == 0).all()
        # What was not zero has learnt.
        assert (after[name].numpy()[~zeros] != net.get_layer(name).get_weights()[0][~zeros]).mean() > 0.5


@pytest.mark.parametrize(("clusters", "sparsity"), [pytest.param(8, None, marks=pytest.mark.slow), (16, 0.5)])
def test_clusters_stay_in_every_kernel_of_the_file_and_the_zip_is_smaller(plain, clusters, sparsity):
    model = trained(QuantizationAware(clusters=clusters, sparsity=sparsity))
    tflite = export_quantization_aware(model)
    for name, values in codes(tflite).items():
        if name.startswith("DEPTHWISE"):
            assert len(np.unique(values)) > clusters
        else:
            assert 2 < len(np.unique(values)) <= clusters, name
            # Each channel of the file has its own scale, whose largest code is 127.
            assert np.abs(values).max() == 127
            assert sparsity is None or (values == 0).mean() >= sparsity - 1 / values.size
    assert len(zlib.compress(tflite, 9)) < 0.6 * len(zlib.compress(plain, 9))
    images = np.random.default_rng(5).normal(size=(4, 16, 16, 3)).astype(np.float32)
    low, high = aware.ranges_of(model)["heatmaps"]
    assert np.abs(TFLitePredictor(tflite)(images) - model(images).numpy()).max() <= 2.01 * (high - low) / 255


@pytest.mark.slow
def test_clusters_learn():
    start, _ = QuantizationAware(clusters=8).wrap(wide_net(), [np.ones((1, 16, 16, 3), np.float32)])
    end = trained(QuantizationAware(clusters=8))
    a, b = (aware.kernel_variables(model)["deconv"].numpy() for model in (start, end))
    shares_a, shares_b = (np.unique((k / np.abs(k).max((0, 1, 3), keepdims=True)).round(5)) for k in (a, b))
    assert len(shares_a) == len(shares_b) == 8
    assert {-1.0, 0.0, 1.0} <= set(shares_b.tolist())
    assert not np.allclose(shares_a, shares_b, atol=1e-4)


def test_clusters_are_those_of_k_means():
    # Three clear groups a side, in every channel at another scale: the centroids are their means.
    rng = np.random.default_rng(0)
    centres = np.array([-0.7, -0.3, 0.3, 0.7])
    shares = np.concatenate([rng.choice(centres, (1, 1, 400, 6)) + rng.normal(0, 0.01, (1, 1, 400, 6)),
                             np.ones((1, 1, 1, 6)), -np.ones((1, 1, 1, 6)), np.zeros((1, 1, 1, 6))], 2)  # fmt: skip
    kernel = (shares * np.array([1, 10, 0.1, 3, 7, 0.01])).astype(np.float32)
    (found,) = find_clusters([(kernel, AXES)], 7)
    np.testing.assert_allclose(found.values, [-1, -0.7, -0.3, 0, 0.3, 0.7, 1], atol=0.005)
    nearest = np.argmin(np.abs(shares[..., None] - found.values), axis=-1)
    np.testing.assert_array_equal(found.assignment, nearest)


@pytest.mark.slow
def test_a_channel_of_zeros_stays_one():
    net = wide_net()
    kernel = net.get_layer("deconv").get_weights()[0]
    kernel[:, :, 5] = 0
    net.get_layer("deconv").set_weights([kernel])
    after = trained(QuantizationAware(clusters=8), net)
    weights = aware.kernel_variables(after)["deconv"].numpy()
    assert (weights[:, :, 5] == 0).all() and np.isfinite(weights).all()
    assert not read_contents(export_quantization_aware(after)).float_ops()


class TestFit:
    @pytest.mark.slow
    def test_a_killed_training_goes_on_and_ends_the_same(self, make_net, make_task, interrupt, tmp_path):
        settings = FitSettings(2, quantization=QuantizationAware(0.5, 0.5, 4, clusters=8), tensorboard=False)
        start = Candidate(make_net())
        whole = fit(start, make_task(), settings, tmp_path / "whole", write=lambda line: None)
        assert whole.export == INT8 and start.export == FP32
        interrupt(fit, start, make_task(), settings, tmp_path / "killed", epoch=1)
        resumed = fit(start, make_task(), settings, tmp_path / "killed", write=lambda line: None)
        assert aware.ranges_of(resumed.model) == aware.ranges_of(whole.model)
        a, b = aware.float_network(resumed.model), aware.float_network(whole.model)
        for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_what_does_not_go_together(self):
        with pytest.raises(InputError, match="precision float32"):
            FitSettings(precision="mixed_bfloat16", quantization=QuantizationAware())

    @pytest.mark.parametrize(
        "values", [{"sparsity": 0.0}, {"clusters": 2}, {"freeze_ranges": 1.5}, {"calibration_images": 0}]
    )
    def test_settings_out_of_range(self, values):
        with pytest.raises(InputError, match=next(iter(values))):
            QuantizationAware(**values)
