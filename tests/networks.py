"""What tests make networks with."""

from __future__ import annotations

import numpy as np

from tta_lite.compat import keras


def net(*layers: keras.layers.Layer, shape: tuple[int, ...], name: str = "net", std: float = 0.2) -> keras.Model:
    """-> one layer after the other on an input of that shape, every weight from chance."""
    image = x = keras.Input(shape, name="image")
    for layer in layers:
        x = layer(x)
    return randomised(keras.Model(image, x, name=name), std=std)


def randomised(model: keras.Model, seed: int = 0, std: float = 0.2) -> keras.Model:
    """Every weight from chance, batch norm's statistics too: a weight that is lost or swapped then shows."""
    rng = np.random.default_rng(seed)
    model.set_weights([
        # Batch norm's variances must not be negative.
        rng.uniform(0.5, 1.5, weight.shape) if "variance" in weight.name else rng.normal(0, std, weight.shape)
        for weight in model.weights
    ])  # fmt: skip
    return model
