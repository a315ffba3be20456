"""G1 (clause 6.1.1): another backbone in front of the head that a network has."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.models.backbones import Backbone, Normalisation, get_backbone
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.rewrite import graft, rewrite
from tta_lite.types import InputError

L = keras.layers
# What networks with several features call their backbone.
PREFIXES = re.compile(r"(backbone|encoder|base_model|feature_extractor|features)\d*[_./-]", re.IGNORECASE)
POOLINGS = (L.GlobalAveragePooling2D, L.GlobalMaxPooling2D)


@dataclasses.dataclass(frozen=True)
class Added:
    """A layer that was put between the new backbone and the head, and why."""

    layer: str
    why: str


@dataclasses.dataclass(frozen=True)
class Swap:
    """The new model, where the old one was cut, and what had to be added.

    Attributes:
      model: the new backbone and the old head.
      cut: the layers of the old network whose outputs the head reads.
      features: the layers of the new backbone that take their place.
      added: what adapts one to the other.
    """

    model: keras.Model
    cut: tuple[str, ...]
    features: tuple[str, ...]
    added: tuple[Added, ...]


def swap_backbone(
    model: keras.Model,
    backbone: str | Backbone,
    cut: str | Sequence[str] | None = None,
    *,
    weights: str | Path | None = None,
    normalised: Normalisation | None = None,
    check: Callable[[keras.Model, str], None] | None = None,
) -> Swap:
    """-> the network with another backbone; its head keeps its weights.

    Shapes that do not match are adapted as the guideline says: a PConv for channels; for space, the backbone's own
    features of that size if it has some, else a strided or dilated DWConv, or a resize.

    Args:
      model: functional, one image as input, size fixed; nested models are flattened. It is not changed.
      backbone: a name that `tta_lite.models.backbones.get_backbone` knows, or a `Backbone`.
      cut: the layer after which the head begins; several for a head that reads features of several sizes. Found by
        itself (`find_cuts`) for usual models.
      weights: of the new backbone: None for random ones, ``"imagenet"``, or a file.
      normalised: how the images that the model gets were normalised. With it they are first brought to what the new
        backbone expects; without it they go in as they are.
      check: called with the new backbone alone (image -> features) and its name, before anything is put behind it;
        it raises if the board lacks an op. `tta_lite.guideline.checks.ops_check(board)` gives one.

    Raises:
      InputError: no cut can be found, a name is not there, or there is a way past the cut.

    Example:
      >>> net = keras.applications.VGG16(weights=None, input_shape=(64, 64, 3), classes=10)
      >>> swapped = swap_backbone(net, "mobilenet_v2_0.35")
      >>> swapped.cut, [added.layer for added in swapped.added]
      (('block5_pool',), ['adapt_pconv'])
    """
    source = get_backbone(backbone) if isinstance(backbone, str) else backbone
    flat = rewrite(model, {}, flatten=True)
    if len(flat.inputs) != 1 or len(flat.input_shape) != 4 or None in flat.input_shape[1:]:
        raise InputError(
            "A backbone can be swapped in a network that takes one image of a fixed size, [B, H, W, C]. "
            f"Received: inputs {[tuple(tensor.shape) for tensor in flat.inputs]}"
        )
    given = [cut] if isinstance(cut, str) else list(cut or ())
    names = given or _flat_names(flat, find_cuts(trace(model)))
    wanted = [_output_of(flat, name) for name in names]
    for name, tensor in zip(names, wanted, strict=True):
        if len(tensor.shape) != 4:
            raise InputError(
                f"Argument `cut` must name layers that give [B, H, W, C]. Received: {name!r}, {tuple(tensor.shape)}"
            )
    image = keras.Input(flat.input_shape[1:], batch_size=flat.input_shape[0], name=flat.input_names[0])
    added: list[Added] = []
    x = _renormalised(image, normalised, source, added)
    try:
        last = source.build(x, weights)
    except ValueError as error:
        # An InputError, as of weights, is told as it is.
        if isinstance(error, InputError) or min(flat.input_shape[1:3]) >= 2 * source.stride:
            raise
        raise InputError(
            f"The pictures are too small for the backbone {source.name!r}, which makes them {source.stride} times "
            f"smaller. Received: {flat.input_shape[1]} x {flat.input_shape[2]}"
        ) from error
    if check is not None:
        check(keras.Model(image, last, name=source.name), source.name)
    taken = {layer.name for layer in flat.layers}
    features, grafts = [], []
    for place, old in enumerate(wanted):
        found, layer_name = _features(image, last, tuple(old.shape[1:3]))
        prefix = "adapt" if len(names) == 1 else f"adapt{place + 1}"
        grafts.append((old, _adapted(found, old, prefix, added)))
        features.append(layer_name)
    try:
        new = graft(flat, [image], grafts)
    except ValueError as error:
        if "used" not in str(error) or "times" not in str(error):
            raise
        raise InputError(
            f"The head of {model.name!r} has layers with names of the backbone {source.name!r}: "
            f"{', '.join(sorted(taken & {layer.name for layer in keras.Model(image, last).layers})[:3])}. "
            "Expected: other names; rewrite() can give them"
        ) from error
    return Swap(new, tuple(names), tuple(features), tuple(added))


def find_cuts(graph: Graph) -> list[Call]:
    """-> the layers after which the head begins, named ``outer/inner`` where they are in a nested model.

    Tried in this order:

    1. One layer, before the first that pools over the whole picture, flattens or enlarges it, if every way to the
       outputs goes through both. Squeeze-and-excite blocks pool too, but there is a way past them.
    2. A nested model whose outputs are feature maps: the layers that give those (feature pyramids read several). The
       largest, if there are several.
    3. Layers whose names begin with a word for a backbone (`PREFIXES`): those of them that other layers read.

    Raises:
      InputError: none of these is there.

    Example: a decoder that reads features of two sizes.
      >>> image = keras.Input((32, 32, 3))
      >>> low = L.Conv2D(4, 3, strides=2, padding="same", name="encoder_1")(image)
      >>> deep = L.Conv2D(8, 3, strides=2, padding="same", name="encoder_2")(low)
      >>> merged = L.Concatenate()([L.UpSampling2D()(deep), low])
      >>> [call.name for call in find_cuts(trace(keras.Model(image, L.Conv2D(1, 1)(merged))))]
      ['encoder_1', 'encoder_2']
    """
    for call in graph.calls:
        if not _begins_head(graph, call) or len(call.reads) != 1 or call.reads[0] not in graph.producers:
            continue
        if _cuts(graph, call.writes[0]) and _cuts(graph, call.reads[0]):
            return [graph.producers[call.reads[0]]]
    nested: dict[str, list[Call]] = {}
    for call in graph.calls:
        outer, slash, _ = call.name.partition("/")
        if slash:
            nested.setdefault(outer, []).append(call)
    called: dict[str, list[Call]] = {}
    for call in graph.calls:
        if word := PREFIXES.match(call.name):
            called.setdefault(word.group(1).lower(), []).append(call)
    for group in (*sorted(nested.values(), key=len, reverse=True), *called.values()):
        border = _border(graph, group)
        ends = {number for call in border for number in call.writes}
        # A group that gives the model's own outputs is a decoder.
        if border and not ends & set(graph.outputs) and all(len(graph.shapes[number]) == 4 for number in ends):
            return border
    raise InputError(
        "No layer was found after which the head begins: none that leads to the first pooling over the whole picture, "
        "flattening or enlargement with no way past it, no nested model that gives feature maps, and no layers whose "
        "names begin with backbone, encoder or the like. Expected: argument `cut`, one name or several. Received: None"
    )


def _border(graph: Graph, group: list[Call]) -> list[Call]:
    """-> the calls of a group whose tensors are read outside of it, or are outputs of the model."""
    inside = set(group)
    return [
        call
        for call in group
        if any(
            number in graph.outputs or not inside.issuperset(graph.readers.get(number, ())) for number in call.writes
        )
    ]


def _flat_names(flat: keras.Model, calls: list[Call]) -> list[str]:
    """-> what the flattened model calls these layers: ``inner``, or ``outer_inner`` where another one had that name."""
    known = {layer.name for layer in flat.layers}
    return [joined if (joined := call.name.replace("/", "_")) in known else call.layer.name for call in calls]


def _begins_head(graph: Graph, call: Call) -> bool:
    before, after = graph.shapes[call.reads[0]] if call.reads else (), graph.shapes[call.writes[0]]
    if len(before) != 4:
        return False
    if isinstance(call.layer, POOLINGS) or len(after) < 4:
        return True
    return (after[1] or 0) > (before[1] or 0) and not isinstance(call.layer, L.ZeroPadding2D)


def _cuts(graph: Graph, number: int) -> bool:
    """Does every way from the inputs to an output go through this tensor?"""
    reached = set(graph.inputs) - {number}
    for call in graph.calls:
        if reached.intersection(call.reads):
            reached.update(set(call.writes) - {number})
    return not reached.intersection(graph.outputs)


def _output_of(model: keras.Model, name: str) -> Any:
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise InputError(
            f"Argument `cut` must name layers of {model.name!r} (nested models are flattened). Received: {name!r}"
        )
    layer = model.get_layer(name)
    if len(layer._inbound_nodes) != 1 or not hasattr(layer.output, "shape"):
        raise InputError(f"Argument `cut` must name layers with one call and one output. Received: {name!r}")
    return layer.output


def _renormalised(image: Any, normalised: Normalisation | None, source: Backbone, added: list[Added]) -> Any:
    if normalised is None or normalised == source.normalisation:
        return image
    old, new = normalised, source.normalisation
    scale = [a / b for a, b in zip(old.std, new.std, strict=True)]
    offset = [(a - b) / c for a, b, c in zip(old.mean, new.mean, new.std, strict=True)]
    added.append(Added("adapt_pixels", f"{source.name} expects images normalised in another way"))
    return L.Rescaling(scale, offset, name="adapt_pixels")(image)


def _features(image: Any, last: Any, size: tuple[int, int]) -> tuple[Any, str]:
    """-> the backbone's last tensor of a size, or the last of all; and the layer that gives it."""
    model = keras.Model(image, last)
    if tuple(last.shape[1:3]) == size:
        return last, last.node.layer.name
    graph = trace(model)
    for call in reversed(graph.calls):
        number = call.writes[0]
        if isinstance(call.layer, L.ZeroPadding2D):
            # Made for the next convolution, and not of the size that it has.
            continue
        # One that all that follows hangs on: not the inside of a block.
        if tuple(graph.shapes[number][1:3]) == size and len(graph.shapes[number]) == 4 and _cuts(graph, number):
            return model.get_layer(call.name).output, call.name
    return last, last.node.layer.name


def _adapted(found: Any, wanted: Any, prefix: str, added: list[Added]) -> Any:
    """[B, h, w, c] -> the shape of `wanted`."""
    size, target = tuple(found.shape[1:3]), tuple(wanted.shape[1:3])
    if size != target:
        layer = _to_size(size, target, prefix)
        added.append(Added(layer.name, f"{_by(size)} pixels become the {_by(target)} of the old backbone"))
        found = layer(found)
    if found.shape[-1] != wanted.shape[-1]:
        layer = L.Conv2D(wanted.shape[-1], 1, name=f"{prefix}_pconv")
        added.append(Added(layer.name, f"{found.shape[-1]} channels become the {wanted.shape[-1]} of the old backbone"))
        found = layer(found)
    return found


def _to_size(size: tuple[int, int], target: tuple[int, int], prefix: str) -> keras.layers.Layer:
    ratios = {(a / b) for a, b in zip(size, target, strict=True)}
    more = [a - b for a, b in zip(size, target, strict=True)]
    ratio = next(iter(ratios))
    if len(ratios) == 1 and ratio == int(ratio) and ratio > 1:
        stride = int(ratio)
        return L.DepthwiseConv2D(max(3, stride), strides=stride, padding="same", name=f"{prefix}_dwconv")
    if min(more) > 0 and max(more) < min(size) / 2 and len(set(more)) == 1:
        # Two taps this far apart, or three, take off just as many pixels.
        taps = 3 if more[0] % 2 == 0 else 2
        return L.DepthwiseConv2D(taps, dilation_rate=more[0] // (taps - 1), name=f"{prefix}_dwconv")
    if len(ratios) == 1 and (1 / ratio) == int(1 / ratio):
        return L.UpSampling2D(int(1 / ratio), interpolation="bilinear", name=f"{prefix}_resize")
    return L.Resizing(*target, name=f"{prefix}_resize")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
