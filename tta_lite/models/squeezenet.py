"""SqueezeNet 1.0 and 1.1, as functions from tensor to tensor.

Iandola et al., *SqueezeNet*, 2016, table 1, https://arxiv.org/abs/1602.07360; 1.1 is the authors' later variant with
2.4 times fewer MACs, https://github.com/forresti/SqueezeNet/tree/master/SqueezeNet_v1.1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tta_lite.compat import keras
from tta_lite.types import InputError

L = keras.layers


class SqueezeNetSpec(NamedTuple):
    """The first convolution, and the fire modules between the three poolings: (squeeze, expand) each."""

    stem: int
    kernel: int
    fires: tuple[tuple[tuple[int, int], ...], ...]


SQUEEZENETS = {
    "1.0": SqueezeNetSpec(
        96, 7, (((16, 64), (16, 64), (32, 128)), ((32, 128), (48, 192), (48, 192), (64, 256)), ((64, 256),))
    ),
    "1.1": SqueezeNetSpec(
        64, 3, (((16, 64), (16, 64)), ((32, 128), (32, 128)), ((48, 192), (48, 192), (64, 256), (64, 256)))
    ),
}


def squeezenet(x: Any, version: str = "1.1", *, padding: str = "same") -> Any:
    """[B, H, W, 3] -> [B, H / 16, W / 16, 512]: the convolutions of SqueezeNet; it has no batch norm.

    Args:
      x: images, height and width multiples of 16.
      version: a key of `SQUEEZENETS`.
      padding: ``same`` halves all sizes evenly; ``valid`` is the publication's, whose sizes at 224 are 54, 27 and 13.

    Raises:
      InputError: an unknown version or padding.
    """
    if version not in SQUEEZENETS:
        raise InputError(f"Argument `version` must be one of {', '.join(SQUEEZENETS)}. Received: {version!r}")
    if padding not in ("same", "valid"):
        raise InputError(f"Argument `padding` must be same or valid. Received: {padding!r}")
    spec = SQUEEZENETS[version]
    x = _conv(x, spec.stem, spec.kernel, "stem", strides=2, padding=padding)
    number = 1
    for place, fires in enumerate(spec.fires, start=1):
        x = _pool(x, padding, f"pool{place}")
        for squeeze, expand in fires:
            number += 1
            x = fire(x, squeeze, expand, name=f"fire{number}")
    return x


def fire(x: Any, squeeze: int, expand: int, *, name: str) -> Any:
    """[B, H, W, C] -> [B, H, W, 2 expand]: a PConv to few channels, then 1 x 1 and 3 x 3 beside each other."""
    x = _conv(x, squeeze, 1, f"{name}_squeeze")
    sides = [_conv(x, expand, 1, f"{name}_expand1x1"), _conv(x, expand, 3, f"{name}_expand3x3")]
    return L.Concatenate(name=f"{name}_cat")(sides)


def squeezenet_head(x: Any, classes: int) -> Any:
    """[B, H, W, 512] -> [B, classes]: a 1 x 1 convolution to the classes, ReLU, average pooling."""
    x = L.Dropout(0.5, name="head_dropout")(x)
    return L.GlobalAveragePooling2D(name="head_pool")(_conv(x, classes, 1, "head_conv"))


def _conv(x: Any, filters: int, kernel: int, name: str, *, strides: int = 1, padding: str = "same") -> Any:
    return L.Conv2D(
        filters, kernel, strides=strides, padding=padding, activation="relu", kernel_initializer="he_uniform", name=name
    )(x)


def _pool(x: Any, padding: str, name: str) -> Any:
    """3 x 3, stride 2; a last pixel that is left over is pooled too, as Caffe does."""
    if padding == "valid":
        over = [(0, (size - 3) % 2) if size is not None else (0, 0) for size in x.shape[1:3]]
        if any(after for _, after in over):
            # All values are 0 or more here: zeros change no maximum.
            x = L.ZeroPadding2D(over, name=f"{name}_pad")(x)
    return L.MaxPooling2D(3, strides=2, padding=padding, name=name)(x)
