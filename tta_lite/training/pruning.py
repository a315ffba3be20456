"""Weight pruning (G5, clause 6.2.3): the smallest weights become zero on a schedule while a network is trained.

Zhu and Gupta, *To prune, or not to prune*, 2017, equation 1, https://arxiv.org/abs/1710.01878, by the rules of
TensorFlow Model Optimization. The compressed file becomes smaller; neither the file itself nor inference gets better.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot

from tta_lite.compat import keras
from tta_lite.training.callbacks import PruneLowMagnitudeStep
from tta_lite.training.pruning_policies import (
    EVERY_LAYER,
    LayerPolicy,
    chosen_kernels,
    is_depthwise,
    kernel_of,
    named_layers,
)
from tta_lite.training.pruning_schedules import Schedule, check_schedule, make_schedule
from tta_lite.training.sparsity_patterns import parse_pattern, pattern_mask
from tta_lite.types import InputError

HOWS = ("callback", "wrappers")


@dataclasses.dataclass(frozen=True)
class Pruning:
    """How many of the weights become zero, which, and when.

    Attributes:
      sparsity: the final share of zeros in every kernel that is pruned, fixed before training (6.2.3).
      begin: where pruning begins, as a share of all training steps.
      end: where the final sparsity is reached; the rest of the training recovers accuracy, and zeros stay zeros.
      schedule: ``polynomial_decay``: more and more zeros from `begin` to `end`; ``constant``: all of them at `begin`.
      layers: which layers' kernels.
      pattern: ``2:4`` and the like: N non-zeros in every M along the input channels, chosen once, at the first step,
        whatever the schedule says. `sparsity` must be 1 - N / M.
      how: ``callback``: masks are put on between the steps, in one compiled call a batch; ``wrappers``: by TFMOT's
        layers. Both give the same zeros; the callback also does nested networks and depthwise kernels.
    """

    sparsity: float = 0.5
    begin: float = 0.2
    end: float = 0.7
    schedule: str = "polynomial_decay"
    layers: LayerPolicy = EVERY_LAYER
    pattern: str = ""
    how: str = "callback"

    def __post_init__(self) -> None:
        check_schedule(self.schedule, self.sparsity, self.begin, self.end)
        if self.how not in HOWS:
            raise InputError(f"Argument `how` must be one of {', '.join(HOWS)}. Received: {self.how!r}")
        if self.pattern and abs(parse_pattern(self.pattern).sparsity - self.sparsity) > 1e-6:
            raise InputError(
                f"With the pattern {self.pattern} the sparsity is {parse_pattern(self.pattern).sparsity:g}. "
                f"Received: {self.sparsity}"
            )

    def schedule_for(self, total_steps: int) -> Schedule:
        """-> the schedule of a training of so many steps."""
        return make_schedule(self.schedule, self.sparsity, self.begin, self.end, total_steps)

    def check(self, model: keras.Model) -> None:
        """Raises an `InputError` for a network that cannot be pruned in this way, before anything is trained."""
        kernels = chosen_kernels(model, self.layers)
        if self.pattern:
            without = [kernel.layer for kernel in kernels if kernel.axis is None]
            if without:
                raise InputError(
                    f"A pattern needs kernels that sum over input channels. Received: {', '.join(without)}"
                )
        if self.how == "wrappers":
            layers = dict(named_layers(model))
            for kernel in kernels:
                layer = layers[kernel.layer]
                if is_depthwise(layer) or "/" in kernel.layer:
                    what = "a layer of a nested network" if "/" in kernel.layer else "a depthwise kernel"
                    raise InputError(
                        f"TFMOT's wrappers do not prune {what}: take how='callback'. Received: {kernel.layer!r}"
                    )
                if self.pattern and isinstance(layer, keras.layers.Conv2DTranspose):
                    raise InputError(
                        "TFMOT's wrappers take the output channels of a Deconv for its input channels: with a pattern "
                        f"take how='callback'. Received: {kernel.layer!r}"
                    )

    def prepared(self, model: keras.Model, total_steps: int) -> tuple[keras.Model, list[keras.callbacks.Callback]]:
        """-> what to train, which shares its weights with `model`, and the callbacks that its `fit` must be given."""
        if self.how == "wrappers":
            return self.wrap(model, total_steps), [tfmot.sparsity.keras.UpdatePruningStep()]
        self.check(model)
        step = PruneLowMagnitudeStep(self.schedule_for(total_steps), layers=self.layers, pattern=self.pattern)
        step.attach(model)
        return model, [step]

    def wrap(self, model: keras.Model, total_steps: int) -> keras.Model:
        """-> the model with its chosen layers in TFMOT's wrappers; it shares its weights with `model`.

        Its `fit` needs the callback `tfmot.sparsity.keras.UpdatePruningStep`.
        """
        dataclasses.replace(self, how="wrappers").check(model)
        chosen = {kernel.layer for kernel in chosen_kernels(model, self.layers)}
        options: dict[str, object] = {"pruning_schedule": self.schedule_for(total_steps)}
        if self.pattern:
            pattern = parse_pattern(self.pattern)
            # TFMOT counts the zeros.
            options["sparsity_m_by_n"] = (pattern.group - pattern.kept, pattern.group)

        def wrap_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
            if layer.name not in chosen:
                return layer
            return tfmot.sparsity.keras.prune_low_magnitude(layer, **options)

        return keras.models.clone_model(model, clone_function=wrap_layer)


def strip(model: keras.Model) -> keras.Model:
    """-> the plain network: no wrappers, the zeros in its kernels."""
    return tfmot.sparsity.keras.strip_pruning(model)


def magnitude_pruned(
    model: keras.Model, sparsity: float, *, layers: LayerPolicy = EVERY_LAYER, pattern: str = ""
) -> keras.Model:
    """-> a copy whose smallest weights are zero at once, without training: it costs what the trained one will cost.

    Args:
      model: it is not changed.
      sparsity: the share of zeros in every kernel that is pruned, 0..1.
      layers: which those are.
      pattern: as in `Pruning`; `sparsity` then says nothing.
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for kernel in chosen_kernels(copy, layers):
        if pattern:
            assert kernel.axis is not None, kernel.layer
            mask = pattern_mask(tf.constant(kernel.variable.numpy()), parse_pattern(pattern), kernel.axis).numpy()
        else:
            mask = np.ones(kernel.variable.shape, bool)
            values = np.abs(kernel.variable.numpy())
            mask.reshape(-1)[np.argsort(values, axis=None)[: round(sparsity * values.size)]] = False
        kernel.variable.assign(kernel.variable.numpy() * mask)
    return copy


def sparsity(model: keras.Model) -> float:
    """-> the share of zeros in the kernels that pruning touches unless told otherwise, 0..1."""
    zeros = total = 0
    for name, layer in named_layers(model):
        kernel = kernel_of(layer, name)
        if kernel is not None and not is_depthwise(layer):
            values = kernel.variable.numpy()
            zeros += int((values == 0).sum())
            total += values.size
    return zeros / total if total else 0.0


def layer_sparsities(model: keras.Model) -> dict[str, float]:
    """-> layer -> the share of zeros in its kernel, 0..1, of every layer that can be pruned."""
    found = {}
    for name, layer in named_layers(model):
        if (kernel := kernel_of(layer, name)) is not None:
            found[name] = float((kernel.variable.numpy() == 0).mean())
    return found
