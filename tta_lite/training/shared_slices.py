"""Which part of a wide network's weights is a narrow one's, and how values and gradients go between the two."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

# Whole numbers up to here are exact in float32.
EXACT = 2**24


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """Where the values of a small array lie in a large one.

    Attributes:
      axes: for each axis of the large array, which of its places are in the small one, rising.
      shape: of the large array.
    """

    axes: tuple[np.ndarray, ...]
    shape: tuple[int, ...]

    @property
    def is_prefix(self) -> bool:
        """Whether the small array is a corner of the large one: the first places of each axis."""
        return all(len(axis) == 0 or axis[-1] == len(axis) - 1 for axis in self.axes)

    def read(self, large: tf.Tensor) -> tf.Tensor:
        """-> the small array."""
        if self.is_prefix:
            return tf.slice(large, [0] * len(self.axes), [len(axis) for axis in self.axes])
        for number, axis in enumerate(self.axes):
            if len(axis) < self.shape[number]:
                large = tf.gather(large, axis, axis=number)
        return large

    def spread(self, small: tf.Tensor) -> tf.Tensor:
        """-> an array of the large shape with the small one's values in their places, and 0 elsewhere."""
        if self.is_prefix:
            return tf.pad(small, [[0, size - len(axis)] for axis, size in zip(self.axes, self.shape, strict=True)])
        for number, axis in enumerate(self.axes):
            size = self.shape[number]
            if len(axis) < size:
                order = [number, *(k for k in range(len(self.axes)) if k != number)]
                rows = tf.transpose(small, order)
                wide = tf.scatter_nd(axis[:, None], rows, [size, *rows.shape[1:]])
                small = tf.transpose(wide, np.argsort(order))
        return small


def narrowed(model: keras.Model, remove: Mapping[str, Sequence[int]]) -> tuple[keras.Model, list[Slice]]:
    """-> the network without some units (`remove_channels`), and for each of its weights where it lies in the model's.

    The places are found by removing channels from a copy whose weights are numbered, so that they are those of
    `remove_channels` whatever the layer.

    Args:
      model: functional. It is not changed.
      remove: group -> the units that leave.

    Raises:
      InputError: see `remove_channels`; or an array that is too large to be numbered exactly.
    """
    numbered = keras.Model.from_config(model.get_config())
    for weight in numbered.weights:
        size = math.prod(weight.shape)
        if size > EXACT:
            raise InputError(
                f"A weight may have {EXACT:,} values to be shared in slices. Received: {size:,} in {weight.name}"
            )
        weight.assign(np.arange(size, dtype=np.float32).reshape(weight.shape))
    small = remove_channels(numbered, remove)
    slices = []
    for large, found in zip(numbered.weights, small.weights, strict=True):
        shape = tuple(large.shape)
        places = np.unravel_index(found.numpy().astype(np.int64), shape) if shape else ()
        axes = tuple(np.unique(axis) for axis in places)
        if math.prod(len(axis) for axis in axes) != math.prod(found.shape):
            raise InputError(f"A narrow layer must take whole rows of its weights. Received: {large.name}")
        slices.append(Slice(axes, shape))
    return small, slices
