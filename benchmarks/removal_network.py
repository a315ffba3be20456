"""The network of bench_channel_removal.py, any Keras's or as numbers: what its children share with it.

Imports NumPy alone: each child has another framework, and none of them has tta_lite.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SIDE, CLASSES = 8, 10
EPSILON = 1e-3
# The residual network for small pictures of https://arxiv.org/abs/1512.03385 (section 4.2), one block a stage.
STEM = "stem"
# name, channels, whether a 2 x 2 maximum halves the picture first; such a block has a 1 x 1 shortcut.
BLOCKS = (("block1", 16, False), ("block2", 32, True), ("block3", 64, True))

Weights = Mapping[str, np.ndarray]


def convolutions() -> Iterator[tuple[str, int, int, int, int]]:
    """Of the network before anything left: name, side of the kernel, channels in and out, side of the picture."""
    side, channels = SIDE, BLOCKS[0][1]
    yield STEM, 3, 1, channels, side
    for name, width, halves in BLOCKS:
        side //= 2 if halves else 1
        yield f"{name}_conv1", 3, channels, width, side
        yield f"{name}_conv2", 3, width, width, side
        if halves:
            yield f"{name}_shortcut", 1, channels, width, side
        channels = width


def macs(weights: Weights) -> int:
    """-> multiplications and additions of the convolutions and the Dense for one picture."""
    return weights["logits/kernel"].size + sum(
        weights[f"{name}/kernel"].size * side * side for name, _, _, _, side in convolutions()
    )


def build(keras: Any, weights: Weights | None = None) -> Any:
    """-> the network with these weights, which also say its widths; without any a new one. [B, 8, 8, 1] -> [B, 10]."""
    layers = keras.layers
    widths = {name: out for name, _, _, out, _ in convolutions()}
    if weights is not None:
        widths = {name: weights[f"{name}/kernel"].shape[-1] for name in widths}

    def conv_bn(x: Any, name: str) -> Any:
        size = 1 if name.endswith("shortcut") else 3
        x = layers.Conv2D(widths[name], size, padding="same", use_bias=False, name=name)(x)
        return layers.BatchNormalization(epsilon=EPSILON, momentum=0.9, name=f"{name}_bn")(x)

    inputs = keras.Input((SIDE, SIDE, 1), name="pictures")
    x = layers.ReLU(name=f"{STEM}_relu")(conv_bn(inputs, STEM))
    for name, _, halves in BLOCKS:
        if halves:
            x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
        y = layers.ReLU(name=f"{name}_relu1")(conv_bn(x, f"{name}_conv1"))
        y = conv_bn(y, f"{name}_conv2")
        x = layers.Add(name=f"{name}_add")([y, conv_bn(x, f"{name}_shortcut") if halves else x])
        x = layers.ReLU(name=f"{name}_relu2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x))
    if weights is not None:
        for layer in model.layers:
            layer.set_weights([weights[key] for key in keys(layer)])
    return model


def keys(layer: Any) -> list[str]:
    """-> what the weights of a Keras layer are called in files."""
    return [f"{layer.name}/{weight.name.split('/')[-1].split(':')[0]}" for weight in layer.weights]


def weights_of(model: Any) -> dict[str, np.ndarray]:
    """-> the weights of a Keras model by name."""
    found: dict[str, np.ndarray] = {}
    for layer in model.layers:
        found.update(zip(keys(layer), layer.get_weights(), strict=True))
    return found


def load(path: Path) -> dict[str, np.ndarray]:
    """-> the arrays of a .npz file."""
    with np.load(path) as file:
        return dict(file)


def keep(folder: Path, row: str, weights: Weights, outputs: np.ndarray, **figures: Any) -> None:
    """Writes what a tool left of the network, what that makes of the test pictures, and figures."""
    np.savez(folder / f"{row}.npz", **weights)
    np.save(folder / f"{row}.outputs.npy", outputs)
    (folder / f"{row}.json").write_text(json.dumps(figures), encoding="utf-8")
