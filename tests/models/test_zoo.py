"""Every network of the zoo, in one table."""

from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.backbones import BACKBONES, get_backbone
from tta_lite.models.classifier import classifier
from tta_lite.models.squeezenet import squeezenet, squeezenet_head
from tta_lite.types import InputError

# https://pytorch.org/vision/stable/models.html: num_params (without batch norm's statistics), GFLOPS (which are MACs).
# ShuffleNet V2's MACs are those of its own table 5, which counts more than products. Name, parameters, millions of
# MACs at 224 x 224, their tolerance.
PUBLISHED = (
    ("resnet18", 11_689_512, 1810, 10),
    ("resnet34", 21_797_672, 3660, 10),
    ("resnet50", 25_557_032, 4090, 10),
    ("mobilenet_v2", 3_504_872, 300, 1),
    ("shufflenet_v2_0.5", 1_366_792, 41, 1),
    ("shufflenet_v2_1.0", 2_278_604, 146, 2),
    ("shufflenet_v2_1.5", 3_503_624, 299, 4),
    ("shufflenet_v2_2.0", 7_393_996, 591, 9),
    ("mnasnet_b1", 4_383_312, 315, 5),
    ("mnasnet_b1_0.5", 2_218_512, 105, 5),
    ("mnasnet_b1_0.75", 3_170_208, 215, 5),
    ("densenet121", 7_978_856, 2830, 10),
    ("squeezenet_1.0", 1_248_424, None, None),
    ("squeezenet_1.1", 1_235_496, None, None),
)


@pytest.mark.parametrize(("name", "parameters", "macs", "tolerance"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_as_torchvision_publishes(name, parameters, macs, tolerance):
    counts = count(classifier(name))
    assert counts.trainable_params == parameters
    assert counts.uncounted == ()
    if macs is not None:
        assert counts.macs / 1e6 == pytest.approx(macs, abs=tolerance)


@pytest.mark.parametrize(("version", "macs"), [("1.0", 819), ("1.1", 349)])
def test_squeezenet_with_the_padding_of_its_publication(version, macs):
    # torchvision: 0.82 and 0.35 G.
    image = keras.Input((224, 224, 3))
    features = squeezenet(image, version, padding="valid")
    assert features.shape[1:3] == (13, 13)
    counts = count(keras.Model(image, squeezenet_head(features, 1000)))
    assert counts.macs / 1e6 == pytest.approx(macs, abs=1)


@pytest.mark.parametrize(
    ("groups", "macs"),
    # Zhang et al., table 2: complexity of ShuffleNet 1x, in MFLOPs that are multiply-adds.
    [(1, 143), (2, 140), (3, 137), (4, 133), (8, 137)],
)
def test_shufflenet_v1_as_published(groups, macs):
    assert count(classifier(f"shufflenet_v1_g{groups}")).macs / 1e6 == pytest.approx(macs, rel=0.03)


def test_mnasnet_a1_as_published():
    # Tan et al., table 1: 3.9 M parameters and 312 M multiply-adds.
    counts = count(classifier("mnasnet_a1"))
    assert counts.trainable_params / 1e6 == pytest.approx(3.9, abs=0.05)
    assert counts.macs / 1e6 == pytest.approx(312, rel=0.02)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("mobilenet_v1", keras.applications.MobileNet),
        ("mobilenet_v3_small", keras.applications.MobileNetV3Small),
        ("mobilenet_v3_large", keras.applications.MobileNetV3Large),
        pytest.param("densenet169", keras.applications.DenseNet169, marks=pytest.mark.slow),
    ],
)
def test_as_keras_builds_it(name, build):
    own, theirs = count(classifier(name)), count(build(weights=None, input_shape=(224, 224, 3)))
    assert (own.params, own.macs) == (theirs.params, theirs.macs)


def test_mobilenet_v3_as_published():
    # Howard et al. 2019, table 3: 219 M and 56 M multiply-adds, 5.4 M and 2.5 M parameters.
    for name, macs, params in (("mobilenet_v3_large", 219, 5.4), ("mobilenet_v3_small", 56, 2.5)):
        counts = count(classifier(name))
        assert counts.macs / 1e6 == pytest.approx(macs, rel=0.02)
        assert counts.trainable_params / 1e6 == pytest.approx(params, abs=0.1)


def test_effnet_by_hand():
    # Convolutions of three blocks, and batch norm's two values a channel after each; the dense layer.
    weights = 3 * 32 + 3 * 32 + 3 * 32 + 2 * 32 * 64
    weights += 64 * 64 + 3 * 64 + 3 * 64 + 2 * 64 * 128
    weights += 128 * 128 + 3 * 128 + 3 * 128 + 2 * 128 * 256
    norms = 2 * (3 * 32 + 64 + 3 * 64 + 128 + 3 * 128 + 256)
    counts = count(classifier("effnet", classes=10, input_size=32))
    assert counts.trainable_params == weights + norms + 4 * 4 * 256 * 10 + 10
    # 32 x 32 pixels, 16 x 32 after the pooling, 16 x 16 after the last one of a block.
    macs = 1024 * (96 + 96) + 512 * 96 + 256 * 4096
    macs += 256 * (4096 + 192) + 128 * 192 + 64 * 16384
    macs += 64 * (16384 + 384) + 32 * 384 + 16 * 65536
    assert counts.macs == macs + 4096 * 10


ONE_OF_EACH = (
    "shufflenet_v1_g3", "shufflenet_v2_0.5", "squeezenet_1.1", "mnasnet_a1_0.35", "effnet_0.5",
    pytest.param("densenet121", marks=pytest.mark.slow),
)  # fmt: skip


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_saved_and_read(name, tmp_path):
    model = classifier(name, classes=5, input_size=32)
    model.save(tmp_path / "net.keras")
    again = keras.models.load_model(tmp_path / "net.keras")
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(again(x), model(x))
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize("name", BACKBONES)
def test_strides_are_as_said(name):
    backbone = get_backbone(name)
    if name.startswith(("resnet101", "resnet152", "densenet169", "densenet201")):
        pytest.skip("as its smaller sister")
    image = keras.Input((64, 64, 3))
    assert backbone.build(image, None).shape[1:3] == (64 // backbone.stride,) * 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backbone": "mobilenet_v9"}, "Unknown backbone.*Received: 'mobilenet_v9'"),
        ({"backbone": "mnasnet_b1", "input_size": 100}, "multiple of 32 pixels. Received: 100"),
        ({"backbone": "effnet", "classes": 0}, "`classes` must be.*Received: 0"),
        ({"backbone": "squeezenet_1.1", "weights": "imagenet"}, "networks of keras.applications only"),
        ({"backbone": "mnasnet_b1_0"}, "`width` must be above 0. Received: 0.0"),
    ],
)
def test_bad_arguments_are_said(options, said):
    with pytest.raises(InputError, match=said):
        classifier(**options)
