"""Pictures in the size that a mode takes, by the rule that it was trained with. NumPy alone: it runs on the board.

`resize` computes what `tta_lite.training.resolutions.resized` does (``tf.image.resize``, bilinear, antialiased), whose
kernel is in TensorFlow's ``scale_and_translate_op.cc``: each pixel is a mean of those under a triangle around its
place, and where pictures become smaller the triangle becomes wider.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from tta_lite.adaptive.modes import Stage
from tta_lite.adaptive.policy import RESIZED, Policy


@functools.lru_cache(maxsize=64)
def weights(before: int, after: int) -> np.ndarray:
    """-> [after, before] float32: how much each pixel of a row counts in each of the resized row.

    >>> weights(4, 2).astype(float).round(3).tolist()
    [[0.429, 0.429, 0.143, 0.0], [0.0, 0.143, 0.429, 0.429]]
    """
    ratio = before / after
    wide = max(ratio, 1.0)
    found = np.zeros((after, before))
    for place in range(after):
        middle = (place + 0.5) * ratio
        first = max(math.ceil(middle - wide - 0.5), 0)
        last = min(math.floor(middle + wide - 0.5), before - 1)
        at = np.arange(first, last + 1)
        shares = np.maximum(0.0, 1 - np.abs(at + 0.5 - middle) / wide)
        found[place, at] = shares / shares.sum()
    return found.astype(np.float32)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """[..., H, W, C] -> [..., h, w, C] float32.

    Args:
      image: of any numbers.
      size: h and w in pixels.
    """
    image = np.asarray(image, np.float32)
    *many, height, width, channels = image.shape
    if (height, width) == tuple(size):
        return image
    rows = weights(height, size[0]) @ image.reshape(*many, height, width * channels)
    return np.matmul(weights(width, size[1]), rows.reshape(*many, size[0], width, channels))


def for_stage(policy: Policy, stage: Stage, image: np.ndarray) -> np.ndarray:
    """-> the image in the size of the stage, where the policy's modes are of several sizes and it is the largest one's.

    Any other image comes back as it is: to make it fit is not for the policy to say.
    """
    shape = stage.image_shape
    if shape is None or image.shape == shape or policy.kind not in RESIZED or image.shape != policy.image_shape:
        return image
    return resize(image, shape[:2])
