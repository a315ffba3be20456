"""Labels: a number for each channel that a layer makes, carried along with the tensors that hold it.

A tensor's labels are an array of its rank. An axis along which nothing changes has size 1, so that a feature map
[B, H, W, C] has labels [1, 1, 1, C]. Reshaping or transposing a tensor is then reshaping or transposing its labels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tta_lite.transforms.graph import Shape

Array = np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Units:
    """What became of the labels: those that must leave together are one unit.

    Attributes:
      of: label -> its unit.
      why_fixed: unit -> why it may not leave; one that may is not there.
    """

    of: Array
    why_fixed: dict[int, str]


class Labels:
    """Hands out labels, and notes which of them must leave together and which may not leave."""

    def __init__(self) -> None:
        self.count = 0
        self._pairs: list[tuple[Array, Array]] = []
        self._fixed: list[tuple[Array, str]] = []

    def new(self, number: int, rank: int = 1) -> Array:
        """-> labels that nothing had before, along the last axis of an array of that rank."""
        self.count += number
        return np.arange(self.count - number, self.count).reshape((1,) * (rank - 1) + (number,))

    def unite(self, one: Array, other: Array) -> None:
        """Labels at the same place, after broadcasting, leave together."""
        one, other = np.broadcast_arrays(one, other)
        self._pairs.append((one.ravel(), other.ravel()))

    def fix(self, labels: Array, why: str) -> None:
        """These labels stay, and what was or will be united with them."""
        self._fixed.append((labels.ravel(), why))

    def units(self) -> Units:
        """-> the units that follow from all that was noted; the first reason counts."""
        one = np.concatenate([np.zeros(0, int), *(pair[0] for pair in self._pairs)])
        other = np.concatenate([np.zeros(0, int), *(pair[1] for pair in self._pairs)])
        edges = coo_matrix((np.ones(len(one), np.int8), (one, other)), shape=(self.count, self.count))
        _, unit_of = connected_components(edges, directed=False)
        why: dict[int, str] = {}
        for labels, reason in self._fixed:
            for unit in np.unique(unit_of[labels]):
                why.setdefault(int(unit), reason)
        return Units(unit_of, why)

    # What follows makes the labels of one tensor from those of another.

    def along(self, labels: Array, axis: int, why: str) -> Array:
        """-> the labels along one axis, [size], for a layer that treats what lies at one place of it alike.

        Where they change along other axes as well, all at one place leave together. Where they change along other
        axes only, this layer takes a channel for a place in space: they are fixed.
        """
        axis %= labels.ndim
        others = tuple(i for i in range(labels.ndim) if i != axis)
        if any(labels.shape[i] > 1 for i in others):
            if labels.shape[axis] == 1:
                self.fix(labels, why)
            first = labels[tuple(slice(None) if i == axis else slice(1) for i in range(labels.ndim))]
            self.unite(first, labels)
            labels = first
        return labels.ravel()

    def on_one_axis(self, labels: Array) -> Array:
        """-> the labels, changing along one axis: what leaves a tensor must leave a smaller tensor, without holes.

        Where they change along several, all at one place of the last of these leave together.
        """
        changing = [axis for axis, size in enumerate(labels.shape) if size > 1]
        for axis in changing[:-1]:
            first = labels.take([0], axis)
            self.unite(first, labels)
            labels = first
        return labels

    def reshaped(self, labels: Array, before: Shape, after: Shape) -> Array | None:
        """-> the labels of a tensor that was reshaped, both shapes with the batch; None if it cannot be followed."""
        same = 0
        # Leading axes that stay as they are may be open, and need not be filled.
        while same < min(len(before), len(after)) and before[same] == after[same] and labels.shape[same] == 1:
            same += 1
        rest, target = before[same:], after[same:]
        if None in rest or None in target:
            return None
        sizes = [size or 0 for size in rest]
        if math.prod(sizes) != math.prod(size or 0 for size in target):
            return None
        full = np.broadcast_to(labels[(0,) * same], sizes) if same else np.broadcast_to(labels, sizes)
        new = squeezed(full.reshape([size or 0 for size in target]))
        return self.on_one_axis(new.reshape((1,) * same + new.shape))


def squeezed(labels: Array) -> Array:
    """-> the labels with each axis along which nothing changes at size 1."""
    for axis in range(labels.ndim):
        first = labels.take([0], axis)
        if labels.shape[axis] > 1 and np.array_equal(np.broadcast_to(first, labels.shape), labels):
            labels = first
    return labels


def expanded(labels: Array, axis: int, size: int) -> Array:
    """-> the labels with an axis at its full size."""
    return np.repeat(labels, size, axis) if labels.shape[axis] == 1 and size != 1 else labels


def full_rank(labels: Array, rank: int, at: int = 0) -> Array:
    """-> the labels with axes of size 1 put in, for broadcasting against a tensor of a higher rank."""
    return labels.reshape(labels.shape[:at] + (1,) * (rank - labels.ndim) + labels.shape[at:])


def taken(labels: Array, gone: Array) -> list[Array]:
    """-> for each axis of a tensor: which places of it stay, [size of the labels there] bool. `gone`: label -> bool."""
    leaves = gone[labels]
    return [~leaves.all(tuple(i for i in range(labels.ndim) if i != axis)) for axis in range(labels.ndim)]


def sizes(shape: Sequence[int | None], kept: Sequence[Array]) -> Shape:
    """-> the shape of a tensor without what leaves."""
    return tuple(int(mask.sum()) if len(mask) > 1 else size for size, mask in zip(shape, kept, strict=True))
