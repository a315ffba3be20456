"""The fit finds what made the times, and says how far it is off where it cannot."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.measure.kind_fit import Sample, fit_kind
from tta_lite.measure.latency_fit import Profiled, fit_model, rescaled
from tta_lite.measure.latency_model import KindCost, LatencyModel, NetworkCost, Place, Sizes, amounts, moved_bytes
from tta_lite.measure.op_features import OpFeatures
from tta_lite.types import InputError

PLACE = Place("made up", "LiteRT", 1, {})
SIZES = Sizes(8, 1, 512 << 10)


def product(rng: np.random.Generator, kind: str = "conv_1x1", dtype: str = "fp32") -> OpFeatures:
    """-> an op of random size."""
    rows = int(rng.choice([16, 49, 196, 784, 3136]))
    inner, columns = (int(size) for size in rng.choice([8, 20, 32, 58, 96, 200, 512], 2))
    size = 4 if dtype == "fp32" else 1
    values = rows * max(inner, columns)
    return OpFeatures(
        0, "CONV_2D", "layer", kind, dtype, rows * inner * columns, rows, inner, columns, 1, 1, values, rows * columns,
        rows * inner * size, inner * columns * size, rows * columns * size,
    )  # fmt: skip


def passing(rng: np.random.Generator, dtype: str = "fp32") -> OpFeatures:
    """-> an op without MACs of random size."""
    values = int(rng.choice([500, 4000, 30_000, 200_000, 900_000]))
    size = 4 if dtype == "fp32" else 1
    return OpFeatures(
        0, "ADD", "sum", "add_mul", dtype, values=values, outputs=values, read_bytes=2 * size * values,
        written_bytes=size * values,
    )  # fmt: skip


COSTS = {
    "conv_1x1": KindCost(0.5, (2e-5, 1e-5, 1e-6), 2e-5, 1e-5, 4e-5, 2.0, 1, 1.0),
    "add_mul": KindCost(0.2, (1e-4,), 3e-5, 2e-5, 1e-5, 4.0, 1, 1.0),
}


def true_model(scale: float = 1.04, overhead_us: float = 25.0) -> LatencyModel:
    cost = NetworkCost(scale, overhead_us, 0.0, 1.1, 0.9, 10)
    return LatencyModel(PLACE, (), {"fp32": SIZES}, {"fp32": COSTS}, {"fp32": cost})


def made_up(count: int, model: LatencyModel, noise: float = 0.0, seed: int = 0) -> list[Profiled]:
    """-> networks whose times a known model makes."""
    rng = np.random.default_rng(seed)
    networks = []
    for place in range(count):
        ops = tuple(product(rng) if rng.random() < 0.7 else passing(rng) for _ in range(int(rng.integers(5, 25))))
        times = tuple(model.op_us(op) * math.exp(noise * rng.normal()) for op in ops)
        cost = model.networks["fp32"]
        networks.append(
            Profiled(f"net{place}", f"family{place % 5}", ops, times, cost.scale * sum(times) + cost.overhead_us)
        )
    return networks


@settings(max_examples=8)
@given(
    overhead=st.floats(0.1, 5),
    mac=st.floats(5e-6, 5e-4),
    tile=st.floats(1e-6, 1e-3),
    byte=st.floats(1e-6, 1e-3),
    power=st.floats(1.1, 6),
    seed=st.integers(0, 99),
)
def test_the_fit_of_a_kind_gives_back_the_times(overhead, mac, tile, byte, power, seed):
    truth = KindCost(overhead, (mac, tile, 1e-7), byte, byte / 2, 2 * byte, power, 1, 1.0)
    rng = np.random.default_rng(seed)
    ops = [product(rng) for _ in range(80)]
    seen, unseen = ops[:60], ops[60:]

    def times(cost, some):
        return cost.times_us(
            np.array([amounts(op, SIZES) for op in some], float),
            np.array([moved_bytes(op, SIZES) for op in some], float),
        )

    samples = [Sample(op, float(time), 0.1) for op, time in zip(seen, times(truth, seen), strict=True)]
    found, _ = fit_kind("conv_1x1", samples, SIZES)
    # Few of the ops that are seen say where arithmetic and memory meet: there a time may be further off.
    off = np.abs(times(found, unseen) / times(truth, unseen) - 1)
    assert np.median(off) < 0.03 and off.max() < 0.3
    assert found.ops == 60


def test_an_interrupted_run_does_not_bend_the_fit():
    rng = np.random.default_rng(1)
    ops = [passing(rng) for _ in range(40)]
    model = true_model()
    samples = [Sample(op, model.op_us(op) * (30 if place % 10 == 0 else 1), 0.1) for place, op in enumerate(ops)]
    found, _ = fit_kind("add_mul", samples, SIZES)
    for op in ops:
        work, moved = np.array([amounts(op, SIZES)], float), np.array([moved_bytes(op, SIZES)], float)
        assert found.times_us(work, moved)[0] == pytest.approx(model.op_us(op), rel=0.1)


@pytest.fixture(scope="module")
def fitted() -> LatencyModel:
    return fit_model(made_up(20, true_model(), noise=0.05), PLACE)


def test_a_fitted_model_predicts_networks_that_it_has_not_seen(fitted):
    truth = true_model()
    for one in made_up(10, truth, seed=7):
        cost = fitted.networks["fp32"]
        found = cost.scale * sum(fitted.op_us(op) for op in one.features) + cost.overhead_us
        assert found == pytest.approx(one.latency_us, rel=0.06)


def test_the_error_is_that_of_families_that_were_left_out(fitted):
    cost = fitted.networks["fp32"]
    assert cost.judged == 20
    assert cost.median_error < 0.05
    # 19 of the 20 errors lie within the factor, as (20 + 1) x 0.9 is 18.9.
    assert cost.coverage == 0.9 and 1 < cost.factor < 1.15


def test_coverage_is_no_more_than_the_networks_allow():
    model = fit_model(made_up(5, true_model()), PLACE)
    assert model.networks["fp32"].coverage == pytest.approx(5 / 6)


def test_one_family_cannot_be_judged():
    one = [dataclasses.replace(network, family="alike") for network in made_up(4, true_model())]
    with pytest.raises(InputError, match="two fp32 families"):
        fit_model(one, PLACE)


def test_a_slower_machine_is_met_by_whole_networks_alone():
    truth, slower = true_model(), true_model(scale=3.2, overhead_us=100.0)
    networks = [dataclasses.replace(one, times_us=()) for one in made_up(10, slower)]
    found = rescaled(truth, networks, Place("slower", "LiteRT", 1, {}))
    assert found.networks["fp32"].scale == pytest.approx(3.2, rel=0.05)
    assert found.networks["fp32"].median_error < 0.05
    assert found.kinds == truth.kinds and found.place.board == "slower"
    with pytest.raises(InputError, match="knows the types"):
        other = dataclasses.replace(truth, networks={"int8": truth.networks["fp32"]})
        rescaled(other, networks, PLACE)


def test_a_fit_needs_times_of_ops():
    with pytest.raises(InputError, match="profile_runs"):
        fit_model([dataclasses.replace(one, times_us=()) for one in made_up(3, true_model())], PLACE)
    with pytest.raises(InputError, match="above 0"):
        dataclasses.replace(made_up(1, true_model())[0], latency_us=0.0)
    with pytest.raises(InputError, match="a time for each"):
        dataclasses.replace(made_up(1, true_model())[0], times_us=(1.0,))
