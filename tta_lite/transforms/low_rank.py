"""Kernels that are nearly the product of two smaller ones: the arithmetic of G2, in NumPy and float64.

All kernels have Keras's order for Conv2D, [KH, KW, IC, OC]; that of a Deconv, [KH, KW, OC, IC], is turned by its
caller. A pair of kernels stands for two convolutions, one after the other, without anything between them. Where nothing
else is said it is the best pair of its rank in the sum of squares (Eckart and Young, 1936).

Sources: channel-wise bottlenecks, Zhang et al., *Accelerating Very Deep Convolutional Networks*, TPAMI 2016, section 3,
https://arxiv.org/abs/1505.06798 (there behind the convolution, here before it, as the guideline draws it); pairs
of N x 1 and 1 x N, Jaderberg et al., BMVC 2014, scheme 2, https://arxiv.org/abs/1405.3866; depthwise separable, Guo et
al., *Network Decoupling*, BMVC 2018, https://arxiv.org/abs/1808.05517.
"""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class LowRank:
    """A kernel as a sum of products of two, the most important first.

    Attributes:
      first: [..., M], what the first convolution has for each of M products; M is the full rank.
      second: [M, ...], what the second has.
      energies: [M], by how much the squared error grows when the product is left out, the largest first.
    """

    first: np.ndarray
    second: np.ndarray
    energies: np.ndarray

    def rank_for(self, kept: float) -> int:
        """-> the least rank that keeps a share of the energy, see the function `rank_for`."""
        return rank_for(self.energies, kept)


def rank_for(energies: np.ndarray, kept: float) -> int:
    """-> the least rank that keeps a share of the energy, 0 < kept <= 1; 1 for a kernel of zeros.

    >>> rank_for(np.array([6.0, 3.0, 1.0]), 0.9)
    2
    """
    reached = np.cumsum(energies) >= kept * energies.sum() * (1 - 1e-12)
    return int(np.argmax(reached)) + 1


def _svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[m, n] -> the factors [m, k] and [k, n], whose product it is, and the energies [k].

    By the eigenvectors of the smaller of M M^T and M^T M: faster than a singular value decomposition of the long
    matrices that kernels are. What that costs in precision lies below 1e-8 of the largest singular value.
    """
    if matrix.shape[0] > matrix.shape[1]:
        second, first, energies = _svd(matrix.T)
        return first.T, second.T, energies
    energies, left = np.linalg.eigh(matrix @ matrix.T)
    energies, left = np.maximum(energies[::-1], 0), left[:, ::-1]
    # Half of the scale to each side: quantisation wants neither of the two kernels to be much larger.
    root = np.maximum(energies, max(energies[0], 1e-30) * 1e-16) ** 0.25
    return left * root, (left.T @ matrix) / root[:, None], energies


def _root(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[C, C], symmetric and not negative -> its square root, and the inverse of that as far as it has one."""
    values, vectors = np.linalg.eigh(moments)
    values = np.maximum(values, 0)
    # A direction that the data does not have decides nothing; a little of it keeps the inverse finite.
    values = values + 1e-6 * max(values.mean(), 1e-30)
    return (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T


def bottleneck(kernel: np.ndarray, moments: np.ndarray | None = None) -> LowRank:
    """A 1 x 1 convolution, and the old kernel on its fewer channels.

    Args:
      kernel: [KH, KW, IC, OC].
      moments: [IC, IC], the mean of x x^T over the layer's real inputs x. With it the error of the *output* is the
        least (neighbouring pixels taken as independent); without it that of the kernel.

    Returns:
      first [IC, M], second [M, KH, KW, OC].

    >>> found = bottleneck(np.ones((3, 3, 8, 4)))
    >>> found.rank_for(0.99), np.allclose(np.tensordot(found.first[:, :1], found.second[:1], 1), 1)
    (1, True)
    """
    height, width, channels, filters = kernel.shape
    matrix = kernel.astype(np.float64).transpose(2, 0, 1, 3).reshape(channels, -1)
    if moments is None:
        first, second, energies = _svd(matrix)
    else:
        root, inverse = _root(moments)
        first, second, energies = _svd(root @ matrix)
        first = inverse @ first
    return LowRank(first, second.reshape(-1, height, width, filters), energies)


def grouped_bottleneck(kernel: np.ndarray, groups: int, moments: np.ndarray | None = None) -> list[LowRank]:
    """As `bottleneck`, with a first convolution that sees each group of input channels alone.

    Returns:
      for each group: first [IC / groups, M], second [M, KH, KW, OC].
    """
    size = kernel.shape[2] // groups
    parts = [slice(group * size, (group + 1) * size) for group in range(groups)]
    return [bottleneck(kernel[:, :, part], None if moments is None else moments[part, part]) for part in parts]


def spatial(kernel: np.ndarray) -> LowRank:
    """An N x 1 convolution, then a 1 x N one.

    Args:
      kernel: [KH, KW, IC, OC].

    Returns:
      first [KH, IC, M], second [M, KW, OC].

    >>> edge = np.outer([1, 2, 1], [1, 0, -1]).reshape(3, 3, 1, 1)
    >>> spatial(edge).rank_for(0.99)
    1
    """
    height, width, channels, filters = kernel.shape
    matrix = kernel.astype(np.float64).transpose(0, 2, 1, 3).reshape(height * channels, width * filters)
    first, second, energies = _svd(matrix)
    return LowRank(first.reshape(height, channels, -1), second.reshape(-1, width, filters), energies)


def depthwise_separable(kernel: np.ndarray, multiplier: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """The best depthwise kernel and 1 x 1 kernel: of each input channel's taps x filters the best matrix of that rank.

    Args:
      kernel: [KH, KW, IC, OC].
      multiplier: depthwise filters a channel; KH x KW of them are exact.

    Returns:
      depthwise [KH, KW, IC, multiplier], pointwise [1, 1, IC * multiplier, OC].
    """
    height, width, channels, filters = kernel.shape
    stack = kernel.astype(np.float64).transpose(2, 0, 1, 3).reshape(channels, height * width, filters)
    left, values, right = np.linalg.svd(stack, full_matrices=False)
    kept = min(multiplier, values.shape[1])
    root = np.sqrt(values[:, :kept])
    first = np.zeros((channels, height * width, multiplier))
    second = np.zeros((channels, multiplier, filters))
    first[:, :, :kept] = left[:, :, :kept] * root[:, None, :]
    second[:, :kept] = root[:, :, None] * right[:, :kept]
    depthwise = first.reshape(channels, height, width, multiplier).transpose(1, 2, 0, 3)
    return depthwise, second.reshape(1, 1, channels * multiplier, filters)


def stacked_3x3(kernel: np.ndarray, middle: int, *, rounds: int = 100, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two 3 x 3 kernels whose composition comes near a 5 x 5 one: alternating least squares.

    Args:
      kernel: [5, 5, IC, OC].
      middle: channels between the two.
      rounds: how often both are solved for.
      seed: of the start.

    Returns:
      first [3, 3, IC, middle], second [3, 3, middle, OC]. There is no best pair in closed form; this one is a local
      best.
    """
    _, _, channels, filters = kernel.shape
    target = kernel.astype(np.float64)
    second = np.random.default_rng(seed).normal(size=(3, 3, middle, filters)) / np.sqrt(9 * middle)
    first = np.zeros((3, 3, channels, middle))
    for _ in range(rounds):
        # target[a + c, b + d] = sum over first[a, b] second[c, d]: linear in each of the two.
        first = _solve_first(target, second)
        flipped = _solve_first(target[::-1, ::-1].transpose(0, 1, 3, 2), first[::-1, ::-1].transpose(0, 1, 3, 2))
        second = flipped[::-1, ::-1].transpose(0, 1, 3, 2)
    scale = np.sqrt(np.linalg.norm(second) / max(float(np.linalg.norm(first)), 1e-30))
    return first * scale, second / scale


def compose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[A, B, IC, M], [C, D, M, OC] -> [A + C - 1, B + D - 1, IC, OC]: the one kernel that does what both do in turn.

    >>> compose(np.ones((1, 3, 1, 1)), np.ones((3, 1, 1, 1)))[:, :, 0, 0].tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """
    (a, b, channels, _), (c, d, _, filters) = first.shape, second.shape
    result = np.zeros((a + c - 1, b + d - 1, channels, filters))
    for row in range(a):
        for column in range(b):
            result[row : row + c, column : column + d] += first[row, column] @ second
    return result


def _solve_first(target: np.ndarray, second: np.ndarray) -> np.ndarray:
    """-> first [3, 3, IC, M] for which compose(first, second) is nearest to target [5, 5, IC, OC]."""
    channels, filters = target.shape[2:]
    middle = second.shape[2]
    # One row an output tap and filter, one column a tap of `first` and middle channel; the same for each input channel.
    system = np.zeros((5, 5, filters, 3, 3, middle))
    for row in range(3):
        for column in range(3):
            system[row : row + 3, column : column + 3, :, row, column] += second.transpose(0, 1, 3, 2)
    matrix = system.reshape(25 * filters, 9 * middle)
    wanted = target.transpose(0, 1, 3, 2).reshape(25 * filters, channels)
    gram = matrix.T @ matrix
    gram += 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram))
    return np.linalg.solve(gram, matrix.T @ wanted).reshape(3, 3, middle, channels).transpose(0, 1, 3, 2)
