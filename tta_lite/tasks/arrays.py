"""`ArrayTask`: classification of small pictures that lie in memory."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from PIL import Image

from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.tasks.classification import ClassificationTask
from tta_lite.tasks.stream import epoch_order

SCORED_AT_ONCE = 500
# Steps whose batches are put together in one go.
DRAWN_AT_ONCE = 10


@dataclasses.dataclass(frozen=True)
class ArrayTask(ClassificationTask):
    """`ClassificationTask` on `PictureArrays`: whole batches at once, thousands of steps a minute.

    Pictures are scaled to the network's size once. A training picture is shifted by up to `shift` pixels in both
    directions, with black where nothing was, and mirrored every other time if `mirror` says so (He et al., Deep
    Residual Learning, CVPR 2016, section 4.2, with a shift of 4).

    Attributes:
      channels: of the network's input: 3, or 1 for grey pictures.
      shift: pixels; 0: training pictures are as they are.
    """

    train: PictureArrays
    test: PictureArrays
    mirror: bool = False
    channels: int = 3
    shift: int = 0

    def train_data(self, *, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Endless batches (image [B, H, W, C] float32, label [B] int32); batch k depends on `seed` and k alone."""
        pictures = self._scaled(self.train)
        labels = np.asarray(self.train.labels, np.int32)

        def several(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            chosen = np.stack([self._chosen(seed, int(first) + more) for more in range(DRAWN_AT_ONCE)])
            found = pictures[chosen]
            if self.shift or self.mirror:
                rngs = (np.random.default_rng([seed, int(first) + more]) for more in range(DRAWN_AT_ONCE))
                found = np.stack([self._changed(one, rng) for one, rng in zip(found, rngs, strict=True)])
            return found, labels[chosen]

        def load(first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            images, of_them = tf.numpy_function(several, [first], (tf.uint8, tf.int32), stateful=False)
            shape = (DRAWN_AT_ONCE, self.batch_size)
            return self._normalised(tf.ensure_shape(images, (*shape, *self.size, self.channels))), tf.ensure_shape(
                of_them, shape
            )

        # A call into Python costs more than a batch of small pictures.
        return tf.data.Dataset.counter(start_step, DRAWN_AT_ONCE).map(load).unbatch().prefetch(2)

    def validation_data(self) -> tf.data.Dataset:
        """The test pictures once, in order."""
        labels = np.asarray(self.test.labels, np.int32)
        pictures = tf.data.Dataset.from_tensor_slices((self._scaled(self.test), labels))
        return pictures.batch(SCORED_AT_ONCE).map(lambda images, of_them: (self._normalised(images), of_them))

    def calibration(self, count: int, *, seed: int = 0) -> list[np.ndarray]:
        """-> `count` training pictures as they are, each [1, H, W, C] float32."""
        if not len(self.train):
            return []
        places = self._stream(self.train).calibration_places(count, seed)
        return [self._normalised(picture[None]).numpy() for picture in self._scaled(self.train)[places]]

    @functools.cached_property
    def _kept(self) -> dict[int, np.ndarray]:
        return {}

    def _scaled(self, pictures: PictureArrays) -> np.ndarray:
        """-> [N, H, W, C] uint8, of the network's size and channels."""
        if id(pictures) not in self._kept:
            whole = pictures.pictures
            if whole.shape[-1] != self.channels:
                whole = np.repeat(whole, self.channels, axis=-1)
            if whole.shape[1:3] != self.size:
                size = (self.size[1], self.size[0])
                bilinear = Image.Resampling.BILINEAR
                whole = np.stack(
                    [np.asarray(Image.fromarray(one.squeeze()).resize(size, bilinear)) for one in whole]
                ).reshape(len(whole), *self.size, self.channels)
            self._kept[id(pictures)] = whole
        return self._kept[id(pictures)]

    def _chosen(self, seed: int, step: int) -> np.ndarray:
        """-> [B] int: the examples of a step."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = epoch_order(seed, epoch, len(self.train))
        return order[place * self.batch_size : (place + 1) * self.batch_size]

    def _changed(self, pictures: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.shift:
            height, width = self.size
            edge = ((0, 0), (self.shift, self.shift), (self.shift, self.shift), (0, 0))
            rows, columns = rng.integers(0, 2 * self.shift + 1, (2, len(pictures), 1))
            padded = np.pad(pictures, edge)
            at = np.arange(len(pictures))[:, None, None]
            pictures = padded[at, (rows + np.arange(height))[:, :, None], (columns + np.arange(width))[:, None, :]]
        if self.mirror:
            turned = rng.random(len(pictures)) < 0.5
            pictures = np.where(turned[:, None, None, None], pictures[:, :, ::-1], pictures)
        return pictures

    def _normalised(self, pictures: np.ndarray | tf.Tensor) -> tf.Tensor:
        mean, std = self.normalisation.mean[: self.channels], self.normalisation.std[: self.channels]
        return (tf.cast(pictures, tf.float32) - tf.constant(mean, tf.float32)) / tf.constant(std, tf.float32)
