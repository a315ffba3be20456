from __future__ import annotations

import numpy as np
import pytest

from tests.networks import randomised
from tests.transforms.channel_nets import branching, pictures, plain
from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.transforms.channels.criteria import CRITERIA
from tta_lite.transforms.shrink import shrink
from tta_lite.types import InputError

L = keras.layers
mse = keras.losses.MeanSquaredError()


@pytest.fixture(scope="module")
def net():
    return branching()


@pytest.fixture(scope="module")
def data():
    images = pictures(16, (12, 12, 3))
    return images, [(images[at : at + 8], np.ones((8, 7), np.float32)) for at in (0, 8)]


SLOWER = ("l2_norm", "hrank", "reconstruction", "discrimination", "random")


@pytest.mark.parametrize(
    "criterion", [pytest.param(name, marks=pytest.mark.slow) if name in SLOWER else name for name in CRITERIA]
)
def test_half_of_the_macs_by_each_criterion(net, data, criterion):
    images, batches = data
    before = [weight.copy() for weight in net.get_weights()]
    # Network Slimming can only touch what has a batch norm.
    share = 0.75 if criterion == "network_slimming" else 0.5
    found = shrink(net, criterion, macs=share, floor=4, round_to=4, images=images, batches=batches, loss=mse)
    real = count(found.model)
    assert (real.macs, real.params) == (found.macs_after, found.params_after)
    assert share - 0.25 < found.macs_after / found.macs_before <= share
    assert found.model.output_shape == net.output_shape
    assert np.isfinite(found.model(images)).all()
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))


def test_without_images_what_stays_has_its_weights(net):
    found = shrink(net, round_to=4, floor=4)
    assert found.macs_after <= 0.5 * found.macs_before
    stem = np.setdiff1d(np.arange(16), found.removed.get("stem", ()))
    np.testing.assert_array_equal(found.model.get_layer("stem").kernel, net.get_layer("stem").kernel.numpy()[..., stem])
    # What reads it has two groups of 12 channels, which lose the same places.
    down = np.flatnonzero(~np.isin(np.arange(24) % 12, found.removed["down"]))
    np.testing.assert_array_equal(
        found.model.get_layer("down").kernel, net.get_layer("down").kernel.numpy()[:, :, stem][..., down]
    )


def test_images_repair_unless_told_otherwise(net, data):
    images, _ = data
    by_default = shrink(net, images=images, macs=0.6, round_to=4, floor=4)
    without = shrink(net, images=images, macs=0.6, round_to=4, floor=4, repair=False)
    assert by_default.removed == without.removed
    wanted = net(images).numpy()
    errors = [float(((found.model(images).numpy() - wanted) ** 2).sum()) for found in (by_default, without)]
    assert errors[0] < 0.7 * errors[1]
    with pytest.raises(InputError, match="repair=True without images"):
        shrink(net, repair=True)


def test_nested_models_are_looked_into():
    body_image = keras.Input((8, 8, 3), name="body_image")
    x = L.ReLU()(L.Conv2D(32, 3, padding="same", name="wide")(body_image))
    body = keras.Model(body_image, x, name="body")
    image = keras.Input((8, 8, 3), name="image")
    whole = randomised(keras.Model(image, L.Conv2D(4, 1, name="head")(body(image))))
    found = shrink(whole, macs=0.5, images=pictures(8))
    assert found.sizes["wide"] == (32, 16)
    assert found.model.get_layer("wide").filters == 16
    assert found.model.input_names == ["image"]


def test_within_protected_and_the_table(net):
    found = shrink(net, macs=0.7, within=["stem", "expand*", "dw", "project"], protected=["expand"], round_to=4)
    assert set(found.removed) == {"stem"}
    table = found.table().splitlines()
    assert table[0].split() == ["group", "before", "after", "left,", "%"]
    row = {line.split()[0]: line for line in table[2:]}
    assert row["stem"].split() == [
        "stem",
        "16",
        *map(str, (found.sizes["stem"][1], 100 * found.sizes["stem"][1] // 16)),
    ]
    assert row["expand"].split()[:4] == ["expand", "32", "32", "100"] and "protected" in row["expand"]
    assert "output" in row["head"]
    assert f"{found.macs_before:,}" in row["MACs"] and f"{found.macs_after:,}" in row["MACs"]
    assert f"{found.params_after:,}" in row["parameters"]


def test_a_latency_is_given_on(net):
    found = shrink(net, latency=(lambda model: count(model).params / 1000, 4.0), round_to=4, floor=4)
    assert found.latency_ms == found.params_after / 1000 <= 4.0


def test_by_sensitivity_on_images_or_on_the_loss(net, data):
    images, batches = data
    for options in ({"images": images}, {"batches": batches, "loss": mse}):
        found = shrink(net, macs=0.6, method="sensitivity", round_to=16, **options)
        assert found.macs_after <= 0.6 * found.macs_before
    with pytest.raises(InputError, match="Sensitivity"):
        shrink(net, macs=0.6, method="sensitivity")


def test_scope_per_layer_or_global_for_norms():
    net = plain((16, 64))
    even = shrink(net, macs=0.5, round_to=4, floor=4)
    assert even.sizes["conv1"][1] / 16 == pytest.approx(even.sizes["conv2"][1] / 64, abs=0.26)
    assert shrink(net, macs=0.5, round_to=4, floor=4, scope="global").macs_after <= 0.5 * even.macs_before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"criterion": "l3_norm"}, "criterion.*'l3_norm'"),
        ({"criterion": "hrank"}, "images"),
        ({"criterion": "taylor"}, "batches"),
        ({"macs": 0.001}, "least that can be reached"),
        ({"macs": 0.5, "protected": ["nothing*"]}, r"protected.*nothing\*"),
        ({"macs": 0.5, "params": 0.5}, "One of"),
    ],
)
def test_bad_input_is_refused_before_any_work(net, options, said):
    with pytest.raises(InputError, match=said):
        shrink(net, **options)


def test_an_impossible_target_is_refused_before_the_gradients_are_taken(net, data):
    _, batches = data
    with pytest.raises(InputError, match="least that can be reached"):
        shrink(net, "taylor", macs=0.001, batches=batches, loss=lambda y, z: pytest.fail("worked"))
