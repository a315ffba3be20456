"""The data sets of small pictures that are all of one size. Imports no TensorFlow."""

from __future__ import annotations

# Height, width, channels.
SHAPES = {"digits": (8, 8, 1), "mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
CLASSES = 10
