"""A small network with exits, made once for all tests of a file."""

from __future__ import annotations

import numpy as np

from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.transforms.early_exits import add_exits

L = keras.layers
AFTER = ("relu0", "add")


def classifier(filters: int = 4, *, size: int = 8, name: str = "net") -> keras.Model:
    """[B, size, size, 1] -> [B, 5] logits; its second block has a skip past the second exit's layer."""
    image = x = keras.Input((size, size, 1), name="image")
    x = L.Conv2D(filters, 3, padding="same", use_bias=False, name="conv0")(x)
    x = first = L.ReLU(name="relu0")(L.BatchNormalization(name="bn0")(x))
    x = L.Conv2D(filters, 3, padding="same", activation="relu", name="conv1")(x)
    x = L.Add(name="add")([x, first])
    x = L.Conv2D(filters, 3, padding="same", activation="relu", name="conv2")(x)
    x = L.Concatenate(name="join")([x, first])
    x = L.GlobalAveragePooling2D(name="pool")(x)
    return randomised(keras.Model(image, L.Dense(5, name="top")(x), name=name), std=0.5)


def with_exits() -> keras.Model:
    """-> three outputs; the last stage reads what the first and the second have made."""
    return randomised(add_exits(classifier(), AFTER), seed=1, std=0.5)


def images(count: int = 6, size: int = 8) -> np.ndarray:
    """-> [N, size, size, 1] float32."""
    return np.random.default_rng(0).normal(0, 1, (count, size, size, 1)).astype(np.float32)
