from __future__ import annotations

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.models.mobilenet import mobilenet
from tta_lite.models.pose import pose_resnet
from tta_lite.search.mobilenet_stages import StageForm, mobilenet_stages
from tta_lite.search.pose_space import (
    CASE_STUDY,
    FAMILIES,
    backbone_of,
    case_study_point,
    deployed,
    pose_net,
    pose_space,
)
from tta_lite.types import InputError

SMALL = {"resolution": 64, "mobilenet_v2.width": 0.35, "head.filters": 8, "head.bottleneck": 4}


def rows(model: keras.Model) -> list[tuple]:
    return [(row.name, row.op, row.output_shape, row.macs, row.params) for row in count(model).layers]


@pytest.fixture(scope="module")
def reference() -> keras.Model:
    return pose_resnet("mobilenet_v2", bottleneck=64)


@pytest.fixture(scope="module")
def case_study() -> keras.Model:
    keras.utils.set_random_seed(0)
    return pose_net(case_study_point(pose_space()))


@pytest.mark.parametrize("per_stage", [False, True])
def test_the_case_study_is_a_point(per_stage):
    space = pose_space(per_stage=per_stage)
    point = case_study_point(space)
    assert point["head.bottleneck"] == 64
    assert backbone_of(point).build.keywords["forms"] == tuple(
        StageForm(depth=depth) for depth in (2, 3, 4, 3, 3, 1)
    )  # fmt: skip
    narrow = space.narrowed({"family": ["mobilenet_v2"], "head.subpixel": [False], "resolution": [128, 256]})
    assert narrow.full(case_study_point(narrow)) == point
    smaller = space.narrowed({"resolution": [96, 128], "head.subpixel": [True]})
    assert smaller.full(case_study_point(smaller)) == {**point, "resolution": 128, "head.subpixel": True}
    with pytest.raises(InputError, match=r"The case study has head\.filters=256\. Received: 64"):
        case_study_point(space.narrowed({"head.filters": [64]}))


def test_the_case_study_layer_by_layer(case_study, reference):
    assert rows(case_study) == rows(reference)
    ours, its = ([layer.get_config() for layer in net.layers if layer.weights] for net in (case_study, reference))
    assert ours == its


@pytest.mark.slow
def test_a_published_file_fills_a_backbone_that_has_its_shapes(reference, tmp_path):
    # The weights of the backbone by name, as one would keep those of ImageNet.
    rng = np.random.default_rng(0)
    kept = {}
    for layer in reference.layers[: reference.layers.index(reference.get_layer("out_relu"))]:
        for place, array in enumerate(layer.get_weights()):
            kept[f"{layer.name}/{place}"] = rng.normal(size=array.shape).astype(np.float32)
    np.savez(tmp_path / "imagenet.npz", **kept)
    model, found = pose_net({"resolution": 64}, weights=tmp_path / "imagenet.npz"), 0
    for layer in model.layers:
        for place, array in enumerate(layer.get_weights()):
            if (key := f"{layer.name}/{place}") in kept:
                assert np.array_equal(array, kept[key])
                found += 1
    assert found == len(kept) == 52 + 4 * 52


def test_blocks_have_the_names_of_the_paper_s_as_far_as_there_are_such():
    image = keras.Input((32, 32, 3))
    forms = [StageForm(depth=1)] * 6
    forms[0] = StageForm(kernel=5, expand=3, depth=3, excite=0.25)
    net = keras.Model(image, mobilenet_stages(image, forms, width=0.35, last=False, stages=5))
    assert net.output_shape == (None, 2, 2, 32)
    blocks = ["block_1", "block_2", "stage2_extra1", "block_3", "block_6", "block_10"]
    projects = [layer.name for layer in net.layers if layer.name.endswith("_project")]
    assert projects == [f"{name}_project" for name in ("expanded_conv", *blocks)]
    assert net.get_layer("stage2_extra1_depthwise").kernel_size == (5, 5)
    assert net.get_layer("stage2_extra1_expand").filters == 3 * 8
    assert net.get_layer("block_1_se_reduce").filters == 2


@pytest.mark.slow
def test_another_form_inherits_first_blocks_and_middles(case_study):
    point = {**SMALL, "kernel": 5, "expand": 3, "depth": -1, "stage2.depth": 3, "head.deconvs": 2, "excite": 0.25}
    model = pose_net(point, weights=case_study)
    assert model.output_shape == (None, 16, 16, 16)
    ours, its = (net.get_layer("block_4_expand").get_weights()[0] for net in (model, case_study))
    assert (ours.shape, its.shape) == ((1, 1, 16, 48), (1, 1, 32, 192))
    assert np.array_equal(ours, its[:, :, :16, :48])
    ours, its = (net.get_layer("block_4_depthwise").get_weights()[0] for net in (model, case_study))
    assert np.array_equal(ours[1:4, 1:4], its[:, :, : ours.shape[2]])
    assert ours.shape[:2] == (5, 5)
    assert model.get_layer("block_4_se_reduce").filters == 4
    # Two Deconvs do what the last two of three did.
    for ours, its in (("deconv2", "deconv3"), ("pconv2", "pconv3")):
        mine, theirs = (net.get_layer(name).get_weights()[0] for net, name in ((model, ours), (case_study, its)))
        assert np.array_equal(mine, theirs[tuple(slice(size) for size in mine.shape)])
    first = [net.get_layer("pconv1").get_weights()[0] for net in (model, case_study)]
    assert not np.isin(first[0], first[1]).any()
    assert "Conv_1" not in [layer.name for layer in model.layers]


@pytest.mark.slow
def test_every_layer_is_as_keras_builds_it_also_where_a_side_is_odd():
    # 72, 36, 18, 9, 5, 3 pixels.
    image = keras.Input((72, 72, 3), name="image")
    ours = keras.Model(image, mobilenet_stages(image, width=1.3))
    its = keras.Model(image, mobilenet(image, "mobilenet_v2", width=1.3))
    assert rows(ours) == rows(its)


def test_deployed_has_the_same_outputs():
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, keras.layers.Conv2DTranspose(2, 4, strides=2, padding="same", name="deconv1")(image))
    images = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 3)).astype(np.float32)
    assert deployed(model, SMALL) is model
    network = deployed(model, {**SMALL, "head.subpixel": True})
    assert not [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert np.allclose(network(images), model(images), atol=1e-5)


@pytest.mark.parametrize(
    ("point", "name", "stride"),
    [
        ({"family": "mobilenet_v3_small", "mobilenet_v3.width": 0.5}, "mobilenet_v3_small_0.5", 32),
        ({"family": "shufflenet_v2", "shufflenet_v2.depth": 0.5}, "shufflenet_v2_1.0_d0.5", 32),
        ({"family": "mnasnet_a1", "mnasnet.width": 0.75}, "mnasnet_a1_0.75_d1.0", 32),
        ({"head.deconvs": 2}, "mobilenet_v2_stages", 16),
    ],
)
def test_families(point, name, stride):
    found = backbone_of(point)
    assert (found.name, found.stride) == (name, stride)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_points_of_every_family_can_be_built(family):
    for per_stage in (False, True) if family == "mobilenet_v2" else (False,):
        space = pose_space(per_stage=per_stage).narrowed({"family": [family]})
        point = space.full(space.sample(np.random.default_rng(0)))
        assert pose_net(point).output_shape[1:] == (point["resolution"] // 4,) * 2 + (16,)


@pytest.mark.parametrize(
    ("point", "said"),
    [
        ({"kernels": 3}, "Received: 'kernels'"),
        ({"family": "resnet50"}, "The family must be one of"),
        ({"head.deconvs": 4}, "2 or 3 Deconvs"),
        ({"kernel": 4}, "odd number"),
        ({"stage2.depth": 0}, "`depth` must be"),
        ({"expand": 0}, "`expand` must be"),
        ({"excite": 2}, "0..1"),
    ],
)
def test_a_wrong_point_is_refused(point, said):
    with pytest.raises(InputError, match=said):
        backbone_of(point)
    assert "kernels" not in CASE_STUDY
