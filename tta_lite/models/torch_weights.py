"""Checkpoints of the PoseResNet reference (PyTorch) into the Keras model of the same architecture."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.pose import pose_resnet
from tta_lite.models.resnet import RESNETS, ResNetSpec
from tta_lite.types import InputError

# PyTorch's names in the order of Keras' `get_weights`.
BATCH_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


def load_torch_pose_resnet(path: str | Path, *, input_size: int = 256) -> keras.Model:
    """-> the `pose_resnet` that a reference checkpoint ``pose_resnet_*.pth.tar`` holds; needs the extra `torch`.

    Depth, number of joints and Deconv channels are read from the tensors. The result gives the reference's heat maps;
    three things that the file does not tell stay with the caller:

    - The reference feeds images in OpenCV's order, blue first, normalised with the figures of `IMAGENET` in that same
      order. Its published checkpoints score best when they are fed so.
    - Its checkpoints in ``caffe`` style have the stride on the first 1 x 1 convolution. They hold the same tensor names
      and shapes and cannot be told apart: do not load them.
    - The input size: the weights fit every multiple of 32.

    Args:
      path: what ``torch.save`` wrote: a state dict, or a checkpoint with the key ``state_dict``; names may begin with
        ``module.``.
      input_size: height and width of the images in pixels.

    Raises:
      InputError: PyTorch is not installed, or the file is missing, unreadable, or of another architecture.
    """
    path = Path(path)
    state = _read_state(path)
    depth = _depth(state, path)
    deconv_filters, joints = _head(state, path)
    model = pose_resnet(f"resnet{depth}", joints=joints, input_size=input_size, deconv_filters=deconv_filters)
    layers = {target: _torch_names(layer, source) for source, target, layer in _pairs(model, depth, deconv_filters)}

    expected = {name for names in layers.values() for name in names}
    missing, unexpected = sorted(expected - set(state)), sorted(set(state) - expected)
    if missing or unexpected:
        raise InputError(
            f"{path}: not the tensors of a pose_resnet{depth} of the reference. Received: {len(missing)} missing "
            f"({_some(missing)}), {len(unexpected)} unexpected ({_some(unexpected)})"
        )
    values = {}
    for target, names in layers.items():
        arrays = [_keras_order(state[name]) for name in names]
        for name, array, weight in zip(names, arrays, model.get_layer(target).weights, strict=True):
            if array.shape != tuple(weight.shape):
                raise InputError(
                    f"{path}: tensor {name!r} must fit layer {target!r}, whose shape in Keras' order is "
                    f"{tuple(weight.shape)}. Received: {array.shape}"
                )
        values[target] = arrays
    for target, arrays in values.items():
        model.get_layer(target).set_weights(arrays)
    return model


def _read_state(path: Path) -> dict[str, np.ndarray]:
    """-> the arrays of a checkpoint by name, without ``module.`` and without the step counters of batch norm."""
    try:
        import torch
    except ImportError as error:
        raise InputError(
            f"Reading a PyTorch checkpoint needs PyTorch: pip install tta_lite[torch]. Received: {error}"
        ) from error
    if not path.is_file():
        raise InputError(f"A PyTorch checkpoint must be a file that exists. Received: {str(path)!r}")
    try:
        # weights_only: a pickle from elsewhere must not run code.
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: not a PyTorch file of tensors only. Received: {reason}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise InputError(f"{path}: expected a state dict of tensors. Received: {type(content).__name__}")
    return {
        name.removeprefix("module."): tensor.to(torch.float32).numpy()
        for name, tensor in content.items()
        if not name.endswith(".num_batches_tracked")
    }


def _depth(state: Mapping[str, np.ndarray], path: Path) -> int:
    blocks = {match.groups() for name in state if (match := re.match(r"layer([1-4])\.(\d+)\.", name))}
    counts = [sum(stage == str(i) for stage, _ in blocks) for i in range(1, 5)]
    block = "bottleneck" if "layer1.0.conv3.weight" in state else "basic"
    found = ResNetSpec(block, (counts[0], counts[1], counts[2], counts[3]))
    for depth, spec in RESNETS.items():
        if spec == found:
            return depth
    raise InputError(
        f"{path}: the blocks must be those of a ResNet {', '.join(map(str, RESNETS))}. "
        f"Received: {block} blocks, {counts} in the four stages"
    )


def _head(state: Mapping[str, np.ndarray], path: Path) -> tuple[tuple[int, ...], int]:
    """-> channels of the Deconvs, number of joints."""
    filters: list[int] = []
    # The reference keeps Deconv, batch norm and ReLU in one list: every third entry is a Deconv.
    while (kernel := state.get(f"deconv_layers.{3 * len(filters)}.weight")) is not None:
        if kernel.ndim != 4 or kernel.shape[2:] != (4, 4):
            raise InputError(
                f"{path}: tensor 'deconv_layers.{3 * len(filters)}.weight' must be a 4 x 4 kernel. "
                f"Received: shape {kernel.shape}"
            )
        filters.append(kernel.shape[1])
    final = state.get("final_layer.weight")
    if not filters or final is None or final.ndim != 4:
        raise InputError(
            f"{path}: expected the head of PoseResNet, 'deconv_layers.0.weight' and 'final_layer.weight'. "
            f"Received: {len(state)} tensors, the last of them {_some(list(state)[-3:])}"
        )
    return tuple(filters), final.shape[0]


def _pairs(
    model: keras.Model, depth: int, deconv_filters: tuple[int, ...]
) -> Iterator[tuple[str, str, keras.layers.Layer]]:
    """Yields (name in PyTorch, name in Keras, Keras layer) of every layer that has weights."""
    names = {"stem_conv": "conv1", "stem_bn": "bn1", "heatmaps": "final_layer"}
    for stage, blocks in enumerate(RESNETS[depth].depths, start=1):
        for i in range(blocks):
            source, target = f"layer{stage}.{i}", f"stage{stage}_block{i + 1}"
            names |= {f"{target}_conv{j}": f"{source}.conv{j}" for j in (1, 2, 3)}
            names |= {f"{target}_bn{j}": f"{source}.bn{j}" for j in (1, 2, 3)}
            names |= {f"{target}_shortcut_conv": f"{source}.downsample.0"}
            names |= {f"{target}_shortcut_bn": f"{source}.downsample.1"}
    for i in range(len(deconv_filters)):
        names |= {f"deconv{i + 1}": f"deconv_layers.{3 * i}", f"deconv{i + 1}_bn": f"deconv_layers.{3 * i + 1}"}
    for layer in model.layers:
        if layer.weights:
            yield names[layer.name], layer.name, layer


def _torch_names(layer: keras.layers.Layer, source: str) -> list[str]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return [f"{source}.{part}" for part in BATCH_NORM_PARTS]
    return [f"{source}.{part}" for part in ("weight", "bias")[: len(layer.weights)]]


def _keras_order(array: np.ndarray) -> np.ndarray:
    """Conv [O, I, H, W] -> [H, W, I, O], and Deconv [I, O, H, W] -> [H, W, O, I]: the same permutation."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "none"
