"""What the input streams of all tasks share: an order that hangs on the seed alone, and errors that stay readable."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from tta_lite.types import input_error_in


def drawn(position: int, batch_size: int, steps: int, count: int, seed: int) -> tuple[int, np.random.Generator]:
    """-> the example at a place of the endless stream, and the generator of its augmentation.

    Batch k depends on `seed` and k alone, so a training that was stopped goes on as if it had not been.

    Args:
      position: in the stream, counted in examples.
      batch_size: examples a batch.
      steps: batches an epoch; each epoch has its own order.
      count: examples there are.
      seed: of the order and the augmentation.
    """
    epoch, place = divmod(position, steps * batch_size)
    return int(_epoch_order(seed, epoch, count)[place]), np.random.default_rng([seed, position])


def read_batches(dataset: tf.data.Dataset) -> Iterator[tuple[np.ndarray, ...]]:
    """The batches of a dataset, as arrays.

    Raises:
      InputError: the one that reading an example raised; `tf.data` wraps it.
    """
    batches = dataset.as_numpy_iterator()
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            mistake = input_error_in(error)
            if mistake is None:
                raise
            raise mistake from None
        yield batch


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """[count] int: the order of an epoch; every epoch has its own."""
    return np.random.default_rng([seed, epoch, count]).permutation(count)
