from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow_model_optimization as tfmot
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import networks
from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.counting import count
from tta_lite.models.layers import DepthToSpace
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.cleanup import fold_batch_norm
from tta_lite.transforms.subpixel import phases, subpixel
from tta_lite.types import FP32, INT8, InputError

L = keras.layers
net = functools.partial(networks.net, shape=(5, 7, 6))


def assert_same(old: keras.Model, new: keras.Model) -> None:
    x = np.random.default_rng(1).normal(size=(2, *old.input_shape[1:])).astype(np.float32)
    wanted = old(x)
    assert new.output_shape == old.output_shape
    np.testing.assert_allclose(new(x), wanted, rtol=1e-4, atol=1e-5 * float(np.abs(wanted).max()))


@settings(max_examples=200)
@given(st.integers(1, 9), st.integers(1, 7), st.integers(2, 5), st.sampled_from(("same", "valid")), st.integers(0, 99))
def test_phases_are_the_deconv_along_one_axis(size, kernel, stride, padding, seed):
    """Against the definition: each input pixel adds the kernel at stride times its place."""
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=size), rng.normal(size=kernel)
    full = np.zeros(stride * (size - 1) + max(kernel, stride))
    for place, value in enumerate(x):
        full[stride * place : stride * place + kernel] += value * w
    if padding == "same":
        cut = max(kernel - stride, 0) // 2
        full = np.pad(full, (0, stride))[cut : cut + size * stride]
    found, extra = phases(size, kernel, stride, padding)
    outputs = []
    for phase in found:
        wide = np.pad(x, (max(0, phase.before), max(0, phase.after)))
        wide = wide[max(0, -phase.before) : len(wide) - max(0, -phase.after)]
        taps = w[list(phase.taps)] if phase.taps else np.zeros(1)
        outputs.append([window @ taps for window in np.lib.stride_tricks.sliding_window_view(wide, len(taps))])
    woven = np.array(outputs).T.reshape(-1)
    np.testing.assert_allclose(woven[: len(woven) - extra], full, atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (5, 2), ((4, 3), 2), (1, 2), (2, 3), (3, 3), (6, 3), (8, 4)]
)
def test_a_deconv_is_replaced_without_a_difference(kernel, stride, padding):
    old = net(L.Conv2DTranspose(4, kernel, strides=stride, padding=padding, activation="tanh", name="up"))
    new = subpixel(old).model
    assert not any(isinstance(layer, L.Conv2DTranspose) for layer in new.layers)
    assert_same(old, new)


def head() -> keras.Model:
    """As the head of PoseResNet: Deconv, batch norm, ReLU, PConv, batch norm, ReLU, and once more."""
    layers = []
    for place, (filters, narrow) in enumerate(((8, 4), (8, 2))):
        layers += [
            L.Conv2DTranspose(filters, 4, strides=2, padding="same", use_bias=False, name=f"deconv{place}"),
            L.BatchNormalization(name=f"deconv{place}_bn"),
            L.ReLU(name=f"deconv{place}_relu"),
            L.Conv2D(narrow, 1, name=f"pconv{place}"),
            L.BatchNormalization(name=f"pconv{place}_bn"),
            L.ReLU(name=f"pconv{place}_relu"),
        ]
    return net(*layers)


@pytest.mark.parametrize("move", [True, False])
def test_what_follows_is_done_before_the_weaving(move):
    old = head()
    found = subpixel(old, move=move)
    assert_same(old, found.model)
    names = [layer.name for layer in found.model.layers]
    if move:
        assert [(one.name, one.channels) for one in found.moved] == [("deconv0", 4), ("deconv1", 2)]
        assert found.moved[0].behind == ("deconv0_bn", "deconv0_relu", "pconv0", "pconv0_bn", "pconv0_relu")
        assert names.index("pconv0_relu") < names.index("deconv0_shuffle")
    else:
        assert [(one.behind, one.channels) for one in found.moved] == [((), 8), ((), 8)]
    # The same weights, no more and no fewer, and the same MACs.
    assert found.model.count_params() == old.count_params()
    assert count(found.model).macs == count(old).macs


def test_a_layer_that_would_need_more_channels_stays_behind():
    old = net(L.Conv2DTranspose(4, 4, strides=2, padding="same", name="up"), L.Conv2D(16, 1, name="wide"))
    assert subpixel(old).moved[0].behind == ()
    assert_same(old, subpixel(old).model)


@pytest.mark.parametrize(
    "following",
    [
        L.Conv2D(2, 3, padding="same", name="next"),
        L.MaxPooling2D(name="next"),
        L.Softmax(axis=(1, 2), name="next"),
        L.BatchNormalization(axis=1, name="next"),
        L.PReLU(name="next"),
        L.Conv2D(2, 1, strides=2, name="next"),
    ],
)
def test_what_looks_at_more_than_one_pixel_is_not_moved(following):
    again = type(following).from_config(following.get_config())
    old = net(L.Conv2DTranspose(4, 4, strides=2, padding="same", name="up"), again)
    assert subpixel(old).moved[0].behind == ()
    assert_same(old, subpixel(old).model)


def test_a_tensor_that_others_read_is_not_moved():
    image = keras.Input((4, 4, 3))
    up = L.Conv2DTranspose(4, 4, strides=2, padding="same", name="up")(image)
    act = L.ReLU(name="act")(up)
    old = randomised(keras.Model(image, [L.Conv2D(2, 1, name="head")(act), L.Add()([act, up])]))
    found = subpixel(old)
    assert found.moved[0].behind == ()
    x = np.ones((1, 4, 4, 3), np.float32)
    for one, other in zip(old(x), found.model(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_the_case_study_network_and_its_file():
    old = randomised(pose_resnet("mobilenet_v2_0.35", input_size=64, bottleneck=16))
    found = subpixel(old)
    assert [one.name for one in found.moved] == ["deconv1", "deconv2", "deconv3"]
    # Behind the next PConv 16 channels are moved, and at the end 16 joints.
    assert [one.channels for one in found.moved] == [16, 16, 16]
    assert_same(old, found.model)
    ops = [op.name for op in read_contents(export_tflite(found.model, FP32)).ops]
    assert ops.count("DEPTH_TO_SPACE") == 3
    assert "TRANSPOSE_CONV" not in ops


def test_only_the_deconvs_that_are_named():
    found = subpixel(head(), ["deconv1"])
    assert [one.name for one in found.moved] == ["deconv1"]
    assert isinstance(found.model.get_layer("deconv0"), L.Conv2DTranspose)


def test_saved_and_read(tmp_path):
    new = subpixel(head()).model
    new.save(tmp_path / "new.keras")
    assert_same(new, keras.models.load_model(tmp_path / "new.keras"))


def deconv(**options) -> keras.Model:
    return net(L.Conv2DTranspose(4, 4, padding="same", name="up", **options), L.ReLU(name="act"))


@pytest.mark.parametrize(
    ("model", "select", "said"),
    [
        (lambda: deconv(strides=2), ["act"], "must name Deconvs: up. Received: 'act'"),
        (lambda: deconv(strides=(2, 1)), None, r"'up' with strides \(2, 1\)"),
        (lambda: deconv(strides=1), ["up"], r"'up' with strides \(1, 1\)"),
        (lambda: deconv(strides=2, output_padding=1), None, "'up' with output padding"),
        (lambda: deconv(dilation_rate=2), ["up"], "'up' with dilation"),
    ],
)
def test_what_cannot_be_done_is_said(model, select, said):
    with pytest.raises(InputError, match=said):
        subpixel(model(), select)


def test_depth_to_space_refuses_channels_that_do_not_fit():
    with pytest.raises(InputError, match=r"multiple of 4 channels. Received: shape \(None, 4, 4, 6\)"):
        DepthToSpace(2)(keras.Input((4, 4, 6)))
    with pytest.raises(InputError, match="`block` must be 2 or more"):
        DepthToSpace(1)


class NoOp(tfmot.quantization.keras.QuantizeConfig):
    """For a layer that only moves values."""

    def get_weights_and_quantizers(self, layer):
        return []

    def get_activations_and_quantizers(self, layer):
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        pass

    def set_quantize_activations(self, layer, quantize_activations):
        pass

    def get_output_quantizers(self, layer):
        return []

    def get_config(self):
        return {}


def test_nothing_is_left_that_cannot_be_quantised_in_training():
    old = net(
        L.Conv2D(4, 1, name="pconv"),
        L.Conv2DTranspose(6, 4, strides=2, padding="same", use_bias=False, name="up"),
        L.BatchNormalization(name="bn"),
        L.ReLU(name="act"),
        L.Conv2D(3, 1, name="head"),
        shape=(8, 8, 6),
    )
    # Batch norm first: TFMOT quantises it only behind a convolution of its own.
    new = subpixel(fold_batch_norm(old)).model
    quantise = tfmot.quantization.keras

    def annotated(layer):
        config = (NoOp(),) if isinstance(layer, DepthToSpace) else ()
        return quantise.quantize_annotate_layer(layer, *config)

    with quantise.quantize_scope({"NoOp": NoOp}):
        aware = quantise.quantize_apply(keras.models.clone_model(new, clone_function=annotated))
    rng = np.random.default_rng(0)
    images = rng.normal(size=(64, 8, 8, 6)).astype(np.float32)
    wanted = old(images).numpy()
    aware.compile(keras.optimizers.Adam(1e-3), "mse")
    losses = aware.fit(images, wanted, batch_size=8, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    tflite = export_tflite(aware, INT8, list(images[:16, None]))
    assert "TRANSPOSE_CONV" not in {op.name for op in read_contents(tflite).ops}
    assert read_contents(tflite).float_ops() == []
