"""What most light networks are made of: a convolution, batch norm, an activation."""

from __future__ import annotations

from typing import Any

from tta_lite.compat import keras
from tta_lite.models.resnet import batch_norm

L = keras.layers


def conv_bn(
    x: Any, filters: int, kernel: int | tuple[int, int], *, name: str, strides: int | tuple[int, int] = 1,
    groups: int = 1, act: Any = L.ReLU,
) -> Any:  # fmt: skip
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), filters]. `act`: a layer class, or None for linear."""
    conv = L.Conv2D(
        filters, kernel, strides=strides, padding="same", groups=groups, use_bias=False,
        kernel_initializer="he_normal", name=name,
    )  # fmt: skip
    return _normed(conv(x), act, name)


def depthwise_bn(x: Any, kernel: int | tuple[int, int], *, name: str, strides: int = 1, act: Any = L.ReLU) -> Any:
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), C]."""
    conv = L.DepthwiseConv2D(
        kernel, strides=strides, padding="same", use_bias=False, depthwise_initializer="he_normal", name=name
    )
    return _normed(conv(x), act, name)


def _normed(x: Any, act: Any, name: str) -> Any:
    x = batch_norm(x, f"{name}_bn")
    return x if act is None else act(name=f"{name}_act")(x)


def pooled_head(x: Any, classes: int, *, dropout: float = 0.0) -> Any:
    """[B, H, W, C] -> [B, classes], not normalised: average pooling, dropout, a dense layer."""
    x = L.GlobalAveragePooling2D(name="head_pool")(x)
    if dropout:
        x = L.Dropout(dropout, name="head_dropout")(x)
    return L.Dense(classes, name="head_dense")(x)
