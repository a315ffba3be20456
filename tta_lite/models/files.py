"""Networks that the user has on disk."""

from __future__ import annotations

from pathlib import Path

from tta_lite.compat import keras, load_model

# Read back by name: importing the module is what makes them known to Keras.
from tta_lite.models import adder, binary_layers, layers  # noqa: F401
from tta_lite.types import InputError

SUFFIXES = (".keras", ".h5", ".hdf5")


def load_network(path: str | Path) -> keras.Model:
    """-> the model that a file of `tf_keras` holds, without its optimizer; code inside the file is not run.

    Args:
      path: ``.keras`` or ``.h5``.

    Raises:
      InputError: no such file, or one that cannot be read.
    """
    path = Path(path)
    if not path.is_file() or path.suffix not in SUFFIXES:
        raise InputError(
            f"A network must be a file that exists and ends with {', '.join(SUFFIXES)}. Received: {str(path)!r}"
        )
    try:
        return load_model(path)
    except Exception as error:  # Keras raises a dozen kinds on a damaged or foreign file.
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{path} cannot be read as a model of tf_keras (of Keras 2; Keras 3 writes another format). "
            f"Received: {type(error).__name__}: {reason}"
        ) from error
