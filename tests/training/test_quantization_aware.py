"""Quantisation-aware networks, and the int8 files that must compute what they compute."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.export.contents import read_contents
from tta_lite.export.quantization_aware import export_quantization_aware
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.models.layers import ChannelShuffle, ChannelSplit
from tta_lite.models.pose import pose_resnet
from tta_lite.training import quantization_aware as aware
from tta_lite.training.callbacks import QuantizationAwareSchedule
from tta_lite.training.precision import with_policy
from tta_lite.training.quantization_prepare import quantisable
from tta_lite.training.quantization_ranges import output_places
from tta_lite.training.quantizers import BatchNorm, on_grid
from tta_lite.transforms.graph import trace
from tta_lite.types import FP16, INT8, InputError

L = keras.layers


def pictures(count: int, side: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, side, side, 3)).astype(np.float32)


def images(count: int = 16, side: int = 16) -> list[np.ndarray]:
    return list(pictures(count, side)[:, None])


def normed(x, name):
    """Batch norm with statistics and scales that spread the channels over two orders of magnitude, signs included."""
    layer = L.BatchNormalization(name=name)
    y = layer(x)
    rng = np.random.default_rng(len(name))
    size = x.shape[-1]
    gamma = rng.choice([-1, 1], size, p=[0.2, 0.8]) * np.exp(rng.normal(0, 1.5, size))
    layer.set_weights([gamma, rng.normal(size=size), 0.2 * rng.normal(size=size), np.exp(rng.normal(0, 1, size))])
    return y


def deconv_net() -> keras.Model:
    """[B, 16, 16, 3] -> [B, 32, 32, 2]: Conv, Deconv, batch norm and ReLU behind both, as in a pose network's head."""
    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, 2, "same", use_bias=False, name="conv")(image)
    x = L.ReLU(name="conv_relu")(normed(x, "conv_bn"))
    for i in (1, 2):
        x = L.Conv2DTranspose(8, 4, 2, "same", use_bias=False, name=f"deconv{i}")(x)
        x = L.ReLU(name=f"deconv{i}_relu")(normed(x, f"deconv{i}_bn"))
    return keras.Model(image, L.Conv2D(2, 1, name="heatmaps")(x), name="deconvs")


def hard_sigmoid(x):
    return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)


def varied_net() -> keras.Model:
    """[B, 16, 16, 3] -> [B, 5]: what light networks are made of beside convolutions."""
    keras.utils.set_random_seed(2)
    image = keras.Input((16, 16, 3), name="image")
    x = normed(L.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image), "stem_bn")
    x = L.Multiply(name="hard_swish")([x, L.ReLU(6.0, name="gate")(x + 3.0) * (1.0 / 6.0)])
    # Squeeze and excite.
    gate = L.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    gate = L.Conv2D(4, 1, activation="relu", name="se_reduce")(gate)
    gate = L.Conv2D(8, 1, name="se_expand")(gate)
    gate = L.ReLU(6.0, name="se_relu6")(gate + 3.0) * (1.0 / 6.0)
    x = L.Multiply(name="excite")([x, gate])
    # ShuffleNet's unit.
    short, y = ChannelSplit(2, name="split")(x)
    y = L.DepthwiseConv2D(3, padding="same", use_bias=False, name="dw")(y)
    y = L.Conv2D(4, 1, activation="relu", name="pw")(normed(y, "dw_bn"))
    x = ChannelShuffle(2, name="shuffle")(L.Concatenate(name="cat")([short, y]))
    # Up and down, and the residual.
    y = L.UpSampling2D(2, interpolation="bilinear", name="up")(L.AveragePooling2D(2, name="down")(x))
    x = L.ReLU(name="sum_relu")(L.Add(name="sum")([x, y]))
    x = L.BatchNormalization(name="lone_bn")(L.MaxPooling2D(2, name="pool")(x))
    x = L.SeparableConv2D(8, 3, padding="same", activation="swish", name="separable")(x)
    x = L.GlobalAveragePooling2D(name="head_pool")(x)
    return keras.Model(image, L.Dense(5, activation="softmax", name="classes")(x), name="varied")


def steps_apart(model: keras.Model, tflite: bytes, batch: np.ndarray) -> np.ndarray:
    """-> |file - model| in units of the output's scale."""
    low, high = aware.ranges_of(model)[model.output_names[0].removeprefix(aware.PREFIX)]
    return np.abs(np.round((TFLitePredictor(tflite)(batch) - model(batch, training=False)) / ((high - low) / 255)))


def trained(net: keras.Model, *callbacks: keras.callbacks.Callback, epochs: int = 1, rate: float = 1e-3) -> keras.Model:
    """-> the quantisation-aware network after four steps an epoch."""
    model = aware.quantization_aware(net, images=images())
    rng = np.random.default_rng(3)
    target = rng.normal(size=(32, *model.output_shape[1:])).astype(np.float32)
    model.compile(keras.optimizers.Adam(rate), "mse")
    model.fit(pictures(32, seed=1), target, 8, epochs, verbose=0, shuffle=False, callbacks=list(callbacks))
    return model


@pytest.fixture(scope="module")
def deconvs() -> keras.Model:
    return trained(deconv_net(), epochs=3)


@pytest.fixture(scope="module")
def varied() -> keras.Model:
    return trained(varied_net(), epochs=2)


def test_the_file_of_deconvs_with_batch_norm_is_integers_and_computes_the_same(deconvs):
    tflite = export_tflite(deconvs, INT8)
    contents = read_contents(tflite)
    assert sorted(op.name for op in contents.ops) == ["CONV_2D", "CONV_2D", "TRANSPOSE_CONV", "TRANSPOSE_CONV"]
    assert {contents.tensors[number].dtype for number in (*contents.inputs, *contents.outputs)} == {"int8"}
    apart = steps_apart(deconvs, tflite, pictures(8, seed=9))
    assert apart.max() <= 2
    # Not because everything is the same: the outputs fill their range.
    low, high = aware.ranges_of(deconvs)["heatmaps"]
    outputs = deconvs(pictures(8, seed=9)).numpy()
    assert outputs.max() - outputs.min() > 100 * (high - low) / 255


@pytest.mark.parametrize("use_bias", [False, True])
def test_a_deconv_without_batch_norm_is_integers_too(use_bias):
    keras.utils.set_random_seed(4)
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2DTranspose(6, 4, 2, "same", use_bias=use_bias, activation="relu", name="deconv")(image)
    net = keras.Model(image, L.Conv2DTranspose(2, 3, 2, "same", use_bias=use_bias, name="last")(x))
    model = aware.quantization_aware(net, images=images(8, 8))
    tflite = export_quantization_aware(model)
    assert [op.name for op in read_contents(tflite).ops] == ["TRANSPOSE_CONV", "TRANSPOSE_CONV"]
    assert steps_apart(model, tflite, pictures(4, 8, seed=9)).max() <= 2


def test_training_moved_the_weights_that_were_exported(deconvs):
    before = deconv_net()
    after = aware.float_network(deconvs)
    for name in ("conv", "deconv1", "deconv2", "heatmaps", "deconv1_bn"):
        assert not np.array_equal(before.get_layer(name).get_weights()[0], after.get_layer(name).get_weights()[0])


def test_the_file_of_the_layers_that_tfmot_leaves_out_computes_the_same(varied):
    tflite = export_quantization_aware(varied)
    names = {op.name for op in read_contents(tflite).ops}
    assert {"HARD_SWISH", "MUL", "SPLIT", "CONCATENATION", "TRANSPOSE", "RESIZE_BILINEAR", "MEAN", "LOGISTIC"} <= names
    assert steps_apart(varied, tflite, pictures(16, seed=9)).max() <= 3


def test_weights_of_a_file_are_those_of_the_grid(deconvs):
    contents_of = {
        tensor.name: tensor
        for tensor in read_contents(export_quantization_aware(deconvs)).tensors
        if tensor is not None
    }
    assert contents_of
    kernel = aware.kernel_variables(deconvs)["deconv1"].numpy()
    rounded = on_grid(kernel, (0, 1, 3)).numpy()
    largest = np.abs(kernel).max((0, 1, 3), keepdims=True)
    # The paper's equation 1 in float64: codes are whole numbers of -127..127, and the largest weight is one of them.
    codes = rounded.astype(np.float64) / (largest / 127)
    np.testing.assert_allclose(codes, np.round(kernel.astype(np.float64) / (largest / 127)), atol=1e-3)
    assert (np.abs(np.round(codes)).max((0, 1, 3)) == 127).all()


@pytest.mark.parametrize("net", [deconv_net, varied_net])
def test_preparing_changes_no_output(net):
    model = net()
    prepared = quantisable(model)
    batch = pictures(4)
    np.testing.assert_allclose(prepared(batch), model(batch), rtol=1e-4, atol=1e-5)
    again = quantisable(prepared)
    assert [layer.name for layer in again.layers] == [layer.name for layer in prepared.layers]


def test_ranges_lie_where_the_file_has_tensors():
    places = output_places(trace(quantisable(varied_net())))
    # Batch norm before a ReLU, what only a concatenation reads, and what moves values have none.
    assert not {"stem", "dw", "pw", "pw_relu", "split", "shuffle", "up", "down", "pool", "sum"} & set(places)
    assert {"quantize_image", "stem_bn", "hard_swish", "squeeze", "excite", "cat", "sum_relu", "lone_bn"} <= set(places)
    assert places["classes_softmax"] == places["separable_sigmoid"] == (0, 255 / 256)


def test_ranges_begin_with_what_the_images_give():
    net = deconv_net()
    ranges = aware.ranges_of(aware.quantization_aware(net, images=images(20)))
    values = keras.Model(net.input, net.get_layer("deconv1_relu").output)(pictures(20)).numpy()
    assert ranges["deconv1_relu"] == pytest.approx((0.0, values.max()), rel=1e-4)
    assert ranges["quantize_image"] == pytest.approx((pictures(20).min(), pictures(20).max()))


def test_ranges_stop_when_they_are_frozen_and_batch_norm_does():
    ranges, statistics, shifts = [], [], []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            ranges.append(aware.ranges_of(self.model))
            norm = next(layer for layer in self.model.submodules if isinstance(layer, BatchNorm))
            statistics.append(np.concatenate([norm.moving_mean, norm.moving_variance]))
            shifts.append(norm.beta.numpy())

    trained(
        deconv_net(), QuantizationAwareSchedule(freeze_batch_norm_epoch=1, freeze_ranges_epoch=2), Watch(), epochs=4
    )
    moving = [name for name in ranges[0] if name != "quantize_image"]
    assert all(ranges[0][name] != ranges[1][name] for name in moving)
    assert ranges[1] == ranges[2] == ranges[3]
    assert np.array_equal(statistics[0], statistics[1]) and np.array_equal(statistics[0], statistics[3])
    # What still learns: the weights, and batch norm's own scale and shift.
    assert not np.array_equal(shifts[2], shifts[3])


@pytest.mark.slow
def test_batch_norm_moves_if_nobody_freezes_it():
    before = deconv_net().get_layer("conv_bn").moving_mean.numpy()
    model = trained(deconv_net(), QuantizationAwareSchedule(freeze_ranges_epoch=0))
    assert not np.array_equal(aware.wrapped_layer(model, "conv_bn").moving_mean.numpy(), before)
    assert aware.ranges_of(model) == aware.ranges_of(aware.quantization_aware(deconv_net(), images=images()))


def test_the_float_network_and_the_ranges_make_the_same_network_again(varied, tmp_path):
    plain = aware.float_network(varied)
    plain.save(tmp_path / "net.keras")
    from tta_lite.models.files import load_network

    again = aware.quantization_aware(load_network(tmp_path / "net.keras"), ranges=aware.ranges_of(varied))
    batch = pictures(8, seed=4)
    np.testing.assert_array_equal(again(batch), varied(batch))
    assert not np.array_equal(plain(batch), varied(batch))


def test_the_model_is_not_changed():
    net = deconv_net()
    before = [value.copy() for value in net.get_weights()]
    model = aware.quantization_aware(net, images=images())
    for weight in model.trainable_variables:
        weight.assign_add(tf.ones_like(weight))
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))


class TestMistakes:
    @pytest.mark.parametrize(
        ("layer", "text"),
        [
            (L.PReLU(name="odd"), "`odd` \\(PReLU\\)"),
            (L.ReLU(max_value=20, name="odd"), "`odd` \\(ReLU, a limit other than 6"),
            (L.Activation("elu", name="odd"), "`odd` \\(Activation, activation elu\\)"),
            (L.LayerNormalization(name="odd"), "`odd` \\(LayerNormalization\\)"),
        ],
    )
    def test_a_layer_that_cannot_be_quantised_is_named(self, layer, text):
        image = keras.Input((8, 8, 3))
        net = keras.Model(image, layer(L.Conv2D(4, 3)(image)))
        with pytest.raises(InputError, match=text):
            aware.quantization_aware(net, images=images(1, 8))

    def test_a_model_that_is_quantised_already(self, deconvs):
        with pytest.raises(InputError, match=r"plain float32 network.*QuantizeWrapper"):
            aware.quantization_aware(deconvs, images=images())

    def test_a_model_in_16_bits(self):
        with pytest.raises(InputError, match="policy float32 first"):
            aware.quantization_aware(with_policy(deconv_net(), "mixed_bfloat16"), images=images())

    def test_weights_that_are_no_numbers(self):
        net = deconv_net()
        kernel = net.get_layer("deconv1").get_weights()[0]
        kernel[0, 0, 0, 0] = np.nan
        net.get_layer("deconv1").set_weights([kernel])
        with pytest.raises(InputError, match="NaN or infinity in layer `deconv1`"):
            aware.quantization_aware(net, images=images())

    @pytest.mark.parametrize("given", [[], images(1, 8), [np.full((1, 16, 16, 3), np.nan, np.float32)]])
    def test_images_that_fix_no_range(self, given):
        with pytest.raises(InputError, match="`images`"):
            aware.quantization_aware(deconv_net(), images=given)

    def test_ranges_that_leave_a_layer_out(self):
        with pytest.raises(InputError, match="nothing for quantize_image"):
            aware.quantization_aware(deconv_net(), ranges={"conv_relu": (0, 1)})

    def test_another_preset(self, deconvs):
        with pytest.raises(InputError, match="preset='fp16'"):
            export_tflite(deconvs, FP16)

    def test_the_schedule_of_a_plain_network(self):
        net = deconv_net()
        net.compile("sgd", "mse")
        with pytest.raises(InputError, match="`quantization_aware`"):
            net.fit(pictures(2), np.zeros((2, 32, 32, 2)), callbacks=[QuantizationAwareSchedule()], verbose=0)
        with pytest.raises(InputError, match="freeze_ranges_epoch"):
            QuantizationAwareSchedule(freeze_ranges_epoch=-1)

    def test_a_plain_network_has_no_quantisation_aware_file(self):
        with pytest.raises(InputError, match="without any quantised layer"):
            export_quantization_aware(deconv_net())


@pytest.mark.slow
@pytest.mark.parametrize(
    "backbone", ["mobilenet_v2_0.35", "mobilenet_v3_small_0.75", "mobilenet_v3_large_0.75", "shufflenet_v2_0.5"]
)
def test_pose_networks(backbone):
    keras.utils.set_random_seed(0)
    net = pose_resnet(backbone, input_size=64, joints=4, deconv_filters=(16, 16), bottleneck=8)
    for seed in range(15):
        net(pictures(16, 64, seed), training=True)
    model = aware.quantization_aware(net, images=images(16, 64))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    target = 0.1 * np.random.default_rng(1).normal(size=(32, *model.output_shape[1:]))
    model.fit(pictures(32, 64, 20), target, batch_size=16, epochs=3, verbose=0)
    tflite = export_quantization_aware(model)
    assert not read_contents(tflite).float_ops()
    apart = steps_apart(model, tflite, pictures(8, 64, 40))
    assert apart.max() <= 3 and np.mean(apart > 0.5) < 0.01
