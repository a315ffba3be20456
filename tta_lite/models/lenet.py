"""The networks of the lottery ticket papers: fully connected ones, and VGG's first blocks made small.

Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019, https://arxiv.org/abs/1803.03635, figure 2. All weights
are drawn as there (Glorot and Bengio, 2010, normal); outputs are not normalised: train with ``from_logits=True``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from tta_lite.compat import keras
from tta_lite.types import InputError

L = keras.layers
INITIALIZER = "glorot_normal"


def fully_connected(shape: tuple[int, int, int], classes: int, widths: Sequence[int]) -> keras.Model:
    """-> [B, *shape] to [B, classes]: dense layers of `widths` with ReLU.

    Example:
      >>> fully_connected((28, 28, 1), 10, (300, 100)).count_params()
      266610
    """
    _check(shape, classes, widths)
    image = keras.Input(shape, name="image")
    x = L.Flatten(name="flatten")(image)
    x = _dense(x, widths)
    return keras.Model(image, _scores(x, classes), name="fully_connected")


def conv_blocks(
    shape: tuple[int, int, int], classes: int, filters: Sequence[int], widths: Sequence[int] = (256, 256)
) -> keras.Model:
    """-> [B, *shape] to [B, classes]: for each of `filters` two 3x3 convolutions and a 2x2 max pooling, then `widths`.

    Example:
      >>> conv_blocks((32, 32, 3), 10, (64,)).count_params()
      4301642
    """
    _check(shape, classes, (*filters, *widths))
    image = x = keras.Input(shape, name="image")
    for block, width in enumerate(filters, 1):
        for place in (1, 2):
            x = L.Conv2D(
                width, 3, padding="same", activation="relu", kernel_initializer=INITIALIZER, name=f"conv{block}_{place}"
            )(x)
        x = L.MaxPooling2D(name=f"pool{block}")(x)
    x = _dense(L.Flatten(name="flatten")(x), widths)
    return keras.Model(image, _scores(x, classes), name=f"conv_{2 * len(filters)}")


def _dense(x: keras.KerasTensor, widths: Sequence[int]) -> keras.KerasTensor:
    for number, width in enumerate(widths, 1):
        x = L.Dense(width, activation="relu", kernel_initializer=INITIALIZER, name=f"dense{number}")(x)
    return x


def _scores(x: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    return L.Dense(classes, kernel_initializer=INITIALIZER, name="scores")(x)


def _check(shape: tuple[int, int, int], classes: int, widths: Sequence[int]) -> None:
    if len(shape) != 3 or min((*shape, classes, *widths)) < 1:
        raise InputError(
            "A network needs a picture [H, W, C], classes and widths, each 1 or more. Received: "
            f"{shape}, {classes}, {tuple(widths)}"
        )


# Name -> (shape, classes) -> network.
LENETS: Mapping[str, Callable[[tuple[int, int, int], int], keras.Model]] = {
    "lenet_300_100": functools.partial(fully_connected, widths=(300, 100)),
    "lenet_100_50": functools.partial(fully_connected, widths=(100, 50)),
    "conv_2": functools.partial(conv_blocks, filters=(64,)),
    "conv_4": functools.partial(conv_blocks, filters=(64, 128)),
    "conv_6": functools.partial(conv_blocks, filters=(64, 128, 256)),
}
