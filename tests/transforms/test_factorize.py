from __future__ import annotations

import functools

import numpy as np
import pytest

from tests import networks
from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.pose import pose_resnet
from tta_lite.transforms.factorize import factorize
from tta_lite.types import InputError

L = keras.layers
net = functools.partial(networks.net, shape=(12, 12, 16))
rng = np.random.default_rng


def images(count: int = 8, shape: tuple[int, ...] = (12, 12, 16), seed: int = 5) -> np.ndarray:
    return rng(seed).normal(size=(count, *shape)).astype(np.float32)


CONVS = {
    "3x3": L.Conv2D(24, 3, padding="same", activation="relu", name="conv"),
    "strided": L.Conv2D(24, 3, strides=2, padding="same", use_bias=False, name="conv"),
    "valid": L.Conv2D(24, 5, strides=2, name="conv"),
    "dilated": L.Conv2D(24, 3, dilation_rate=2, padding="same", name="conv"),
    "1x1": L.Conv2D(24, 1, name="conv"),
    "deconv": L.Conv2DTranspose(24, 4, strides=2, padding="same", name="conv"),
    "deconv valid": L.Conv2DTranspose(24, 3, strides=2, activation="relu", name="conv"),
}


@pytest.mark.parametrize("kind", CONVS)
@pytest.mark.parametrize("method", ["bottleneck", "spatial", "depthwise_separable"])
def test_a_kernel_of_low_rank_is_replaced_without_loss(kind, method):
    layer = type(CONVS[kind]).from_config(CONVS[kind].get_config())
    if method != "bottleneck" and (kind in ("1x1",) or kind.startswith("deconv")):
        pytest.skip("not of this method")
    old = net(layer)
    height, width = layer.kernel_size
    transposed = kind.startswith("deconv")
    draw = rng(1)
    # Kernels that are a product of two to begin with: four channels between, or one filter a channel.
    kernel = {
        "bottleneck": np.einsum("cm,hwmo->hwco", draw.normal(size=(16, 4)), draw.normal(size=(height, width, 4, 24))),
        "spatial": np.einsum("hcm,mwo->hwco", draw.normal(size=(height, 16, 4)), draw.normal(size=(4, width, 24))),
        "depthwise_separable": np.einsum(
            "hwc,co->hwco", draw.normal(size=(height, width, 16)), draw.normal(size=(16, 24))
        ),
    }[method]
    layer.kernel.assign(kernel.transpose(0, 1, 3, 2) if transposed else kernel)
    options = {} if method == "depthwise_separable" else {"rank": 4}
    found = factorize(old, method, "conv", **options)
    x = images()
    np.testing.assert_allclose(found.model(x), old(x), rtol=1e-3, atol=2e-3 * np.abs(old(x)).max())
    [change] = found.changes
    assert change.error == pytest.approx(0, abs=1e-6)
    assert change.macs_after < change.macs_before
    assert found.macs_before - found.macs_after == change.macs_before - change.macs_after
    assert found.model.output_shape == old.output_shape


def test_macs_by_hand():
    # 12 x 12 pixels, 16 -> 24 channels, 3 x 3.
    old = net(L.Conv2D(24, 3, padding="same", name="conv"))
    expected = {
        "bottleneck": 144 * (16 * 4 + 9 * 4 * 24),
        "bottleneck_group": 144 * (8 * 4 + 9 * 4 * 24),
        "depthwise_separable": 144 * 16 * (9 + 24),
        "spatial": 144 * (3 * 16 * 4 + 3 * 4 * 24),
    }
    for method, macs in expected.items():
        options = {} if method == "depthwise_separable" else {"rank": 4}
        found = factorize(old, method, 1, **options)
        assert (found.macs_before, found.macs_after) == (144 * 9 * 16 * 24, macs), method
        assert count(found.model).macs == macs
    found = factorize(net(L.Conv2D(24, 5, padding="same", name="conv")), "stacked_3x3", 1)
    assert found.macs_after == 144 * 9 * 16 * (16 + 24) == count(found.model).macs
    found = factorize(net(L.Conv2D(24, 5, name="conv")), "stacked_3x3", 1)
    assert found.macs_after == 9 * 16 * (100 * 16 + 64 * 24) == count(found.model).macs
    deconv = net(L.Conv2DTranspose(24, 4, strides=2, padding="same", name="conv"))
    found = factorize(deconv, "bottleneck", 1, rank=4)
    assert found.macs_after == 144 * (16 * 4 + 4 * 16 * 24) == count(found.model).macs


@pytest.mark.parametrize("method", ["bottleneck", "bottleneck_group", "depthwise_separable", "spatial", "stacked_3x3"])
def test_calibration_images_make_the_output_better(method):
    size = 5 if method == "stacked_3x3" else 3
    old = net(L.Conv2D(16, 1, name="first"), L.ReLU(), L.Conv2D(24, size, padding="same", name="conv"))
    # Real features are correlated: four directions of sixteen hold nearly everything.
    mix = rng(2).normal(size=(4, 16)) / 2
    x = (images(16, (12, 12, 4)) @ mix + 0.1 * images(16)).astype(np.float32)
    options = {} if method in ("depthwise_separable", "stacked_3x3") else {"rank": 6}
    blind, fitted = factorize(old, method, "conv", **options), factorize(old, method, "conv", images=x, **options)
    fresh = (images(8, (12, 12, 4), seed=9) @ mix + 0.1 * images(8, seed=9)).astype(np.float32)
    errors = [
        float(np.square(found.model(fresh) - old(fresh)).sum() / np.square(old(fresh)).sum())
        for found in (blind, fitted)
    ]
    assert errors[1] < 0.8 * errors[0]
    # What the table says is what images show that had no part in it; the bias is not in it.
    without_bias = np.square(old(fresh) - old.get_layer("conv").bias).sum()
    shown = np.sqrt(np.square(fitted.model(fresh) - old(fresh)).sum() / without_bias)
    assert fitted.changes[0].error == pytest.approx(float(shown), rel=0.25)


def test_the_other_layers_and_the_old_model_stay():
    old = net(L.Conv2D(16, 3, padding="same", name="a"), L.BatchNormalization(name="bn"), L.Conv2D(8, 3, name="b"))
    before = old.get_weights()
    found = factorize(old, select="a", rank=4)
    assert [layer.name for layer in found.model.layers] == ["image", "a_pconv", "a", "bn", "b"]
    for name in ("bn", "b"):
        for one, other in zip(
            old.get_layer(name).get_weights(), found.model.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(old.get_layer("a").bias, found.model.get_layer("a").bias)
    for one, other in zip(before, old.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_case_study_by_one_call():
    old = pose_resnet("mobilenet_v2_0.35", input_size=64)
    found = factorize(old, select="deconv*", rank=64)
    # 2 x 2 x 1280 pixels and channels into the first Deconv; then 4 x 4 x 256 and 8 x 8 x 256.
    saved = [
        pixels * (channels * 16 * 256 - channels * 64 - 64 * 16 * 256)
        for pixels, channels in ((4, 1280), (16, 256), (64, 256))
    ]
    assert found.macs_before - found.macs_after == sum(saved)
    assert {change.name for change in found.changes} == {"deconv1", "deconv2", "deconv3"}
    assert found.model.output_shape == old.output_shape


def costly() -> keras.Model:
    """Three convolutions: 144 x 9 x 16 x 32, 144 x 9 x 32 x 16 and 144 x 16 x 8 MACs."""
    return net(
        L.Conv2D(32, 3, padding="same", name="one"), L.Conv2D(16, 3, padding="same", name="two"),
        L.Conv2D(8, 1, name="head"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("select", "names"),
    [
        (1, {"one"}),
        (2, {"one", "two"}),
        (0.3, {"one", "two"}),
        (0.001, {"one", "two", "head"}),
        ("two", {"two"}),
        (["o*", "two"], {"one", "two"}),
    ],
)
def test_selection(select, names):
    assert {change.name for change in factorize(costly(), select=select, rank=4).changes} == names


def test_ranks_by_energy_and_by_a_target():
    old = costly()
    few, many = factorize(old, select=2, kept=0.5), factorize(old, select=2, kept=0.9, round_to=1)
    assert all(change.rank % 8 == 0 for change in few.changes if change.rank)
    for found in (few, many):
        for change in found.changes:
            if change.rank is not None:
                # The error is the root of the energy that is lost.
                assert change.error**2 <= 1 - (0.5 if found is few else 0.9) + 1e-9
    target = int(0.4 * few.macs_before)
    found = factorize(old, select=2, macs=target, round_to=2)
    assert 0.3 * few.macs_before < found.macs_after <= target
    # The best two ranks at that price lose hardly less.
    best = np.inf
    for one in range(2, 17, 2):
        for two in range(2, 33, 2):
            other = [factor_cost(16, 32, one), factor_cost(32, 16, two)]
            if sum(other) + 144 * 16 * 8 <= target:
                best = min(best, lost(old, "one", one) + lost(old, "two", two))
    taken = sum(lost(old, change.name, change.rank) for change in found.changes)
    assert taken <= 1.15 * best


def factor_cost(channels: int, filters: int, rank: int) -> int:
    return 144 * (channels * rank + 9 * rank * filters)


def lost(model: keras.Model, name: str, rank: int) -> float:
    kernel = model.get_layer(name).kernel.numpy()
    values = np.linalg.svd(kernel.transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1), compute_uv=False)
    return float(np.square(values[rank:]).sum() / np.square(values).sum())


def test_what_would_cost_more_or_is_not_of_the_method_is_left_with_its_reason():
    old = net(
        L.Conv2D(16, 3, padding="same", name="conv"), L.Conv2D(16, 3, groups=4, padding="same", name="grouped"),
        L.Conv2D(16, 1, name="point"),
    )  # fmt: skip
    found = factorize(old, select=3, rank=16)
    assert {change.name: change.method for change in found.changes} == {"conv": "", "grouped": "", "point": ""}
    text = found.table()
    assert "left: it has 4 groups" in text
    assert "left: it would cost" in text
    assert found.macs_after == found.macs_before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"method": "svd"}, "`method` must be one of bottleneck.*Received: 'svd'"),
        ({"select": "tow"}, "such as one, two, head. Received: 'tow', which matches no layer"),
        ({"select": "act"}, "Received: 'act', which is no Conv2D"),
        ({"select": 0}, "`select` must be.*Received: 0"),
        ({"select": True}, "`select` must be.*Received: True"),
        ({"select": 1.5}, "`select` must be.*Received: 1.5"),
        ({"rank": 0}, "`rank` must be a whole number.*Received: 0"),
        ({"rank": 99}, "`rank` must be 16 or less for 'one'. Received: 99"),
        ({"kept": 1.5}, "`kept` must lie in 0..1. Received: 1.5"),
        ({"kept": 0.5, "rank": 3}, "Only one of.*Received: rank, kept"),
        ({"macs": 10}, "select more layers. Received: 10"),
        ({"method": "depthwise_separable", "rank": 3}, "no rank to choose. Received: rank"),
        ({"method": "stacked_3x3", "select": "one"}, "'one' cannot be factorised by 'stacked_3x3': it must be a 5 x 5"),
        ({"method": "bottleneck_group", "groups": 3, "select": "one"}, "divide its 16 input channels. Received: 3"),
        ({"images": np.zeros((4, 5, 5, 2), np.float32)}, "`images` must be what 'net' takes.*Received: .4, 5, 5, 2"),
    ],
)
def test_bad_arguments_are_said(arguments, said):
    old = net(
        L.Conv2D(32, 3, padding="same", name="one"), L.ReLU(name="act"), L.Conv2D(16, 3, padding="same", name="two"),
        L.Conv2D(8, 1, name="head"),
    )  # fmt: skip
    with pytest.raises(InputError, match=said):
        factorize(old, **arguments)


def test_a_share_that_no_layer_has_is_said():
    same = [L.Conv2D(16, 3, padding="same", name=f"conv{place}") for place in range(4)]
    with pytest.raises(InputError, match=r"the costliest, 'conv\d', has 25\.0% of the MACs.*Received: 0\.5"):
        factorize(net(*same), select=0.5)


def test_a_target_may_be_a_share():
    model = net(*(L.Conv2D(32, 3, padding="same", name=f"conv{place}") for place in range(3)))
    found = factorize(model, select=3, macs=0.5)
    assert found.macs_after <= found.macs_before / 2
    assert factorize(model, select=3, macs=found.macs_before // 2).macs_after == found.macs_after


def test_an_open_size_is_said():
    image = keras.Input((None, None, 3))
    with pytest.raises(InputError, match=r"needs a fixed size.*'conv'"):
        factorize(keras.Model(image, L.Conv2D(8, 3, name="conv")(image)))
