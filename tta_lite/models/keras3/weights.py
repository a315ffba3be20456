"""model.weights.h5 of Keras 3: under which path it files the weights of each layer, and what is taken out of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np

from tta_lite.compat import keras
from tta_lite.models.keras3.archive import MAX_EXPANSION, SMALL
from tta_lite.models.keras3.make import Made
from tta_lite.types import InputError


class WeightsFile:
    """The arrays of model.weights.h5, found by their path. Links and files elsewhere are not followed.

    Args:
      file: an open ``h5py.File``.
      where: for messages.
    """

    def __init__(self, file: Any, where: str):
        self.file, self.where = file, where

    def arrays(self, path: str, name: str) -> list[Any]:
        """-> what a layer has, in the order in which its variables were made, as arrays.

        Args:
          path: of the layer, as ``layers/conv2d_1``.
          name: of the layer; newer files repeat it, and then it must be the same.

        Raises:
          InputError: it is another layer's, or no array.
        """
        group = self._group(f"{path}/vars".lstrip("/"))
        if group is None:
            return []
        found = group.attrs.get("name", name)
        if str(found) != name:
            raise InputError(f"{self.where}: {path} must hold the weights of {name!r}. Received: those of {found!r}")
        keys = [str(number) for number in range(len(group))]
        if sorted(group) != sorted(keys):
            raise InputError(f"{self.where}: the weights of {name!r} must be numbered. Received: {sorted(group)[:5]}")
        return [self._array(group, key, name) for key in keys]

    def _group(self, path: str) -> Any:
        group = self.file
        for part in path.split("/"):
            if part not in group:
                return None
            if group.get(part, getclass=True, getlink=True) is not h5py.HardLink:
                raise InputError(f"{self.where}: {path} must not lead elsewhere. Received: a link")
            group = group[part]
            if not isinstance(group, h5py.Group):
                raise InputError(f"{self.where}: {path} must be a group. Received: {type(group).__name__}")
        return group

    def _array(self, group: Any, key: str, name: str) -> Any:
        item: Any = group[key] if group.get(key, getclass=True, getlink=True) is h5py.HardLink else None
        # bfloat16 is kept as two bytes without a meaning.
        numbers = isinstance(item, h5py.Dataset) and (item.dtype.kind in "fiub" or item.dtype == "V2")
        if not numbers or item.external or item.is_virtual:
            raise InputError(f"{self.where}: the weights of {name!r} must be arrays of the file. Received: {item}")
        declared = math.prod(item.shape) * item.dtype.itemsize
        if declared > max(SMALL, MAX_EXPANSION * item.id.get_storage_size()):
            raise InputError(
                f"{self.where}: the weights of {name!r} must be in the file. Received: {declared} bytes declared, "
                f"{item.id.get_storage_size()} stored"
            )
        value = np.asarray(item)
        if item.attrs.get("dtype") == "bfloat16":
            # HDF5 has no such type: the bits are those of the upper half of a float32.
            bits = value.view(np.uint16).astype(np.uint32) << 16
            value = bits.view(np.float32).reshape(value.shape)
        return value


def paths(kinds: Sequence[str]) -> Iterator[str]:
    """Yields under which name a model's file has the weights of each of its layers, of these classes.

    >>> list(paths(["Conv2D", "ReLU", "Conv2D", "BatchNormalization"]))
    ['conv2d', 're_lu', 'conv2d_1', 'batch_normalization']
    """
    used: dict[str, int] = {}
    for kind in kinds:
        name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
        name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
        number = used[name] = used.get(name, -1) + 1
        yield f"{name}_{number}" if number else name


def load(made: Made, file: WeightsFile, path: str, visited: set[int]) -> None:
    """Gives all layers their weights; a layer that is there twice has them where it stands first."""
    if made.own is None or id(made.own) in visited:
        return
    visited.add(id(made.own))
    if isinstance(made.own, keras.Model):
        for part, name in zip(made.parts, paths([part.kind for part in made.parts]), strict=True):
            load(part, file, f"{path}/layers/{name}".lstrip("/"), visited)
        return
    layer = made.own
    arrays = file.arrays(path, layer.name) if layer.weights else []
    expected, received = ([tuple(one.shape) for one in some] for some in (layer.weights, arrays))
    if expected != received:
        raise InputError(
            f"{file.where}: the weights of layer {layer.name!r} do not fit. Expected: shapes {expected}. "
            f"Received: {received}"
        )
    if arrays:
        layer.set_weights([np.asarray(one) for one in arrays])
    if isinstance(layer, keras.layers.Normalization):
        # It computes with what it makes of its weights here.
        layer.finalize_state()
