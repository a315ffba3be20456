from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.models.backbones import IMAGENET, MINUS_ONE_TO_ONE, get_backbone
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.backbone import find_cuts, swap_backbone
from tta_lite.transforms.graph import trace
from tta_lite.types import InputError

L, A = keras.layers, keras.applications
LIGHT = "mobilenet_v1_0.25"
SMALL = {"weights": None, "input_shape": (64, 64, 3), "classes": 10}


@pytest.mark.parametrize(
    ("build", "cut", "last"),
    [
        # What the published networks have as the last layer of their convolutions.
        (A.VGG16, "block5_pool", "predictions"),
        (A.ResNet50, "conv5_block3_out", "predictions"),
        (A.ResNet50V2, "post_relu", "predictions"),
        (A.DenseNet121, "relu", "predictions"),
        (A.MobileNet, "conv_pw_13_relu", "predictions"),
        (A.EfficientNetB0, "top_activation", "predictions"),
    ],
)
def test_the_cut_of_classifiers(build, cut, last):
    assert [call.name for call in find_cuts(trace(build(**SMALL)))] == [cut]


def test_squeeze_and_excite_is_no_head():
    graph = trace(A.MobileNetV3Small(**SMALL))
    # Its first block pools as well. The head pools once more, before its own convolution.
    [call] = find_cuts(graph)
    assert [size for size in graph.shapes[call.writes[0]][1:3]] == [2, 2]
    assert graph.shapes[call.writes[0]][-1] == 576


def test_a_pose_network_gets_another_backbone_and_keeps_its_head():
    old = pose_resnet("resnet18", input_size=64, joints=5)
    swapped = swap_backbone(old, LIGHT)
    assert swapped.cut == ("stage4_block2_relu",)
    # 256 channels instead of 512.
    assert [added.layer for added in swapped.added] == ["adapt_pconv"]
    assert "256 channels become the 512" in swapped.added[0].why
    assert swapped.model.output_shape == (None, 16, 16, 5)
    for name in ("deconv1", "deconv3_bn", "heatmaps"):
        for one, other in zip(
            old.get_layer(name).get_weights(), swapped.model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    assert not any(layer.name.startswith("stage") for layer in swapped.model.layers)


def test_the_head_does_what_it_did():
    """The same backbone in front again, with its weights: nothing changes."""
    old = pose_resnet(LIGHT, input_size=64, joints=5)
    swapped = swap_backbone(old, LIGHT)
    assert swapped.added == ()
    for layer in swapped.model.layers:
        layer.set_weights(old.get_layer(layer.name).get_weights())
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    np.testing.assert_array_equal(swapped.model(x), old(x))


def nested() -> keras.Model:
    image = keras.Input((64, 64, 3), name="image")
    x = A.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))(L.Rescaling(1 / 255)(image))
    return keras.Model(image, L.Dense(3, name="head")(L.GlobalAveragePooling2D()(x)))


def decoder(x, skip, filters, name):
    x = L.Concatenate(name=f"{name}_cat")([L.UpSampling2D(name=f"{name}_up")(x), skip])
    return L.Conv2D(filters, 3, padding="same", activation="relu", name=f"{name}_conv")(x)


def test_a_nested_encoder_that_gives_several_features():
    image = keras.Input((64, 64, 3), name="image")
    x, skips = (inner := keras.Input((64, 64, 3))), []
    for place, filters in enumerate((8, 16, 24), start=1):
        x = L.Conv2D(filters, 3, strides=2, padding="same", activation="relu", name=f"down{place}")(x)
        skips.append(x)
    encoder = keras.Model(inner, skips, name="eyes")
    one, two, three = encoder(image)
    old = keras.Model(image, decoder(decoder(three, two, 8, "up1"), one, 4, "up2"), name="unet")
    swapped = swap_backbone(old, LIGHT)
    assert swapped.cut == ("down1", "down2", "down3")
    # V1's own features of those sizes, and a PConv each for the channels.
    assert [added.layer for added in swapped.added] == ["adapt1_pconv", "adapt2_pconv", "adapt3_pconv"]
    assert swapped.model.output_shape == (None, 32, 32, 4)
    np.testing.assert_array_equal(
        swapped.model.get_layer("up2_conv").get_weights()[0], old.get_layer("up2_conv").get_weights()[0]
    )


def test_an_encoder_that_is_known_by_its_name_only():
    image = keras.Input((64, 64, 3), name="image")
    low = L.Conv2D(8, 3, strides=4, padding="same", name="encoder_low")(image)
    deep = L.Conv2D(8, 3, strides=2, padding="same", name="encoder_deep")(low)
    old = keras.Model(image, decoder(deep, low, 4, "up"))
    assert swap_backbone(old, LIGHT).cut == ("encoder_low", "encoder_deep")
    # A decoder is no backbone, however large it is.
    names = keras.Model(image, decoder(deep, low, 4, "features"))
    assert swap_backbone(names, LIGHT).cut == ("encoder_low", "encoder_deep")


def test_a_nested_backbone():
    swapped = swap_backbone(nested(), LIGHT)
    assert swapped.cut == ("block5_pool",)
    assert swapped.model.output_shape == (None, 3)
    assert not any("block5" in layer.name for layer in swapped.model.layers)


def pyramid() -> keras.Model:
    """A head that reads features of 16 x 16 and of 8 x 8."""
    image = keras.Input((64, 64, 3), name="image")
    fine = L.Conv2D(12, 3, strides=4, padding="same", name="fine")(image)
    coarse = L.Conv2D(24, 3, strides=2, padding="same", name="coarse")(fine)
    up = L.UpSampling2D(name="up")(L.Conv2D(12, 1, name="lateral")(coarse))
    return keras.Model(image, L.Conv2D(2, 1, name="head")(L.Add(name="add")([fine, up])))


def test_a_pyramid_needs_names_and_gets_features_of_each_size():
    with pytest.raises(InputError, match="No layer was found after which the head begins"):
        swap_backbone(pyramid(), LIGHT)
    swapped = swap_backbone(pyramid(), LIGHT, ["fine", "coarse"])
    sizes = [tuple(swapped.model.get_layer(name).output.shape[1:3]) for name in swapped.features]
    assert sizes == [(16, 16), (8, 8)]
    assert {added.layer for added in swapped.added} == {"adapt1_pconv", "adapt2_pconv"}
    assert swapped.model.output_shape == (None, 16, 16, 2)
    with pytest.raises(InputError, match="goes past"):
        swap_backbone(pyramid(), LIGHT, "coarse")


@pytest.mark.parametrize(
    ("size", "channels", "layer", "kind"),
    [
        # The light backbone ends with 2 x 2 of 256 channels, and has 4, 8, 16 and 32 on its way.
        (8, 16, "adapt_pconv", L.Conv2D),
        (2, 256, None, None),
        (1, 256, "adapt_dwconv", L.DepthwiseConv2D),
        (64, 256, "adapt_resize", L.UpSampling2D),
        (5, 256, "adapt_resize", L.Resizing),
    ],
)
def test_shapes_that_do_not_match_are_adapted(size, channels, layer, kind):
    image = keras.Input((64, 64, 3), name="image")
    x = L.Resizing(size, size)(L.Conv2D(channels, 3, padding="same")(image))
    x = L.Activation("relu", name="end")(x)
    old = keras.Model(image, L.Conv2D(2, 1, name="head")(x))
    swapped = swap_backbone(old, LIGHT, "end")
    assert swapped.model.output_shape == old.output_shape
    if layer is None:
        assert swapped.added == ()
    else:
        assert isinstance(swapped.model.get_layer(layer), kind)
        assert layer in {added.layer for added in swapped.added}


def test_a_few_pixels_less_by_a_dilated_convolution():
    image = keras.Input((160, 160, 3), name="image")
    # 5 x 5 features become 3 x 3.
    x = L.Activation("relu", name="end")(L.Resizing(3, 3)(L.Conv2D(256, 1)(image)))
    swapped = swap_backbone(keras.Model(image, L.Conv2D(2, 1, name="head")(x)), LIGHT, "end")
    assert [added.layer for added in swapped.added] == ["adapt_dwconv"]
    assert swapped.model.get_layer("adapt_dwconv").padding == "valid"


def test_pixels_are_brought_to_what_the_new_backbone_expects():
    old = pose_resnet("resnet18", input_size=64, joints=5)
    swapped = swap_backbone(old, LIGHT, normalised=IMAGENET)
    assert swapped.added[0].layer == "adapt_pixels"
    raw = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3))
    found = swapped.model.get_layer("adapt_pixels")(IMAGENET.apply(raw))
    np.testing.assert_allclose(found, MINUS_ONE_TO_ONE.apply(raw), atol=1e-5)
    assert swap_backbone(old, LIGHT, normalised=get_backbone(LIGHT).normalisation).added[0].layer == "adapt_pconv"


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (pyramid, {"cut": "finest"}, "must name layers of .*Received: 'finest'"),
        (lambda: A.MobileNet(**SMALL), {"cut": "predictions"}, r"that give \[B, H, W, C\]. Received: 'predictions'"),
        (lambda: keras.Sequential([keras.Input((4,)), L.Dense(2)]), {}, "takes one image of a fixed size"),
        (
            lambda: keras.Sequential([keras.Input((None, None, 3)), L.Conv2D(2, 1), L.GlobalMaxPooling2D()]),
            {},
            "one image of a fixed size",
        ),
    ],
)
def test_what_cannot_be_done_is_said(model, options, said):
    with pytest.raises(InputError, match=said):
        swap_backbone(model(), LIGHT, **options)


def test_names_that_meet_are_said():
    image = keras.Input((64, 64, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", name="end")(image)
    old = keras.Model(image, L.Conv2D(2, 1, name="conv1")(L.GlobalAveragePooling2D(keepdims=True)(x)))
    with pytest.raises(InputError, match=r"names of the backbone .*: conv1"):
        swap_backbone(old, LIGHT)


@pytest.mark.parametrize("name", [LIGHT, "mobilenet_v3_small_1.0"])
def test_pictures_that_are_too_small_for_a_backbone(name):
    image = keras.Input((8, 8, 1), name="digit")
    x = L.Conv2D(8, 3, padding="same", name="body")(image)
    net = keras.Model(image, L.Dense(10, name="scores")(L.GlobalAveragePooling2D(name="pool")(x)))
    with pytest.raises(InputError, match=rf"too small for the backbone '{name}', .* 32 times smaller.* 8 x 8"):
        swap_backbone(net, name, cut="body")
