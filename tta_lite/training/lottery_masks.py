"""Masks of a lottery ticket: which weights of each kernel are left, and which leave in a round.

Frankle and Carbin, The Lottery Ticket Hypothesis, ICLR 2019, https://arxiv.org/abs/1803.03635: a round of iterative
magnitude pruning takes 20 % of the weights that are left, those of the smallest magnitude, in each layer or over all.
"""

from __future__ import annotations

import fnmatch
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.files import atomic_path
from tta_lite.training.pruning_policies import is_a
from tta_lite.types import InputError

# Path of a kernel -> [kernel's shape] bool, True: the weight is left.
Masks = Mapping[str, np.ndarray]
SCOPES = ("global", "per_layer")
# What the weights that are left go back to, see `tta_lite.training.lottery`.
REWINDS = ("weights", "rate", "fine_tune")
# The attribute that holds the kernel. Depthwise ones are masked only where they are named: they are few and sensitive.
# By the names of their classes, which Keras 2 and Keras 3 share.
_KERNELS: Mapping[str, str] = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv3D": "kernel",
    "Conv1DTranspose": "kernel",
    "Conv2DTranspose": "kernel",
    "Dense": "kernel",
    "SeparableConv2D": "pointwise_kernel",
}
_DEPTHWISE: Mapping[str, str] = {"DepthwiseConv2D": "depthwise_kernel"}


def mask_kernels(model: Any, layers: Collection[str] | None = None) -> dict[str, tf.Variable]:
    """-> the kernels that masks are for, by the path of their layer (``outer/inner`` in a nested model), in order.

    Args:
      model: built.
      layers: names of layers or patterns of them (``block*``); None: every convolution and dense layer but the
        depthwise ones.

    Raises:
      InputError: a layer that is named has no kernel, a pattern names nothing, the model is wrapped for pruning, or
        it has no kernel at all.

    Example:
      >>> from tta_lite.compat import keras
      >>> L = keras.layers
      >>> net = keras.Sequential([L.Dense(3, input_shape=(2,), name="a"), L.ReLU(), L.Dense(1, name="b")])
      >>> {name: tuple(kernel.shape) for name, kernel in mask_kernels(net).items()}
      {'a': (2, 3), 'b': (3, 1)}
    """
    found, others = _kernels_of(model, "")
    if layers is None:
        chosen = {path: kernel for path, (kernel, depthwise) in found.items() if not depthwise}
    else:
        if isinstance(layers, str):
            raise InputError(f"Argument `layers` must be several names. Received: {layers!r}")
        for pattern in layers:
            if not fnmatch.filter(found, pattern):
                named = fnmatch.filter(others, pattern)
                raise InputError(
                    f"Only layers with a kernel can be pruned: {', '.join(sorted(found)) or 'none here'}. Received: "
                    + (f"{pattern!r}, a {type(others[named[0]]).__name__}" if named else f"{pattern!r}, which is none")
                )
        chosen = {
            path: kernel
            for path, (kernel, _) in found.items()
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in layers)
        }
    if not chosen:
        raise InputError(
            f"A network to prune must have a convolution or a dense layer. Received: {model.name!r}, which has none"
        )
    return chosen


def _kernels_of(model: Any, prefix: str) -> tuple[dict[str, tuple[tf.Variable, bool]], dict[str, Any]]:
    """-> path -> (kernel, whether it is a depthwise one), and path -> layer of all the rest."""
    found: dict[str, tuple[tf.Variable, bool]] = {}
    others: dict[str, Any] = {}
    for layer in model.layers:
        path = prefix + layer.name
        if type(layer).__name__ == "PruneLowMagnitude":
            raise InputError(
                "The model must be plain: masks are kept beside it. Expected: one without TFMOT's wrappers "
                f"(`strip_pruning` takes them off). Received: {path!r}, which is wrapped"
            )
        # The nearest base decides: a depthwise convolution is a Conv2D as well.
        attribute = next(
            ((table[base.__name__], table is _DEPTHWISE) for base in type(layer).__mro__
             for table in (_DEPTHWISE, _KERNELS) if base.__name__ in table), None,
        )  # fmt: skip
        if is_a(layer, "Model"):
            inner, rest = _kernels_of(layer, f"{path}/")
            found |= inner
            others |= {path: layer, **rest}
        elif attribute is not None:
            name, depthwise = attribute
            # In Keras 3 a depthwise kernel is called as all others.
            found[path] = (getattr(layer, name if hasattr(layer, name) else "kernel"), depthwise)
        else:
            others[path] = layer
    return found, others


def full_masks(kernels: Mapping[str, np.ndarray | tf.Variable]) -> dict[str, np.ndarray]:
    """-> masks that leave every weight."""
    return {name: np.ones(tuple(kernel.shape), bool) for name, kernel in kernels.items()}


def weights_left(masks: Masks) -> int:
    """-> how many weights are left."""
    return sum(int(mask.sum()) for mask in masks.values())


def share_left(masks: Masks) -> float:
    """-> the share of weights that are left, 0..1.

    >>> share_left({"a": np.array([True, False]), "b": np.array([True, True])})
    0.75
    """
    return weights_left(masks) / sum(mask.size for mask in masks.values())


def rounds_to(sparsity: float, share: float = 0.2) -> tuple[float, ...]:
    """-> the share of weights left after each round; the last round takes no more than what reaches `sparsity`.

    Args:
      sparsity: the final share of zeros, between 0 and 1.
      share: of the weights that are left, what a round takes, between 0 and 1.

    Raises:
      InputError: either is not between 0 and 1.

    Example:
      >>> [round(left, 4) for left in rounds_to(0.5)]
      [0.8, 0.64, 0.512, 0.5]
    """
    for name, value in (("sparsity", sparsity), ("share", share)):
        if not 0 < value < 1:
            raise InputError(f"Argument `{name}` must be between 0 and 1. Received: {value}")
    count = max(1, math.ceil(round(math.log(1 - sparsity) / math.log(1 - share), 9)))
    return (*((1 - share) ** number for number in range(1, count)), 1 - sparsity)


def pruned(masks: Masks, scores: Masks, left: float, scope: str = "global") -> dict[str, np.ndarray]:
    """-> masks in which the weights of the lowest score are gone too.

    Every kernel keeps one weight or more, that of its highest score: without any, no signal passes. Of equal scores the
    later weight leaves first.

    Args:
      masks: of the weights that are left now.
      scores: for each kernel its scores in the same shape; those of weights that are gone do not count.
      left: the share of all weights that is left afterwards, between 0 and 1.
      scope: ``global``, one threshold for all kernels, or ``per_layer``, the same share in each.

    Raises:
      InputError: an unknown scope, other shapes, or scores that are not numbers.

    Example:
      >>> ones = {"a": np.ones(4, bool)}
      >>> pruned(ones, {"a": np.array([0.4, 0.1, 0.3, 0.2])}, 0.5)["a"].tolist()
      [True, False, True, False]
    """
    if scope not in SCOPES:
        raise InputError(f"Argument `scope` must be one of {', '.join(SCOPES)}. Received: {scope!r}")
    if not 0 < left < 1:
        raise InputError(f"Argument `left` must be between 0 and 1. Received: {left}")
    for name, mask in masks.items():
        if name not in scores or scores[name].shape != mask.shape:
            got = scores[name].shape if name in scores else "none"
            raise InputError(f"The scores of {name} must have the shape {mask.shape}. Received: {got}")
        if not np.isfinite(scores[name][mask]).all():
            raise InputError(f"The scores of {name} must be numbers. Received: NaN or infinity")
    groups = [list(masks)] if scope == "global" else [[name] for name in masks]
    found: dict[str, np.ndarray] = {}
    for names in groups:
        total = sum(masks[name].size for name in names)
        kept = min(round(left * total), weights_left({name: masks[name] for name in names}))
        flat = np.concatenate([_ranked(masks[name], scores[name]) for name in names])
        # Those of the highest scores stay; the sort is stable, so that equal ones stay in order.
        best = np.argsort(-flat, kind="stable")[: max(kept, len(names))]
        stays = np.zeros(len(flat), bool)
        stays[best] = True
        place = 0
        for name in names:
            size = masks[name].size
            found[name] = stays[place : place + size].reshape(masks[name].shape) & masks[name]
            place += size
    return {name: found[name] for name in masks}


def _ranked(mask: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """-> the scores; of those that are gone the lowest, of the best one the highest there is."""
    ranked = np.where(mask, scores.astype(np.float64), -np.inf).reshape(-1)
    if mask.any():
        ranked[np.argmax(ranked)] = np.inf
    return ranked


def shuffled(masks: Masks, seed: int | Sequence[int]) -> dict[str, np.ndarray]:
    """-> masks with as many weights left in each kernel, at random places: the control without the ticket's structure.

    >>> int(shuffled({"a": np.array([True, False, False])}, 0)["a"].sum())
    1
    """
    rng = np.random.default_rng(seed)
    return {name: rng.permutation(mask.reshape(-1)).reshape(mask.shape) for name, mask in masks.items()}


def save_masks(path: str | Path, masks: Masks) -> Path:
    """Writes masks as an ``.npz`` file, as a whole or not at all; -> its path."""
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **{name: np.asarray(mask, bool) for name, mask in masks.items()})  # type: ignore[arg-type]
    return Path(path)


def load_masks(
    path: str | Path, kernels: Mapping[str, np.ndarray | tf.Variable] | None = None
) -> dict[str, np.ndarray]:
    """-> the masks that `save_masks` wrote.

    Args:
      path: the file.
      kernels: of the network that they must fit, see `mask_kernels`; None: any.

    Raises:
      InputError: no such file, a damaged one, or masks of another network.
    """
    masks = load_arrays(path)
    if wrong := [name for name, mask in masks.items() if mask.dtype != bool]:
        raise InputError(f"{path} must hold masks, of True and False. Received: {masks[wrong[0]].dtype} in {wrong[0]}")
    if kernels is not None:
        wanted = {name: tuple(kernel.shape) for name, kernel in kernels.items()}
        got = {name: mask.shape for name, mask in masks.items()}
        if wanted != got:
            differing = sorted(name for name in {*wanted, *got} if wanted.get(name) != got.get(name))
            raise InputError(
                f"{path} holds masks of another network. Expected: {differing[0]} of shape "
                f"{wanted.get(differing[0], 'none')}. Received: {got.get(differing[0], 'none')}"
            )
        masks = {name: masks[name] for name in wanted}
    return masks


def load_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """-> the arrays of an ``.npz`` file; objects in it are not read.

    Raises:
      InputError: no such file, or a damaged one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"The file of arrays must exist. Received: {str(path)!r}") from error
    except (
        ValueError,
        OSError,
        EOFError,
        KeyError,
        AttributeError,
        TypeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise InputError(f"{path} is no .npz file of plain arrays, or damaged. Received: {error}") from error
