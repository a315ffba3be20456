"""What is elastic in a network of inverted residuals, found from its graph and not from names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from tta_lite.compat import keras
from tta_lite.transforms.channels.best_first import is_plain
from tta_lite.transforms.channels.groups import channel_groups, check_patterns
from tta_lite.transforms.channels.targets import size_at
from tta_lite.transforms.channels.units import free, parts
from tta_lite.transforms.depth.blocks import Residuals, analyse
from tta_lite.transforms.elastic.space import ElasticKernel, ElasticSpace, ElasticStage, ElasticWidth
from tta_lite.transforms.graph import Call, Graph
from tta_lite.types import InputError

L = keras.layers
KERNELS, SHARES = (7, 5, 3), (1.0, 0.75, 0.5)


def elastic_space(
    model: keras.Model,
    *,
    kernels: Sequence[int] = KERNELS,
    shares: Sequence[float] = SHARES,
    least_depth: int = 0,
    round_to: int = 8,
    floor: int = 8,
    protected: Sequence[str] = (),
) -> ElasticSpace:
    """-> the kernels, stages and widths of a network that can be smaller.

    - Kernels: of depthwise convolutions that pad themselves ("same"), or behind a ZeroPadding2D of their own.
    - Stages: residual blocks in a row; blocks that change the shape have no way round them and stay.
    - Widths: channels that a 1 x 1 convolution makes of fewer and a depthwise one works on: the expansion. The squeeze
      of squeeze-and-excite stays as it is.

    Args:
      model: functional, without nested models, its input size fixed. It is not changed.
      kernels: sides that a kernel may have beside its own.
      shares: of the channels.
      least_depth: residual blocks that stay of each stage, beside the block before them.
      round_to: a group's size is a multiple of this.
      floor: the fewest channels of a group.
      protected: names and patterns of layers that stay as they are.

    Raises:
      InputError: an argument out of its range, or nothing that is elastic.

    Example:
      >>> image = keras.Input((8, 8, 8))
      >>> x = L.Conv2D(32, 1, name="expand")(image)
      >>> x = L.Conv2D(8, 1, name="project")(L.DepthwiseConv2D(5, padding="same", name="dw")(x))
      >>> space = elastic_space(keras.Model(image, L.Add(name="add")([image, x])))
      >>> space.kernels[0].sizes, space.stages[0].blocks, space.widths[0].sizes
      ((5, 3), ('add',), (32, 24, 16))
    """
    if not all(type(size) is int and size > 0 and size % 2 for size in kernels):
        raise InputError(f"Argument `kernels` must be odd numbers above 0. Received: {tuple(kernels)}")
    if not all(0 < share <= 1 for share in shares):
        raise InputError(f"Argument `shares` must lie above 0 and up to 1. Received: {tuple(shares)}")
    if type(least_depth) is not int or least_depth < 0:
        raise InputError(f"Argument `least_depth` must be 0 or more. Received: {least_depth!r}")
    patterns = [protected] if isinstance(protected, str) else list(protected)
    found = analyse(model)
    calls = found.graph.calls
    check_patterns([call.name for call in calls], patterns)
    fixed = {call.name for call in calls if any(fnmatch.fnmatchcase(call.name, one) for one in patterns)}
    stages = [ElasticStage(blocks, least_depth) for blocks in _runs(found, fixed) if len(blocks) > least_depth]
    inside = {
        layer: block.name
        for block in found.blocks
        for layer in block.layers
        if any(block.name in stage.blocks for stage in stages)
    }
    space = ElasticSpace(
        tuple(_kernels(found.graph, sorted(set(kernels), reverse=True), fixed, inside)),
        tuple(stages),
        tuple(_widths(model, found.graph, sorted({1.0, *shares}, reverse=True), round_to, floor, patterns, inside)),
    )
    if not space.counts:
        raise InputError(
            f"{model.name!r} has nothing elastic: no depthwise kernel above {min(kernels, default=3)}, no residual "
            f"block that may leave, no expansion that can shrink. Received: kernels={tuple(kernels)}, "
            f"shares={tuple(shares)}, least_depth={least_depth}, protected={patterns}"
        )
    return space


def _once(graph: Graph) -> Iterable[Call]:
    """-> the calls of layers that are called once."""
    times: dict[int, int] = {}
    for call in graph.calls:
        times[id(call.layer)] = times.get(id(call.layer), 0) + 1
    return [call for call in graph.calls if times[id(call.layer)] == 1]


def _runs(found: Residuals, fixed: set[str]) -> list[tuple[str, ...]]:
    """-> names of residual blocks that may leave, each run as far as one reads the one before."""
    once = {call.name for call in _once(found.graph)}
    blocks = [one for one in found.blocks if not one.why_fixed and one.name in once]
    inner = {name for one in blocks for name in one.layers if name != one.name}
    runs: list[list[str]] = []
    end = -1
    for one in blocks:
        # InceptionResNet's own sum scales a side, and is not known to the layer that leaves a block out.
        scaled = type(found.sums[one.name].calls[0].layer).__name__ == "CustomScaleLayer"
        if one.name in inner or scaled or fixed.intersection(one.layers):
            end = -1
        elif one.input == end:
            runs[-1].append(one.name)
            end = one.output
        else:
            runs.append([one.name])
            end = one.output
    return [tuple(run) for run in runs]


def _kernels(graph: Graph, sizes: Sequence[int], fixed: set[str], inside: dict[str, str]) -> Iterable[ElasticKernel]:
    for call in _once(graph):
        layer = call.layer
        if type(layer) is not L.DepthwiseConv2D or call.name in fixed or tuple(layer.dilation_rate) != (1, 1):
            continue
        own = layer.kernel_size[0]
        if layer.kernel_size[1] != own or not own % 2:
            continue
        # Below the stride, "same" no longer puts the centres of kernels in one place.
        least, pad = max(layer.strides), ""
        if layer.padding == "valid":
            maker = graph.producers.get(call.reads[0])
            if maker is None or type(maker.layer) is not L.ZeroPadding2D or graph.only_reader(call.reads[0]) != call:
                continue
            pad = maker.name
            least = own - 2 * min(min(edge) for edge in maker.layer.padding)
        options = (own, *(size for size in sizes if least <= size < own))
        if len(options) > 1:
            yield ElasticKernel(call.name, options, pad, inside.get(call.name, ""))


def _widths(
    model: keras.Model,
    graph: Graph,
    shares: Sequence[float],
    round_to: int,
    floor: int,
    protected: Sequence[str],
    inside: dict[str, str],
) -> Iterable[ElasticWidth]:
    layers = {call.name: call.layer for call in graph.calls}
    for group in free(channel_groups(model, protected=protected)):
        maker = layers[next(parts(group, "out")).layer]
        expands = type(maker) is L.Conv2D and maker.kernel_size == (1, 1) and maker.filters > maker.kernel.shape[-2]
        deep = any(type(layers[part.layer]) is L.DepthwiseConv2D for part in parts(group, "each"))
        if not (expands and deep and is_plain(group)):
            continue
        # A share that rounding makes equal to a larger one is none.
        options = {group.size: 1.0}
        for share in shares:
            options.setdefault(size_at(group, share, round_to, floor), share)
        if len(options) > 1:
            yield ElasticWidth(
                group.name, tuple(options.values()), tuple(options), inside.get(group.name.partition("#")[0], "")
            )
