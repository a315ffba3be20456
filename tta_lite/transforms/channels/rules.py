"""Which rule holds for a layer: that of its class, or of the TensorFlow function that it stands for."""

from __future__ import annotations

from tta_lite.compat import keras
from tta_lite.transforms.channels.flow import Flow, Rule
from tta_lite.transforms.channels.labels import Array
from tta_lite.transforms.channels.layer_rules import RULES, merge
from tta_lite.transforms.channels.op_rules import FUNCTIONS
from tta_lite.transforms.graph import Call
from tta_lite.transforms.op_counts import function_name


def refuse(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """A layer of which nothing is known."""
    return flow.refuse(call, inputs)


def rule_of(layer: keras.layers.Layer) -> Rule:
    """-> what a layer does to labels; one of which nothing is known keeps all that it reads and writes.

    >>> rule_of(keras.layers.Conv2D(4, 3)).__name__, rule_of(keras.layers.LayerNormalization()).__name__
    ('convolution', 'refuse')
    """
    kind = type(layer)
    if kind in RULES:
        return RULES[kind]
    # A sum of two tensors, the second with a factor: InceptionResNetV2 has it for itself.
    if kind.__name__ == "CustomScaleLayer" and keras.applications.__name__.split(".")[0] in kind.__module__:
        return merge
    return FUNCTIONS.get(function_name(layer).rpartition(".")[2], refuse)
