"""A ``.keras`` file of Keras 3 -> the same network of `tf_keras`, without Keras 3 and without running what is in it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import h5py
from absl import logging

from tta_lite.compat import keras
from tta_lite.models.keras3.archive import Archive
from tta_lite.models.keras3.lambdas import make_lambda
from tta_lite.models.keras3.make import Made, make_layer, refuse_class
from tta_lite.models.keras3.ops import Op, OpCall, op_of
from tta_lite.models.keras3.parts import Named, plain
from tta_lite.models.keras3.weights import WeightsFile, load
from tta_lite.types import InputError

_MODELS = {
    "Functional": ("keras.src.models.functional", "keras", "keras.models", "keras.src.models.model"),
    "Model": ("keras.src.models.model", "keras", "keras.models"),
    "Sequential": ("keras", "keras.models", "keras.src.models.sequential"),
}


def read(archive: Archive, *, trust_model_code: bool = False) -> keras.Model:
    """-> the network of a file of Keras 3, in float32, without what `compile` had set.

    Args:
      archive: the open file.
      trust_model_code: run the Python code of its ``Lambda`` layers.

    Raises:
      InputError: a layer, or a setting of one, that cannot be translated, by name; weights that do not fit.
    """
    reader = _Reader(trust_model_code)
    record = archive.config
    if _model_kind(record) is None:
        raise InputError(
            f"{archive.path} must hold a functional or a sequential model: what a subclass of keras.Model does is in "
            f"code that the file lacks. Received: class {record.get('module')}.{record.get('class_name')}"
        )
    try:
        made = reader.model(record)
    except InputError:
        raise
    except (RecursionError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{archive.path} must describe its layers as Keras 3 writes them. "
            f"Received: {type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        ) from error
    data = archive.weights()
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            load(made, WeightsFile(file, f"{archive.path.name}/model.weights.h5"), "", set())
    except OSError as error:
        raise InputError(f"The weights of {archive.path} cannot be read. Received: {error}") from error
    if reader.precisions:
        logging.warning(
            "%s was saved in %s; it is read in float32.", archive.path, " and ".join(sorted(reader.precisions))
        )
    return made.own


def _model_kind(record: Any) -> str | None:
    """-> Functional or Sequential; None if it is no model of Keras's own."""
    name = record.get("class_name") if isinstance(record, Mapping) else None
    if name not in _MODELS or record.get("registered_name") not in (None, name):
        return None
    return ("Sequential" if name == "Sequential" else "Functional") if record.get("module") in _MODELS[name] else None


class _Reader:
    """Lives for one file. A layer that stands in it twice is made once, by its ``shared_object_id``."""

    def __init__(self, trust: bool):
        self.trust = trust
        self.shared: dict[int, Made] = {}
        self.precisions: set[str] = set()

    def made(self, record: Mapping[str, Any]) -> Made:
        """-> what stands for a layer or a nested model."""
        number = record.get("shared_object_id")
        if number in self.shared:
            return self.shared[number]
        if _model_kind(record):
            found = self.model(record)
        elif record.get("class_name") == "Lambda":
            found = make_lambda(record, self.trust)
        else:
            found = make_layer(record, self.precisions)
        if isinstance(number, int):
            self.shared[number] = found
        return found

    def model(self, record: Mapping[str, Any]) -> Made:
        """-> a model and its parts."""
        config = record.get("config") or {}
        name = Named(str(config.get("name")), str(record.get("class_name")))
        if not isinstance(config.get("layers"), list):
            name.refuse("a model that says of which layers it consists", sorted(config))
        build = self._sequential if _model_kind(record) == "Sequential" else self._functional
        parts, inputs, outputs = build(config, name)
        try:
            model = keras.Model(inputs, outputs, name=name.name)
        except ValueError as error:
            name.refuse("a graph of layers", str(error).partition("\n")[0])
        if config.get("trainable") is False:
            model.trainable = False
        return Made((model,), str(record["class_name"]), model, tuple(parts))

    def _sequential(self, config: Mapping[str, Any], name: Named) -> tuple[list[Made], Any, Any]:
        records = list(config["layers"])
        first = records[0] if records else {}
        if first.get("class_name") == "InputLayer":
            records = records[1:]
            x = image = _input(first)
        elif config.get("build_input_shape"):
            shape = config["build_input_shape"]
            x = image = keras.Input(shape[1:], batch_size=shape[0], name=f"{name.name}_input")
        else:
            name.refuse("a sequential model that was built before it was saved: call it on a batch", "no input shape")
        parts = []
        for record in records:
            made = self.made(record)
            x = _call(made, (x,), {}, Named(str(record["config"].get("name")), str(record.get("class_name"))))
            parts.append(made)
        return parts, image, x

    def _functional(self, config: Mapping[str, Any], name: Named) -> tuple[list[Made], Any, Any]:
        graph = _Graph(name)
        parts: list[Made] = []
        pending: list[tuple[Named, Made | Op, Any, Any]] = []
        for record in config["layers"]:
            layer = Named(str(record.get("name")), str(record.get("class_name")))
            graph.values[layer.name] = []
            if record.get("class_name") == "InputLayer":
                graph.values[layer.name].append([_input(record)])
                continue
            op = op_of(record)
            if op is None and str(record.get("module")).startswith("keras.src.ops"):
                refuse_class(layer, record)
            what: Made | Op = op or self.made(record)
            if isinstance(what, Made):
                parts.append(what)
            if _model_kind(record) == "Functional":
                graph.nested.add(layer.name)
            pending += [(layer, what, record, node) for node in record.get("inbound_nodes") or []]
        while pending:
            # A layer that is used twice may come before what its second call reads.
            later = []
            waiting: set[str] = set()
            for layer, what, record, node in pending:
                arguments = None if layer.name in waiting else graph.arguments(node, layer)
                if arguments is None:
                    waiting.add(layer.name)
                    later.append((layer, what, record, node))
                    continue
                args, kwargs = arguments
                if isinstance(what, Made):
                    outputs = _call(what, args, kwargs, layer)
                else:
                    call = OpCall(layer, _settings(record, layer), (*args, *kwargs.values()))
                    outputs = _guard(lambda what=what, call=call: what(call), layer)
                graph.values[layer.name].append(list(outputs) if isinstance(outputs, (list, tuple)) else [outputs])
            if len(later) == len(pending):
                name.refuse("a graph without loops, whose tensors are all there", later[0][0].name)
            pending = later
        return parts, graph.tensors(config["input_layers"]), graph.tensors(config["output_layers"])


class _Graph:
    """The tensors of a functional model that is being built: layer name -> one list of outputs a call."""

    def __init__(self, model: Named):
        self.model = model
        self.values: dict[str, list[list[Any]]] = {}
        self.nested: set[str] = set()

    def arguments(self, node: Mapping[str, Any], layer: Named) -> tuple[list[Any], dict[str, Any]] | None:
        """-> what a layer is called with; None as long as a tensor of it is missing."""
        if not isinstance(node, Mapping) or not {"args", "kwargs"} <= set(node):
            layer.refuse("calls with args and kwargs, as Keras 3 writes them", node)
        missing: list[str] = []
        args = [self._value(one, layer, missing) for one in node["args"]]
        kwargs = {
            key: self._value(one, layer, missing)
            for key, one in node["kwargs"].items()
            # Keras 3 notes with which `training` a layer was made, and runs it with that of the call. No mask is what
            # all layers here expect.
            if key != "training" and not (key == "mask" and one is None)
        }
        return None if missing else (args, kwargs)

    def _value(self, given: Any, layer: Named, missing: list[str]) -> Any:
        if isinstance(given, (list, tuple)):
            return [self._value(one, layer, missing) for one in given]
        kind = given.get("class_name") if isinstance(given, Mapping) else None
        inner: Any = given.get("config") if kind else None
        if kind == "__keras_tensor__":
            name, call, place = inner["keras_history"]
            if name not in self.values:
                layer.refuse("inputs from layers of the same model", name)
            calls = self.values[name]
            if call >= len(calls):
                missing.append(name)
                return None
            return calls[call][place]
        if kind == "__slice__":
            return slice(*(inner[key] for key in ("start", "stop", "step")))
        if kind == "__ellipsis__":
            return Ellipsis
        if isinstance(given, Mapping) and not kind:
            return {key: self._value(one, layer, missing) for key, one in given.items()}
        return plain(given, layer)

    def tensors(self, places: Any) -> Any:
        """-> the tensors at places ``[layer, call, output]``, in the lists and dictionaries in which these stand."""
        if isinstance(places, Mapping):
            return {key: self.tensors(one) for key, one in places.items()}
        if len(places) == 3 and isinstance(places[0], str):
            name, call, output = places
            try:
                # A nested functional model counts its own graph as its first call, in this list alone.
                return self.values[name][call - (name in self.nested)][output]
            except (KeyError, IndexError, TypeError):
                self.model.refuse("inputs and outputs that are in the graph", places)
        return [self.tensors(one) for one in places]


def _input(record: Mapping[str, Any]) -> Any:
    config = record["config"]
    layer = Named(str(config.get("name")), "InputLayer")
    for key in ("sparse", "ragged", "optional"):
        if config.get(key):
            layer.refuse("a dense input that is always there", f"{key}={config[key]!r}")
    shape = config.get("batch_shape")
    if not isinstance(shape, Sequence) or not shape:
        layer.refuse("an input with a batch_shape", shape)
    dtype = config.get("dtype")
    dtype = "float32" if dtype in ("float16", "bfloat16", None) else dtype
    return _guard(lambda: keras.Input(shape[1:], batch_size=shape[0], dtype=dtype, name=layer.name), layer)


def _settings(record: Mapping[str, Any], layer: Named) -> dict[str, Any]:
    return {key: plain(value, layer) for key, value in (record.get("config") or {}).items() if key != "dtype"}


def _call(made: Made, args: Sequence[Any], kwargs: Mapping[str, Any], layer: Named) -> Any:
    return _guard(lambda: made(*args, **kwargs), layer)


def _guard(call: Any, layer: Named) -> Any:
    """-> what `call` gives; an error of Keras's or of a wrong record names the layer."""
    try:
        return call()
    except InputError:
        raise
    except Exception as error:  # Keras and TensorFlow raise a dozen kinds on settings that do not fit.
        layer.refuse("a call that tf_keras can make too", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
