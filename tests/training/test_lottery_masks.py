"""Masks, rounds, criteria and starts of lottery tickets, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_lite.compat import keras
from tta_lite.training.lottery_criteria import CRITERIA, begin, scores
from tta_lite.training.lottery_masks import (
    full_masks,
    load_masks,
    mask_kernels,
    pruned,
    rounds_to,
    save_masks,
    share_left,
    shuffled,
)
from tta_lite.types import InputError

layers = keras.layers


def kept(masks: dict) -> dict:
    return {name: np.flatnonzero(mask).tolist() for name, mask in masks.items()}


def test_two_rounds_of_a_fifth_by_hand():
    values = {"a": np.array([5.0, -4.0, 3.0, -2.0, 1.0])}
    first = pruned({"a": np.ones(5, bool)}, scores("large_final", values, values), 0.8)
    assert kept(first) == {"a": [0, 1, 2, 3]}
    # 0.64 x 5 is 3.2: three weights. What left does not come back, however large its score has become.
    later = {"a": np.array([5.0, -1.0, 3.0, -2.0, 100.0])}
    assert kept(pruned(first, scores("large_final", values, later), 0.64)) == {"a": [0, 2, 3]}


def test_global_takes_from_the_layer_of_small_weights_and_per_layer_the_same_share():
    masks = {"large": np.ones(4, bool), "small": np.ones(4, bool)}
    values = {"large": np.array([9.0, 8.0, 7.0, 6.0]), "small": np.array([0.4, 0.3, 0.2, 0.1])}
    assert kept(pruned(masks, values, 0.5)) == {"large": [0, 1, 2], "small": [0]}  # The best one of a layer stays.
    assert kept(pruned(masks, values, 0.5, "per_layer")) == {"large": [0, 1], "small": [0, 1]}
    assert kept(pruned(masks, values, 0.75)) == {"large": [0, 1, 2, 3], "small": [0, 1]}


def test_of_equal_scores_the_later_leaves():
    assert kept(pruned({"a": np.ones(4, bool)}, {"a": np.ones(4)}, 0.5)) == {"a": [0, 1]}


@given(st.floats(0.01, 0.99), st.floats(0.01, 0.9))
def test_rounds_fall_by_the_share_to_the_sparsity(sparsity, share):
    rounds = rounds_to(sparsity, share)
    assert rounds[-1] == pytest.approx(1 - sparsity)
    before = np.array([1.0, *rounds[:-1]])
    np.testing.assert_allclose(rounds[:-1], before[:-1] * (1 - share))
    assert before[-1] * (1 - share) <= rounds[-1] * (1 + 1e-6)
    assert (np.diff([1.0, *rounds]) < 0).all()


@given(st.integers(2, 40), st.integers(0, 99), st.sampled_from(("global", "per_layer")))
def test_masks_only_shrink_and_hold_the_share(size, seed, scope):
    rng = np.random.default_rng(seed)
    masks = {"a": np.ones((size, 3), bool), "b": np.ones(size, bool)}
    for left in rounds_to(0.8):
        values = {name: rng.normal(size=mask.shape) for name, mask in masks.items()}
        smaller = pruned(masks, values, left, scope)
        assert all((masks[name] | ~smaller[name]).all() for name in masks)
        # Each kernel is rounded, and keeps one weight.
        assert abs(share_left(smaller) - left) * 4 * size <= 2
        masks = smaller


def test_criteria_by_hand():
    start, final = {"a": np.array([1.0, -2.0, 0.5])}, {"a": np.array([-3.0, -2.5, 0.25])}
    by_hand = {
        "large_final": [3.0, 2.5, 0.25],
        "small_final": [-3.0, -2.5, -0.25],
        "large_init": [1.0, 2.0, 0.5],
        "small_init": [-1.0, -2.0, -0.5],
        "magnitude_increase": [2.0, 0.5, -0.25],
        "movement": [4.0, 0.5, 0.25],
        "large_final_same_sign": [-3.0, 2.5, 0.25],
        "large_final_diff_sign": [3.0, -2.5, -0.25],
    }
    for name, expected in by_hand.items():
        assert scores(name, start, final)["a"].tolist() == expected, name
    # The variance of |1, 2, 0.5| is 7/18, that of |3, 2.5, 0.25| 103/72; alpha is the root of their ratio.
    alpha = (28 / 103) ** 0.5
    np.testing.assert_allclose(scores("large_init_large_final", start, final)["a"], [1, 2.5 * alpha, 0.25 * alpha])
    np.testing.assert_allclose(scores("small_init_small_final", start, final)["a"], [-3 * alpha, -2, -0.5])
    assert set(by_hand) | {"large_init_large_final", "small_init_small_final"} == set(CRITERIA)


def test_starts_by_hand():
    start = {"a": np.array([1.0, -2.0, 3.0, -4.0])}
    masks = {"a": np.array([True, True, False, True])}
    drawn = {"a": np.array([-5.0, 6.0, 7.0, -8.0])}

    def begun(how, seed=0):
        return begin(how, start, masks, drawn, seed)["a"]

    assert begun("rewind").tolist() == [1, -2, 0, -4]
    assert begun("reinit").tolist() == [-5, 6, 0, -8]
    assert begun("reinit_signs").tolist() == [5, -6, 0, -8]
    deviation = np.std([1, -2, 3, -4])
    assert begun("constant_signs").tolist() == [deviation, -deviation, 0, -deviation]
    assert set(np.abs(begun("constant"))) == {deviation, 0}
    for seed in range(5):
        assert sorted(begun("reshuffle", seed)) == [-4, -2, 0, 1]
        assert np.sign(begun("reshuffle_signs", seed)).tolist() == [1, -1, 0, -1]
        assert sorted(np.abs(begun("reshuffle_signs", seed))) == [0, 1, 2, 4]
    assert len({tuple(begun("reshuffle", seed)) for seed in range(20)}) > 1
    with pytest.raises(InputError, match="Received: 'again'"):
        begun("again")


def test_a_shuffled_mask_has_as_many_in_each_kernel():
    masks = {"a": np.arange(40).reshape(5, 8) < 9, "b": np.arange(10) < 7}
    other = shuffled(masks, 3)
    assert {name: int(mask.sum()) for name, mask in other.items()} == {"a": 9, "b": 7}
    assert not np.array_equal(other["a"], masks["a"]) and other["a"].shape == (5, 8)


def nested():
    inner = keras.Sequential([layers.Conv2D(4, 1, input_shape=(4, 4, 3), name="point")], name="inner")
    return keras.Sequential(
        [
            layers.InputLayer((4, 4, 3)),
            inner,
            layers.DepthwiseConv2D(3, name="depth"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(),
            layers.Dense(2, name="scores"),
        ]
    )


def test_kernels_of_a_nested_network():
    assert list(mask_kernels(nested())) == ["inner/point", "scores"]
    assert list(mask_kernels(nested(), ["depth", "sc*"])) == ["depth", "scores"]
    with pytest.raises(InputError, match="Received: 'norm', a BatchNormalization"):
        mask_kernels(nested(), ["norm"])
    with pytest.raises(InputError, match="Received: 'conv9', which is none"):
        mask_kernels(nested(), ["conv9"])
    with pytest.raises(InputError, match="which has none"):
        mask_kernels(keras.Sequential([layers.ReLU(input_shape=(2,))]))


def test_masks_come_back_from_their_file(tmp_path):
    kernels = mask_kernels(nested())
    masks = shuffled({name: mask & (np.arange(mask.size).reshape(mask.shape) % 3 > 0)
                      for name, mask in full_masks(kernels).items()}, 0)  # fmt: skip
    file = save_masks(tmp_path / "masks.npz", masks)
    back = load_masks(file, kernels)
    assert list(back) == list(masks) and all(np.array_equal(back[name], masks[name]) for name in masks)
    with pytest.raises(InputError, match="masks of another network"):
        load_masks(file, {"inner/point": kernels["inner/point"]})
    with pytest.raises(InputError, match="must exist"):
        load_masks(tmp_path / "none.npz")
    whole = file.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(InputError, match="damaged"):
            load_masks(file)
    np.savez(tmp_path / "floats.npz", a=np.ones(3))
    with pytest.raises(InputError, match="float64 in a"):
        load_masks(tmp_path / "floats.npz")


def test_mistakes():
    ones = {"a": np.ones(3, bool)}
    for sparsity, share in ((0, 0.2), (1, 0.2), (0.5, 0), (0.5, 1), (float("nan"), 0.2)):
        with pytest.raises(InputError, match="between 0 and 1"):
            rounds_to(sparsity, share)
    with pytest.raises(InputError, match="NaN or infinity"):
        pruned(ones, {"a": np.array([1, np.nan, 2])}, 0.5)
    with pytest.raises(InputError, match="Received: none"):
        pruned(ones, {}, 0.5)
    with pytest.raises(InputError, match="Received: 'both'"):
        pruned(ones, {"a": np.ones(3)}, 0.5, "both")
    with pytest.raises(InputError, match="Received: 'luck'"):
        scores("luck", ones, ones)
