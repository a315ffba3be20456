"""A network of `tf_keras` -> a ``.keras`` file that Keras 3 reads. Keras 3 itself is not needed for it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from tta_lite import __version__
from tta_lite.compat import keras
from tta_lite.export.keras3.functions import op_of
from tta_lite.export.keras3.order import layer_order
from tta_lite.export.keras3.pieces import Piece, pieces_of, plain
from tta_lite.files import atomic_path
from tta_lite.models.keras3.archive import CONFIG, METADATA, WEIGHTS
from tta_lite.models.keras3.weights import paths
from tta_lite.transforms.graph import check_graph, nodes_of
from tta_lite.types import InputError

# The oldest Keras whose layers these are; it reads what is written here, and so do all that came after.
FORMAT = "3.2.0"


def to_keras3(model: keras.Model, path: str | Path) -> Path:
    """Writes a network as a ``.keras`` file of Keras 3, without what `compile` had set.

    ``keras.saving.load_model(path)`` reads it there with ``safe_mode``: it holds no code. The same network gives the
    same bytes. The file is there whole or not at all.

    Args:
      model: functional, or sequential and built; it is not changed.
      path: ends with ``.keras``.

    Returns:
      the path.

    Raises:
      InputError: the path ends otherwise; a layer that Keras 3 has nothing like, by name.
    """
    path = Path(path)
    if path.suffix != ".keras":
        raise InputError(f"Keras 3 reads files that end with .keras. Received: {str(path)!r}")
    check_graph(model)
    writer = _Writer()
    config = {**writer.model(model, "", {}), "build_config": {"input_shape": None}, "compile_config": None}
    metadata = {"keras_version": FORMAT, "written_by": f"tta_lite {__version__}"}
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in ((METADATA, json.dumps(metadata)), (CONFIG, json.dumps(config)), (WEIGHTS, writer.weights())):
            # The time of day is no part of the network.
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


class _Writer:
    """Lives for one file: the weights by their path in it."""

    def __init__(self) -> None:
        self.arrays: dict[str, tuple[str, tuple[np.ndarray, ...]]] = {}

    def model(self, model: keras.Model, path: str, name: Mapping[str, str]) -> dict[str, Any]:
        """-> the record of a model; takes its weights.

        Args:
          model: functional or sequential.
          path: where its weights are filed.
          name: other than its own, under ``name``.
        """
        check_graph(model)
        graph = _Graph(self, model)
        graph.fill()
        own = {"name": model.name, "trainable": bool(model.trainable), **name}
        order = graph.order()
        layers = [one for one in order if not graph.records[one].get("op")]
        kinds = [graph.records[one]["class_name"] for one in layers]
        for one, place in zip(layers, paths(kinds), strict=True):
            where = f"{path}/layers/{place}".lstrip("/")
            if one in graph.nested:
                inner = self.model(graph.nested[one], where, {"name": one})
                graph.records[one].update(inner)
            elif graph.arrays.get(one):
                self.take(where, one, graph.arrays[one])
        config = {
            **own,
            "layers": [graph.record(one) for one in order],
            "input_layers": graph.places(model._nested_inputs, nested=False),
            "output_layers": graph.places(model._nested_outputs, nested=True),
        }
        return {
            "module": "keras.src.models.functional", "class_name": "Functional", "config": config,
            "registered_name": "Functional",
        }  # fmt: skip

    def take(self, path: str, name: str, arrays: tuple[np.ndarray, ...]) -> None:
        """Files the weights of a layer."""
        self.arrays[path] = name, arrays

    def weights(self) -> bytes:
        """-> model.weights.h5."""
        data = io.BytesIO()
        with h5py.File(data, "w") as file:
            for path, (name, arrays) in self.arrays.items():
                group = file.create_group(f"{path}/vars")
                group.attrs["name"] = name
                for number, array in enumerate(arrays):
                    group[str(number)] = array
        return data.getvalue()


class _Graph:
    """One functional model in Keras 3's terms: its layers and their calls."""

    def __init__(self, writer: _Writer, model: keras.Model):
        self.writer, self.model = writer, model
        self.records: dict[str, dict[str, Any]] = {}
        self.arrays: dict[str, tuple[np.ndarray, ...]] = {}
        self.nested: dict[str, keras.Model] = {}
        # Each call, by layer and number: what it was called with, and the calls that gave that.
        self.calls: dict[tuple[str, int], tuple[dict[str, Any], list[tuple[str, int]]]] = {}
        self.tensors: dict[int, tuple[str, int, int]] = {}
        self.chains: dict[int, list[str]] = {}
        self.inputs: list[str] = []
        self.called: dict[str, int] = {}

    def fill(self) -> None:
        """Goes through the model once."""
        for tensor, name in zip(self.model.inputs, self.model.input_names, strict=True):
            settings = {
                "batch_shape": list(tensor.shape), "dtype": tensor.dtype.name, "sparse": False, "name": name,
            }  # fmt: skip
            self.records[name] = Piece(name, "InputLayer", settings).record()
            self.inputs.append(name)
            self.calls[name, 0] = {}, []
            self.tensors[id(tensor)] = name, 0, 0
        for node in nodes_of(self.model):
            layer, outputs = node.layer, tf.nest.flatten(node.outputs)
            args, kwargs = list(node.call_args), dict(node.call_kwargs)
            if type(layer).__name__ in ("TFOpLambda", "SlicingOpLambda"):
                name = self.free(layer.name)
                piece, args = op_of(layer, node, self.read, name)
                self.add(piece)
                last = self.call(name, args, {}, outputs[0])
            else:
                chain = self.chains.get(id(layer)) or self.make(layer, outputs[0])
                training = {key: value for key, value in kwargs.items() if key == "training" and value is not None}
                last = self.call(chain[0], self.read(args), training, outputs[0])
                for name in chain[1:]:
                    last = self.call(name, [_Ref(*last, 0, outputs[0])], {}, outputs[0])
            for place, tensor in enumerate(outputs):
                self.tensors[id(tensor)] = (*last, place)

    def make(self, layer: keras.layers.Layer, output: Any) -> list[str]:
        """-> the names of what a layer becomes."""
        if isinstance(layer, keras.Model):
            name = self.free(layer.name)
            self.records[name] = {"class_name": "Functional"}
            self.nested[name] = layer
            self.chains[id(layer)] = [name]
        else:
            pieces = pieces_of(layer, tuple(output.shape))
            self.chains[id(layer)] = [self.add(piece) for piece in pieces]
        return self.chains[id(layer)]

    def add(self, piece: Piece) -> str:
        """-> the name under which a piece is in the model."""
        name = self.free(piece.name)
        self.records[name] = {**piece.record(), **({"op": True} if piece.op else {})}
        self.records[name]["config"] = {**self.records[name]["config"], "name": name}
        self.arrays[name] = piece.arrays
        return name

    def free(self, name: str) -> str:
        """-> a name that Keras 3 takes and that no other layer has."""
        own = base = name.replace("/", "_")
        number = 1
        while own in self.records:
            number += 1
            own = f"{base}_{number}"
        return own

    def call(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], like: Any) -> tuple[str, int]:
        """Notes a call -> the layer and the number of the call."""
        number = self.called[name] = self.called.get(name, -1) + 1
        found: list[tuple[str, int]] = []
        record = {
            "args": [self.write(one, found) for one in args],
            "kwargs": {key: self.write(one, found) for key, one in kwargs.items()},
        }
        self.calls[name, number] = record, found
        return name, number

    def read(self, value: Any) -> Any:
        """-> arguments with a `_Ref` for each tensor of the model."""
        if isinstance(value, Mapping):
            return {key: self.read(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.read(one) for one in value]
        if id(value) in self.tensors:
            return _Ref(*self.tensors[id(value)], value)
        return value

    def write(self, value: Any, found: list[tuple[str, int]]) -> Any:
        """-> a value as a config writes it; `found` takes the calls that it comes from."""
        if isinstance(value, _Ref):
            found.append((value.name, value.call))
            return value.record()
        if isinstance(value, (list, tuple)):
            return [self.write(one, found) for one in value]
        if isinstance(value, Mapping):
            return {key: self.write(one, found) for key, one in value.items()}
        if isinstance(value, slice):
            ends = {"start": value.start, "stop": value.stop, "step": value.step}
            return {"class_name": "__slice__", "config": plain(ends)}
        if value is Ellipsis:
            return {"class_name": "__ellipsis__", "config": {}}
        if tf.is_tensor(value) or isinstance(value, np.ndarray):
            array = np.asarray(value)
            if array.ndim:
                return {"class_name": "__numpy__", "config": {"value": array.tolist(), "dtype": array.dtype.name}}
            return array.item()
        return plain(value)

    def order(self) -> list[str]:
        """-> the names of the layers as Keras 3 orders them."""
        reads = {call: found for call, (_, found) in self.calls.items()}
        outputs = [self.tensors[id(tensor)][:2] for tensor in _sorted(self.model._nested_outputs)]
        return layer_order(reads, self.inputs, outputs)

    def record(self, name: str) -> dict[str, Any]:
        """-> a layer with its calls."""
        own = {key: value for key, value in self.records[name].items() if key != "op"}
        calls = [self.calls[name, number][0] for number in range(self.called.get(name, -1) + 1)]
        return {**own, "name": name, "inbound_nodes": calls}

    def places(self, tensors: Any, *, nested: bool) -> Any:
        """-> ``[layer, call, output]`` for each tensor, in the structure in which they stand."""

        def place(tensor: Any) -> list[Any]:
            name, call, output = self.tensors[id(tensor)]
            # A nested functional model counts its own graph as its first call, in this list alone.
            return [name, call + (nested and name in self.nested), output]

        if isinstance(tensors, Mapping):
            return {key: self.places(one, nested=nested) for key, one in tensors.items()}
        if isinstance(tensors, (list, tuple)):
            return [self.places(one, nested=nested) for one in tensors]
        return place(tensors)


class _Ref:
    """A tensor by the call that gives it."""

    def __init__(self, name: str, call: int, place: int, tensor: Any):
        self.name, self.call, self.place, self.tensor = name, call, place, tensor

    def record(self) -> dict[str, Any]:
        """-> as a config writes it."""
        config = {
            "shape": list(self.tensor.shape), "dtype": self.tensor.dtype.name,
            "keras_history": [self.name, self.call, self.place],
        }  # fmt: skip
        return {"class_name": "__keras_tensor__", "config": config}


def _sorted(tensors: Any) -> list[Any]:
    """-> the tensors one behind the other, those of a dictionary by its keys, as Keras 3 takes them."""
    if isinstance(tensors, Mapping):
        return [one for key in sorted(tensors) for one in _sorted(tensors[key])]
    if isinstance(tensors, (list, tuple)):
        return [one for inner in tensors for one in _sorted(inner)]
    return [tensors]
