"""The affine crop around a person, and its augmentation, as in the reference implementation of Simple Baselines.

A crop is a 2 x 3 matrix from picture pixels to crop pixels. Pixel (0, 0) is the centre of the top left pixel.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from tta_lite.types import InputError


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How a training crop is varied: the reference's rules and its figures for MPII.

    Attributes:
      scale: the box is scaled by 1 + scale x N(0, 1), kept within 1 +- scale.
      rotation: degrees; the crop is turned by rotation x N(0, 1), kept within +- 2 rotation.
      rotation_probability: how often it is turned at all.
      flip_probability: how often it is mirrored, with left and right joints swapped.
    """

    scale: float = 0.25
    rotation: float = 30.0
    rotation_probability: float = 0.6
    flip_probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.scale < 1:
            raise InputError(f"Argument `scale` must be in [0, 1). Received: {self.scale}")
        for name in ("rotation_probability", "flip_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Argument `{name}` must be in [0, 1]. Received: {getattr(self, name)}")

    def draw(self, rng: np.random.Generator) -> tuple[float, float, bool]:
        """-> the factor on the box, the angle in degrees, and whether to mirror."""
        factor = float(np.clip(1 + self.scale * rng.standard_normal(), 1 - self.scale, 1 + self.scale))
        angle = float(np.clip(self.rotation * rng.standard_normal(), -2 * self.rotation, 2 * self.rotation))
        turned = rng.random() < self.rotation_probability
        return factor, angle if turned else 0.0, bool(rng.random() < self.flip_probability)


def crop_matrix(
    center: np.ndarray, box: float, size: int, *, angle: float = 0.0, mirrored_width: int | None = None
) -> np.ndarray:
    """-> [2, 3] float64: picture pixels to the pixels of a `size` x `size` crop.

    Args:
      center: [2], goes to (size / 2, size / 2).
      box: side of the square that fills the crop, in picture pixels.
      size: side of the crop in pixels.
      angle: degrees; a positive one turns the picture's content counter-clockwise, as in the reference.
      mirrored_width: the picture's width, to mirror it first (x becomes width - 1 - x).

    >>> (crop_matrix(np.array([10.0, 20.0]), box=8, size=4) @ [10, 24, 1]).tolist()
    [2.0, 4.0]
    """
    scale, radians = size / box, np.deg2rad(angle)
    cos, sin = scale * np.cos(radians), scale * np.sin(radians)
    linear = np.array([[cos, sin], [-sin, cos]])
    middle = np.asarray(center, np.float64)
    if mirrored_width is not None:
        middle = np.array([mirrored_width - 1 - middle[0], middle[1]])
    offset = size / 2 - linear @ middle
    matrix = np.concatenate([linear, offset[:, None]], axis=1)
    if mirrored_width is not None:
        matrix = matrix @ np.array([[-1.0, 0.0, mirrored_width - 1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return matrix


def invert(matrix: np.ndarray) -> np.ndarray:
    """-> [2, 3], the inverse of a [2, 3] affine matrix."""
    linear = np.linalg.inv(matrix[:, :2])
    return np.concatenate([linear, -(linear @ matrix[:, 2])[:, None]], axis=1)


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """[2, 3], [..., 2] -> [..., 2]."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def warp(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """[H, W, 3] uint8 -> [size, size, 3] uint8, bilinear, black outside the picture.

    Args:
      picture: RGB.
      matrix: [2, 3], picture pixels to crop pixels.
      size: side of the crop in pixels.
    """
    back = invert(matrix)
    # Pillow counts from the corner of the top left pixel and not from its centre: half a pixel on both sides.
    offset = back[:, 2] + 0.5 - back[:, :2] @ np.array([0.5, 0.5])
    a, b, d, e = back[0, 0], back[0, 1], back[1, 0], back[1, 1]
    data = (a, b, offset[0], d, e, offset[1])
    image = Image.fromarray(picture)
    return np.asarray(image.transform((size, size), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))
