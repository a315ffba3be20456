"""`ClassificationTask`: one label a picture."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from tta_lite.compat import keras
from tta_lite.datasets.calibration_checks import Labels
from tta_lite.datasets.picture_arrays import LabelledPictures
from tta_lite.models.backbones import IMAGENET, MINUS_ONE_TO_ONE, Normalisation
from tta_lite.tasks import stream
from tta_lite.tasks.pckh import bootstrap_interval
from tta_lite.types import Accuracy, InputError, Predictor

METRIC = "top-1 accuracy"
# What a network may want its pixels (0..255) to be.
PIXELS: dict[str, Normalisation] = {
    "0..255": Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "0..1": Normalisation((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "-1..1": MINUS_ONE_TO_ONE,
    "imagenet": IMAGENET,
}


@dataclasses.dataclass(frozen=True)
class ClassificationTask:
    """Pictures in, one score a class out.

    Training crops show a random part of the picture (its area 60 to 100 % of it, its sides 3:4 to 4:3), mirrored every
    other time; test pictures are scaled as a whole. (Szegedy et al., Going deeper with convolutions, CVPR 2015,
    section 6, with milder limits.)

    Attributes:
      train: what is learnt from; may be empty.
      test: what is scored.
      normalisation: what the network expects of its pixels.
      size: height and width of its input in pixels.
      from_logits: whether the network's outputs are not yet probabilities.
      batch_size: training examples a step.
      mirror: whether a mirrored picture is of the same class; that of a letter is not.
    """

    train: LabelledPictures
    test: LabelledPictures
    normalisation: Normalisation
    size: tuple[int, int]
    from_logits: bool = False
    batch_size: int = 32
    mirror: bool = True

    def __post_init__(self) -> None:
        if len(self.train) and not 1 <= self.batch_size <= len(self.train):
            raise InputError(
                f"Argument `batch_size` must be 1 to {len(self.train)}, the pictures of {self.train.name}. "
                f"Received: {self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches an epoch; 0: there is no training data."""
        return len(self.train) // self.batch_size

    def loss(self) -> keras.losses.Loss:
        """Cross-entropy of the labels."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=self.from_logits)

    def train_data(self, *, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Endless batches (image [B, H, W, 3] float32, label [B] int32); batch k depends on `seed` and k alone."""
        return self._stream(self.train).endless(seed, start_step)

    def validation_data(self) -> tf.data.Dataset:
        """The test pictures once, in order, without augmentation."""
        return self._stream(self.test).once()

    def calibration(self, count: int, *, seed: int = 0) -> list[np.ndarray]:
        """-> `count` training pictures without augmentation, each [1, H, W, 3] float32; none without training data."""
        return self._stream(self.train).calibration(count, seed) if len(self.train) else []

    def calibration_labels(self, count: int, *, seed: int = 0) -> Labels:
        """-> the class of each picture of `calibration`."""
        places = self._stream(self.train).calibration_places(count, seed)
        return Labels.of_classes(np.asarray(self.train.labels)[places], self.train.classes)

    def score(self, predict: Predictor) -> Accuracy:
        """The share of test pictures whose class has the highest score, and that of each class.

        Raises:
          InputError: a picture could not be read, or the outputs are not one score a class.
        """
        correct = self.correct(predict)
        counted = np.ones((len(correct), 1), bool)
        parts = {
            name: 100.0 * float(correct[self.test.labels == place].mean())
            for place, name in enumerate(self.test.classes)
            if (self.test.labels == place).any()
        }
        interval = bootstrap_interval(counted, correct[:, None])
        return Accuracy(
            100.0 * float(correct.mean()),
            METRIC,
            interval,
            parts,
            examples=len(correct),
            counted=np.ones(len(correct), int),
            correct=correct.astype(int),
        )

    def correct(self, predict: Predictor) -> np.ndarray:
        """-> [N] bool: the test pictures whose class has the highest score.

        Raises:
          InputError: see `score`.
        """
        right = []
        for images, labels in stream.read_batches(self.validation_data()):
            scores = np.asarray(predict(images))
            if scores.shape != (len(images), len(self.test.classes)):
                raise InputError(
                    f"The network must give a score for each of the {len(self.test.classes)} classes of "
                    f"{self.test.name}, [B, {len(self.test.classes)}]. Received: {list(scores.shape)}"
                )
            right.append(scores.argmax(axis=1) == labels)
        return np.concatenate(right)

    def test_pictures(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """-> [N, H, W, 3] uint8: some test pictures as the network gets them, but for the normalisation."""
        return np.stack([self._crop(self.test, int(index), None)[0] for index in indices])

    def probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """-> [B, classes]: what the network's outputs say of each class."""
        if not self.from_logits:
            return outputs
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def _crop(
        self, images: LabelledPictures, index: int, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """-> [H, W, 3] uint8 and the label."""
        picture = Image.fromarray(images.load(index))
        width, height = picture.size
        box = (0.0, 0.0, float(width), float(height))
        mirrored = False
        if rng is not None:
            area, shape = rng.uniform(0.6, 1.0), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = min(1.0, (area * shape) ** 0.5) * width, min(1.0, (area / shape) ** 0.5) * height
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            box = (left, top, left + w, top + h)
            mirrored = self.mirror and bool(rng.random() < 0.5)
        rows, columns = self.size
        scaled = np.asarray(picture.resize((columns, rows), Image.Resampling.BILINEAR, box=box))
        return np.ascontiguousarray(scaled[:, ::-1]) if mirrored else scaled, np.asarray(images.labels[index], np.int32)

    def _stream(self, images: LabelledPictures) -> stream.Stream:
        crop = functools.partial(self._crop, images)
        return stream.Stream(crop, len(images), self.batch_size, self.size, ((), tf.int32), self.normalisation)
