"""A student and a teacher of a few hundred weights, and what they learn from."""

from __future__ import annotations

import numpy as np

from tta_lite.compat import keras

L = keras.layers
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(16, 8, 8, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, 16).astype(np.int32)


def make(filters: int, seed: int, *, prefix: str = "", penalty: float = 0.0, softmax: bool = False) -> keras.Model:
    """[B, 8, 8, 1] -> [B, 3]: "a" gives 8 x 8, "b" 4 x 4."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 1), name="image")
    keep = keras.regularizers.L2(penalty) if penalty else None
    x = L.Conv2D(filters, 3, padding="same", activation="relu", kernel_regularizer=keep, name=f"{prefix}a")(image)
    x = L.Conv2D(filters + 1, 3, 2, padding="same", activation="relu", name=f"{prefix}b")(x)
    x = L.GlobalAveragePooling2D(name=f"{prefix}pool")(x)
    last = "softmax" if softmax else None
    return keras.Model(image, L.Dense(3, activation=last, name=f"{prefix}scores")(x), name=f"{prefix}net")


def student(**options) -> keras.Model:
    return make(2, 1, **options)


def teacher(**options) -> keras.Model:
    return make(6, 2, prefix="t_", **options)


def loss() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def differences(one: keras.Model, other: keras.Model) -> float:
    """-> the largest difference of any weight."""
    return max(float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
