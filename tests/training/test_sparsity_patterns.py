"""N:M and unstructured masks, against rules written down without TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.training.pruning_schedules import constant, make_schedule, polynomial_decay
from tta_lite.training.sparsity_patterns import Pattern, magnitude_mask, parse_pattern, pattern_mask
from tta_lite.types import InputError


def mask_by_loops(kernel, pattern, axis):
    """The rule of Mishra and others, group by group."""
    rows = np.moveaxis(np.abs(kernel), axis, -1)
    mask = np.zeros(rows.shape)
    for place in np.ndindex(rows.shape[:-1]):
        for start in range(0, rows.shape[-1], pattern.group):
            group = rows[place][start : start + pattern.group]
            mask[place][start + np.argsort(-group, kind="stable")[: pattern.kept]] = 1
    return np.moveaxis(mask, -1, axis)


@settings(max_examples=40)
@given(
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=4),
    kept=st.integers(1, 3),
    more=st.integers(1, 3),
    axis=st.sampled_from([-1, -2]),
    seed=st.integers(0, 99),
)
def test_pattern(shape, kept, more, axis, seed):
    # Distinct sizes: which of two equal weights stays is nobody's business.
    count = int(np.prod(shape))
    rng = np.random.default_rng(seed)
    kernel = ((rng.permutation(count) + 1) * rng.choice([-1, 1], count)).reshape(shape).astype(np.float32)
    pattern = Pattern(kept, kept + more)
    mask = pattern_mask(tf.constant(kernel), pattern, axis).numpy()
    np.testing.assert_array_equal(mask, mask_by_loops(kernel, pattern, axis))


def test_pattern_of_a_deconv_by_hand():
    # Height 1, width 1, 2 outputs, 4 inputs: two inputs stay for each output.
    kernel = tf.constant([[[[1.0, -4.0, 3.0, 2.0], [5.0, 6.0, -7.0, 0.5]]]])
    assert pattern_mask(kernel, Pattern(2, 4), -1).numpy().tolist() == [[[[0, 1, 1, 0], [0, 1, 1, 0]]]]
    # As a convolution's, the same numbers are 2 inputs and 4 outputs, and no group has more than two.
    assert pattern_mask(kernel, Pattern(2, 4), -2).numpy().min() == 1
    assert pattern_mask(kernel, Pattern(1, 2), -2).numpy().tolist() == [[[[0, 0, 0, 1], [1, 1, 1, 0]]]]


def test_of_equal_weights_no_more_than_n_stay():
    assert pattern_mask(tf.zeros((8, 3)), Pattern(2, 4), -2).numpy().sum() == 12


@settings(max_examples=40)
@given(count=st.integers(1, 60), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_magnitude(count, share, seed):
    rng = np.random.default_rng(seed)
    kernel = ((rng.permutation(count) + 1) * rng.choice([-1, 1], count)).astype(np.float32)
    mask = magnitude_mask(tf.constant(kernel), share).numpy().astype(bool)
    assert mask.sum() == pytest.approx(max(count * (1 - share), 1), abs=0.51 + 1e-4)
    if not mask.all():
        assert abs(kernel[~mask]).max() <= abs(kernel[mask]).min()


def test_one_weight_always_stays():
    assert magnitude_mask(tf.constant([[1.0, -3.0], [2.0, 0.0]]), 1.0).numpy().tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("text", ["2:4:8", "2/4", "", "-2:4", "a:b", "2:4 "])
def test_bad_pattern(text):
    with pytest.raises(InputError, match=r"A pattern is N:M, such as 2:4. Received: "):
        parse_pattern(text)


@pytest.mark.parametrize("text", ["0:4", "4:4", "5:4"])
def test_a_pattern_that_keeps_none_or_all(text):
    with pytest.raises(InputError, match=rf"0 < N < M. Received: {text}"):
        parse_pattern(text)


# Zhu and Gupta, equation 1, with s_i = 0, s_f = 0.8, t_0 = 20, n dt = 50: 0.8 (1 - (1 - (t - 20) / 50)^3).
@pytest.mark.parametrize(
    ("step", "share"), [(20, 0.0), (25, 0.8 * (1 - 0.729)), (45, 0.8 * 0.875), (60, 0.8 * 0.992), (70, 0.8), (90, 0.8)]
)
def test_polynomial_decay_by_hand(step, share):
    assert float(polynomial_decay(0.8, 20, 70, 5)(step)[1]) == pytest.approx(share, abs=1e-6)


def test_constant_by_hand():
    schedule = constant(0.8, 20, 40, 10)
    assert [step for step in range(1, 101) if bool(schedule(step)[0])] == [20, 30, 40]
    assert {round(float(schedule(step)[1]), 6) for step in (20, 30, 40)} == {0.8}


@settings(max_examples=8)
@given(
    kind=st.sampled_from(["polynomial_decay", "constant"]),
    total=st.integers(1, 120),
    ends=st.tuples(st.integers(0, 19), st.integers(1, 20)).filter(lambda ends: ends[0] < ends[1]),
)
def test_the_last_renewal_has_the_final_sparsity(kind, total, ends):
    schedule = make_schedule(kind, 0.6, ends[0] / 20, ends[1] / 20, total)
    due = [step for step in range(1, total + 1) if bool(schedule(step)[0])]
    assert due and float(schedule(due[-1])[1]) == pytest.approx(0.6, abs=1e-6)


def test_no_schedule_without_steps():
    with pytest.raises(InputError, match=r"one step or more. Received: 0"):
        make_schedule("constant", 0.5, 0.2, 0.7, 0)
