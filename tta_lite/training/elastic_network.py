"""The weights of a once-for-all network as the networks within it: the largest, and one of each setting."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.connectivity import recompute_batch_norm
from tta_lite.training.elastic_layers import ElasticDepthwise
from tta_lite.training.elastic_masked import masked
from tta_lite.training.elastic_order import reorder
from tta_lite.transforms.channels.best_first import best_first_moves
from tta_lite.transforms.elastic.extract import extract
from tta_lite.transforms.elastic.space import ElasticSpace, Setting

Statistics = dict[str, tuple[np.ndarray, np.ndarray]]


class ElasticNetwork:
    """A network that computes what levels say, and the ordinary networks within it. No part of Keras.

    Args:
      model: functional, without nested models; it belongs to this object from now on.
      space: of it.

    Attributes:
      space: as given.
      levels: [kernels + stages + widths] int32; what `masked` computes, 0 is the largest.
      masked: with the weights that learn.
    """

    def __init__(self, model: keras.Model, space: ElasticSpace) -> None:
        self.space = space
        self.levels = tf.Variable(tf.zeros([len(space.counts)], tf.int32), trainable=False, name="levels")
        self.masked = masked(model, space, self.levels)
        self.plain = model
        self._statistics: dict[Setting, Statistics] = {}
        # After so many steps.
        self._taken = -1

    def largest(self) -> keras.Model:
        """-> the largest network of ordinary layers, with the weights as they are now; renewed by the next call."""
        for layer in self.plain.layers:
            if layer.weights:
                # Matrices come behind what an ordinary layer has.
                values = self.masked.get_layer(layer.name).get_weights()
                layer.set_weights(values[: len(layer.weights)])
        return self.plain

    def network(self, setting: Setting, steps: int) -> keras.Model:
        """-> a network of its own, with the statistics of `recalibrate` if they were taken after so many steps."""
        small = self._extracted(setting)
        if self._taken == steps:
            for name, (mean, variance) in self._statistics.get(setting, {}).items():
                norm = small.get_layer(name)
                norm.moving_mean.assign(mean)
                norm.moving_variance.assign(variance)
        return small

    def recalibrate(self, batches: Iterable[np.ndarray | tf.Tensor], settings: Iterable[Setting], steps: int) -> None:
        """Takes the statistics of some batches for networks, after so many steps.

        Raises:
          InputError: no batches.
        """
        given = list(batches)
        if self._taken != steps:
            self._statistics.clear()
            self._taken = steps
        for setting in settings:
            small = self._extracted(setting)
            recompute_batch_norm(small, given)
            self._statistics[setting] = {
                layer.name: (layer.moving_mean.numpy(), layer.moving_variance.numpy())
                for layer in small.layers
                if isinstance(layer, keras.layers.BatchNormalization)
            }

    def sort_channels(self, optimizer: Any) -> None:
        """Puts the channels of each elastic width that are worth most first, with what the optimizer knows of them."""
        groups = {one.group for one in self.space.widths}
        reorder(self.masked, best_first_moves(self.largest(), groups), optimizer)
        self._statistics.clear()

    def _extracted(self, setting: Setting) -> keras.Model:
        kernels: dict[str, np.ndarray] = {}
        for one, size in zip(self.space.kernels, setting.kernels, strict=True):
            layer = self.masked.get_layer(one.layer)
            assert isinstance(layer, ElasticDepthwise)
            kernels[one.layer] = layer.kernels()[one.sizes.index(size)].numpy()
        return extract(self.largest(), self.space, setting, kernels)
