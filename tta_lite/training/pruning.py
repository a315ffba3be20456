"""Weight pruning (G5, clause 6.2.3): magnitude pruning on a polynomial schedule.

Zhu and Gupta, To prune, or not to prune, ICLR 2018 workshop, equation 1, by TensorFlow Model Optimization. Small
weights become zero, the file compresses better, and inference gets no faster: the guideline takes this step for memory
alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow_model_optimization as tfmot

from tta_lite.compat import keras
from tta_lite.types import InputError

PRUNABLE = (keras.layers.Conv2D, keras.layers.Conv2DTranspose, keras.layers.Dense)


@dataclasses.dataclass(frozen=True)
class Pruning:
    """How many of the weights become zero, and when.

    Attributes:
      sparsity: the final share of zeros in every convolution and dense kernel, fixed before training (6.2.3).
      begin: where pruning begins, as a share of all training steps.
      end: where the final sparsity is reached; the rest of the training recovers accuracy.
    """

    sparsity: float = 0.5
    begin: float = 0.2
    end: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.sparsity < 1:
            raise InputError(f"Argument `sparsity` must be between 0 and 1. Received: {self.sparsity}")
        if not 0 <= self.begin < self.end <= 1:
            raise InputError(f"Pruning needs 0 <= begin < end <= 1. Received: {self.begin} and {self.end}")

    def wrap(self, model: keras.Model, total_steps: int) -> keras.Model:
        """-> the model with its prunable layers wrapped; it shares its weights with `model`.

        Depthwise kernels are left alone: they are 2 % of a MobileNet's weights and the most sensitive ones.
        """
        begin, end = int(self.begin * total_steps), max(int(self.end * total_steps), int(self.begin * total_steps) + 1)
        # TFMOT's own frequency of 100 steps would jump over a short schedule.
        frequency = max(1, min(100, (end - begin) // 10))
        # A mask is also renewed at the last step of the schedule, which must therefore lie on the grid.
        end = begin + -(-(end - begin) // frequency) * frequency
        if end > total_steps:
            end -= frequency
        schedule = tfmot.sparsity.keras.PolynomialDecay(
            initial_sparsity=0.0, final_sparsity=self.sparsity, begin_step=begin, end_step=end, frequency=frequency
        )

        def wrap_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
            if not _is_pruned(layer):
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, pruning_schedule=schedule)

        return keras.models.clone_model(model, clone_function=wrap_layer)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        """What `fit` must call for the masks to follow the schedule."""
        return [tfmot.sparsity.keras.UpdatePruningStep()]


def strip(model: keras.Model) -> keras.Model:
    """-> the plain network: no wrappers, the zeros in its kernels."""
    return tfmot.sparsity.keras.strip_pruning(model)


def magnitude_pruned(model: keras.Model, sparsity: float) -> keras.Model:
    """-> a copy whose smallest weights are zero at once, without training: it costs what the trained one will cost.

    Args:
      model: it is not changed.
      sparsity: the share of zeros in every kernel that `Pruning` prunes, 0..1.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        if _is_pruned(layer):
            kernel, *rest = layer.get_weights()
            smallest = np.argsort(np.abs(kernel), axis=None)[: round(sparsity * kernel.size)]
            kernel.reshape(-1)[smallest] = 0
            layer.set_weights([kernel, *rest])
    return copy


def sparsity(model: keras.Model) -> float:
    """-> the share of zeros in the kernels that pruning may touch, 0..1."""
    zeros = total = 0
    for layer in model.layers:
        if _is_pruned(layer):
            kernel = layer.get_weights()[0]
            zeros += int((kernel == 0).sum())
            total += kernel.size
    return zeros / total if total else 0.0


def _is_pruned(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, PRUNABLE) and not isinstance(layer, keras.layers.DepthwiseConv2D)
