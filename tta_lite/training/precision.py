"""Reduced precision (G4, clause 6.2.2): mixed-precision training with float32 master weights.

Micikevicius et al., Mixed Precision Training, ICLR 2018: activations in 16 bits, a float32 master copy of the weights,
and a scaled loss where the 16-bit format has few exponent bits (float16; bfloat16 needs none).
"""

from __future__ import annotations

import copy
from typing import Any

import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.types import InputError

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")


def training_policy() -> tuple[str, str]:
    """The 16-bit policy for this machine, and why.

    A CPU has no float16 arithmetic worth the name (training is some 30 times slower than in float32), so there it is
    bfloat16.
    """
    if tf.config.list_physical_devices("GPU"):
        return "mixed_float16", "a GPU is present: float16 with loss scaling"
    return "mixed_bfloat16", (
        "no GPU is present, and float16 training on a CPU is tens of times slower than float32: bfloat16"
    )


def with_policy(model: keras.Model, policy: str) -> keras.Model:
    """The same network with the same weights under another dtype policy; the input model is not changed.

    The output layers stay float32, so that the loss is computed in full precision.

    Args:
      model: a functional model.
      policy: ``float32``, ``mixed_float16`` or ``mixed_bfloat16``.

    Returns:
      a new model with copied float32 weights.
    """
    if policy not in POLICIES:
        raise InputError(f"Argument `policy` must be one of {', '.join(POLICIES)}. Received: {policy!r}")
    outputs = set(model.output_names)
    config = copy.deepcopy(model.get_config())
    for layer in config["layers"]:
        if layer["class_name"] == "InputLayer":
            continue
        dtype = "float32" if layer["name"] in outputs else policy
        _set_dtype(layer, dtype)
    rebuilt = keras.Model.from_config(config)
    rebuilt.set_weights(model.get_weights())
    return rebuilt


def _set_dtype(layer: dict[str, Any], policy: str) -> None:
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
