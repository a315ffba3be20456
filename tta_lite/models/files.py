"""Networks that the user has on disk."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from tta_lite.compat import keras, load_model

# Read back by name: importing the module is what makes them known to Keras.
from tta_lite.models import adder, binary_layers, layers  # noqa: F401
from tta_lite.models.keras3 import reader
from tta_lite.models.keras3.archive import is_keras3, open_archive
from tta_lite.models.saved_model import is_saved_model, read_saved_model
from tta_lite.models.trust import check_config
from tta_lite.types import InputError

SUFFIXES = (".keras", ".h5", ".hdf5")


def load_network(path: str | Path, *, trust_model_code: bool = False) -> keras.Model:
    """-> the network that a file of Keras 2 or Keras 3 holds, as one of `tf_keras`, without its optimizer.

    Keras 3's files are translated, see docs/keras3.md. Code inside a file is not run.

    Args:
      path: ``.keras`` of Keras 2 or 3, ``.h5`` of Keras 2, or the folder of a SavedModel of Keras 2.
      trust_model_code: run the Python code of ``Lambda`` layers, and import what the file names. It can do anything
        that you can.

    Raises:
      InputError: no such file; one that cannot be read; one that would run code; a layer that is not known, by name.
    """
    path = Path(path)
    if path.is_dir() and is_saved_model(path):
        return read_saved_model(path, trust_model_code=trust_model_code)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise InputError(
            f"A network must be a file that exists and ends with {', '.join(SUFFIXES)}, or the folder of a SavedModel. "
            f"Received: {str(path)!r}"
        )
    if zipfile.is_zipfile(path):
        archive = open_archive(path)
        if archive.is_keras3:
            return reader.read(archive, trust_model_code=trust_model_code)
        config: Any = archive.config
    else:
        config = _config_of_h5(path)
    check_config(config, path, trust_model_code=trust_model_code)
    try:
        return load_model(path, safe_mode=not trust_model_code)
    except Exception as error:  # Keras raises a dozen kinds on a damaged or foreign file.
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{path} cannot be read as a model of tf_keras. Received: {type(error).__name__}: {reason}"
        ) from error


def _config_of_h5(path: Path) -> Any:
    """-> what the layers of a ``.h5`` file are, as JSON."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config, version = file.attrs.get("model_config"), str(file.attrs.get("keras_version", ""))
            links = _links(file)
        config = json.loads(config) if config is not None else None
    except (OSError, ValueError, RuntimeError, RecursionError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{path} cannot be read as a model of tf_keras. Received: {type(error).__name__}: {reason}"
        ) from error
    if config is None:
        raise InputError(
            f"{path} holds weights without a network. Expected: a whole model, as model.save() writes it. Received: "
            "a file without model_config"
        )
    if is_keras3(version):
        raise InputError(
            f"{path} is a .h5 file of Keras {version}. Expected: of Keras 3 the format .keras; there, "
            f"keras.models.load_model(path).save('model.keras') writes one. Received: {path.name}"
        )
    if links:
        raise InputError(f"{path}: {links[0]} must be in the file itself. Received: a link to elsewhere")
    return config


def _links(file: Any) -> list[str]:
    """-> what in a ``.h5`` file leads to another file."""
    import h5py

    found: list[str] = []

    def visit(name: str) -> None:
        kind = file.get(name, getclass=True, getlink=True)
        item = file[name] if kind is h5py.HardLink else None
        if item is None or (isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)):
            found.append(name)

    file.visit_links(visit)
    return found
