"""A quantisation-aware network on disk: the float network that it trains, and its ranges beside it.

A ``.keras`` file of TFMOT's wrappers is written and not read back, and nobody but TFMOT could use it. The float network
alone is an ordinary file; with the ranges it is the same quantisation-aware network again, bit by bit.
"""

from __future__ import annotations

import json
from pathlib import Path

from tta_lite.compat import keras
from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.models.files import load_network
from tta_lite.training.quantization_aware import float_network, is_quantization_aware, quantization_aware, ranges_of
from tta_lite.types import InputError

SUFFIX = ".ranges.json"


def ranges_file(path: str | Path) -> Path:
    """-> where the ranges of a network's file are.

    >>> ranges_file("run/model.keras").name
    'model.ranges.json'
    """
    return Path(path).with_suffix(SUFFIX)


def save_trained(model: keras.Model, path: str | Path) -> None:
    """Writes any network; of a quantisation-aware one the float network, and its ranges beside it.

    Args:
      model: it is not changed.
      path: ``.keras``.
    """
    if is_quantization_aware(model):
        # Before the network: where that is, all is.
        atomic_write(ranges_file(path), to_json_text(ranges_of(model), indent=1) + "\n")
        model = float_network(model)
    with atomic_path(Path(path)) as temporary:
        model.save(temporary)


def load_trained(path: str | Path) -> keras.Model:
    """-> the network that `save_trained` wrote; quantisation-aware if its ranges lie beside it.

    Raises:
      InputError: no such file, or one that cannot be read.
    """
    model, file = load_network(path), ranges_file(path)
    if not file.is_file():
        return model
    try:
        ranges = {name: (float(low), float(high)) for name, (low, high) in json.loads(file.read_text("utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} must hold the least and largest value of each layer, as save_trained writes it. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    return quantization_aware(model, ranges=ranges)
