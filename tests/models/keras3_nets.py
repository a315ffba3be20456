"""Networks of Keras 3, which writes the files that are read here, and how two networks are compared."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras as keras3
import numpy as np

L = keras3.layers
ops = keras3.ops

# Layers that take a picture [8, 8, 6] with values around zero; the name says what is special.
LAYERS: dict[str, Callable[[], Any]] = {
    "Conv2D": lambda: L.Conv2D(4, 3, 2, "same", activation="relu", kernel_initializer=keras3.initializers.HeNormal(3)),
    "Conv2D, grouped": lambda: L.Conv2D(4, 3, groups=2, dilation_rate=2, use_bias=False, kernel_regularizer="l2"),
    "Conv2DTranspose": lambda: L.Conv2DTranspose(4, 4, 2, "same", kernel_constraint=keras3.constraints.MaxNorm(2)),
    "Conv2DTranspose, odd": lambda: L.Conv2DTranspose(4, 3, 2, "same", output_padding=1),
    "DepthwiseConv2D": lambda: L.DepthwiseConv2D(3, 2, "same", depth_multiplier=2),
    "SeparableConv2D": lambda: L.SeparableConv2D(4, 3, depth_multiplier=2, depthwise_regularizer="l1"),
    "Dense": lambda: L.Dense(3, activation="softmax"),
    "BatchNormalization": lambda: L.BatchNormalization(epsilon=1e-6, synchronized=True),
    "BatchNormalization, frozen": lambda: L.BatchNormalization(trainable=False, scale=False),
    "LayerNormalization": lambda: L.LayerNormalization(axis=[1, -1]),
    "GroupNormalization": lambda: L.GroupNormalization(3),
    "UnitNormalization": lambda: L.UnitNormalization(),
    "Normalization": lambda: L.Normalization(),
    "Normalization, given": lambda: L.Normalization(mean=[0.1] * 6, variance=[2.0] * 6, invert=True),
    "PReLU": lambda: L.PReLU(shared_axes=[1, 2], alpha_initializer="ones"),
    "LeakyReLU": lambda: L.LeakyReLU(0.17),
    "ReLU": lambda: L.ReLU(0.9, negative_slope=0.1, threshold=0.2),
    "ELU": lambda: L.ELU(0.7),
    "Softmax": lambda: L.Softmax(axis=1),
    "MaxPooling2D": lambda: L.MaxPooling2D(3, 2, "same"),
    "AveragePooling2D": lambda: L.AveragePooling2D(3, 2, "same"),
    "GlobalAveragePooling2D": lambda: L.GlobalAveragePooling2D(keepdims=True),
    "GlobalMaxPooling2D": lambda: L.GlobalMaxPooling2D(),
    "Flatten": lambda: L.Flatten(),
    "Reshape": lambda: L.Reshape((-1, 3)),
    "Permute": lambda: L.Permute((3, 1, 2)),
    "ZeroPadding2D": lambda: L.ZeroPadding2D(((0, 1), (2, 0))),
    "Cropping2D": lambda: L.Cropping2D(((0, 1), (2, 0))),
    "UpSampling2D": lambda: L.UpSampling2D((2, 3)),
    "UpSampling2D, bilinear": lambda: L.UpSampling2D(2, interpolation="bilinear"),
    "Resizing": lambda: L.Resizing(5, 11),
    "Resizing, nearest": lambda: L.Resizing(5, 11, "nearest", crop_to_aspect_ratio=True),
    "CenterCrop": lambda: L.CenterCrop(4, 5),
    "Rescaling": lambda: L.Rescaling([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], -0.5),
    "Dropout": lambda: L.Dropout(0.5, seed=7),
    "SpatialDropout2D": lambda: L.SpatialDropout2D(0.5),
    "GaussianNoise": lambda: L.GaussianNoise(0.5, seed=3),
    "ActivityRegularization": lambda: L.ActivityRegularization(0.1),
    "RandomFlip": lambda: L.RandomFlip("horizontal", seed=1),
    "RandomRotation": lambda: L.RandomRotation(0.1),
    "RandomZoom": lambda: L.RandomZoom(0.1),
    "RandomTranslation": lambda: L.RandomTranslation(0.1, 0.1),
    "RandomContrast": lambda: L.RandomContrast(0.1),
    "Identity": lambda: L.Identity(),
}
ACTIVATIONS = (
    "relu", "sigmoid", "tanh", "softplus", "softsign", "elu", "selu", "exponential", "gelu", "mish", "silu", "swish",
    "relu6", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_swish", "log_softmax", "linear", "softmax",
)  # fmt: skip
# What ``keras.ops`` make of a tensor [8, 8, 6]; y is another of the same shape.
OPS: dict[str, Callable[[Any, Any], Any]] = {
    "x + y": lambda x, y: x + y,
    "x + x": lambda x, y: x + x,
    "x + 3": lambda x, y: x + 3,
    "2 - x": lambda x, y: 2.0 - x,
    "x - 2": lambda x, y: x - 2.0,
    "x * y": lambda x, y: x * y,
    "x * 1/6": lambda x, y: x * (1 / 6),
    "x / y": lambda x, y: x / (ops.abs(y) + 1.0),
    "x / 3": lambda x, y: x / 3.0,
    "1 / x": lambda x, y: 1.0 / (ops.square(x) + 1.0),
    "x ** 2": lambda x, y: x**2,
    "-x": lambda x, y: -x,
    "a constant a channel": lambda x, y: ops.multiply(x, np.arange(6, dtype="float32")),
    "a constant a channel, first": lambda x, y: ops.subtract(ops.convert_to_tensor(np.ones(6, "float32")), x),
    "maximum": lambda x, y: ops.maximum(x, 0.1),
    "minimum": lambda x, y: ops.minimum(x, y),
    "clip": lambda x, y: ops.clip(x, 0.0, 1.0),
    "mean": lambda x, y: ops.mean(x, axis=[1, 2], keepdims=True),
    "sum": lambda x, y: ops.sum(x, axis=-1),
    "max": lambda x, y: ops.max(x, (1, 2)),
    "slices": lambda x, y: x[:, ::2, 1:, -2:],
    "channels": lambda x, y: x[..., 3:],
    "reshape": lambda x, y: ops.reshape(x, (-1, 64, 6)),
    "reshape with the batch": lambda x, y: ops.reshape(x, (-1, 6)),
    "transpose": lambda x, y: ops.transpose(x, (0, 3, 1, 2)),
    "concatenate": lambda x, y: ops.concatenate([x, y], axis=-1),
    "stack": lambda x, y: ops.stack([x, y], axis=1),
    "split": lambda x, y: ops.split(x, 3, axis=-1)[1],
    "split at": lambda x, y: ops.split(x, [1, 4], axis=-1)[1],
    "squeeze": lambda x, y: ops.squeeze(ops.expand_dims(x, 1), 1),
    "pad": lambda x, y: ops.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]]),
    "pad, reflect": lambda x, y: ops.pad(x, [[0, 0], [1, 0], [0, 2], [0, 0]], mode="reflect"),
    "sqrt, exp, log, tanh": lambda x, y: ops.tanh(ops.log(ops.sqrt(ops.exp(x)) + 1.0)),
    "relu": lambda x, y: ops.relu(x),
    "relu6": lambda x, y: ops.relu6(x * 9.0),
    "leaky_relu": lambda x, y: ops.leaky_relu(x, 0.3),
    "elu": lambda x, y: ops.elu(x, 0.5),
    "sigmoid": lambda x, y: ops.sigmoid(x),
    "hard_sigmoid": lambda x, y: ops.hard_sigmoid(x * 4.0),
    "silu": lambda x, y: ops.silu(x),
    "hard_silu": lambda x, y: ops.hard_silu(x * 4.0),
    "gelu": lambda x, y: ops.gelu(x, approximate=True),
    "softmax": lambda x, y: ops.softmax(x, axis=1),
    "log_softmax": lambda x, y: ops.log_softmax(x),
    "max_pool": lambda x, y: ops.max_pool(x, 2),
    "average_pool": lambda x, y: ops.average_pool(x, 3, 2, "same"),
    "resize": lambda x, y: ops.image.resize(x, (5, 11)),
}


def draw(net: Any, seed: int = 0) -> Any:
    """-> the network with weights from chance, those too that begin as ones or zeros; variances are positive."""
    rng = np.random.default_rng(seed)
    for weight in net.weights:
        if not np.issubdtype(np.dtype(str(weight.dtype)), np.floating):
            continue
        low, high = (0.5, 2.0) if "variance" in weight.name else (-0.8, 0.8)
        weight.assign(rng.uniform(low, high, tuple(weight.shape)))
    for layer in net.layers:
        if hasattr(layer, "finalize_state"):
            # It computes with what it makes of its weights here.
            layer.finalize_state()
    return net


def inputs(net: Any, count: int = 2) -> list[np.ndarray]:
    """-> a batch for each input of a network, normally distributed."""
    rng = np.random.default_rng(1)
    return [
        rng.normal(size=(count, *(size or 8 for size in tensor.shape[1:]))).astype("float32") for tensor in net.inputs
    ]


def outputs(net: Any, batches: list[np.ndarray]) -> list[np.ndarray]:
    """-> what a network of either Keras gives, one array an output."""
    found = net(batches[0] if len(batches) == 1 else batches, training=False)
    flat = keras3.tree.flatten(found)
    return [np.asarray(one) for one in flat]


def difference(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """-> the largest between the outputs of two networks, relative to the largest output."""
    assert [one.shape for one in a] == [one.shape for one in b]
    return max(float(np.abs(x - y).max() / np.abs(x).max()) for x, y in zip(a, b, strict=True))


def saved(net: Any, folder: Any) -> Any:
    """-> the file that Keras 3 writes."""
    path = folder / "net.keras"
    net.save(path)
    return path
