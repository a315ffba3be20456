"""What each layer of `tf_keras` is in Keras 3: one layer mostly, a few where Keras 3 has no such layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from tta_lite.compat import keras
from tta_lite.models import layers as house
from tta_lite.models.keras3.layers import ANY, RULES, Rule
from tta_lite.models.keras3.parts import ACTIVATIONS, CONSTRAINTS, INITIALIZERS, REGULARIZERS
from tta_lite.types import InputError

L = keras.layers


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """A layer or an op of Keras 3.

    Attributes:
      name: of the layer.
      kind: its class.
      settings: its config without the name.
      module: of the class.
      arrays: its weights.
      op: it is a call of ``keras.ops`` and no layer.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    module: str = "keras.layers"
    arrays: tuple[np.ndarray, ...] = ()
    op: bool = False

    def record(self) -> dict[str, Any]:
        """-> as a config writes it."""
        public = self.module in ("keras", "keras.layers")
        return {
            "module": self.module,
            "class_name": self.kind,
            "config": {"name": self.name, **self.settings},
            "registered_name": None if public else self.kind,
        }


_PARTS = {"initializer": INITIALIZERS, "regularizer": REGULARIZERS, "constraint": CONSTRAINTS}
_TO_KERAS3 = {own: name for name, own in ACTIVATIONS.items()} | {
    "relu6": "relu6", "leaky_relu": "leaky_relu", "silu": "silu", "log_softmax": "log_softmax",
}  # fmt: skip


def refuse(layer: keras.layers.Layer, expected: str, received: object) -> NoReturn:
    """Raises the `InputError` that names the layer."""
    raise InputError(
        f"Layer {layer.name!r} of class {type(layer).__name__} cannot be written for Keras 3. Expected: {expected}. "
        f"Received: {str(received)[:200]}"
    )


def pieces_of(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> list[Piece]:
    """-> what a layer is in Keras 3, called one behind the other.

    Args:
      layer: no model, and no call of a TensorFlow function.
      shape: of its (first) output, the batch included.

    Raises:
      InputError: Keras 3 has nothing like it; the layer is named.
    """
    kind = type(layer).__name__
    if type(layer) in _OWN:
        return _OWN[type(layer)](layer, shape)
    rule = RULES.get(kind)
    if rule is None or type(layer) is not rule.layer:
        refuse(layer, f"layers of Keras among {', '.join(sorted(RULES))}", f"{type(layer).__module__}.{kind}")
    settings, follows = _settings(layer, rule)
    arrays = tuple(np.asarray(weight) for weight in layer.get_weights())
    if kind == "Activation" and follows:
        return follows
    if kind == "LayerNormalization" and len(settings["axis"]) > 1:
        # Keras 3 sorts the axes.
        order = np.argsort(settings["axis"]).tolist()
        settings["axis"] = [settings["axis"][place] for place in order]
        # Both lay them along unsorted axes by a reshape, which moves no value.
        arrays = tuple(array.reshape([array.shape[place] for place in order]) for array in arrays)
    return [Piece(layer.name, kind, settings, rule.module, arrays), *follows]


def _settings(layer: keras.layers.Layer, rule: Rule) -> tuple[dict[str, Any], list[Piece]]:
    """-> the settings of a layer as Keras 3 names them, and what must follow it."""
    renamed = {own: name for name, own in rule.renamed.items()}
    found: dict[str, Any] = {}
    follows: list[Piece] = []
    for key, value in layer.get_config().items():
        kind = key.rpartition("_")[2]
        if key in ("name", "batch_input_shape"):
            continue
        if key in rule.only2:
            if rule.only2[key] is not ANY and value not in (rule.only2[key], None):
                refuse(layer, f"{key}={rule.only2[key]!r}, for Keras 3 has no other", value)
        elif key == "dtype":
            found[key] = _dtype(value)
        elif kind in _PARTS:
            found[key] = _part(layer, key, value, _PARTS[kind])
        elif key == "activation":
            found[key], follows = _activation(layer)
        elif rule.layer is L.BatchNormalization and key == "axis":
            if len(np.atleast_1d(value)) != 1:
                refuse(layer, "batch norm over one axis", value)
            found[key] = int(np.atleast_1d(value)[0])
        else:
            found[renamed.get(key, key)] = plain(value)
    return found, follows


def plain(value: Any) -> Any:
    """-> the same as JSON has it.

    >>> plain({"axis": (1, np.int64(2)), "scale": np.ones(2)})
    {'axis': [1, 2], 'scale': [1.0, 1.0]}
    """
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def _dtype(value: Any) -> str:
    return str(value["config"]["name"]) if isinstance(value, Mapping) else str(value)


def _part(layer: keras.layers.Layer, key: str, value: Any, table: Mapping[str, tuple[str, ...]]) -> Any:
    if value is None:
        return None
    name = str(value.get("class_name")) if isinstance(value, Mapping) else ""
    if name not in table:
        refuse(layer, f"as {key} one of Keras ({', '.join(table)})", value)
    kind = key.rpartition("_")[2]
    settings = {own: plain(value["config"][own]) for own in table[name] if own in value["config"]}
    return {"module": f"keras.{kind}s", "class_name": name, "config": settings, "registered_name": None}


def _activation(layer: keras.layers.Layer) -> tuple[str, list[Piece]]:
    """-> the activation within the layer, and what follows where Keras 3 lacks it."""
    own = layer.activation
    if isinstance(own, keras.layers.Layer):
        return "linear", pieces_of(own, ())
    name = getattr(own, "__name__", type(own).__name__)
    name = {"softmax_v2": "softmax", "softmax_v2_internal": "softmax"}.get(name, name)
    if name == "hard_sigmoid":
        # That of Keras 3 is relu6(x + 3) / 6; this one is clip(0.2 x + 0.5, 0, 1).
        last = layer.name if type(layer) is L.Activation else f"{layer.name}_hard_sigmoid"
        return "linear", [
            Piece(f"{last}_scale", "Rescaling", {"scale": 0.2, "offset": 0.5}),
            Piece(last, "ReLU", {"max_value": 1.0}),
        ]
    if name not in _TO_KERAS3:
        refuse(layer, f"an activation among {', '.join(sorted(_TO_KERAS3))}, hard_sigmoid", name)
    return _TO_KERAS3[name], []


def _spatial(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> tuple[int, int, int]:
    if len(shape) != 4 or None in shape[1:]:
        refuse(layer, "pictures of a fixed size (give the network one with --input_size)", shape)
    return shape[1], shape[2], shape[3]  # type: ignore[return-value]


def _depth_to_space(layer: Any, shape: tuple[int | None, ...]) -> list[Piece]:
    height, width, channels = _spatial(layer, shape)
    return moved_to_space(layer.name, layer.block, height, width, channels)


def moved_to_space(name: str, block: int, height: int, width: int, channels: int) -> list[Piece]:
    """-> depth to space, with the sizes of its output, as layers that every Keras 3 has."""
    rows, columns = height // block, width // block
    return [
        Piece(f"{name}_open", "Reshape", {"target_shape": [rows, columns, block, block, channels]}),
        Piece(f"{name}_move", "Permute", {"dims": [1, 3, 2, 4, 5]}),
        Piece(name, "Reshape", {"target_shape": [height, width, channels]}),
    ]


def _shuffle(layer: Any, shape: tuple[int | None, ...]) -> list[Piece]:
    height, width, channels = _spatial(layer, shape)
    return [
        Piece(
            f"{layer.name}_open", "Reshape", {"target_shape": [height, width, layer.groups, channels // layer.groups]}
        ),
        Piece(f"{layer.name}_move", "Permute", {"dims": [1, 2, 4, 3]}),
        Piece(layer.name, "Reshape", {"target_shape": [height, width, channels]}),
    ]


def _split(layer: Any, shape: tuple[int | None, ...]) -> list[Piece]:
    settings = {"indices_or_sections": layer.parts, "axis": -1}
    return [Piece(layer.name, "Split", settings, "keras.src.ops.numpy", op=True)]


# The house's own layers, and what Keras 3 has left out.
_OWN: dict[type, Callable[[Any, tuple[int | None, ...]], list[Piece]]] = {
    house.DepthToSpace: _depth_to_space,
    house.ChannelShuffle: _shuffle,
    house.ChannelSplit: _split,
    house.HardSwish: lambda layer, shape: [Piece(layer.name, "Activation", {"activation": "hard_silu"})],
    L.ThresholdedReLU: lambda layer, shape: [Piece(layer.name, "ReLU", {"threshold": float(layer.theta)})],
}
