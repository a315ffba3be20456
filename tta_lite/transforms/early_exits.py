"""Early exits: heads after chosen layers of a network, and the network cut into the stages between them.

S. Teerapittayanon, B. McDanel, H. T. Kung, BranchyNet: Fast Inference via Early Exiting from Deep Neural Networks,
ICPR 2016, https://arxiv.org/abs/1709.01686.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.outputs import ends_in_softmax
from tta_lite.transforms.graph import called_with, check_graph
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError

SCORES = "scores"
# (features [B, H, W, C], classes, softmax or None, name of the exit) -> scores [B, classes].
Head = Callable[[Any, int, "str | None", str], Any]


def conv_head(x: Any, classes: int, activation: str | None, name: str) -> Any:
    """[B, H, W, C] -> [B, classes]: Conv 3 x 3 of stride 2 with as many channels, mean over the positions, Dense.

    A branch of BranchyNet is one or two Conv and a Dense; the stride and the mean keep both small.
    """
    x = keras.layers.Conv2D(x.shape[-1], 3, 2, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
    return pooled_head(keras.layers.ReLU(name=f"{name}_relu")(x), classes, activation, name)


def pooled_head(x: Any, classes: int, activation: str | None, name: str) -> Any:
    """[B, H, W, C] -> [B, classes]: mean over the positions, Dense. The cheapest."""
    x = keras.layers.GlobalAveragePooling2D(name=f"{name}_pool")(x)
    return keras.layers.Dense(classes, activation=activation, name=f"{name}_{SCORES}")(x)


HEADS: dict[str, Head] = {"conv": conv_head, "pooled": pooled_head}


def add_exits(model: keras.Model, after: Sequence[str], *, head: Head | str = "conv") -> keras.Model:
    """-> a copy of a classifier with a head after each of some layers: outputs [first exit, ..., the classifier's own].

    Weights of the classifier are copied, those of heads are new. Outputs are called ``exit1_scores``, ... and as
    before.

    Args:
      model: one input, one output [B, classes]; it is not changed.
      after: layers with features [B, H, W, C], in the order in which they run. After an activation: a Conv that is
        cut from the batch norm behind it stays two ops.
      head: of `HEADS`, or a function of (features, classes, ``softmax`` or None, name) of one's own.

    Raises:
      InputError: a layer that is not there, or that has no such features; or the model is no such classifier.

    Example:
      >>> x = image = keras.Input((8, 8, 3), name="image")
      >>> x = keras.layers.ReLU(name="act")(keras.layers.Conv2D(4, 3, name="conv")(x))
      >>> net = keras.Model(image, keras.layers.Dense(5, name="top")(keras.layers.Flatten()(x)))
      >>> add_exits(net, ["act"], head="pooled").output_names
      ['exit1_scores', 'top']
    """
    check_graph(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise InputError(
            "Exits are for a classifier with one input and one output [B, classes]. "
            f"Received: {len(model.inputs)} inputs, outputs {model.output_shape}"
        )
    if isinstance(head, str):
        if head not in HEADS:
            raise InputError(f"Argument `head` must be one of {', '.join(HEADS)}, or a function. Received: {head!r}")
        head = HEADS[head]
    whole = rewrite(model, {}, flatten=True)
    if not after or len(set(after)) != len(after):
        raise InputError(f"Argument `after` must name one layer or more, each once. Received: {list(after)}")
    features = [_features(whole, name) for name in after]
    order = {id(tensor): place for place, tensor in enumerate(_run_before(whole.output))}
    places = [order.get(id(tensor), -1) for tensor in features]
    if -1 in places or places != sorted(places):
        raise InputError(
            f"Argument `after` must name layers on the way to the output, in the order in which they run. "
            f"Received: {list(after)}"
        )
    activation = "softmax" if ends_in_softmax(whole) else None
    classes = int(whole.output_shape[-1])
    exits = [head(x, classes, activation, f"exit{place}") for place, x in enumerate(features, 1)]
    for name, scores in zip(after, exits, strict=True):
        if tuple(scores.shape) != (None, classes):
            raise InputError(
                f"A head must give [B, {classes}], as the classifier does. "
                f"Received: {tuple(scores.shape)} after {name!r}"
            )
    return keras.Model(whole.input, [*exits, whole.output], name=f"{model.name}_exits")


@dataclasses.dataclass(frozen=True, eq=False)
class StageModel:
    """What runs from one exit to the next.

    Attributes:
      model: from the tensors that `inputs` says to those that `outputs` says.
      inputs: of each input, ``image`` or the output of an earlier stage, ``stage1/features1``.
      outputs: ``scores``, and the features that later stages take.
    """

    model: keras.Model
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def split_stages(model: keras.Model) -> tuple[StageModel, ...]:
    """-> a model for each exit, which computes what no earlier one has: run one after the other, nothing runs twice.

    Whatever later stages read, and be it past the next one (skip connections), is an output of the stage that makes
    it.

    Args:
      model: of `add_exits`, or any graph with one input whose outputs are scores, earlier exits first; it is not
        changed.

    Raises:
      InputError: an exit after which nothing new is computed.

    Example:
      >>> x = image = keras.Input((8, 8, 3), name="image")
      >>> x = keras.layers.ReLU(name="act")(keras.layers.Conv2D(4, 3, name="conv")(x))
      >>> net = keras.Model(image, keras.layers.Dense(5, name="top")(keras.layers.Flatten()(x)))
      >>> [(stage.inputs, stage.outputs) for stage in split_stages(add_exits(net, ["act"]))]
      [(('image',), ('scores', 'features1')), (('stage1/features1',), ('scores',))]
    """
    check_graph(model)
    if len(model.inputs) != 1:
        raise InputError(f"A network with exits must have one input. Received: {model.input_names}")
    whole = rewrite(model, {}, flatten=True)
    outputs = whole.outputs
    # Of each tensor, the stage that makes it; the image is made before all.
    made: dict[int, int] = {id(whole.inputs[0]): -1}
    per_stage: list[list[Any]] = []
    for place, scores in enumerate(outputs):
        new = [tensor for tensor in _run_before(scores) if id(tensor) not in made]
        if not any(tensor is scores for tensor in new):
            raise InputError(f"Each exit must compute something new. Received: output {model.output_names[place]!r}")
        made |= {id(tensor): place for tensor in new}
        per_stage.append(new)
    names = {id(whole.inputs[0]): "image"}
    taken: list[list[Any]] = []
    given: list[list[Any]] = [[] for _ in outputs]
    for place, new in enumerate(per_stage):
        earlier: dict[int, Any] = {}
        for tensor in new:
            earlier |= {id(read): read for read in called_with(tensor) if made[id(read)] < place}
        taken.append(list(earlier.values()))
        for tensor in earlier.values():
            if id(tensor) not in names:
                maker = made[id(tensor)]
                given[maker].append(tensor)
                names[id(tensor)] = f"stage{maker + 1}/features{len(given[maker])}"
    # Once all are known: to build a model adds calls to the layers.
    return tuple(
        StageModel(
            keras.Model(taken[place], [outputs[place], *given[place]], name=f"stage{place + 1}"),
            tuple(names[id(tensor)] for tensor in taken[place]),
            (SCORES, *(f"features{number}" for number in range(1, len(given[place]) + 1))),
        )
        for place in range(len(outputs))
    )


def _features(model: keras.Model, name: str) -> Any:
    layers = {layer.name: layer for layer in model.layers}
    if name not in layers:
        raise InputError(f"Argument `after` must name layers of the network. Received: {name!r}")
    layer = layers[name]
    try:
        tensor = layer.output
    except AttributeError:
        raise InputError(f"A layer that is called more than once has no one place for an exit. Received: {name!r}") \
            from None  # fmt: skip
    if isinstance(tensor, list) or len(tensor.shape) != 4:
        raise InputError(
            f"An exit needs features [B, H, W, C]. Received: {getattr(tensor, 'shape', 'several outputs')} of {name!r}"
        )
    return tensor


def _run_before(tensor: Any) -> list[Any]:
    """-> all tensors that a tensor needs and itself, each after those that it is made of."""
    found: dict[int, Any] = {}
    waiting: list[tuple[Any, bool]] = [(tensor, False)]
    while waiting:
        one, ready = waiting.pop()
        if id(one) in found:
            continue
        if ready:
            found[id(one)] = one
            continue
        waiting.append((one, True))
        # An input is made of nothing.
        waiting += [(read, False) for read in _reads(one)]
    return list(found.values())


def _reads(tensor: Any) -> list[Any]:
    return [] if tensor.node.is_input else called_with(tensor)
