"""The float flatbuffer that every preset starts from: made once, and used again."""

from __future__ import annotations

import dataclasses
import hashlib
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tta_lite.export.float_check import check_finite_constants
from tta_lite.export.graph_edit import GraphEdit
from tta_lite.export.signature import set_signature
from tta_lite.types import InputError

if TYPE_CHECKING:
    from tta_lite.compat import keras


@dataclasses.dataclass(frozen=True, eq=False)
class FloatFile:
    """A network as a float32 flatbuffer.

    Attributes:
      tflite: the file, with signature ``serving_default``; tensor names are different from each other.
      name: of the network, for messages.
      convert: preset -> a file by TensorFlow's converter from the network itself, for the presets of
        `tta_lite.export.convert.CONVERSIONS`; None if there is only a flatbuffer.
    """

    tflite: bytes
    name: str
    convert: Callable[[str], bytes] | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the tensors that the graph gives out."""
        edit = GraphEdit(self.tflite)
        return tuple(edit.text(tensor) for tensor in edit.outputs)

    @classmethod
    def of_model(cls, model: keras.Model) -> FloatFile:
        """-> that of a Keras model, converted unless it was converted before with the same weights.

        Raises:
          InputError: the model cannot be exported.
        """
        from tta_lite.export.convert import check_model, serving_function

        check_model(model)

        def function() -> Any:
            return serving_function(model)

        digest = _digest(model)
        known = _KNOWN.get(model)
        if known is not None and known[0] == digest:
            return cls(known[1], model.name, _converter(function, model.name, model.input_names, model.output_names))
        made = _of_function(function, model.name, model.input_names, model.output_names)
        _KNOWN[model] = (digest, made.tflite)
        return made

    @classmethod
    def of_tflite(cls, tflite: bytes, name: str = "the file") -> FloatFile:
        """-> that of a float flatbuffer with one input and one output.

        Raises:
          InputError: it has another number of them, or more than one graph.
        """
        edit = GraphEdit(tflite)
        inputs, outputs = [int(tensor) for tensor in edit.graph.inputs], edit.outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise InputError(
                f"{name} must have one input and one output to be quantised. "
                f"Received: {len(inputs)} inputs, {len(outputs)} outputs"
            )
        tflite = with_different_names(tflite)
        if not edit.model.signatureDefs:
            tflite = set_signature(tflite, [edit.text(inputs[0])], [edit.text(outputs[0])])
        return cls(tflite, name)

    @classmethod
    def of_saved_model(cls, folder: str | Path) -> FloatFile:
        """-> that of a SavedModel whose ``serving_default`` takes one image [B, H, W, C] and gives one tensor.

        Raises:
          InputError: there is no such signature, its size is open, or weights are NaN or infinite.
        """
        import tensorflow as tf

        loaded = tf.saved_model.load(str(folder))
        signature = loaded.signatures.get("serving_default")
        arguments = signature.structured_input_signature[1] if signature is not None else {}
        outputs = signature.structured_outputs if signature is not None else {}
        if len(arguments) != 1 or len(outputs) != 1:
            raise InputError(
                "A SavedModel must have a signature serving_default of one input and one output to be quantised. "
                f"Received: {sorted(loaded.signatures)} with inputs {sorted(arguments)}, outputs {sorted(outputs)}"
            )
        (argument, spec), output = next(iter(arguments.items())), next(iter(outputs))
        if spec.shape.rank is None or None in spec.shape[1:] or spec.dtype != tf.float32:
            raise InputError(
                f"The SavedModel's input must be float32 of a fixed size; only the batch may be open. "
                f"Received: {argument} {spec.shape} {spec.dtype.name}"
            )
        serve = tf.function(lambda image: signature(**{argument: image})[output], autograph=False)
        shape = (1, *spec.shape[1:])

        def function() -> Any:
            return serve.get_concrete_function(tf.TensorSpec(shape, tf.float32, name="image"))

        made = _of_function(function, Path(folder).name, [argument], [output])
        check_finite_constants(made.tflite)
        return made


# Model -> digest of what it was, and what it was converted to. A model that is gone takes its file along.
_KNOWN: weakref.WeakKeyDictionary[keras.Model, tuple[str, bytes]] = weakref.WeakKeyDictionary()


def with_different_names(tflite: bytes) -> bytes:
    """-> the same file, where no two tensors have one name: ranges are given by name."""
    if schema.Model.GetRootAs(tflite).SubgraphsLength() != 1:
        # Loops: it can be a float file, and nothing else.
        return tflite
    edit = GraphEdit(tflite)
    names = [edit.text(tensor) for tensor in range(len(edit.graph.tensors))]
    if len(set(names)) == len(names):
        return tflite
    seen: dict[str, int] = {}
    for tensor, name in zip(edit.graph.tensors, names, strict=True):
        seen[name] = seen.get(name, 0) + 1
        if seen[name] > 1:
            tensor.name = f"{name}#{seen[name]}".encode()
    return edit.to_bytes()


def _of_function(function: Callable[[], Any], name: str, inputs: Sequence[str], outputs: Sequence[str]) -> FloatFile:
    make = _converter(function, name, inputs, outputs)
    return FloatFile(with_different_names(make("fp32")), name, make)


def _converter(
    function: Callable[[], Any], name: str, inputs: Sequence[str], outputs: Sequence[str]
) -> Callable[[str], bytes]:
    from tta_lite.export.convert import convert

    return lambda preset: set_signature(convert(function(), preset, name), inputs, outputs)


def _digest(model: keras.Model) -> str:
    digest = hashlib.sha256(repr(model.get_config()).encode())
    for values in model.get_weights():
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
