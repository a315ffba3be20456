"""Which layers are pruned: all kernels but the depthwise ones, or by name, or all but the first and the last."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tta_lite.types import InputError

# Kind of layer -> its kernel, and the kernel's axis that the product sums over. Subclasses count as their parents. By
# name, so that layers of Keras 2 and of Keras 3 are known without importing either.
KERNELS: dict[str, tuple[str, int | None]] = {
    # A depthwise kernel sums over no channels.
    "DepthwiseConv2D": ("depthwise_kernel", None),
    "SeparableConv2D": ("pointwise_kernel", -2),
    "Conv2DTranspose": ("kernel", -1),
    "Conv1D": ("kernel", -2),
    "Conv2D": ("kernel", -2),
    "Conv3D": ("kernel", -2),
    "Dense": ("kernel", -2),
}


@dataclasses.dataclass(frozen=True)
class LayerPolicy:
    """Which layers' kernels are pruned.

    Attributes:
      only: names of layers, or patterns of names such as ``block_*``; none: every layer that can be pruned.
      skip: names or patterns of layers that are not.
      ends: whether the first and the last layer are. They have few weights, and what they lose nothing mends.
      depthwise: whether depthwise kernels are. They are 2 % of a MobileNet's weights and the most sensitive ones, and
        TFMOT's wrapper leaves them as they are, whatever it says.
    """

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    ends: bool = True
    depthwise: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel that can be pruned.

    Attributes:
      layer: whose it is; within a nested network ``outer/inner``.
      variable: float32.
      axis: of the input channels; None: it has none.
    """

    layer: str
    variable: tf.Variable
    axis: int | None


EVERY_LAYER = LayerPolicy()


def is_a(thing: Any, kind: str) -> bool:
    """Whether a layer is of a class of this name, or of one derived from it; of which Keras does not matter."""
    return any(base.__name__ == kind for base in type(thing).__mro__)


def is_depthwise(layer: Any) -> bool:
    """Whether it is one of the layers that `LayerPolicy.depthwise` speaks of."""
    return is_a(layer, "DepthwiseConv2D")


def check_unwrapped(model: Any) -> None:
    """Raises an `InputError` if a network is wrapped for pruning or quantisation already."""
    for name, layer in named_layers(model):
        kind = type(layer).__name__
        if kind.startswith(("PruneLowMagnitude", "QuantizeWrapper", "ClusterWeights")):
            raise InputError(
                "A network is pruned before it is wrapped by TFMOT, or after `strip`. "
                f"Received: layer {name!r} is in a {kind}"
            )


def named_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """-> every layer with its name, those of nested networks as ``outer/inner``; a shared one once."""
    seen: set[int] = set()

    def walk(net: Any, before: str) -> Iterator[tuple[str, Any]]:
        for layer in net.layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if is_a(layer, "Model"):
                yield from walk(layer, f"{before}{layer.name}/")
            else:
                yield before + layer.name, layer

    return walk(model, "")


def kernel_of(layer: Any, name: str = "") -> Kernel | None:
    """-> the kernel of a layer that can be pruned; None of any other."""
    for kind, (attribute, axis) in KERNELS.items():
        if is_a(layer, kind) and layer.built:
            # In Keras 3 a depthwise layer's is called as all others.
            attribute = attribute if hasattr(layer, attribute) else "kernel"
            # A layer that trains in 16 bits shows a rounded kernel; the one that learns is of float32.
            variable = getattr(layer, f"_float32_{attribute}", None)
            return Kernel(name or layer.name, getattr(layer, attribute) if variable is None else variable, axis)
    if is_a(layer, "PrunableLayer") and layer.get_prunable_weights():
        return Kernel(name or layer.name, layer.get_prunable_weights()[0], None)
    return None


def chosen_kernels(model: Any, policy: LayerPolicy = EVERY_LAYER) -> list[Kernel]:
    """-> the kernels that a policy prunes, in order.

    Raises:
      InputError: the network is wrapped already, a name or pattern fits no layer, a layer was named that has no kernel,
        or no kernel is left.

    >>> from tta_lite.compat import keras
    >>> L = keras.layers
    >>> net = keras.Sequential([L.Conv2D(8, 3, input_shape=(8, 8, 3), name="stem"), L.DepthwiseConv2D(3), L.Flatten(),
    ...                         L.Dense(4, name="mid"), L.Dense(2, name="out")])
    >>> [kernel.layer for kernel in chosen_kernels(net)]
    ['stem', 'mid', 'out']
    >>> [kernel.layer for kernel in chosen_kernels(net, LayerPolicy(ends=False))]
    ['mid']
    """
    check_unwrapped(model)
    layers = dict(named_layers(model))
    named: set[str] = set()
    for pattern in (*policy.only, *policy.skip):
        found = fnmatch.filter(layers, pattern)
        if not found:
            raise InputError(f"A policy must name layers of the network {model.name!r}. Received: {pattern!r}")
        if pattern in policy.only:
            if pattern in layers and kernel_of(layers[pattern]) is None:
                kinds = sorted(KERNELS)
                raise InputError(
                    f"A layer that is named must be one that can be pruned: {', '.join(kinds)} or a TFMOT "
                    f"PrunableLayer. Received: {pattern!r}, a {type(layers[pattern]).__name__}"
                )
            named.update(found)
    kernels = [kernel for name, layer in layers.items() if (kernel := kernel_of(layer, name)) is not None]
    # A pattern may mean neighbours too; who names a depthwise layer by its name means it.
    chosen = [
        kernel
        for kernel in kernels
        if (policy.depthwise or kernel.layer in policy.only or not is_depthwise(layers[kernel.layer]))
        and (not policy.only or kernel.layer in named)
        and not any(fnmatch.fnmatchcase(kernel.layer, pattern) for pattern in policy.skip)
    ]
    if not policy.ends and kernels:
        ends = (kernels[0].layer, kernels[-1].layer)
        chosen = [kernel for kernel in chosen if kernel.layer not in ends or kernel.layer in policy.only]
    if not chosen:
        raise InputError(f"A policy must leave a layer of {model.name!r} to be pruned. Received: {policy}")
    return chosen
