"""A network becomes binary: what changes, what stays, what it learns, and what it takes when it is packed."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from tta_lite.compat import keras
from tta_lite.export.binary_packing import pack, packed_size, unpack
from tta_lite.export.contents import read_contents
from tta_lite.export.runner import TFLitePredictor
from tta_lite.export.tflite import export_tflite
from tta_lite.measure.counting import count
from tta_lite.models.binary_layers import BinaryConv2D, BinaryDense, BinaryDepthwiseConv2D
from tta_lite.models.bireal import bireal_classifier
from tta_lite.training.binary import binarize, binary_layers, settled
from tta_lite.training.fit import FitSettings, fit
from tta_lite.types import Candidate, ExportSpec, InputError

L = keras.layers


@pytest.fixture(scope="module")
def plain():
    """Convolutions of all kinds, with the ReLU in three places, and a shortcut."""
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    x = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.ReLU(6.0, name="relu")(x)
    x = L.MaxPooling2D(name="pool")(x)
    y = L.Conv2D(8, 1, use_bias=False, activation="relu", name="middle")(x)
    y = L.BatchNormalization(name="norm")(y)
    x = L.Add(name="add")([x, y])
    x = L.Conv2D(4, 3, activation="relu", name="late")(x)
    x = L.Flatten(name="flat")(x)
    x = L.Dense(6, name="hidden")(x)
    return keras.Model(image, L.Dense(3, name="last")(x), name="plain")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(0, 1, (5, 8, 8, 3)).astype(np.float32)


def test_weights_alone(plain, images):
    before = plain.get_weights()
    found = binarize(plain)
    assert found.binary == ("middle", "late", "hidden") and found.freed == ()
    assert found.kept == ("first", "depthwise", "last")
    kinds = {layer.name: type(layer) for layer in found.model.layers}
    assert (kinds["middle"], kinds["hidden"], kinds["depthwise"]) == (BinaryConv2D, BinaryDense, L.DepthwiseConv2D)
    assert [layer.name for layer in found.model.layers] == [layer.name for layer in plain.layers]
    assert count(found.model).macs == count(plain).macs and not count(found.model).uncounted
    # The old weights are the latent ones, and a float network with their signs and scales computes the same.
    for old, new in zip(before, found.model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    twin = keras.models.clone_model(plain)
    twin.set_weights(before)
    for name in found.binary:
        layer = twin.get_layer(name)
        kernel, *bias = layer.get_weights()
        alpha = np.abs(kernel).mean(axis=tuple(range(kernel.ndim - 1)))
        layer.set_weights([alpha * np.where(kernel >= 0, 1, -1), *bias])
    np.testing.assert_allclose(found.model(images), twin(images), rtol=1e-4, atol=1e-5)
    for old, new in zip(before, plain.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_binary_inputs_and_the_relus_before_them(plain):
    found = binarize(plain, inputs="approx_sign", kernels="sign")
    # `late`'s own ReLU comes to `hidden` through a Flatten, and `relu`'s through a pool to `middle` and the Add to
    # `late`; `middle`'s meets a batch norm, which gives negative numbers; `first`'s meets a float layer.
    assert found.freed == ("relu", "late")
    assert "relu" not in [layer.name for layer in found.model.layers]
    activations = {layer.name: getattr(layer, "activation", None) for layer in found.model.layers}
    assert activations["late"] is keras.activations.linear
    assert activations["first"] is activations["middle"] is keras.activations.relu
    assert {layer.input_quantizer for layer in binary_layers(found.model)} == {"approx_sign"}
    assert {layer.kernel_quantizer for layer in binary_layers(found.model)} == {"sign"}


def test_depthwise_if_wanted_and_layers_that_are_kept(plain):
    found = binarize(plain, depthwise=True, keep=["hidden"])
    assert found.binary == ("depthwise", "middle", "late") and found.kept == ("first", "hidden", "last")
    assert isinstance(found.model.get_layer("depthwise"), BinaryDepthwiseConv2D)


def test_mistakes_are_told(plain):
    with pytest.raises(InputError, match=r"`kernels` must be one of sign, .* Received: 'bits'"):
        binarize(plain, kernels="bits")
    with pytest.raises(InputError, match=r"`inputs` must be one of sign, approx_sign, or None. Received: 'bits'"):
        binarize(plain, inputs="bits")
    with pytest.raises(InputError, match=r"`keep` must name layers with weights: first, .* Received: \['pool'\]"):
        binarize(plain, keep=["pool"])
    with pytest.raises(InputError, match="between its first and its last layer"):
        binarize(plain, keep=["middle", "late", "hidden"])
    with pytest.raises(InputError, match=r"one convolution or more in each stage, .* stages \[1, 1\]"):
        bireal_classifier((7, 8, 1), 10, stages=(1, 1))


def test_packed_bits_come_back_exactly(plain):
    for kernels, scales in (("scaled_sign", 8 + 4 + 6 + 8), ("sign", 0)):
        model = binarize(plain, kernels=kernels, inputs="sign", depthwise=True).model
        packed = pack(model)
        found = unpack(packed)
        binary = {layer.name: layer for layer in binary_layers(model)}
        assert len(found) == len(model.weights)
        for name, values in found.items():
            layer = model.get_layer(name.partition("/")[0])
            assert values.dtype == np.float32
            if layer.name in binary and name.endswith("kernel"):
                np.testing.assert_array_equal(values, layer.binary_kernel())
            else:
                assert any(np.array_equal(values, weight) for weight in layer.weights)
        # 72 bits of depthwise, 64 of middle, 288 of late, 96 of hidden (16 flat inputs): whole bytes.
        size = packed_size(packed)
        assert size.bits == 72 + 64 + 288 + 96 and size.bit_bytes == size.bits / 8
        assert size.scale_bytes == 4 * scales
        rest = sum(int(np.prod(weight.shape)) for weight in model.weights) - size.bits
        assert size.float_bytes == 4 * rest
        header = int.from_bytes(packed[8:12], "little")
        assert size.total_bytes == len(packed) == 12 + header + size.bit_bytes + size.scale_bytes + size.float_bytes


def test_bits_that_do_not_fill_a_byte():
    x = keras.Input((5,))
    y = BinaryDense(3, use_bias=False, kernel_quantizer="sign", name="dense")(x)
    model = keras.Model(x, y)
    model.get_layer("dense").set_weights([np.array([[1, -1, 1], [1, 1, -1], [-1, -1, -1], [1, -1, -1], [1, 1, 1]])])
    packed = pack(model)
    # 101 110 00|0 100 111 and a 0 that fills up.
    assert packed[-2:] == bytes([0b10111000, 0b01001110])
    np.testing.assert_array_equal(unpack(packed)["dense/kernel"], model.get_layer("dense").get_weights()[0])


def test_torn_files_and_float_networks_are_refused(plain):
    packed = pack(binarize(plain).model)
    with pytest.raises(InputError, match="must begin with TTABITS1"):
        unpack(b"PK\x03\x04" + packed)
    with pytest.raises(InputError, match=rf"must have {len(packed)} bytes. Received: {len(packed) - 1}"):
        unpack(packed[:-1])
    with pytest.raises(InputError, match="list of contents of packed weights cannot be read"):
        unpack(packed[:12] + b"x" + packed[13:])
    with pytest.raises(InputError, match=r"must have binary layers .* Received: 'plain'"):
        pack(plain)


@pytest.mark.parametrize("inputs", [None, "sign"])
def test_the_exported_file_has_constant_kernels_and_agrees(plain, images, inputs):
    model = binarize(plain, inputs=inputs).model
    tflite = export_tflite(model, ExportSpec("fp32"))
    ops = {op.name for op in read_contents(tflite).ops}
    # Signs of inputs are ops of the graph; those of weights were taken by the converter, with batch norm's factors.
    wanted = {"CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "ADD", "RESHAPE", "FULLY_CONNECTED"}
    assert (
        wanted
        <= ops
        <= wanted | ({"GREATER_EQUAL", "SELECT_V2", "SELECT", "PADV2", "MUL", "RELU"} if inputs else {"MUL"})
    )
    np.testing.assert_allclose(TFLitePredictor(tflite)(images), model(images), rtol=1e-4, atol=1e-4)


def test_an_int8_file_of_bits_runs(plain, images):
    model = binarize(plain, inputs="sign").model
    calibration = [image[None] for image in np.random.default_rng(2).normal(0, 1, (30, 8, 8, 3)).astype(np.float32)]
    tflite = export_tflite(model, ExportSpec("int8", 30), calibration)
    assert TFLitePredictor(tflite)(images).shape == (5, 3)


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    pictures = (found.images[..., None] / 8 - 1).astype(np.float32)
    return pictures[:1400], found.target[:1400], pictures[1400:], found.target[1400:]


def learn(model, digits, epochs, rate):
    keras.utils.set_random_seed(3)
    model.compile(keras.optimizers.Adam(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(digits[0], digits[1], batch_size=64, epochs=epochs, verbose=0)


def accuracy(model, digits):
    return 100 * float((model.predict(digits[2], verbose=0).argmax(-1) == digits[3]).mean())


def test_it_learns_to_read_digits(digits):
    keras.utils.set_random_seed(4)
    model = binarize(bireal_classifier((8, 8, 1), 10, width=8), inputs="approx_sign").model
    assert len(binary_layers(model)) == 6
    before = [layer.binary_kernel().numpy() for layer in binary_layers(model)]
    learn(model, digits, 5, 5e-3)
    # Chance is 10 %.
    assert accuracy(model, digits) > 60
    for layer, old in zip(binary_layers(model), before, strict=True):
        kernel = layer.binary_kernel().numpy()
        assert len(np.unique(np.abs(kernel[..., 0]))) == 1
        assert 0.01 < np.mean(np.sign(kernel) != np.sign(old)) < 0.7
        assert np.abs(layer.latent.numpy()).max() <= 1


def test_what_was_drawn_is_settled(digits):
    keras.utils.set_random_seed(5)
    model = binarize(bireal_classifier((8, 8, 1), 10, width=8, stages=(2,)), kernels="stochastic_sign").model
    latent = np.concatenate([layer.latent.numpy().ravel() for layer in binary_layers(model)])
    # Spread over -1..1, where draws differ.
    assert 0.5 < latent.std() < 0.65 and np.abs(latent).max() == 1
    learn(model, digits, 6, 1e-2)
    weights = [weight.copy() for weight in model.get_weights()]
    found = settled(model, digits[0])
    # Chance is 10 %.
    assert accuracy(found, digits) > 45
    assert {layer.kernel_quantizer for layer in binary_layers(found)} == {"sign"}
    for old, new in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)

    # The statistics of the first batch norm behind a binary layer are those of its input, by NumPy.
    name = binary_layers(found)[0].name
    inner = keras.Model(found.input, found.get_layer(name).output)
    batches = [*np.split(digits[0][: 128 * 9], 9), digits[0][128 * 9 :]]
    norm = found.get_layer(f"{name}_bn")
    # All that lies before sees the batch's own statistics, so that it is run in training.
    means = [np.asarray(inner(batch, training=True), np.float64).mean(axis=(0, 1, 2)) for batch in batches]
    np.testing.assert_allclose(norm.moving_mean, np.mean(means, axis=0), rtol=1e-3, atol=1e-3)
    assert {layer.momentum for layer in found.layers if isinstance(layer, L.BatchNormalization)} == {0.9}
    with pytest.raises(InputError, match="must hold training images"):
        settled(model, digits[0][:1])


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_fit_trains_it(make_net, make_task, tmp_path, policy):
    model = binarize(make_net(), inputs="approx_sign", kernels="scaled_sign").model
    names = [layer.name for layer in binary_layers(model)]
    before = [layer.latent.numpy() for layer in binary_layers(model)]
    settings = FitSettings(epochs=1, tensorboard=False, precision=policy)
    trained = fit(Candidate(model), make_task(), settings, tmp_path, write=lambda line: None).model
    assert [layer.name for layer in binary_layers(trained)] == names == ["narrow"]
    for layer, old in zip(binary_layers(trained), before, strict=True):
        assert (layer.latent.numpy() != old).any() and layer.latent.dtype == "float32"
