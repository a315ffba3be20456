"""`PoseTask`: single-person pose estimation with heat maps (Simple Baselines, ECCV 2018)."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.datasets.calibration_checks import Labels
from tta_lite.datasets.pose_set import PoseSet
from tta_lite.models.backbones import Normalisation
from tta_lite.tasks import crop, stream
from tta_lite.tasks.heatmaps import JointsMSE
from tta_lite.tasks.joints import average_with_mirrored, decode_heat_maps
from tta_lite.tasks.pckh import pckh
from tta_lite.types import Accuracy, InputError, Predictor

STRIDE = 4


@dataclasses.dataclass(frozen=True)
class PoseTask:
    """Crops of people in, heat maps of joints out.

    Attributes:
      train: what is learnt from.
      test: what is scored; the same joints.
      normalisation: what the backbone expects of its pixels.
      input_size: side of the square crop in pixels, a multiple of 32.
      sigma: of the Gaussians, in heat-map pixels.
      batch_size: training examples a step, over all workers.
      augmentation: of the training crops.
      flip_test: score the mean of the picture's and the mirrored picture's heat maps.
    """

    train: PoseSet
    test: PoseSet
    normalisation: Normalisation
    input_size: int = 256
    sigma: float = 2.0
    batch_size: int = 32
    augmentation: crop.Augmentation = dataclasses.field(default_factory=crop.Augmentation)
    flip_test: bool = False

    def __post_init__(self) -> None:
        if self.train.joint_set != self.test.joint_set:
            raise InputError(
                "Training and test people must have the same joints. "
                f"Received: {self.train.joint_set.name} and {self.test.joint_set.name}"
            )
        if self.input_size < 32 or self.input_size % 32:
            raise InputError(f"Argument `input_size` must be a positive multiple of 32. Received: {self.input_size}")
        if not self.sigma > 0:
            raise InputError(f"Argument `sigma` must be above 0. Received: {self.sigma}")
        if not 1 <= self.batch_size <= len(self.train):
            raise InputError(
                f"Argument `batch_size` must be 1 to {len(self.train)}, the people of {self.train.name}. "
                f"Received: {self.batch_size}"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches an epoch; what is left over comes in a later epoch's order."""
        return len(self.train) // self.batch_size

    def loss(self) -> keras.losses.Loss:
        """The reference's `JointsMSELoss`."""
        return JointsMSE(self.sigma)

    def train_data(self, *, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Endless batches (image [B, S, S, 3] float32, joints [B, J, 3] float32: x, y in heat-map pixels, weight).

        Batch k depends on `seed` and k alone, so a training that was stopped goes on as if it had not been.
        """
        return self._stream(self.train).endless(seed, start_step)

    def validation_data(self) -> tf.data.Dataset:
        """The test people once, in order, without augmentation: batches as in `train_data`."""
        return self._stream(self.test).once()

    def calibration(self, count: int, *, seed: int = 0) -> list[np.ndarray]:
        """-> `count` training crops without augmentation, each [1, S, S, 3] float32, drawn by `seed`."""
        return self._stream(self.train).calibration(count, seed)

    def calibration_labels(self, count: int, *, seed: int = 0) -> Labels:
        """-> which joints are annotated within each crop of `calibration`."""
        places = self._stream(self.train).calibration_places(count, seed)
        return Labels("joint", self.train.joint_set.names, np.stack([self._within(int(place)) for place in places]))

    def predict_joints(self, predict: Predictor) -> np.ndarray:
        """-> [N, J, 2] float64: the joints of the test people in picture pixels.

        Args:
          predict: [B, S, S, 3] float32 -> heat maps [B, S/4, S/4, J] float32.

        Raises:
          InputError: a picture could not be read.
        """
        places = []
        for images, _ in stream.read_batches(self.validation_data()):
            heat_maps = predict(images)
            if self.flip_test:
                mirrored = predict(np.ascontiguousarray(images[:, :, ::-1]))
                heat_maps = average_with_mirrored(heat_maps, mirrored, self.test.joint_set.flip_order)
            places.append(decode_heat_maps(heat_maps)[0])
        found = np.concatenate(places).astype(np.float64)
        size = self.input_size // STRIDE
        matrices = (
            crop.crop_matrix(center, box, size) for center, box in zip(self.test.center, self.test.box, strict=True)
        )
        return np.stack([crop.apply(crop.invert(m), joints) for m, joints in zip(matrices, found, strict=True)])

    def score(self, predict: Predictor) -> Accuracy:
        """PCKh@0.5 of the test people, with its interval and the score of every joint."""
        return pckh(self.test, self.predict_joints(predict))

    def _crop(self, people: PoseSet, index: int, rng: np.random.Generator | None) -> tuple[np.ndarray, np.ndarray]:
        """-> [S, S, 3] uint8 and [J, 3] float32: x, y in heat-map pixels, weight."""
        picture = people.load(index)
        factor, angle, mirror = self.augmentation.draw(rng) if rng is not None else (1.0, 0.0, False)
        width = picture.shape[1] if mirror else None
        box = float(people.box[index]) * factor
        matrix = crop.crop_matrix(people.center[index], box, self.input_size, angle=angle, mirrored_width=width)
        joints = crop.apply(matrix, people.joints[index].astype(np.float64)) / STRIDE
        labels = np.concatenate([joints, people.annotated[index][:, None]], axis=1).astype(np.float32)
        labels[labels[:, 2] == 0] = 0
        if mirror:
            labels = labels[people.joint_set.flip_order]
        return crop.warp(picture, matrix, self.input_size), labels

    def _within(self, index: int) -> np.ndarray:
        """-> [J] bool: annotated, and in the crop."""
        people = self.train
        matrix = crop.crop_matrix(people.center[index], float(people.box[index]), self.input_size)
        places = crop.apply(matrix, people.joints[index].astype(np.float64))
        return people.annotated[index] & ((places >= 0) & (places <= self.input_size - 1)).all(1)

    def _stream(self, people: PoseSet) -> stream.Stream:
        return stream.Stream(
            functools.partial(self._crop, people),
            len(people),
            self.batch_size,
            (self.input_size, self.input_size),
            ((len(people.joint_set), 3), tf.float32),
            self.normalisation,
        )
