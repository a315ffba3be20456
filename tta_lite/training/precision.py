"""Reduced precision (G4, clause 6.2.2): mixed-precision training with float32 master weights.

Micikevicius et al., Mixed Precision Training, ICLR 2018: activations in 16 bits, a float32 master copy of the weights,
and a scaled loss where the 16-bit format has few exponent bits (float16; bfloat16 needs none).
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.training.sums import set_sums
from tta_lite.types import InputError

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
AUTO = "auto"
# What a flag that chooses the precision of G4's training may say.
CHOICES = (AUTO, *POLICIES)


def training_policy() -> tuple[str, str]:
    """The 16-bit policy for this machine, and why.

    On the CPUs measured no 16-bit format trained faster than float32, and some kernels were tens of times slower. There
    it is bfloat16, which has the range of float32 and needs no loss scaling.
    """
    if tf.config.list_physical_devices("GPU"):
        return "mixed_float16", "a GPU is present: float16 with loss scaling"
    return "mixed_bfloat16", "no GPU is present: bfloat16 instead of float16, for it needs no loss scaling"


def choose_policy(precision: str = AUTO) -> tuple[str, str]:
    """-> the policy that is trained in, and why.

    >>> choose_policy("mixed_float16")
    ('mixed_float16', 'as was asked for')

    Args:
      precision: one of `CHOICES`; ``auto``: the 16-bit one for this machine, see `training_policy`.
    """
    if precision not in CHOICES:
        raise InputError(f"Argument `precision` must be one of {', '.join(CHOICES)}. Received: {precision!r}")
    return training_policy() if precision == AUTO else (precision, "as was asked for")


def with_policy(model: keras.Model, policy: str) -> keras.Model:
    """The same network with the same weights under another dtype policy; the input model is not changed.

    The output layers stay float32, so that the loss is computed in full precision. Where no GPU is present, the
    layers that sum products in 16 bits do so with float32 sums (`tta_lite.training.sums`).

    Args:
      model: a functional model; models nested in it follow the policy too.
      policy: ``float32``, ``mixed_float16`` or ``mixed_bfloat16``.

    Returns:
      a new model with copied float32 weights.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> net = keras.Model(image, keras.layers.Conv2D(2, 1)(keras.layers.DepthwiseConv2D(3)(image)))
      >>> [layer.compute_dtype for layer in with_policy(net, "mixed_bfloat16").layers[1:]]
      ['bfloat16', 'float32']
    """
    if policy not in POLICIES:
        raise InputError(f"Argument `policy` must be one of {', '.join(POLICIES)}. Received: {policy!r}")
    config = copy.deepcopy(model.get_config())
    _set_policy(config, policy, model.output_names)
    rebuilt = keras.Model.from_config(config)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _set_policy(model: dict[str, Any], policy: str, outputs: Collection[str]) -> None:
    """Sets it in the config of a model, for every layer but `outputs`, which become float32."""
    for layer in model["layers"]:
        name, config = layer["config"]["name"], layer["config"]
        if "layers" in config:
            _set_policy(config, policy, _output_names(config) if name in outputs else ())
        elif layer["class_name"] != "InputLayer":
            _set_dtype(layer, "float32" if name in outputs else policy)


def _output_names(model: dict[str, Any]) -> set[str]:
    if "output_layers" in model:
        return {name for name, *_ in model["output_layers"]}
    return {model["layers"][-1]["config"]["name"]}


def _set_dtype(layer: dict[str, Any], policy: str) -> None:
    set_sums(layer, wide=policy != "float32" and not tf.config.list_physical_devices("GPU"))
    if "dtype" in layer["config"]:
        layer["config"]["dtype"] = policy
    inner = layer["config"].get("layer")
    if isinstance(inner, dict) and "config" in inner:
        _set_dtype(inner, policy)


def optimizer_for(policy: str, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Adds dynamic loss scaling for float16, whose gradients would underflow; other policies need none."""
    if policy == "mixed_float16":
        return keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer
