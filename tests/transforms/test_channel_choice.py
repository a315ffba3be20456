from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.channel_nets import branching, pictures, plain
from tta_lite.compat import keras
from tta_lite.measure.counting import count
from tta_lite.transforms.channels.choose import choose_channels
from tta_lite.transforms.channels.costs import Costs
from tta_lite.transforms.channels.criteria import score_channels
from tta_lite.transforms.channels.groups import ChannelGroup, Part, channel_groups
from tta_lite.transforms.channels.sensitivity import sensitivity_curves
from tta_lite.transforms.channels.targets import sizes
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

L = keras.layers
FINE = {"round_to": 1, "floor": 1}


@pytest.fixture(scope="module")
def branches():
    net = branching()
    groups = channel_groups(net)
    return net, groups, score_channels(net, groups, "random", seed=3)


@pytest.fixture(scope="module")
def chain():
    net = plain((16, 24))
    groups = channel_groups(net)
    return net, groups, score_channels(net, groups, "l1_norm")


def group_of(size: int, channels: int = 1) -> ChannelGroup:
    return ChannelGroup("conv", size, (Part("conv", "out", np.repeat(np.arange(size), channels)),))


@given(st.integers(1, 200), st.integers(1, 32), st.integers(1, 64), st.sampled_from([1, 2, 4, 32]))
def test_sizes_are_multiples_above_the_floor_and_fall(size, round_to, floor, channels):
    first, *rest = sizes(group_of(size, channels), round_to, floor)
    assert first == size
    assert rest == sorted(set(rest), reverse=True)
    # All that are allowed, and no others.
    allowed = [n for n in range(1, size) if n * channels % round_to == 0 and n * channels >= floor]
    assert sorted(rest) == allowed


def test_cost_by_hand(chain):
    net, groups, _ = chain
    costs = Costs(net, groups)
    kept = costs.full()
    # 8 x 8 pixels: 3 -> 16 and 16 -> 24 with 3 x 3 taps, 24 -> 5 with one.
    assert costs.total(kept).macs == 64 * (9 * 3 * 16 + 9 * 16 * 24 + 24 * 5)
    assert costs.total(kept).params == (27 * 16 + 16) + (144 * 24 + 24) + (24 * 5 + 5)
    fewer = np.arange(16) < 10
    freed = costs.freed(kept, "conv1", fewer)
    assert freed.macs == 64 * (9 * 3 * 6 + 9 * 6 * 24)
    assert freed.params == 27 * 6 + 6 + 9 * 6 * 24
    kept["conv1"] = fewer
    kept["conv2"] = np.arange(24) >= 20
    assert costs.total(kept).macs == 64 * (9 * 3 * 10 + 9 * 10 * 4 + 4 * 5)


@pytest.mark.parametrize("seed", range(4))
def test_the_formula_counts_what_the_smaller_network_has(branches, seed):
    net, groups, _ = branches
    rng = np.random.default_rng(seed)
    costs = Costs(net, groups)
    kept = costs.full()
    for group in groups:
        if not group.why_fixed:
            gone = rng.choice(group.size, rng.integers(0, group.size - 1), replace=False)
            kept[group.name][gone] = False
    real = count(remove_channels(net, {name: np.flatnonzero(~mask).tolist() for name, mask in kept.items()}))
    assert (real.macs, real.params) == (costs.total(kept).macs, costs.total(kept).params)


@pytest.mark.parametrize("share", [0.7, 0.35])
@pytest.mark.parametrize(
    "options",
    [
        {"scope": "global"}, {"scope": "global", "comparable": False}, {"scope": "threshold"}, {"scope": "per_layer"},
        {"method": "sensitivity", "images": pictures(4, (12, 12, 3))},
    ],
    ids=["global", "not comparable", "threshold", "per_layer", "sensitivity"],
)  # fmt: skip
def test_a_target_is_met_and_not_by_far(branches, options, share):
    net, groups, scores = branches
    before = count(net)
    for kind in ("macs", "params"):
        choice = choose_channels(net, groups, scores, **{kind: share}, round_to=4, floor=4, **options)
        whole = getattr(before, kind)
        assert getattr(choice, kind) <= share * whole
        assert getattr(choice, kind) > (share - 0.25) * whole
        assert (choice.macs_before, choice.params_before) == (before.macs, before.params)
        for group in groups:
            was, now = choice.sizes[group.name]
            assert was == group.size and now == was - len(choice.remove.get(group.name, ()))
            # The units of least score are those that leave.
            gone = list(choice.remove.get(group.name, ()))
            if gone:
                stays = np.delete(scores[group.name], gone)
                assert scores[group.name][gone].max() <= stays.min()
                assert now in sizes(group, 4, 4)
    real = count(remove_channels(net, choice.remove))
    assert (real.macs, real.params) == (choice.macs, choice.params)


def test_an_absolute_target_and_one_that_is_met_already(chain):
    net, groups, scores = chain
    choice = choose_channels(net, groups, scores, macs=150_000, **FINE)
    # The least step left in a group frees less than this.
    assert 150_000 - 64 * 9 * 40 < choice.macs <= 150_000
    assert choose_channels(net, groups, scores, macs=10**9).remove == {}


def test_one_threshold_for_the_whole_network():
    """As by hand: all factors in one row, and the lowest leave."""
    image = keras.Input((4, 4, 2))
    x = L.BatchNormalization(name="one_bn")(L.Conv2D(6, 1, name="one")(image))
    x = L.BatchNormalization(name="two_bn")(L.Conv2D(5, 1, name="two")(x))
    net = keras.Model(image, L.Conv2D(1, 1, name="head")(x))
    one, two = [0.9, -0.1, 0.5, 0.02, -0.7, 0.3], [0.05, -0.8, 0.2, 0.6, -0.4]
    net.get_layer("one_bn").gamma.assign(one)
    net.get_layer("two_bn").gamma.assign(two)
    groups = channel_groups(net)
    scores = score_channels(net, groups, "network_slimming")
    # MACs a pixel: 2 a + a b + b. All: 12 + 30 + 5 = 47. Below 0.25 lie 0.02, 0.05, 0.1, 0.2: (4, 3) has 23.
    choice = choose_channels(net, groups, scores, macs=16 * 23, scope="threshold", **FINE)
    assert choice.remove == {"one": (1, 3), "two": (0, 2)}
    # One MAC more, and 0.2 stays: (4, 4) has 28.
    assert choose_channels(net, groups, scores, macs=16 * 28, scope="threshold", **FINE).remove["two"] == (0,)


def test_each_group_gives_the_same_share(chain):
    net, groups, scores = chain
    choice = choose_channels(net, groups, scores, macs=0.25, scope="per_layer", round_to=4, floor=4)
    # 16 and 24 to half: 64 (27 x 8 + 72 x 12 + 60) = 72,960 MACs of 256,512, still too many.
    shares = [after / before for before, after in (choice.sizes[name] for name in ("conv1", "conv2"))]
    assert abs(shares[0] - shares[1]) <= 4 / 16 and max(shares) <= 0.5


def test_equal_scores_that_cannot_be_compared_leave_about_the_same_share():
    net = plain((32, 64, 32, 16), shape=(8, 8, 3))
    groups = channel_groups(net)
    even = {group.name: np.ones(group.size) for group in groups if not group.why_fixed}
    choice = choose_channels(net, groups, even, macs=0.4, comparable=False, **FINE)
    shares = [after / before for name, (before, after) in choice.sizes.items() if name != "head"]
    # By the sum of their scores alone, the layers would stand at 1 and 0.25.
    assert max(shares) - min(shares) < 0.2
    assert np.mean(shares) == pytest.approx(0.4**0.5, abs=0.06)


def test_what_costs_much_and_says_little_leaves_first():
    # The same scores; a channel of conv1 costs 9 x (3 + 24) MACs a pixel, one of conv2 9 x 16 + 5.
    net = plain((16, 24))
    groups = channel_groups(net)
    even = {"conv1": np.ones(16), "conv2": np.ones(24)}
    first = choose_channels(net, groups, even, macs=0.99, **FINE)
    assert list(first.remove) == ["conv1"]
    weak = {"conv1": np.ones(16), "conv2": np.r_[np.full(3, 1e-3), np.ones(21)]}
    assert choose_channels(net, groups, weak, macs=0.99, **FINE).remove == {"conv2": (0,)}
    assert choose_channels(net, groups, weak, macs=0.9, **FINE).remove["conv2"] == (0, 1, 2)


def test_within_some_layers_the_share_is_of_theirs(branches):
    net, groups, scores = branches
    patterns = ["stem*", "expand*", "dw*", "project*", "add"]
    before = {layer.name: layer.macs for layer in count(net).layers}
    inside = sum(before[name] for name in ("stem", "expand", "dw", "project"))
    choice = choose_channels(net, groups, scores, macs=0.5, within=patterns, round_to=4, floor=4)
    assert set(choice.remove) <= {"stem", "expand"}
    after = {layer.name: layer.macs for layer in count(remove_channels(net, choice.remove)).layers}
    left = sum(after[name] for name in ("stem", "expand", "dw", "project"))
    assert 0.25 * inside < left <= 0.5 * inside
    assert after["deconv"] == before["deconv"]
    with pytest.raises(InputError, match=r"within.*'backbone_\*'"):
        choose_channels(net, groups, scores, macs=0.5, within=["backbone_*"])


@pytest.mark.parametrize("kind", ["macs", "params"])
def test_an_impossible_target_is_refused_with_the_least_that_can_be_reached(branches, kind):
    net, groups, scores = branches
    asked = []

    def ask():
        asked.append(1)
        return scores

    with pytest.raises(InputError, match="the least that can be reached is") as error:
        choose_channels(net, groups, ask, **{kind: 0.001})
    assert not asked
    assert "1 are fixed, as 'head'" in str(error.value)
    least = int(re.search(r"reached is ([\d,]+) of", str(error.value))[1].replace(",", ""))
    share = float(re.search(r"\((0\.\d+)\)", str(error.value))[1])
    # It can be reached, as a number and as a share, and nothing less can.
    assert getattr(choose_channels(net, groups, ask, **{kind: least}), kind) == least
    assert getattr(choose_channels(net, groups, ask, **{kind: share}), kind) == least
    with pytest.raises(InputError, match="the least that can be reached is"):
        choose_channels(net, groups, ask, **{kind: least - 1})


def test_protected_layers_keep_their_channels(branches):
    net, _, scores = branches
    groups = channel_groups(net, protected=["stem", "deconv"])
    choice = choose_channels(net, groups, scores, macs=0.6)
    assert not set(choice.remove) & {"stem", "deconv"}
    everything = channel_groups(net, protected=["*"])
    with pytest.raises(InputError, match=r"1\.0000.*are fixed.*protected"):
        choose_channels(net, everything, scores, macs=0.9)


def test_a_group_without_a_score_stays_whole(branches):
    net, groups, _ = branches
    scores = score_channels(net, groups, "network_slimming")
    choice = choose_channels(net, groups, scores, macs=0.9, scope="threshold")
    assert set(choice.remove) <= {"stem", "expand"}
    with pytest.raises(InputError, match="the least that can be reached is"):
        choose_channels(net, groups, scores, macs=0.3, scope="threshold")


def test_a_latency_is_met_with_few_measurements(chain):
    net, groups, scores = chain
    asked = []

    def measure(model):
        asked.append(count(model).macs)
        return asked[-1] / 1000

    choice = choose_channels(net, groups, scores, latency=(measure, 120.0), **FINE)
    assert choice.latency_ms == choice.macs / 1000 <= 120
    assert choice.macs > 110_000
    # The smallest, the whole, and the halves of at most 38 steps.
    assert len(asked) <= 2 + 6
    asked.clear()
    # One channel each: 64 x (27 + 9 + 5) = 2624.
    with pytest.raises(InputError, match=r"latency.*reached is 2.62 ms"):
        choose_channels(net, groups, lambda: pytest.fail("scored"), latency=(measure, 0.5), **FINE)
    assert len(asked) == 1
    assert choose_channels(net, groups, scores, latency=(measure, 1e6), **FINE).remove == {}


def test_a_clock_that_contradicts_itself_is_named(chain):
    net, groups, scores = chain
    answers = iter([1.0])
    with pytest.raises(InputError, match="measured again"):
        choose_channels(net, groups, scores, latency=(lambda model: next(answers, 9.0), 2.0))


def relative_change(now, was):
    return float(((now - was) ** 2).sum() / ((was - was.mean(axis=0)) ** 2).sum())


def test_a_sensitivity_curve_is_what_removal_does(branches):
    net, groups, scores = branches
    images = pictures(6, (12, 12, 3))
    free = [group for group in groups if not group.why_fixed]
    order = {name: np.argsort(values) for name, values in scores.items()}
    ladders = {group.name: sizes(group, 4, 4) for group in free}
    before = net.get_weights()
    curves = sensitivity_curves(net, free, order, ladders, images=images)
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))
    was = net(images).numpy()
    for group in free:
        curve = curves[group.name]
        assert curve.changes[0] == 0 and list(curve.changes) == sorted(curve.changes)
        size = curve.sizes[1]
        smaller = remove_channels(net, {group.name: order[group.name][: group.size - size].tolist()})
        assert curve.at(size) == pytest.approx(relative_change(smaller(images).numpy(), was), rel=1e-3), group.name


def test_what_does_not_matter_is_cut_first_by_sensitivity():
    net = plain((16, 16))
    groups = channel_groups(net)
    even = {"conv1": np.ones(16), "conv2": np.ones(16)}
    kernel = net.get_layer("head").kernel.numpy()
    # The first twelve channels of conv2 are hardly heard.
    kernel[:, :, :12] *= 1e-3
    net.get_layer("head").kernel.assign(kernel)
    options = {"macs": 0.6, "round_to": 2, "floor": 2, "method": "sensitivity"}
    assert list(choose_channels(net, groups, even, images=pictures(4), **options).remove) == ["conv2"]
    # By a function of the caller's, which cares for nothing but the first layer.
    x = pictures(2)
    wanted = net(x).numpy()
    by_loss = choose_channels(
        net, groups, even, loss=lambda model: float(np.abs(model(x).numpy() - wanted).mean()), **options
    )
    assert list(by_loss.remove) == ["conv2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "One of `macs`, `params` and `latency`.*none"),
        ({"macs": 0.5, "params": 0.5}, "macs, params"),
        ({"macs": 0.0}, "macs.*Received: 0.0"),
        ({"macs": 1.0}, "macs.*Received: 1.0"),
        ({"macs": 1.5}, "macs.*Received: 1.5"),
        ({"macs": -3}, "macs.*Received: -3"),
        ({"params": True}, "params.*Received: True"),
        ({"macs": float("nan")}, "macs.*nan"),
        ({"macs": "half"}, "macs.*half"),
        ({"latency": 5.0}, "latency.*5.0"),
        ({"latency": (len, 0)}, "latency.*above 0"),
        ({"macs": 0.5, "round_to": 0}, "round_to.*Received: 0"),
        ({"macs": 0.5, "floor": 0.5}, "floor.*Received: 0.5"),
        ({"macs": 0.5, "scope": "local"}, "scope.*global, threshold, per_layer.*'local'"),
        ({"macs": 0.5, "method": "genetic"}, "method.*'genetic'"),
        ({"macs": 0.5, "method": "sensitivity"}, "Sensitivity.*neither"),
    ],
)
def test_bad_arguments(chain, options, said):
    net, groups, scores = chain
    with pytest.raises(InputError, match=said):
        choose_channels(net, groups, scores, **options)


@pytest.mark.parametrize("wrong", [{"conv9": np.ones(16)}, {"conv1": np.ones(15)}, {"conv1": np.full(16, np.nan)}])
def test_scores_of_something_else(chain, wrong):
    net, groups, scores = chain
    with pytest.raises(InputError, match="scores"):
        choose_channels(net, groups, {**scores, **wrong}, macs=0.5)


def test_an_open_size_is_refused():
    image = keras.Input((None, None, 3))
    net = keras.Model(image, L.Conv2D(2, 1, name="head")(L.Conv2D(16, 3, name="body")(image)))
    with pytest.raises(InputError, match="fixed size"):
        choose_channels(net, channel_groups(net), {"body": np.ones(16)}, macs=0.5)
