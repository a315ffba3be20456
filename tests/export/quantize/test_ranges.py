from __future__ import annotations

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.export.quantize import ranges as subject
from tta_lite.export.quantize.ranges import RANGES, choose_ranges
from tta_lite.export.quantize.statistics import BINS, TensorStatistics, _Histogram
from tta_lite.types import RANGE_RULES, InputError

RNG = np.random.default_rng(0)
# What tensors hold: weights, a ReLU's output, ReLU6, long tails, one stray value, only negative numbers.
HELD = {
    "normal": RNG.normal(0.3, 1, 7999),
    "relu": np.maximum(RNG.normal(0, 1, 7999), 0),
    "relu6": np.clip(RNG.normal(3, 3, 7999), 0, 6),
    "laplace": RNG.laplace(0, 1, 7999),
    "stray": np.append(RNG.normal(0, 1, 7998), 100.0),
    "negative": -RNG.gamma(2, 1, 7999),
    "uniform": RNG.uniform(-1, 2, 7999),
}


def held_of(*images: np.ndarray) -> TensorStatistics:
    histogram = _Histogram()
    for image in images:
        assert image.size < 16384, "it would be sampled"
        assert histogram.add(np.asarray(image, np.float32))
    return histogram.finish()


def error(values: np.ndarray, low: float, high: float) -> float:
    """-> mean squared error of an affine quantiser of 256 codes with a whole zero point, float64."""
    scale = (high - low) / 255
    zero = np.round(-low / scale)
    codes = np.clip(np.round(values / scale) + zero, 0, 255)
    return float(np.mean(((codes - zero) * scale - values) ** 2))


def test_the_names_are_those_of_the_spec():
    assert tuple(RANGES) == RANGE_RULES


def test_min_max_is_exact():
    values = HELD["normal"].astype(np.float32)
    assert subject.min_max(held_of(values)) == (values.min(), values.max())


def test_moving_average_by_hand():
    held = held_of(np.array([-1.0, 2.0]), np.array([-3.0, 10.0]))
    assert subject.moving_average(held) == pytest.approx((-1 + 0.05 * -2, 2 + 0.05 * 8), rel=1e-12)


@pytest.mark.parametrize("name", HELD)
@pytest.mark.parametrize("share", [0.9999, 0.99, 0.5])
def test_percentile_is_that_of_numpy_to_a_bin(name, share):
    values = HELD[name].astype(np.float32).astype(np.float64)
    held = held_of(values)
    low, high = subject.percentile(held, share)
    tail = 100 * (1 - share) / 2
    width = 2 * held.reach / BINS
    # The smallest value that no larger a share than the tail lies below, and the same from the other side.
    upper, lower = (np.percentile(side, 100 - tail, method="inverted_cdf") for side in (values, -values))
    assert (low, high) == pytest.approx((-lower, upper), abs=1.01 * width)


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_percentile_wants_a_share(share):
    with pytest.raises(InputError, match="share"):
        subject.percentile(held_of(HELD["normal"]), share)


@pytest.mark.parametrize("name", HELD)
def test_mse_finds_what_a_brute_force_search_finds(name):
    values = HELD[name].astype(np.float32).astype(np.float64)
    found = error(values, *_with_zero(subject.mse(held_of(values))))
    low, high = _with_zero((values.min(), values.max()))
    shares = np.linspace(0.02, 1, 50)
    lows, highs = (low * shares if low else [0.0]), (high * shares if high else [0.0])
    best = min(error(values, a, b) for a in lows for b in highs if b > a)
    # It sees a histogram and draws in one end after the other.
    assert found <= 1.05 * best


def test_mse_gives_up_a_stray_value_only_if_that_pays():
    many = np.append(RNG.normal(0, 1, 7999), 12.0)
    low, high = subject.mse(held_of(many))
    assert high < 12 and error(many, low, high) < error(many, many.min(), 12.0)
    few = np.append(RNG.normal(0, 1, 50), 12.0)
    assert subject.mse(held_of(few))[1] == pytest.approx(12.0)


def _with_zero(found: tuple[float, float]) -> tuple[float, float]:
    return min(0.0, found[0]), max(0.0, found[1])


def _slow_divergence(counts: np.ndarray, first: int, last: int, levels: int) -> float:
    """The definition, bin by bin, with SciPy's divergence."""
    p = counts[first:last].astype(float)
    inside = p.copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last:].sum()
    q = np.zeros(len(p))
    for level in range(levels):
        bins = [place for place in range(len(p)) if place * levels // len(p) == level]
        full = [place for place in bins if inside[place] > 0]
        for place in full:
            q[place] = inside[bins].sum() / len(full)
    q = np.maximum(q / q.sum(), 1e-10)
    kept = p > 0
    # Not scipy.stats.entropy, which would make q sum to one again.
    return float(scipy.special.rel_entr((p / p.sum())[kept], q[kept]).sum())


@pytest.mark.parametrize("name", ["normal", "laplace", "negative", "stray"])
def test_entropy_takes_the_least_divergence(name):
    """All shares anew, by a slow definition, on a histogram of 256 bins and 16 levels."""
    fine = held_of(HELD[name])
    counts = fine.counts.reshape(256, -1).sum(1)
    held = TensorStatistics(fine.low, fine.high, 0, 0, counts, fine.reach, 1)
    low, high = _with_zero((held.low, held.high))
    width = 2 * held.reach / 256
    kept = counts.copy()
    kept[128] = min(kept[128], kept[129])
    divergences = []
    candidates = [(max(low, -bound), min(high, bound)) for bound in subject.SHRINKS * max(-low, high)]
    for candidate in candidates:
        first, last = 128 + int(np.floor(candidate[0] / width)), 128 + int(np.ceil(candidate[1] / width))
        fits = last - first >= 16
        divergences.append(_slow_divergence(kept, first, last, 16) if fits else np.inf)
    place = candidates.index(subject.entropy(held, levels=16))
    assert divergences[place] == pytest.approx(min(divergences), rel=1e-9)


def test_entropy_leaves_a_stray_value_out_and_an_even_distribution_alone():
    low, high = subject.entropy(held_of(np.append(RNG.normal(0, 1, 15000), 100.0)))
    # The other end must not pay for it.
    assert high < 50 and low < -3
    uniform = held_of(RNG.uniform(0, 1, 16000))
    assert subject.entropy(uniform)[1] > 0.95 * uniform.high


def test_a_heap_of_zeros_does_not_decide_the_entropy():
    """A ReLU's zeros have a code of their own in any range."""
    active = np.abs(RNG.normal(0, 1, 7999))
    alone = subject.entropy(held_of(active))[1]
    among_zeros = subject.entropy(held_of(np.append(active, np.zeros(7999))))[1]
    assert among_zeros == pytest.approx(alone, rel=0.15)


def test_every_range_has_zero_in_it_and_outputs_keep_their_extremes():
    statistics = {name: held_of(values) for name, values in HELD.items()}
    for rule in RANGES:
        found = choose_ranges(statistics, rule, whole=["stray"])
        assert set(found) == set(HELD)
        assert all(low <= 0 <= high for low, high in found.values())
        assert found["stray"] == (statistics["stray"].low, 100.0)


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match=r"entropy, moving_average\. Received: 'best'"):
        choose_ranges({}, "best")


@settings(max_examples=40)
@given(
    st.lists(st.floats(-1000, 1000, width=32), min_size=1, max_size=60),
    st.sampled_from([*RANGES]),
)
def test_no_rule_goes_beyond_what_was_seen(values, rule):
    array = np.array(values, np.float32)
    low, high = _with_zero(RANGES[rule](held_of(array)))
    seen = _with_zero((float(array.min()), float(array.max())))
    assert seen[0] <= low <= 0 <= high <= seen[1]
