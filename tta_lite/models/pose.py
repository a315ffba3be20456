"""PoseResNet: a backbone, three Deconvs, one 1 x 1 convolution, a heat map for each joint.

Xiao, Wu, Wei, *Simple Baselines for Human Pose Estimation and Tracking*, ECCV 2018, section 2,
https://arxiv.org/abs/1804.06208.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.backbones import Backbone, get_backbone
from tta_lite.models.resnet import batch_norm, he_normal_fan_out
from tta_lite.types import InputError


def pose_resnet(
    backbone: str | Backbone = "resnet50",
    *,
    joints: int = 16,
    input_size: int = 256,
    weights: str | Path | None = None,
    bottleneck: int | None = None,
    deconv_filters: Sequence[int] = (256, 256, 256),
    name: str | None = None,
) -> keras.Model:
    """-> a model from ``image`` [B, S, S, 3] to ``heatmaps`` [B, S/4, S/4, joints], linear and float32.

    Args:
      backbone: a name that `tta_lite.models.backbones.get_backbone` knows, or a `Backbone`.
      joints: 16 for MPII, 17 for COCO, 14 for LSP.
      input_size: S, height and width of the images in pixels, a multiple of 32.
      weights: of the backbone: None for random ones, ``"imagenet"``, or a local file.
      bottleneck: channels to which a PConv cuts the input of each Deconv (clause 6.1.2 of the guideline), if any.
      deconv_filters: channels of the Deconvs; each doubles height and width.
      name: of the model; ``pose_<backbone>`` if None.

    Raises:
      InputError: an argument out of its range, or weights that do not fit.
    """
    source = get_backbone(backbone) if isinstance(backbone, str) else backbone
    _require_positive("joints", joints)
    _require_positive("input_size", input_size)
    if input_size % source.stride:
        raise InputError(f"Argument `input_size` must be a multiple of {source.stride} pixels. Received: {input_size}")
    if bottleneck is not None:
        _require_positive("bottleneck", bottleneck)
    if not deconv_filters:
        raise InputError(f"Argument `deconv_filters` must hold one number or more. Received: {deconv_filters!r}")
    for filters in deconv_filters:
        _require_positive("deconv_filters", filters)

    image = keras.Input((input_size, input_size, 3), name="image")
    x = source.build(image, weights)
    for i, filters in enumerate(deconv_filters, start=1):
        if bottleneck is not None:
            x = pconv_block(x, bottleneck, name=f"pconv{i}")
        x = deconv_block(x, filters, name=f"deconv{i}")
    heatmaps = keras.layers.Conv2D(
        joints,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
        # The loss is taken on these values: they stay float32 whatever the policy of the other layers is.
        dtype="float32",
        name="heatmaps",
    )(x)
    return keras.Model(image, heatmaps, name=name or f"pose_{source.name}")


def pconv_block(x: Any, filters: int, *, name: str) -> Any:
    """[B, H, W, C] -> [B, H, W, filters]: 1 x 1 convolution without bias, batch norm, ReLU."""
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer=he_normal_fan_out(), name=name)(x)
    x = batch_norm(x, f"{name}_bn")
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def deconv_block(x: Any, filters: int, *, name: str) -> Any:
    """[B, H, W, C] -> [B, 2H, 2W, filters]: 4 x 4 Deconv without bias, batch norm, ReLU."""
    x = keras.layers.Conv2DTranspose(
        filters,
        4,
        strides=2,
        padding="same",
        use_bias=False,
        # The reference's; batch norm follows, so that its smallness does no harm.
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.001),
        name=name,
    )(x)
    x = batch_norm(x, f"{name}_bn")
    return keras.layers.ReLU(name=f"{name}_relu")(x)


def _require_positive(argument: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"Argument `{argument}` must be a whole number, 1 or more. Received: {value!r}")
