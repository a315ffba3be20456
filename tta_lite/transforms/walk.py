"""A network run layer by layer on images: whoever walks sees what each layer is called on, and may change it first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.graph import Call, Read, trace
from tta_lite.types import InputError


class Walk:
    """Runs a model on images, one call after the other, each once. A tensor is forgotten after its last reader.

    Args:
      model: functional, with one input; nested models are looked into.
      images: [N, ...], as the model takes them.
      batch: images that run together.

    Raises:
      InputError: the model has several inputs, or takes other images.

    Example: what goes into a layer.

      >>> image = keras.Input((4, 4, 1))
      >>> net = keras.Model(image, keras.layers.Dense(2, name="head")(keras.layers.ReLU(name="act")(image)))
      >>> walk = Walk(net, -np.ones((3, 4, 4, 1), np.float32))
      >>> [(call.name, float(walk.read(call)[0].max())) for call in walk]
      [('act', -1.0), ('head', 0.0)]
    """

    def __init__(self, model: keras.Model, images: np.ndarray, batch: int = 32) -> None:
        graph = trace(model)
        if len(graph.inputs) != 1:
            raise InputError(
                f"Images are run through a network with one input. Received: {model.name!r} with {len(graph.inputs)}"
            )
        if np.shape(images)[1:] != tuple(model.inputs[0].shape[1:]) or not len(images):
            raise InputError(
                f"Argument `images` must be what {model.name!r} takes, of shape {tuple(model.inputs[0].shape)}. "
                f"Received: {np.shape(images)}"
            )
        self.graph = graph
        dtype = model.inputs[0].dtype
        self._values: dict[int, list[Any]] = {
            graph.inputs[0]: [
                tf.constant(images[start : start + batch], dtype) for start in range(0, len(images), batch)
            ]
        }
        self._last = {number: call for call in graph.calls for number in call.reads}

    def __iter__(self) -> Iterator[Call]:
        """Yields each call before it runs."""
        for call in self.graph.calls:
            yield call
            if call.writes[0] not in self._values:
                self._run(call)
            for number in {*call.reads, *call.writes}:
                if self._last.get(number, call) is call:
                    del self._values[number]

    def read(self, call: Call) -> list[np.ndarray]:
        """-> what a call reads, all images; before it has run."""
        return [self.value(number) for number in call.reads]

    def write(self, call: Call) -> np.ndarray:
        """-> the first tensor that a call gives, all images; before the walk goes on."""
        if call.writes[0] not in self._values:
            self._run(call)
        return self.value(call.writes[0])

    def value(self, number: int) -> np.ndarray:
        """-> a tensor that has run and is still needed, by its number in the graph, all images."""
        return np.concatenate([value.numpy() for value in self._values[number]])

    def _run(self, call: Call) -> None:
        for number in call.writes:
            self._values[number] = []
        for k in range(len(self._values[call.reads[0]])):
            args, kwargs = tf.nest.map_structure(
                lambda value, k=k: self._values[value.number][k] if isinstance(value, Read) else value, call.arguments
            )
            for number, value in zip(call.writes, tf.nest.flatten(call.layer(*args, **kwargs)), strict=True):
                self._values[number].append(value)
