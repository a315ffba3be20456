"""Small networks that keep or break one rule of XNNPACK's sparse path each; all of them in one file, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from tests.networks import randomised
from tta_lite.compat import keras
from tta_lite.export.quiet import quiet_converter
from tta_lite.export.sparse_rewrite import with_zeros
from tta_lite.export.tflite import export_tflite
from tta_lite.models.layers import DepthToSpace
from tta_lite.types import ExportSpec

layers = keras.layers
Part = Callable[[Any, str], Any]


def pointwise(x, name, channels=8):
    """A 1 x 1 convolution with ReLU6, called `name` in the file."""
    return layers.ReLU(6.0, name=f"{name}_act")(layers.Conv2D(channels, 1, name=name)(x))


def stem(x, name, *, kernel=3, strides=2, padding=1):
    """The first convolution; `padding` is pixels on each side, or of each side, or ``same``."""
    if padding != "same":
        x, padding = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x), "valid"
    return layers.ReLU(6.0, name=f"{name}_act")(layers.Conv2D(8, kernel, strides, padding, name=name)(x))


def depthwise(x, name, *, kernel=3, strides=1, padding="same"):
    """A depthwise convolution; `padding` as of `stem`."""
    if padding not in ("same", "valid"):
        x, padding = layers.ZeroPadding2D(padding, name=f"{name}_pad")(x), "valid"
    return layers.DepthwiseConv2D(kernel, strides, padding, name=name)(x)


def mean(x, name):
    return layers.GlobalAveragePooling2D(name=f"{name}_mean")(x)


def squeeze(x, name):
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    y = layers.Conv2D(8, 1, activation="sigmoid", name=f"{name}_gate")(y)
    return layers.Multiply(name=f"{name}_gated")([x, y])


def branch(middle: Part, end: Part = mean, **of_stem):
    """A stem, a 1 x 1 convolution ``*_a``, something, a 1 x 1 convolution ``*_b``, an end."""

    def build(x, name):
        x = middle(pointwise(stem(x, f"{name}_stem", **of_stem), f"{name}_a"), name)
        return end(pointwise(x, f"{name}_b"), name)

    return build


def same(x, name):
    return x


# Name -> the branch.
ON = {
    "plain": branch(same),
    "shuffled": branch(same, lambda x, n: DepthToSpace(2, name=f"{n}_shuffle")(x)),
    "depthwise3": branch(lambda x, n: depthwise(x, f"{n}_dw")),
    "depthwise5": branch(lambda x, n: depthwise(x, f"{n}_dw", kernel=5)),
    "strided3": branch(lambda x, n: depthwise(x, f"{n}_dw", strides=2, padding=1)),
    "strided5": branch(lambda x, n: depthwise(x, f"{n}_dw", kernel=5, strides=2, padding=2)),
    "residual": branch(lambda x, n: layers.Add(name=f"{n}_add")([x, pointwise(x, f"{n}_c")])),
    "squared": branch(lambda x, n: layers.Multiply(name=f"{n}_square")([x, x])),
    "excited": branch(squeeze),
    "bilinear": branch(lambda x, n: layers.UpSampling2D(2, interpolation="bilinear", name=f"{n}_up")(x)),
}
OFF = {
    "stem_same": branch(same, padding="same"),
    "stem_below": branch(same, padding=((0, 1), (0, 1))),
    "stem5": branch(same, kernel=5, padding=2),
    "stem_stride1": branch(same, strides=1),
    "no_stem": lambda x, n: mean(pointwise(x, f"{n}_a"), n),
    "subtracted": branch(lambda x, n: layers.Subtract(name=f"{n}_minus")([x, pointwise(x, f"{n}_c")])),
    "joined": branch(lambda x, n: layers.Concatenate(name=f"{n}_cat")([x, pointwise(x, f"{n}_c")])),
}
# The part before the break is given planes all the same, and the op there takes them for pixels.
WRONG = {
    "pooled": branch(lambda x, n: layers.MaxPool2D(2, name=f"{n}_pool")(x)),
    "strided_same": branch(lambda x, n: depthwise(x, f"{n}_dw", strides=2)),
    "depthwise7": branch(lambda x, n: depthwise(x, f"{n}_dw", kernel=7)),
    "excited_open": branch(squeeze, same),
    "tapped": lambda x, n: _tapped(x, n),
}


def _tapped(x, name):
    x = pointwise(stem(x, f"{name}_stem"), f"{name}_a")
    return [x, mean(pointwise(x, f"{name}_b"), name)]


def network(names: Sequence[str], *, side: int = 16, zeros: float = 0.8) -> bytes:
    """-> a float32 file with the branches side by side, weights from chance, that share of zeros in each kernel."""
    known = {**ON, **OFF, **WRONG}
    images, outputs = [], []
    for name in names:
        images.append(keras.Input((side, side, 3), batch_size=1, name=f"{name}_image"))
        found = known[name](images[-1], name)
        outputs += found if isinstance(found, list) else [found]
    return exported(keras.Model(images, outputs, name="branches"), zeros=zeros)


def exported(model: keras.Model, *, zeros: float) -> bytes:
    """-> a float32 file of a network with a fixed batch, weights from chance, that share of zeros in each kernel."""
    randomised(model, std=0.3)
    if len(model.inputs) == len(model.outputs) == 1:
        return with_zeros(export_tflite(model, ExportSpec("fp32")), zeros)
    with quiet_converter():
        return with_zeros(tf.lite.TFLiteConverter.from_keras_model(model).convert(), zeros)
