"""Weights from a local file into layers, matched by name and checked before anything is changed."""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tta_lite.compat import keras
from tta_lite.types import InputError

SUFFIXES = (".npz", ".h5", ".keras")


def load_layer_weights(layers: Iterable[keras.layers.Layer], path: str | Path) -> None:
    """Puts the arrays of a file into layers; what else the file holds (a classifier's top) is left alone.

    Args:
      layers: built layers in the order of their network.
      path: ``.npz`` with keys ``<layer>/<i>``, i being the position in ``layer.get_weights()``; or what Keras writes:
        the ``.h5`` of a model or of its weights, ``.weights.h5``, ``.keras``.

    Raises:
      InputError: the file cannot be read, lacks a layer, or has another shape.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"Weights must be 'imagenet' or a file that exists. Received: {str(path)!r}")
    if path.suffix not in SUFFIXES:
        raise InputError(f"A weights file must end with one of {', '.join(SUFFIXES)}. Received: {str(path)!r}")
    layers = list(layers)
    try:
        found = _read(path, layers)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: not a readable {path.suffix} file of weights. Received: {error}") from error

    values = {}
    for layer in layers:
        if not layer.weights:
            continue
        expected = [tuple(weight.shape) for weight in layer.weights]
        arrays = found.get(layer.name)
        if arrays is None:
            raise InputError(
                f"{path}: layer {layer.name!r} is missing; expected arrays of shapes {expected}. "
                f"Received: {len(found)} layers, {_some(found)}"
            )
        received = [tuple(array.shape) for array in arrays]
        if received != expected:
            raise InputError(
                f"{path}: layer {layer.name!r} has other shapes; expected {expected} (is the width the same?). "
                f"Received: {received}"
            )
        values[layer.name] = arrays
    for layer in layers:
        if layer.name in values:
            layer.set_weights(values[layer.name])


def layers_between(x: Any, y: Any) -> list[keras.layers.Layer]:
    """-> the layers that lead from tensor `x` to tensor `y`, in the order of the network."""
    sources = keras.utils.get_source_inputs(x)
    before = {id(layer) for layer in keras.Model(sources, x).layers}
    return [layer for layer in keras.Model(sources, y).layers if id(layer) not in before]


def _some(found: dict[str, list[np.ndarray]]) -> str:
    names = sorted(found)
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _read(path: Path, layers: Sequence[keras.layers.Layer]) -> dict[str, list[np.ndarray]]:
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read("model.weights.h5"))
        with h5py.File(content, "r") as file:
            return _read_containers(file, layers)
    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        if "layer_names" in root.attrs:
            return _read_named_groups(root)
        return _read_containers(file, layers)


def _read_npz(path: Path) -> dict[str, list[np.ndarray]]:
    """Keys are ``<layer>/<i>``; a layer's own name may hold slashes."""
    arrays: dict[str, dict[int, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as file:
        for key in file.files:
            name, _, index = key.rpartition("/")
            if not name or not index.isdecimal():
                raise ValueError(f"key {key!r} where <layer>/<i> was expected")
            arrays.setdefault(name, {})[int(index)] = file[key]
    return {name: [parts[i] for i in sorted(parts)] for name, parts in arrays.items()}


def _read_named_groups(root: h5py.Group) -> dict[str, list[np.ndarray]]:
    """The ``.h5`` of Keras 2 and of the `keras.applications` downloads: attributes list layers and weights in order."""
    found = {}
    for raw in root.attrs["layer_names"]:
        name = raw.decode() if isinstance(raw, bytes) else raw
        group = root[name]
        found[name] = [np.asarray(group[weight]) for weight in group.attrs["weight_names"]]
    return found


def _read_containers(file: h5py.File, layers: Sequence[keras.layers.Layer]) -> dict[str, list[np.ndarray]]:
    """``.weights.h5`` and ``.keras``: a group a layer, called by its name or its class and position among its like."""
    if "layers" not in file:
        raise ValueError(f"groups {list(file)} where `layers` was expected")
    root = file["layers"]
    by_name = any(layer.name in root for layer in layers if layer.weights)
    found = {}
    counts: Counter[str] = Counter()
    for layer in layers:
        base = _snake_case(type(layer).__name__)
        position = f"{base}_{counts[base]}" if counts[base] else base
        counts[base] += 1
        variables = root.get(f"{layer.name if by_name else position}/vars")
        if variables is not None and len(variables):
            found[layer.name] = [np.asarray(variables[i]) for i in sorted(variables, key=int)]
    return found


def _snake_case(name: str) -> str:
    """As Keras does it for its files: ``DepthwiseConv2D`` -> ``depthwise_conv2d``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
