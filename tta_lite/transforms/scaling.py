"""The same network smaller: fewer channels, fewer layers, smaller pictures.

Howard et al., *MobileNets*, 2017, sections 3.3 and 3.4 (width and resolution multipliers), https://arxiv.org/abs/1704.04861;
Tan and Le, *EfficientNet*, ICML 2019 (with depth), https://arxiv.org/abs/1905.11946.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.backbones import get_backbone
from tta_lite.models.classifier import classifier
from tta_lite.transforms.graph import check_graph
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError

Builder = Callable[..., keras.Model]


def scale(
    network: keras.Model | Builder | str,
    *,
    width: float | None = None,
    depth: float | None = None,
    resolution: int | None = None,
) -> keras.Model:
    """-> the network in another size.

    A model keeps its weights and can change its resolution alone: other channels or layers would be another network. A
    builder is called with what is given of ``width``, ``depth`` and ``resolution``. A name of the zoo becomes a
    classifier with random weights.

    Args:
      network: a functional model with one image as input; a function that makes one; or what
        `tta_lite.models.backbones.get_backbone` knows, as ``"mnasnet_b1"``.
      width: multiplies the channels; builders and names only.
      depth: multiplies the blocks of each stage; builders and names only.
      resolution: height and width of the pictures in pixels; 224 for names if not given.

    Raises:
      InputError: a builder or a family of networks does not take an argument; or a model that cannot change its
        resolution, as one that flattens its features into a dense layer.

    Example:
      >>> net = keras.applications.MobileNetV2(alpha=0.35, weights=None, input_shape=(96, 96, 3))
      >>> scale(net, resolution=64).input_shape
      (None, 64, 64, 3)
      >>> scale("shufflenet_v2_1.0", depth=0.5, resolution=160).name
      'shufflenet_v2_1.0_d0.5'
    """
    wanted = {
        name: value
        for name, value in (("width", width), ("depth", depth), ("resolution", resolution))
        if value is not None
    }
    for name, value in wanted.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise InputError(f"Argument `{name}` must be a number above 0. Received: {value!r}")
    if isinstance(network, keras.Model):
        if unfit := sorted(set(wanted) - {"resolution"}):
            raise InputError(
                f"A model can change its resolution only; give a function that builds it to change its {unfit[0]}. "
                f"Received: {network.name!r} with {', '.join(unfit)}"
            )
        return network if resolution is None else _resized(network, resolution)
    if isinstance(network, str):
        return classifier(get_backbone(network, width=width, depth=depth), input_size=resolution or 224)
    return network(**_accepted(network, wanted))


def _accepted(builder: Builder, wanted: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(builder).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in wanted:
            if name not in parameters:
                raise InputError(
                    f"The builder must take `{name}` to be scaled by it; it takes {', '.join(parameters) or 'none'}. "
                    f"Received: {getattr(builder, '__name__', builder)!r} with {name}={wanted[name]}"
                )
    return wanted


def _resized(model: keras.Model, resolution: int) -> keras.Model:
    check_graph(model)
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 4:
        raise InputError(
            "Resolution can be changed of a network that takes one image, [B, H, W, C]. "
            f"Received: inputs {[tuple(tensor.shape) for tensor in model.inputs]}"
        )
    channels = model.inputs[0].shape[-1]
    return rewrite(model, {}, input_shapes={model.input_names[0]: (resolution, resolution, channels)})
