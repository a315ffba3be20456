"""A layer of `tf_keras` from what a file of Keras 3 says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NoReturn

from tta_lite.compat import keras
from tta_lite.models.keras3.layers import ANY, RULES, Rule, rule_of
from tta_lite.models.keras3.parts import AS_LAYERS, Named, activation, dtype, part, plain
from tta_lite.types import InputError

L = keras.layers


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """What stands for one layer of a file: mostly one layer, more where an activation must be a layer of its own.

    Attributes:
      chain: called one behind the other.
      kind: the class in the file, which its weights are filed under.
      own: the layer that takes the weights; None if there is none.
      parts: of a nested model: its layers in the order of the file.
    """

    chain: tuple[Any, ...]
    kind: str
    own: Any = None
    parts: tuple[Made, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the chain; only its first layer takes more than a tensor."""
        y = self.chain[0](*args, **kwargs)
        for layer in self.chain[1:]:
            y = layer(y)
        return y


def make_layer(record: Mapping[str, Any], precisions: set[str]) -> Made:
    """-> the layer that a record describes.

    Args:
      record: of the file: ``module``, ``class_name``, ``config``.
      precisions: takes the reduced precisions that were found; all is read in float32.

    Raises:
      InputError: names the layer: it is not known, or it has a setting that `tf_keras` lacks.
    """
    settings = dict(record.get("config") or {})
    layer = Named(str(settings.get("name") or record.get("name")), str(record.get("class_name")))
    rule = rule_of(record)
    if rule is None:
        refuse_class(layer, record)
    settings = _renamed(rule, settings, layer)
    if settings.get("data_format") not in (None, "channels_last"):
        layer.refuse("data_format channels_last, in which this toolkit works", settings["data_format"])
    values: dict[str, Any] = {}
    follows: list[Any] = []
    for key, value in settings.items():
        kind = key.rpartition("_")[2]
        if key == "dtype":
            values[key], reduced = dtype(value, layer)
            precisions.update({reduced} - {""})
        elif kind in ("initializer", "regularizer", "constraint"):
            values[key] = part(kind, value, layer)
        elif key == "activation":
            values[key], follows = _activation(value, layer, settings, precisions)
        else:
            values[key] = plain(value, layer)
    if "seed" in values and not isinstance(values["seed"], int):
        values["seed"] = None
    if rule.layer is L.Activation and follows:
        return Made(tuple(follows), layer.kind)
    try:
        own = rule.layer(**values)
    except (TypeError, ValueError) as error:
        layer.refuse("settings that the same class of tf_keras takes", str(error).partition("\n")[0])
    return Made((own, *follows), layer.kind, own)


def refuse_class(layer: Named, record: Mapping[str, Any]) -> NoReturn:
    """Raises the `InputError` for a class that is in no table."""
    where = f"{record.get('module')}.{layer.kind}"
    raise InputError(
        f"Layer {layer.name!r} of class {where} is not known here, and nothing in a file is run to find out what it "
        f"does. Expected: layers of Keras among {', '.join(sorted(RULES))}. Received: {where}"
    )


def _renamed(rule: Rule, settings: Mapping[str, Any], layer: Named) -> dict[str, Any]:
    """-> the settings under their names in `tf_keras`, without those that it lacks."""
    found = {}
    for key, value in settings.items():
        own = rule.renamed.get(key, key)
        if own in rule.settings:
            found[own] = value
        elif key in rule.only3:
            if rule.only3[key] is not ANY and value not in (rule.only3[key], None):
                layer.refuse(f"{key}={rule.only3[key]!r}, for tf_keras has no other", value)
        elif value not in (None, False):
            # What newer versions add is without effect where it is off.
            layer.refuse(f"settings that the same class of tf_keras has, so not {key!r}", value)
    return found


def _activation(value: Any, layer: Named, settings: Mapping[str, Any], precisions: set[str]) -> tuple[str, list[Any]]:
    """-> the activation within the layer, and the layers that follow it."""
    if isinstance(value, Mapping) and rule_of(value):
        # A layer that was given as an activation.
        made = make_layer(value, precisions)
        return "linear", list(made.chain)
    own, follows = activation(value, layer)
    if not follows:
        return own, []
    name = layer.name if layer.kind == "Activation" else f"{layer.name}_{follows}"
    return own, AS_LAYERS[follows](name, dtype(settings.get("dtype"), layer)[0] or "float32")
