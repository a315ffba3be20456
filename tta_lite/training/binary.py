"""A float network becomes one whose weights, and inputs of layers if wanted, are of one bit.

BinaryConnect (Courbariaux et al., NeurIPS 2015), Binary-Weight-Networks and XNOR-Net (Rastegari et al., ECCV 2016),
with the gradient of Bi-Real Net (Liu et al., ECCV 2018). The result must be trained, by `tta_lite.training.fit.fit` or
any other loop: the layers clip their latent weights by a constraint, which every Keras optimizer applies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.binary_layers import BINARY, BinaryConv2D, BinaryDense, BinaryDepthwiseConv2D, ClipLatent
from tta_lite.models.binary_quantizers import INPUTS, KERNELS
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.rewrite import Builder, rewrite
from tta_lite.types import InputError

L = keras.layers

# Exactly these: what inherits from them, as a separable convolution does, computes something else.
_BINARY_OF: Mapping[type, Any] = {
    L.Conv2D: BinaryConv2D,
    L.DepthwiseConv2D: BinaryDepthwiseConv2D,
    L.Dense: BinaryDense,
}
_WEIGHTED = (L.Conv2D, L.Conv2DTranspose, L.DepthwiseConv2D, L.SeparableConv2D, L.Dense)
# What has no sign but that of its inputs: none of these makes a number negative that was not.
_SIGN_KEEPING = (
    L.MaxPooling2D, L.AveragePooling2D, L.GlobalAveragePooling2D, L.GlobalMaxPooling2D, L.ZeroPadding2D, L.Cropping2D,
    L.Dropout, L.Flatten, L.Reshape, L.Add, L.Average, L.Maximum, L.Concatenate, L.UpSampling2D,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Binarized:
    """What `binarize` made.

    Attributes:
      model: the network, not trained as a binary one yet.
      binary: names of the layers with weights of one bit, in order.
      kept: names of those that stayed float.
      freed: names of the layers whose ReLU is gone, because a binary layer takes the sign of what it gave.
    """

    model: keras.Model
    binary: tuple[str, ...]
    kept: tuple[str, ...]
    freed: tuple[str, ...] = ()


def binarize(
    model: keras.Model,
    *,
    kernels: str = "scaled_sign",
    inputs: str | None = None,
    depthwise: bool = False,
    keep: Collection[str] = (),
) -> Binarized:
    """Gives a network binary layers in the place of its Conv2D and Dense; its weights become the latent ones.

    The first and the last layer stay float, as in all three papers. So do depthwise convolutions, which hold few
    weights and lose much (see `BinaryDepthwiseConv2D`). With binary `inputs` a ReLU before a binary layer is taken
    out: what it gives is never negative, and all its signs would be 1 (XNOR-Net, section 3.2, has none there).

    For ``stochastic_sign`` the latent weights are spread over -1..1, each layer's divided by sqrt(3) standard
    deviations, as the authors' code has them: from small ones it would draw nothing but noise. It learns at a higher
    rate than the others (some 0.01 with Adam) and is made to run by `settled` when it is trained.

    Args:
      model: functional; it is not changed. Nested models are laid flat.
      kernels: ``sign`` (BinaryConnect), ``stochastic_sign`` (its stochastic form) or ``scaled_sign`` (XNOR-Net).
      inputs: ``sign`` or ``approx_sign`` for binary inputs (XNOR-Net, Bi-Real Net); None: float inputs.
      depthwise: binarise depthwise convolutions too.
      keep: names of more layers that stay float.

    Returns:
      the network and the names of what was changed.

    Raises:
      InputError: an unknown quantiser or layer, or nothing is left to binarise.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> x = keras.layers.Conv2D(4, 3, name="first")(image)
      >>> x = keras.layers.ReLU(name="relu")(x)
      >>> x = keras.layers.Conv2D(4, 3, name="middle")(x)
      >>> net = keras.Model(image, keras.layers.Conv2D(2, 4, name="last")(x))
      >>> found = binarize(net, inputs="sign")
      >>> found.binary, found.kept, found.freed
      (('middle',), ('first', 'last'), ('relu',))
    """
    _check(kernels, inputs)
    flat = rewrite(model, {}, flatten=True)
    graph = trace(flat)
    weighted = list(dict.fromkeys(call.name for call in graph.calls if isinstance(call.layer, (*_WEIGHTED, *BINARY))))
    unknown = sorted(set(keep) - set(weighted))
    if unknown:
        raise InputError(f"Argument `keep` must name layers with weights: {', '.join(weighted)}. Received: {unknown}")
    floats = {*keep, *weighted[:1], *weighted[-1:]}
    binary = {
        call.name
        for call in graph.calls
        if type(call.layer) in _BINARY_OF
        and call.name not in floats
        and (depthwise or not isinstance(call.layer, L.DepthwiseConv2D))
    }
    if not binary:
        raise InputError(
            "A network to binarise must have a Conv2D or Dense between its first and its last layer. "
            f"Received: {', '.join(weighted) or 'no layer with weights'}; kept: {', '.join(sorted(floats)) or 'none'}"
        )
    freed = _before_signs(graph, binary) if inputs else set()
    edits: dict[str, Builder] = {}
    for call in graph.calls:
        if call.name in binary:
            edits[call.name] = _binary(call.layer, kernels, inputs, linear=call.name in freed)
        elif call.name in freed:
            edits[call.name] = _linear(call.layer)
    return Binarized(
        rewrite(flat, edits),
        tuple(name for name in weighted if name in binary),
        tuple(name for name in weighted if name not in binary),
        tuple(dict.fromkeys(call.name for call in graph.calls if call.name in freed)),
    )


def binary_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """-> the layers with weights of one bit, in order."""
    return [layer for layer in model.layers if isinstance(layer, BINARY)]


def settled(model: keras.Model, images: np.ndarray, *, batch_size: int = 128) -> keras.Model:
    """-> a copy of a network trained with ``stochastic_sign`` that computes with the signs of its latent weights.

    What it was trained with was drawn; the signs give other means and variances, so that batch norm's statistics are
    taken anew, as the average over the batches of `images`.

    Args:
      model: functional; it is not changed.
      images: training images, [N, H, W, C], as the model takes them; 500 or more, in no order of classes.
      batch_size: of which the statistics are averaged.

    Raises:
      InputError: fewer than two images.
    """
    if len(images) < 2:
        raise InputError(f"Argument `images` must hold training images, 500 or more. Received: {len(images)}")

    def rule(layer: keras.layers.Layer, name: str) -> Builder | None:
        if getattr(layer, "kernel_quantizer", "") != "stochastic_sign":
            return None
        return _changed(layer, kernel_quantizer="sign")

    found = rewrite(model, rule)
    norms = [layer for layer in found.submodules if isinstance(layer, L.BatchNormalization)]
    old = [layer.momentum for layer in norms]
    # The last one takes what is left over: a batch of one image has no variance.
    for number in range(max(1, len(images) // batch_size)):
        start = number * batch_size
        last = start + 2 * batch_size > len(images)
        for layer in norms:
            # The mean of k + 1 numbers is k / (k + 1) of the mean of the first k, and a part of the new one.
            layer.momentum = number / (number + 1)
        found(images[start : len(images) if last else start + batch_size], training=True)
    for layer, momentum in zip(norms, old, strict=True):
        layer.momentum = momentum
    return found


def _check(kernels: str, inputs: str | None) -> None:
    if kernels not in KERNELS:
        raise InputError(f"Argument `kernels` must be one of {', '.join(KERNELS)}. Received: {kernels!r}")
    if inputs is not None and inputs not in INPUTS:
        raise InputError(f"Argument `inputs` must be one of {', '.join(INPUTS)}, or None. Received: {inputs!r}")


def _binary(layer: keras.layers.Layer, kernels: str, inputs: str | None, *, linear: bool) -> Builder:
    constraint = "depthwise_constraint" if isinstance(layer, L.DepthwiseConv2D) else "kernel_constraint"
    changes = {"kernel_quantizer": kernels, "input_quantizer": inputs, constraint: ClipLatent()}
    if linear:
        changes["activation"] = "linear"
    return _changed(layer, _BINARY_OF[type(layer)], spread=kernels == "stochastic_sign", **changes)


def _linear(layer: keras.layers.Layer) -> Builder:
    return _changed(layer, activation="linear") if layer.weights else lambda x, keep: x


def _changed(layer: keras.layers.Layer, kind: Any = None, *, spread: bool = False, **changes: Any) -> Builder:
    """-> what puts a layer with other settings, and perhaps of another class, in its place; it gets its weights."""

    def build(x: Any, keep: Callable[..., Any]) -> Any:
        new = (kind or type(layer)).from_config({**layer.get_config(), **changes})
        y = new(x)
        kernel, *rest = layer.get_weights()
        if spread and kernel.std() > 0:
            kernel = np.clip(kernel / (np.sqrt(3) * kernel.std()), -1, 1)
        new.set_weights([kernel, *rest])
        return y

    return build


def _before_signs(graph: Graph, binary: Collection[str]) -> set[str]:
    """-> the layers with a ReLU whose output comes to a binary layer by a way on which nothing changes its sign."""
    found: set[str] = set()
    waiting = [tensor for call in graph.calls if call.name in binary for tensor in call.reads]
    seen: set[int] = set()
    while waiting:
        tensor = waiting.pop()
        if tensor in seen or tensor not in graph.producers:
            continue
        seen.add(tensor)
        call = graph.producers[tensor]
        if _has_relu(call):
            found.add(call.name)
        elif isinstance(call.layer, _SIGN_KEEPING):
            waiting += call.reads
    return found


def _has_relu(call: Call) -> bool:
    if isinstance(call.layer, L.ReLU):
        # One with a slope or a threshold below 0 lets negative numbers through.
        return not call.layer.negative_slope
    activation = getattr(call.layer, "activation", None)
    return getattr(activation, "__name__", "") in ("relu", "relu6")
