from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_lite.transforms.low_rank import (
    bottleneck,
    compose,
    depthwise_separable,
    grouped_bottleneck,
    spatial,
    stacked_3x3,
)


def kernels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """[H, W, IC] and [KH, KW, IC, OC] -> 'valid' convolution, by its definition."""
    height, width = kernel.shape[:2]
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    return np.array([
        [np.tensordot(image[i : i + height, j : j + width], kernel, 3) for j in range(columns)] for i in range(rows)
    ])  # fmt: skip


def test_compose_is_one_convolution_after_the_other():
    image, first, second = kernels(9, 8, 3), kernels(3, 2, 3, 4, seed=1), kernels(2, 3, 4, 5, seed=2)
    np.testing.assert_allclose(convolve(image, compose(first, second)), convolve(convolve(image, first), second))


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(2, 6), st.integers(1, 6), st.integers(0, 99))
def test_full_rank_is_exact_and_less_loses_what_it_says(height, width, channels, filters, seed):
    kernel = kernels(height, width, channels, filters, seed=seed)
    for found, product in (
        (bottleneck(kernel), lambda f, s: np.einsum("cm,mhwo->hwco", f, s)),
        (spatial(kernel), lambda f, s: np.einsum("hcm,mwo->hwco", f, s)),
    ):
        for rank in range(1, len(found.energies) + 1):
            error = np.square(product(found.first[..., :rank], found.second[:rank]) - kernel).sum()
            assert error == pytest.approx(found.energies[rank:].sum(), abs=1e-9)
        assert error == pytest.approx(0, abs=1e-9)


def test_no_bottleneck_of_that_rank_is_better():
    # Eckart and Young against 300 pairs that come from a search.
    kernel, rng = kernels(3, 3, 6, 5), np.random.default_rng(1)
    best = bottleneck(kernel).energies[2:].sum()
    matrix = kernel.transpose(2, 0, 1, 3).reshape(6, -1)
    for _ in range(300):
        basis, _ = np.linalg.qr(rng.normal(size=(6, 2)))
        assert np.square(matrix - basis @ basis.T @ matrix).sum() >= best


def test_moments_make_the_output_better_and_say_by_how_much():
    # Inputs of which two directions hold nearly everything; the kernel's own best directions are others.
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(5000, 2)) @ rng.normal(size=(2, 6)) + 0.05 * rng.normal(size=(5000, 6))
    kernel = kernels(1, 1, 6, 6)
    moments = inputs.T @ inputs / len(inputs)
    errors = []
    for found in (bottleneck(kernel), bottleneck(kernel, moments)):
        approximation = found.first[:, :2] @ found.second[:2, 0, 0]
        errors.append(np.square(inputs @ (approximation - kernel[0, 0])).sum(1).mean())
    assert errors[1] < 0.05 * errors[0]
    assert errors[1] == pytest.approx(bottleneck(kernel, moments).energies[2:].sum(), rel=0.01)


def test_channels_that_are_always_zero_do_no_harm():
    moments = np.diag([1.0, 1.0, 0.0, 0.0])
    found = bottleneck(kernels(3, 3, 4, 5), moments)
    assert np.isfinite(found.first).all()
    assert found.rank_for(0.999) == 2


def test_groups_see_their_own_channels_only():
    kernel = kernels(3, 3, 6, 4)
    parts = grouped_bottleneck(kernel, 2)
    for part, channels in zip(parts, (kernel[:, :, :3], kernel[:, :, 3:]), strict=True):
        np.testing.assert_allclose(np.einsum("cm,mhwo->hwco", part.first, part.second), channels, atol=1e-12)


@pytest.mark.parametrize(("multiplier", "exact"), [(1, False), (9, True)])
def test_depthwise_separable_by_channel(multiplier, exact):
    kernel = kernels(3, 3, 4, 20)
    depthwise, pointwise = depthwise_separable(kernel, multiplier)
    assert depthwise.shape == (3, 3, 4, multiplier)
    found = np.einsum("hwcm,cmo->hwco", depthwise, pointwise[0, 0].reshape(4, multiplier, 20))
    for channel in range(4):
        values = np.linalg.svd(kernel[:, :, channel].reshape(9, 20), compute_uv=False)
        error = np.square(found[:, :, channel] - kernel[:, :, channel]).sum()
        assert error == pytest.approx(np.square(values[multiplier:]).sum(), abs=1e-12)
    assert exact == np.allclose(found, kernel)


def test_a_kernel_that_is_separable_is_found():
    kernel = np.einsum("hwc,co->hwco", kernels(3, 3, 5), kernels(5, 7, seed=1))
    depthwise, pointwise = depthwise_separable(kernel)
    np.testing.assert_allclose(np.einsum("hwcm,co->hwco", depthwise, pointwise[0, 0]), kernel, atol=1e-12)


def test_two_3x3_come_near_a_5x5_that_is_made_of_two():
    kernel = compose(kernels(3, 3, 4, 6), kernels(3, 3, 6, 5, seed=1))
    error = np.square(compose(*stacked_3x3(kernel, 6)) - kernel).sum() / np.square(kernel).sum()
    assert error < 0.01
    # Fewer channels between cannot do as well.
    assert np.square(compose(*stacked_3x3(kernel, 3)) - kernel).sum() / np.square(kernel).sum() > 3 * error


def test_both_kernels_are_of_one_size():
    for found in (bottleneck(100 * kernels(3, 3, 6, 8)), spatial(kernels(3, 3, 6, 8) / 100)):
        assert np.linalg.norm(found.first) == pytest.approx(np.linalg.norm(found.second))
