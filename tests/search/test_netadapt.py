"""NetAdapt against costs that are known by hand: what it proposes, what it takes, where it stops, that it goes on."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest

from tta_lite.compat import keras
from tta_lite.measure.layer_latency import LayerCosts, LayerTime
from tta_lite.search.layer_table import LayerTable, at_width, measured_table, table_of
from tta_lite.search.netadapt import NetAdapt, netadapt
from tta_lite.transforms.channels.costs import Costs
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.channels.targets import inside
from tta_lite.types import InputError

L = keras.layers
# Of `net`: 8 x 8 positions; 3 x 3 x 3 x 32 in "stem", 3 x 3 x 32 x 16 in "body", 16 x 4 in "head".
MACS = {"stem": 64 * 27 * 32, "body": 64 * 9 * 32 * 16, "head": 64 * 16 * 4}


def net():
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 3), name="image")
    x = L.Conv2D(32, 3, padding="same", activation="relu", name="stem", bias_initializer="ones")(image)
    x = L.Conv2D(16, 3, padding="same", activation="relu", name="body", bias_initializer="ones")(x)
    return keras.Model(image, L.Conv2D(4, 1, name="head", bias_initializer="ones")(x), name="net")


def linear_ms(macs):
    """-> a millisecond a million MACs, and a tenth for the call."""
    return 0.1 + macs / 1e6


def layer_costs_of(macs):
    """-> what a profiler would say of a file in which layers have those MACs; an op without MACs takes 0.05 ms."""
    layers = [LayerTime(name, "CONV_2D", own, linear_ms(own), 0, 0) for name, own in macs.items()]
    layers.append(LayerTime("softmax", "SOFTMAX", 0, 0.05, 0, 0))
    return LayerCosts((), tuple(layers), 0.0, 1, "a made-up core", 1)


def macs_of(model):
    return {
        name: int(np.prod(model.get_layer(name).kernel.shape)) * 64 for name in MACS
    }  # fmt: skip


def true_ms(model):
    """-> (what the made-up core takes, its name)."""
    return sum(map(linear_ms, macs_of(model).values())) + 0.05, "a made-up core"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    asked = []

    def export(model):
        asked.append(macs_of(model))
        return json.dumps(asked[-1]).encode()

    def profile(files):
        return {name: layer_costs_of(json.loads(path.read_bytes())) for name, path in files.items()}

    return measured_table(net(), export, profile, tmp_path_factory.mktemp("table"), widths=(1.0, 0.5, 0.25))


def test_the_table_is_read_off_between_the_measured_widths(table):
    costs = Costs(net(), channel_groups(net()))
    assert table.network_ms(costs, costs.full()) == pytest.approx(true_ms(net())[0])
    # "stem" with 24 of its 32 channels: between the widths 1 and 0.5, where its time is a line in its MACs.
    kept = {**costs.full(), "stem": np.arange(32) < 24}
    by_hand = linear_ms(MACS["stem"] * 3 // 4) + linear_ms(MACS["body"] * 3 // 4) + linear_ms(MACS["head"]) + 0.05
    assert table.network_ms(costs, kept) == pytest.approx(by_hand)
    assert table.layer_ms("stem", 0) == pytest.approx(0.1) and table.layer_ms("image", 5) == 0
    assert LayerTable.from_json(json.loads(json.dumps(table.to_json()))) == table


def test_the_clocks_noise_does_not_make_fewer_channels_slower():
    found = {
        name: (macs, LayerCosts((), (LayerTime("conv", "CONV_2D", 1, ms, ms, ms),), 1.0, 1, "core", 1))
        for name, macs, ms in (("whole", {"conv": 100}, 2.0), ("half", {"conv": 50}, 2.5), ("least", {"conv": 10}, 1.0))
    }
    table = table_of(found)
    assert table.layers["conv"] == ((10, 1.0), (50, 2.5), (100, 2.5))
    assert [table.layer_ms("conv", macs) for macs in (30, 0, 200)] == [1.75, 0.625, 5.0]


def test_widths_are_multiples_that_do_not_exceed_the_share():
    groups = channel_groups(net())
    costs = Costs(net(), groups)
    for width, wanted in ((0.8, {"stem": 24, "body": 8, "head": 4}), (0.1, {"stem": 8, "body": 8, "head": 4})):
        kept = at_width(costs, inside(groups, costs), width, 8, 8)
        assert {name: int(mask.sum()) for name, mask in kept.items()} == wanted


def run(table, folder, budget, score=None, tune=lambda model, number: model, **changes):
    settings = NetAdapt(budget, **{"step": 0.2, "decay": 1.0, "round_to": 4, "floor": 4, **changes})
    told: list[str] = []
    score = score or (lambda model: float(model.get_layer("stem").filters))
    found, iterations = netadapt(
        net(), settings, table, measure=true_ms, tune=tune, score=score, folder=folder, write=told.append
    )
    return found, iterations, told


def test_each_iteration_takes_the_best_proposal_that_frees_enough(table, tmp_path):
    """The score is the width of "stem": "body" must shrink as long as it can free a fifth of the first latency."""
    found, iterations, told = run(table, tmp_path, budget=0.45)
    first = iterations[0].latency_ms
    assert first == pytest.approx(true_ms(net())[0]) and iterations[0].macs == sum(MACS.values())
    (body, stem) = sorted(iterations[1].proposals, key=lambda one: one.group)
    assert (body.group, stem.group) == ("body", "stem")
    # By hand: 7/8, 3/4, ... of the channels of one group, the first that comes to 0.8 of the first latency.
    for proposal, wide, parts in ((body, 16, ("body", "head")), (stem, 32, ("stem", "body"))):
        fits = [
            size
            for size in range(wide - 4, 0, -4)
            if first - sum(MACS[part] for part in parts) * (1 - size / wide) / 1e6 <= 0.8 * first + 1e-9
        ]
        assert proposal.size == fits[0]
        assert proposal.predicted_ms == pytest.approx(
            first - sum(MACS[part] for part in parts) * (1 - fits[0] / wide) / 1e6
        )
    assert iterations[1].chosen.group == "body" and iterations[1].size_before == 16
    for before, after in itertools.pairwise(iterations):
        # A fifth of the first latency, or as much as one group alone could still free.
        assert after.latency_ms <= max(before.latency_ms - 0.2 * first / 8, 0.45) + 1e-9
    assert iterations[-1].latency_ms <= 0.45 < iterations[-2].latency_ms
    assert true_ms(found)[0] == pytest.approx(iterations[-1].latency_ms) and len(told) == len(iterations)


def test_the_channels_that_leave_have_the_least_norm(table, tmp_path):
    found, iterations, _ = run(table, tmp_path, budget=0.69, step=0.01)
    assert iterations[-1].chosen.group == "body"
    kernel = net().get_layer("body").kernel.numpy()
    norms = np.sqrt((kernel.astype(np.float64) ** 2).sum(axis=(0, 1, 2)))
    stays = np.sort(np.argsort(norms)[16 - iterations[-1].chosen.size :])
    assert len(iterations) == 2 and np.array_equal(found.get_layer("body").kernel.numpy(), kernel[..., stays])


def test_a_killed_run_goes_on_and_takes_the_same_steps(table, tmp_path):
    _, whole, _ = run(table, tmp_path / "whole", budget=0.45)

    def killed(model, number):
        if number == 2:
            raise KeyboardInterrupt
        return model

    with pytest.raises(KeyboardInterrupt):
        run(table, tmp_path / "killed", budget=0.45, tune=killed)
    tuned = []
    found, again, _ = run(
        table, tmp_path / "killed", budget=0.45, tune=lambda model, number: tuned.append(number) or model
    )
    assert again == whole and set(tuned) == set(range(2, len(whole)))
    # Finished: read, and nothing done.
    last, same, _ = run(table, tmp_path / "killed", budget=0.45, tune=killed)
    assert same == whole and [tuple(w.shape) for w in last.weights] == [tuple(w.shape) for w in found.weights]


def test_only_the_best_proposals_are_tuned_if_asked(table, tmp_path):
    tuned = []
    _, iterations, _ = run(
        table, tmp_path, budget=0.6, tuned=1, tune=lambda model, number: tuned.append(number) or model
    )
    assert tuned == list(range(1, len(iterations)))
    for one in iterations[1:]:
        best, *rest = one.proposals
        assert best == one.chosen and all(other.tuned_score is None and other.score <= best.score for other in rest)


def test_what_cannot_be_reached_is_told(table, tmp_path):
    with pytest.raises(InputError, match=r"is the least that was reached .* Expected: 0.05 ms"):
        run(table, tmp_path, budget=0.05)
    for changes in ({"step": 1.0}, {"decay": 0.0}, {"tuned": 0}, {"budget_ms": 0}, {"floor": 0}):
        with pytest.raises(InputError, match="Received"):
            dataclasses.replace(NetAdapt(1.0), **changes)
    with pytest.raises(InputError, match="number"):
        run(table, tmp_path / "nan", budget=0.6, score=lambda model: float("nan"))
