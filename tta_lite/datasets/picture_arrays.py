"""Small labelled pictures that lie in memory as one array. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from tta_lite.types import InputError


class LabelledPictures(Protocol):
    """What a classification task must know of a set: `PictureArrays`, or `tta_lite.datasets.image_folder.ImageSet`."""

    @property
    def name(self) -> str:
        """Of the set, for reports."""

    @property
    def labels(self) -> np.ndarray:
        """[N] int, places in `classes`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of the network's outputs."""

    def load(self, index: int) -> np.ndarray:
        """-> [H, W, 3] uint8 RGB."""

    def __len__(self) -> int: ...


@dataclasses.dataclass(frozen=True, eq=False)
class PictureArrays:
    """Pictures of one size with one label each.

    Attributes:
      name: of the set, for reports.
      pictures: [N, H, W, C] uint8; C is 1, grey, or 3, RGB.
      labels: [N] int, places in `classes`.
      classes: names, in the order of the network's outputs.

    Raises:
      InputError: the arrays have other shapes or types, or a label is no class.
    """

    name: str
    pictures: np.ndarray = dataclasses.field(repr=False)
    labels: np.ndarray = dataclasses.field(repr=False)
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        shape = self.pictures.shape
        if self.pictures.dtype != np.uint8 or len(shape) != 4 or shape[-1] not in (1, 3):
            raise InputError(
                f"The pictures of {self.name} must be [N, H, W, 1 or 3] uint8. Received: {list(shape)} "
                f"{self.pictures.dtype}"
            )
        if self.labels.shape != shape[:1]:
            raise InputError(
                f"{self.name} must have as many labels as pictures, {shape[0]}. Received: {len(self.labels)}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            place = int(np.flatnonzero((self.labels < 0) | (self.labels >= len(self.classes)))[0])
            raise InputError(
                f"The labels of {self.name} must lie in 0..{len(self.classes) - 1}. Received: {self.labels[place]} of "
                f"picture {place}"
            )

    def __len__(self) -> int:
        return len(self.pictures)

    def subset(self, places: np.ndarray | Sequence[int]) -> PictureArrays:
        """-> the pictures at `places` ([M] int), in that order."""
        index = np.asarray(places, np.int64)
        return dataclasses.replace(self, pictures=self.pictures[index], labels=self.labels[index])

    def load(self, index: int) -> np.ndarray:
        """-> [H, W, 3] uint8; a grey picture has three equal channels.

        >>> one = PictureArrays("dots", np.full((1, 1, 1, 1), 7, np.uint8), np.zeros(1, int), ("dot",))
        >>> one.load(0).tolist()
        [[[7, 7, 7]]]
        """
        picture = self.pictures[index]
        return np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
