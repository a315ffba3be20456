"""A network before its first step, as heavy on a board as it will be after the last one."""

from __future__ import annotations

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.rewrite import rewrite


def as_if_trained(model: keras.Model) -> keras.Model:
    """-> a copy whose biases and batch norms do something: the converter leaves out a bias that is zero."""
    rng = np.random.default_rng(0)
    copy = rewrite(model, {}, flatten=True)
    copy.set_weights([
        values + rng.uniform(0.01, 0.1, values.shape).astype(values.dtype) if values.size and np.ptp(values) == 0
        else values
        for values in copy.get_weights()
    ])  # fmt: skip
    return copy
