"""Networks in a SavedModel of Keras 2: its layers and weights are read, the TensorFlow graphs in it are not.

A SavedModel is a program: its graphs may hold any op of TensorFlow, those that write files too. Beside them Keras 2
puts ``keras_metadata.pb`` (what its layers are) and ``variables/`` (their weights), and these two are enough.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tta_lite.compat import OF_APPLICATIONS, SafeModeScope, SavedMetadata, keras
from tta_lite.models.trust import check_config
from tta_lite.types import InputError

METADATA = "keras_metadata.pb"


def is_saved_model(path: Path) -> bool:
    """Whether a folder holds a SavedModel."""
    return (path / "saved_model.pb").is_file()


def read_saved_model(path: Path, *, trust_model_code: bool = False) -> keras.Model:
    """-> the functional or sequential network that Keras 2 saved in a folder.

    Raises:
      InputError: there are graphs only, as ``tf.saved_model.save`` and Keras 3's ``export`` write them; the model is a
        subclass; a layer runs code; weights do not fit.
    """
    if not (path / METADATA).is_file():
        raise InputError(
            f"{path} holds graphs of TensorFlow and no layers, and this toolkit changes layers. Expected: a SavedModel "
            f"with {METADATA}, as Keras 2 writes it; save the network as .keras instead. Received: a SavedModel without"
        )
    config = _config(path)
    check_config(config, path, trust_model_code=trust_model_code)
    try:
        with SafeModeScope(not trust_model_code):
            model = keras.layers.deserialize(config, custom_objects=OF_APPLICATIONS)
        status = tf.train.Checkpoint(model).read(str(path / "variables" / "variables"))
        status.expect_partial().assert_existing_objects_matched()
    except Exception as error:  # Keras and TensorFlow raise a dozen kinds on damaged and foreign files.
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path} cannot be read. Received: {type(error).__name__}: {reason}") from error
    for layer in model.submodules:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def _config(path: Path) -> Any:
    """-> what the layers are, as JSON."""
    metadata = SavedMetadata()
    try:
        metadata.ParseFromString((path / METADATA).read_bytes())
        roots = [json.loads(node.metadata, object_hook=_decoded) for node in metadata.nodes if node.node_path == "root"]
    except Exception as error:  # Of protobuf and JSON.
        raise InputError(f"{path / METADATA} cannot be read. Received: {type(error).__name__}: {error}") from error
    config = roots[0].get("model_config") if roots else None
    if not config or config.get("class_name") not in ("Functional", "Model", "Sequential"):
        received = roots[0].get("class_name") if roots else "nothing"
        raise InputError(
            f"{path} must hold a functional or a sequential model: what a subclass of keras.Model does is in code that "
            f"the file lacks. Received: {received}"
        )
    return config


def _decoded(record: dict[str, Any]) -> Any:
    """-> tuples and shapes, which Keras writes as records there."""
    return tuple(record["items"]) if record.get("class_name") in ("__tuple__", "TensorShape") else record
