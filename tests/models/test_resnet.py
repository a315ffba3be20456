from __future__ import annotations

import functools

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.resnet import resnet
from tta_lite.types import InputError


@functools.cache
def build(depth: int, size: int = 64) -> keras.Model:
    image = keras.Input((size, size, 3), name="image")
    return keras.Model(image, resnet(image, depth))


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


# Published by torchvision for its classifiers of 1000 classes. The deeper ones take seconds to build: the comparison
# with PyTorch builds them anyway and counts them there.
@pytest.mark.parametrize(("depth", "published", "channels"), [(18, 11_689_512, 512), (50, 25_557_032, 2048)])
def test_parameters_as_published(depth, published, channels):
    model = build(depth)
    assert model.output_shape == (None, 2, 2, channels)
    assert trainable(model) == published - (channels + 1) * 1000
    # The depth in the name counts the convolutions of the main path and the classifier.
    main_path = [x for x in model.layers if isinstance(x, keras.layers.Conv2D) and "shortcut" not in x.name]
    assert len(main_path) + 1 == depth


def test_stride_is_on_the_first_3x3_convolution():
    for depth, expected in (
        (18, {f"stage{s}_block1_conv1" for s in (2, 3, 4)}),
        (50, {f"stage{s}_block1_conv2" for s in (2, 3, 4)}),
    ):
        convs = [layer for layer in build(depth).layers if isinstance(layer, keras.layers.Conv2D)]
        strided = {layer.name for layer in convs if layer.strides == (2, 2) and layer.kernel_size == (3, 3)}
        assert strided == expected
        assert not [layer.name for layer in convs if layer.use_bias]


def test_batch_norm_has_the_defaults_of_pytorch():
    layers = [layer for layer in build(18).layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(layers) == 20
    assert {(layer.epsilon, layer.momentum) for layer in layers} == {(1e-5, 0.9)}


def test_random_start_is_he_normal_by_fan_out():
    kernel = build(18).get_layer("stage4_block2_conv1").get_weights()[0]
    # fan-out: 3 x 3 x 512 outputs.
    assert kernel.std() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    # Not truncated: of 2.4 million normal values some lie beyond four deviations.
    assert np.abs(kernel).max() > 4 * kernel.std()


def test_layer_names():
    names = [layer.name for layer in build(50).layers]
    assert names[:7] == ["image", "stem_conv_pad", "stem_conv", "stem_bn", "stem_relu", "stem_pool_pad", "stem_pool"]
    block = {name for name in names if name.startswith("stage3_block1_")}
    main = {f"{part}{i}" for part in ("conv", "bn") for i in (1, 2, 3)} | {"relu1", "conv2_pad", "relu2", "add", "relu"}
    assert block == {f"stage3_block1_{part}" for part in main | {"shortcut_conv", "shortcut_bn"}}
    assert not [name for name in names if name.startswith("stage3_block2_shortcut")]


def test_unknown_depth():
    with pytest.raises(InputError, match=r"18, 34, 50, 101, 152\. Received: 42"):
        resnet(keras.Input((64, 64, 3)), 42)
