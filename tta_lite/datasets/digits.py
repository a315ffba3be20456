"""The handwritten digits that come with scikit-learn: 1,797 pictures of 8 x 8 pixels. Imports no TensorFlow.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, https://doi.org/10.24432/C50P49; scikit-learn
has its test part, written by 13 people.
"""

from __future__ import annotations

import numpy as np

from tta_lite.datasets.picture_arrays import PictureArrays
from tta_lite.types import InputError

CLASSES = tuple("0123456789")
# A third is scored.
TRAIN = 1200
LEVELS = 16


def read_digits(train: int = TRAIN) -> tuple[PictureArrays, PictureArrays]:
    """-> digits to learn from and all others to score, each [8, 8, 1]; always the same ones.

    Args:
      train: how many to learn from, one or more of the 1,797, and not all.

    Raises:
      InputError: scikit-learn is not installed, or `train` is out of its range.

    Example:
      >>> [part.pictures.shape for part in read_digits()]
      [(1200, 8, 8, 1), (597, 8, 8, 1)]
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            "The digits come with scikit-learn, which must be installed (the extra `dev` has it). "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    found = load_digits()
    pictures = np.rint(found.images * (255 / LEVELS)).astype(np.uint8)[..., None]
    # The file is in the order of its writers.
    order = np.random.default_rng(0).permutation(len(pictures))
    if not 0 < train < len(order):
        raise InputError(
            f"Of the {len(order)} digits 1 to {len(order) - 1} are there to learn from; the rest is scored. Received: "
            f"{train}"
        )
    test = len(order) - train
    parts = (("digits train", order[test:]), ("digits test", order[:test]))
    first, last = (PictureArrays(name, pictures[part], found.target[part], CLASSES) for name, part in parts)
    return first, last
