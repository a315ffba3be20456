"""A tiny space of networks for the handwritten digits: `make` is what a user's own module would have."""

from __future__ import annotations

from tta_lite.compat import keras
from tta_lite.search.space import Choice, Space
from tta_lite.types import InputError

L = keras.layers
SPACE = Space(
    "digits",
    (
        Choice("filters", (2, 4, 8)),
        Choice("kernel", (1, 3)),
        Choice("hidden", (0, 4, 8)),
    ),
)


def net(point) -> keras.Model:
    if point["filters"] == 8 and point["kernel"] == 1:
        raise InputError("Eight filters of one pixel cannot be built. Received: 8")
    image = keras.Input((8, 8, 1), name="image")
    x = L.Conv2D(point["filters"], point["kernel"], strides=2, activation="relu", name="conv")(image)
    x = L.Flatten(name="flatten")(x)
    if point["hidden"]:
        x = L.Dense(point["hidden"], activation="relu", name="hidden")(x)
    return keras.Model(image, L.Dense(10, name="scores")(x), name="digits")


def make():
    return SPACE, net
