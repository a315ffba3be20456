"""Which layer of the student learns from which layer of the teacher: named, or matched by size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tta_lite.compat import keras
from tta_lite.training.quantization_aware import PREFIX
from tta_lite.transforms.graph import check_graph, nodes_of
from tta_lite.types import InputError

Shape = tuple[int | None, ...]
Pair = tuple[str, str]
"""A layer of the student, a layer of the teacher."""
Pairs = Mapping[str, str] | Sequence[Pair]

# What TFMOT puts before a layer's name: a pair names the layer of the float network.
WRAPPED = ("", PREFIX, "prune_low_magnitude_")


def feature_tensors(model: keras.Model) -> dict[str, Any]:
    """-> layer -> the tensor that it gives, in the order of the graph; of its last call if it is shared.

    Layers of nested networks cannot be asked: the nested network itself can.
    """
    found: dict[str, Any] = {}
    for node in nodes_of(model):
        if hasattr(node.outputs, "shape") and len(node.outputs.shape) >= 2:
            found.pop(node.layer.name, None)
            found[node.layer.name] = node.outputs
    return found


def feature_shapes(model: keras.Model) -> dict[str, Shape]:
    """-> layer -> the shape of what it gives.

    >>> image = keras.Input((8, 8, 3))
    >>> feature_shapes(keras.Model(image, keras.layers.Conv2D(4, 3, name="conv")(image)))
    {'conv': (None, 6, 6, 4)}
    """
    check_graph(model)
    return {name: tuple(tensor.shape) for name, tensor in feature_tensors(model).items()}


def with_features(model: keras.Model, layers: Sequence[str]) -> keras.Model:
    """-> a network of the same layers that gives [its output, what each of `layers` gives]."""
    check_graph(model)
    tensors = feature_tensors(model)
    return keras.Model(model.inputs, [model.outputs[0], *(tensors[name] for name in layers)], name=model.name)


def feature_pairs(
    student: Mapping[str, Shape],
    teacher: Mapping[str, Shape],
    pairs: Pairs | None,
    *,
    ends: tuple[str, ...] = (),
    taught_by: str = "the teacher",
) -> tuple[Pair, ...]:
    """-> pairs of layers, checked.

    Args:
      student: its layers and what they give, as `feature_shapes` says.
      teacher: the same of the teacher.
      pairs: ``{"layer of the student": "layer of the teacher"}`` or a sequence of such pairs; None: for each H x W
        above 1 x 1 that both have, the last layer that gives it.
      ends: layers that give the answer of either network, which are no features when sizes are matched.
      taught_by: the teacher's name, for messages.

    Raises:
      InputError: a name that is no layer, no size that both have, or a teacher without features.

    >>> sizes = {"a": (None, 8, 8, 4), "b": (None, 8, 8, 6), "c": (None, 4, 4, 8)}
    >>> feature_pairs(sizes, {"x": (None, 8, 8, 16)}, None), feature_pairs(sizes, {"x": (None, 8, 8, 16)}, {"a": "x"})
    ((('b', 'x'),), (('a', 'x'),))
    """
    if not teacher:
        raise InputError(
            f"Features are of teachers that are graphs of Keras layers; a file or a function has its outputs alone "
            f"(kd, heat_maps). Received: {taught_by}, which has none"
        )
    if pairs is None:
        return _by_size(student, teacher, ends)
    named = list(pairs.items()) if isinstance(pairs, Mapping) else list(pairs)
    if not named or any(isinstance(pair, str) or len(pair) != 2 for pair in named):
        raise InputError(
            "Argument `pairs` must be {student layer: teacher layer} or pairs of names, one or more. "
            f"Received: {pairs!r}"
        )
    return tuple((_layer(mine, student, "student"), _layer(theirs, teacher, "teacher")) for mine, theirs in named)


def _layer(name: str, layers: Mapping[str, Shape], whose: str) -> str:
    for prefix in WRAPPED:
        if prefix + name in layers:
            return prefix + name
    near = [layer for layer in layers if name.lower() in layer.lower() or layer.lower() in name.lower()]
    raise InputError(
        f"A pair must name a layer of the {whose} that gives one tensor; layers of nested networks cannot be named. "
        f"Expected: one of {', '.join([*near, *layers][:8])}, ... Received: {name!r}"
    )


def _by_size(student: Mapping[str, Shape], teacher: Mapping[str, Shape], ends: tuple[str, ...]) -> tuple[Pair, ...]:
    sizes = []
    for layers in (student, teacher):
        # The last one of a size overwrites those before it.
        sizes.append(
            {
                shape[1:3]: name
                for name, shape in layers.items()
                if len(shape) == 4 and None not in shape[1:3] and shape[1:3] != (1, 1) and name not in ends
            }
        )
    mine, theirs = sizes
    if not mine.keys() & theirs.keys():
        said = [" ".join(f"{height}x{width}" for height, width in size) or "none" for size in sizes]
        raise InputError(
            "Student and teacher must have layers of one height and width, or be paired by name. "
            f"Received: sizes {said[0]} of the student, {said[1]} of the teacher"
        )
    return tuple((mine[size], theirs[size]) for size in mine if size in theirs)
