from __future__ import annotations

import pytest

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.classifier import classifier
from tta_lite.search.mnasnet import (
    FILTERS,
    MNASNET_A1,
    MOBILENET_V2,
    SEVEN_SIXTHS,
    mnasnet_classifier,
    mnasnet_space,
    point_of,
)
from tta_lite.types import InputError

WITH_A1 = mnasnet_space(filters=(*FILTERS[:2], SEVEN_SIXTHS, FILTERS[2]))


def test_a_block_has_the_papers_432_forms():
    # Section 4.1: "A typical case is S = 432, B = 5", about 10^13 networks: MobileNetV2's blocks of two layers or more.
    once = {choice.name: choice.values[:1] for choice in mnasnet_space().choices}
    for number in range(2, 7):
        free = {name: values for name, values in once.items() if not name.startswith(f"block{number}.")}
        assert mnasnet_space().narrowed(free).size() == 432
    ends = {name: values for name, values in once.items() if name.startswith(("block1.", "block7."))}
    assert 1e13 < mnasnet_space().narrowed(ends).size() == 432**5 < 2e13


@pytest.mark.slow
def test_mobilenet_v2_is_a_point_with_its_published_cost():
    space = mnasnet_space()
    assert space.check(MOBILENET_V2) == MOBILENET_V2
    counts = count(mnasnet_classifier(MOBILENET_V2))
    # torchvision's parameters; Sandler et al., table 4: 3.4 M parameters and 300 M multiply-adds.
    assert counts.trainable_params == 3_504_872
    assert counts.macs / 1e6 == pytest.approx(300, abs=1)


def test_mnasnet_a1_is_a_point_if_seven_sixths_are_a_value():
    assert WITH_A1.check(MNASNET_A1) == MNASNET_A1
    with pytest.raises(InputError, match=r"'block5.filters' must be one of 0.75, 1.0, 1.25"):
        mnasnet_space().check(MNASNET_A1)


@pytest.mark.slow
def test_mnasnet_a1_costs_what_was_published():
    counts = count(mnasnet_classifier(MNASNET_A1))
    # Tan et al., table 1.
    assert counts.trainable_params / 1e6 == pytest.approx(3.9, abs=0.05)
    assert counts.macs / 1e6 == pytest.approx(312, rel=0.02)


@pytest.mark.slow
def test_the_point_costs_what_the_network_of_the_zoo_does():
    ours, its = count(mnasnet_classifier(MNASNET_A1)), count(classifier("mnasnet_a1"))
    assert (ours.macs, ours.params) == (its.macs, its.params)


@pytest.mark.slow
def test_the_nearest_point_of_the_papers_own_values():
    # 120 channels in the fifth block instead of 112.
    point = {**MNASNET_A1, "block5.filters": 1.25}
    counts = count(mnasnet_classifier(mnasnet_space().check(point)))
    assert counts.macs / 1e6 == pytest.approx(312, rel=0.03)
    assert counts.trainable_params / 1e6 == pytest.approx(3.9, abs=0.1)


def small(**block2) -> keras.Model:
    blocks = [{}, block2, {}, {}, {}, {}, {}]
    return mnasnet_classifier(point_of(blocks), num_classes=3, input_size=16, blocks=2)


def named(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers}


def test_ops_kernels_excite_and_filters():
    layers = named(small(op="conv", kernel=5, excite=0.25, filters=0.75, layers=-1))
    assert layers["block2_layer1_conv"].kernel_size == (5, 5)
    # Three quarters of 24 channels are 18, and 20 the next multiple of 4.
    assert layers["block2_layer1_conv"].filters == 20
    # A quarter of the 16 channels that the layer gets.
    assert layers["block2_layer1_se_reduce"].filters == 4
    assert not [name for name in layers if name.startswith(("block2_layer2", "block3", "last"))]
    layers = named(small(op="mbconv3", layers=1, skip="none"))
    assert not [name for name in layers if "_add" in name]
    assert layers["block2_layer3_expand"].filters == 72
    assert layers["block2_layer1_dwconv"].strides == (2, 2)
    assert layers["block2_layer2_dwconv"].strides == (1, 1)
    # The first block is a separable convolution, without expansion.
    assert "block1_layer1_dwconv" in layers
    assert "block1_layer1_expand" not in layers


def test_skips():
    # The first layer changes the channels from 16 to 24; the second does not.
    assert [name for name in named(small()) if "_add" in name] == ["block2_layer2_add"]
    # Two thirds of 24 are 16: now the first layer, with its stride, has a skip too if that pools.
    pooled = named(small(skip="pool", filters=2 / 3))
    assert [name for name in pooled if name.endswith("_pool")] == [
        "block2_layer1_pool",
        "block2_layer2_pool",
        "head_pool",
    ]
    assert pooled["block2_layer1_pool"].strides == (2, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"op": "gconv"}, "block2.op='gconv'"),
        ({"kernel": 4}, "block2.kernel=4"),
        ({"skip": "dense"}, "block2.skip='dense'"),
        ({"layers": -2}, "block2.layers=-2"),
        ({"filters": 0.0}, "block2.filters=0.0"),
        ({"excite": 2.0}, "block2.excite=2.0"),
        ({"depth": 1}, "A block has op, kernel"),
    ],
)
def test_a_wrong_block_is_refused(wrong, said):
    with pytest.raises(InputError, match=said):
        small(**wrong)


def test_a_wrong_point_is_refused():
    with pytest.raises(InputError, match="There are 7 blocks"):
        point_of([])
    with pytest.raises(InputError, match=r"no 'block1\.op'"):
        mnasnet_classifier({})
    with pytest.raises(InputError, match="`blocks` must be 1 to 7"):
        mnasnet_classifier(MOBILENET_V2, blocks=0)
