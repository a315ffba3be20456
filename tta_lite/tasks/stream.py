"""`Stream`: labelled pictures as batches, in an order that hangs on the seed alone, with errors that stay readable."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tta_lite.models.backbones import Normalisation
from tta_lite.types import input_error_in


@dataclasses.dataclass(frozen=True)
class Stream:
    """Pictures and labels.

    Attributes:
      crop: (index, generator of the augmentation or None) -> [H, W, 3] uint8 and the labels.
      count: how many examples there are.
      batch_size: examples a batch.
      size: H and W.
      labels: shape and type of the labels.
      normalisation: what the network expects of its pixels.
    """

    crop: Callable[[int, np.random.Generator | None], tuple[np.ndarray, np.ndarray]]
    count: int
    batch_size: int
    size: tuple[int, int]
    labels: tuple[tuple[int, ...], tf.DType]
    normalisation: Normalisation

    def endless(self, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Batches (image [B, H, W, 3] float32, labels [B, ...]) without end; the first one is batch `start_step`.

        Batch k depends on `seed` and k alone, so a training that was stopped goes on as if it had not been. An epoch is
        the full batches; what is left over comes in a later epoch's order.
        """
        an_epoch = self.count // self.batch_size * self.batch_size

        def example(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            epoch, place = divmod(int(position), an_epoch)
            index = int(epoch_order(seed, epoch, self.count)[place])
            return self.crop(index, np.random.default_rng([seed, int(position)]))

        positions = tf.data.Dataset.counter(start_step * self.batch_size)
        return (
            self._read(positions, example).batch(self.batch_size, drop_remainder=True).map(self._normalise).prefetch(2)
        )

    def once(self) -> tf.data.Dataset:
        """Every example once, in order, without augmentation."""
        examples = self._read(tf.data.Dataset.range(self.count), lambda position: self.crop(int(position), None))
        return examples.batch(self.batch_size).map(self._normalise).prefetch(1)

    def calibration(self, count: int, seed: int) -> list[np.ndarray]:
        """-> `count` pictures without augmentation, each [1, H, W, 3] float32, drawn by `seed`; fewer if there are."""
        indices = self.calibration_places(count, seed)
        return [self.normalisation.apply(self.crop(int(index), None)[0])[None] for index in indices]

    def calibration_places(self, count: int, seed: int) -> np.ndarray:
        """-> which examples `calibration` takes, in its order."""
        return np.random.default_rng(seed).choice(self.count, size=min(count, self.count), replace=False)

    def _read(
        self, positions: tf.data.Dataset, example: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    ) -> tf.data.Dataset:
        shape, dtype = self.labels

        def load(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, labels = tf.numpy_function(example, [position], (tf.uint8, dtype), stateful=False)
            return tf.ensure_shape(image, (*self.size, 3)), tf.ensure_shape(labels, shape)

        return positions.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _normalise(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean, std = (tf.constant(v, tf.float32) for v in (self.normalisation.mean, self.normalisation.std))
        return (tf.cast(images, tf.float32) - mean) / std, labels


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


def first_inputs(dataset: tf.data.Dataset, count: int) -> np.ndarray:
    """-> up to `count` inputs [N, ...] of a dataset's first batch.

    Raises:
      InputError: see `read_batches`.
    """
    return next(read_batches(dataset))[0][:count]


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """[count] int: the order of an epoch; every epoch has its own."""
    return np.random.default_rng([seed, epoch, count]).permutation(count)
