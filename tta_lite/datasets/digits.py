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
TEST = 597
LEVELS = 16


def read_digits() -> tuple[PictureArrays, PictureArrays]:
    """-> 1,200 digits to learn from and 597 to score, each [8, 8, 1]; always the same ones.

    Raises:
      InputError: scikit-learn is not installed.

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
    parts = (("digits train", order[TEST:]), ("digits test", order[:TEST]))
    train, test = (PictureArrays(name, pictures[part], found.target[part], CLASSES) for name, part in parts)
    return train, test
