"""MobileNet V1, V2 and V3 of `keras.applications`, as functions from tensor to tensor, at any width.

V1 https://arxiv.org/abs/1704.04861, V2 https://arxiv.org/abs/1801.04381, V3 https://arxiv.org/abs/1905.02244.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tta_lite.compat import keras
from tta_lite.models.weights import layers_between, load_layer_weights
from tta_lite.types import InputError


class MobileNetSpec(NamedTuple):
    """How `keras.applications` builds a family, and the widths that it has ImageNet weights for."""

    build: Callable[..., keras.Model]
    imagenet_widths: tuple[float, ...]
    options: dict[str, Any] = {}  # noqa: RUF012


# V3 can scale its input itself; it is turned off, so that the data pipeline normalises for every backbone alike.
MOBILENETS = {
    "mobilenet_v1": MobileNetSpec(keras.applications.MobileNet, (0.25, 0.5, 0.75, 1.0)),
    "mobilenet_v2": MobileNetSpec(keras.applications.MobileNetV2, (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)),
    "mobilenet_v3_small": MobileNetSpec(
        keras.applications.MobileNetV3Small, (0.75, 1.0), {"include_preprocessing": False}
    ),
    "mobilenet_v3_large": MobileNetSpec(
        keras.applications.MobileNetV3Large, (0.75, 1.0), {"include_preprocessing": False}
    ),
}
MIN_WIDTH, MAX_WIDTH = 0.05, 4.0
# `keras.applications` uses 0.99 and 0.999: a training of a few hundred steps ends before such averages have caught up,
# and the network then fails in inference. This is the value of the PoseResNet reference.
BATCH_NORM_MOMENTUM = 0.9
AUTOMATIC_NAME = re.compile(r"(re_lu|multiply|tf\.__operators__\.add|tf\.math\.multiply)(_\d+)?")


def mobilenet(x: Any, family: str, *, width: float = 1.0, weights: str | Path | None = None) -> Any:
    """[B, H, W, 3] -> [B, H / 32, W / 32, C]: the convolutions of a MobileNet, without pooling and classifier.

    Args:
      x: images scaled to -1..1, height and width multiples of 32.
      family: a key of `MOBILENETS`.
      width: the multiplier of all channel counts, called alpha in the papers.
      weights: None for random ones, `"imagenet"` to download those of `keras.applications`, or a local file as
        `tta_lite.models.weights.load_layer_weights` reads it, of the classifier or of the network without its top.

    Raises:
      InputError: an unknown family, a width out of range, or weights that are not there or do not fit.
    """
    if family not in MOBILENETS:
        raise InputError(f"Argument `family` must be one of {', '.join(MOBILENETS)}. Received: {family!r}")
    if not MIN_WIDTH <= width <= MAX_WIDTH:
        raise InputError(f"Argument `width` must lie in {MIN_WIDTH}..{MAX_WIDTH}. Received: {width!r}")
    spec = MOBILENETS[family]
    imagenet = weights == "imagenet"
    if imagenet and width not in spec.imagenet_widths:
        raise InputError(
            f"ImageNet weights of {family} exist for the widths {', '.join(map(str, spec.imagenet_widths))}; take one "
            f"of these, or `weights=None`. Received: {width!r}"
        )
    try:
        model = spec.build(
            input_tensor=x,
            alpha=width,
            include_top=False,
            weights="imagenet" if imagenet else None,
            **spec.options,
        )
    except Exception as error:
        # Keras raises a bare Exception when its download fails.
        if not imagenet or "fetch failure" not in str(error):
            raise
        raise InputError(
            f"The ImageNet weights of {family} could not be downloaded; give a local file as `weights`. "
            f"Received: {error}"
        ) from error
    layers = layers_between(x, model.output)
    if weights is not None and not imagenet:
        load_layer_weights(layers, weights)
    for layer in layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    _name_by_position(layers)
    return model.output


# Channels of the convolution between pooling and classes (Howard et al. 2019, tables 1 and 2).
V3_LAST = {"mobilenet_v3_small": 1024, "mobilenet_v3_large": 1280}


def mobilenet_v3_head(x: Any, classes: int, *, family: str, width: float = 1.0) -> Any:
    """[B, H, W, C] -> [B, classes]: V3's pooling, one more convolution, hard swish, dropout, the classes."""
    last = V3_LAST[family]
    if width > 1:
        last = max(8, int(last * width + 4) // 8 * 8)
    y = keras.layers.GlobalAveragePooling2D(keepdims=True, name="head_pool")(x)
    y = keras.layers.Conv2D(last, 1, name="head_conv")(y)
    gate = keras.layers.ReLU(6.0, name="head_relu6")(keras.layers.Rescaling(1.0, 3.0, name="head_shift")(y))
    y = keras.layers.Multiply(name="head_swish")([y, keras.layers.Rescaling(1 / 6, name="head_gate")(gate)])
    y = keras.layers.Dropout(0.2, name="head_dropout")(y)
    return keras.layers.Flatten(name="head_flatten")(keras.layers.Conv2D(classes, 1, name="head_dense")(y))


def _name_by_position(layers: list[keras.layers.Layer]) -> None:
    """Gives layers that Keras numbered by the process (V3's activations) the number they have in this network."""
    counts: Counter[str] = Counter()
    for layer in layers:
        match = AUTOMATIC_NAME.fullmatch(layer.name)
        if match:
            base = match.group(1)
            layer._name = f"{base}_{counts[base]}" if counts[base] else base
            counts[base] += 1
