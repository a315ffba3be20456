"""How recipes read the network of ``--model``: of Keras 2 or 3, and whether its code is trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tta_lite.compat import keras

_TRUST = flags.DEFINE_bool(
    "trust_model_code",
    False,
    "Run Python code that --model holds (Lambda layers); it can do anything that you can.",
)

FLAGS = [_TRUST]


def read(path: str | Path) -> keras.Model:
    """-> the network of a file; see `tta_lite.models.files.load_network`."""
    from tta_lite.models.files import load_network

    return load_network(path, trust_model_code=_TRUST.value)
