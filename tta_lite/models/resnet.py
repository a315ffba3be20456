"""ResNet as PyTorch and the PoseResNet reference build it: stride on the 3 x 3 convolution, symmetric padding.

He et al., *Deep Residual Learning for Image Recognition*, https://arxiv.org/abs/1512.03385, table 1. The variant with
the stride on the 3 x 3 convolution is the one of torchvision and of Xiao et al., *Simple Baselines for Human Pose
Estimation and Tracking*, https://arxiv.org/abs/1804.06208.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tta_lite.compat import keras
from tta_lite.types import InputError


class ResNetSpec(NamedTuple):
    """A column of table 1: which residual block, and how many of them in each of the four stages."""

    block: str
    depths: tuple[int, int, int, int]


RESNETS = {
    18: ResNetSpec("basic", (2, 2, 2, 2)),
    34: ResNetSpec("basic", (3, 4, 6, 3)),
    50: ResNetSpec("bottleneck", (3, 4, 6, 3)),
    101: ResNetSpec("bottleneck", (3, 4, 23, 3)),
    152: ResNetSpec("bottleneck", (3, 8, 36, 3)),
}
STAGE_FILTERS = (64, 128, 256, 512)
# A bottleneck block ends with four times the channels that its 3 x 3 convolution has.
EXPANSION = {"basic": 1, "bottleneck": 4}


def he_normal_fan_out() -> keras.initializers.Initializer:
    """Normal, not truncated, variance 2 / fan-out: PyTorch's initialisation of ResNet (https://arxiv.org/abs/1502.01852)."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="untruncated_normal")


def batch_norm(x: Any, name: str) -> Any:
    """Batch norm with PyTorch's defaults, which Keras words as epsilon 1e-5 and momentum 0.9."""
    return keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=name)(x)


def conv_bn(x: Any, filters: int, kernel: int, *, name: str, bn_name: str, strides: int = 1) -> Any:
    """[B, H, W, C] -> [B, ceil(H / strides), ceil(W / strides), filters]: Conv without bias, PyTorch's padding, BN."""
    padding = "same"
    if strides > 1 and kernel > 1:
        # Keras' own 'same' pads an even input on the right and bottom only, PyTorch on all four sides.
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=he_normal_fan_out(),
        name=name,
    )(x)
    return batch_norm(x, bn_name)


def residual_block(x: Any, filters: int, *, block: str, strides: int, name: str) -> Any:
    """[B, H, W, C] -> [B, H / strides, W / strides, filters * EXPANSION[block]]."""
    out_filters = filters * EXPANSION[block]
    if block == "basic":
        convs = [(filters, 3, strides), (filters, 3, 1)]
    else:
        convs = [(filters, 1, 1), (filters, 3, strides), (out_filters, 1, 1)]

    shortcut = x
    if strides != 1 or x.shape[-1] != out_filters:
        shortcut = conv_bn(
            x, out_filters, 1, strides=strides, name=f"{name}_shortcut_conv", bn_name=f"{name}_shortcut_bn"
        )
    for i, (width, kernel, stride) in enumerate(convs, start=1):
        x = conv_bn(x, width, kernel, strides=stride, name=f"{name}_conv{i}", bn_name=f"{name}_bn{i}")
        if i < len(convs):
            x = keras.layers.ReLU(name=f"{name}_relu{i}")(x)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def resnet(x: Any, depth: int) -> Any:
    """[B, H, W, 3] -> [B, H / 32, W / 32, 512 or 2048]: the convolutions of ResNet, without pooling and classifier.

    Args:
      x: normalised RGB images, height and width multiples of 32.
      depth: a key of `RESNETS`.
    """
    if depth not in RESNETS:
        raise InputError(f"Argument `depth` must be one of {', '.join(map(str, RESNETS))}. Received: {depth!r}")
    spec = RESNETS[depth]
    x = conv_bn(x, 64, 7, strides=2, name="stem_conv", bn_name="stem_bn")
    x = keras.layers.ReLU(name="stem_relu")(x)
    # The values are positive here, so that padding with zeros is the same as PyTorch's padding with minus infinity.
    x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    for stage, (filters, blocks) in enumerate(zip(STAGE_FILTERS, spec.depths, strict=True), start=1):
        for i in range(1, blocks + 1):
            strides = 2 if stage > 1 and i == 1 else 1
            x = residual_block(x, filters, block=spec.block, strides=strides, name=f"stage{stage}_block{i}")
    return x
