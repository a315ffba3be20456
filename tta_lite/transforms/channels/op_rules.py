"""What TensorFlow functions, called on a Keras tensor, do to its channels: a table, the last part of a name -> rule.

Keras keeps such a call as a layer whose settings are the arguments. A function that is not in the table keeps all the
channels that it reads and writes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.transforms.channels.flow import Flow, Rule
from tta_lite.transforms.channels.labels import Array, full_rank
from tta_lite.transforms.channels.layer_rules import concatenated, elementwise, in_space, row, same_values, woven
from tta_lite.transforms.graph import Call, Read


def bound(call: Call) -> inspect.BoundArguments:
    """-> the arguments of a function's call by name, its defaults too; each tensor as a `Read`."""
    positional, named = call.arguments
    found = inspect.signature(call.layer.function).bind(*positional, **named)
    found.apply_defaults()
    return found


def _axes(axis: Any, rank: int) -> set[int]:
    if axis is None:
        return set(range(rank))
    return {one % rank for one in np.atleast_1d(np.asarray(axis)).tolist()}


def _read_first(call: Call) -> bool:
    """Is the only tensor the first argument?"""
    positional, named = call.arguments
    first = positional[0] if positional else next(iter(named.values()))
    return len(call.reads) == 1 and isinstance(first, Read)


def arithmetic(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Sums, products and the like of tensors and numbers, with NumPy's broadcasting."""
    rank = len(flow.shape(call.writes[0]))
    shapes = [flow.shape(number) for number in call.reads]
    labels = [full_rank(one, rank) for one in inputs]
    for value in tf.nest.flatten(call.arguments):
        if isinstance(value, (Read, str, bytes, type(None))):
            continue
        constant = np.shape(value)
        if len(constant) > rank or any(
            size > 1 and one.shape[axis - len(constant)] > 1 for axis, size in enumerate(constant) for one in labels
        ):
            return flow.refuse(call, inputs, f"{call.name!r} has a constant for each channel")
    return [flow.broadcast(call, labels, [(1,) * (rank - len(shape)) + shape for shape in shapes])]


def reduction(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Mean, sum, maximum over axes."""
    arguments = bound(call).arguments
    labels = inputs[0]
    axes = _axes(arguments["axis"], labels.ndim)
    if any(labels.shape[axis] > 1 for axis in axes) or len(inputs) > 1:
        return flow.refuse(call, inputs)
    return [labels if arguments["keepdims"] else labels.reshape([
        size for axis, size in enumerate(labels.shape) if axis not in axes
    ])]  # fmt: skip


def over_axis(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Softmax and norms: each value from all along an axis."""
    axes = _axes(bound(call).arguments["axis"] if bound(call).arguments["axis"] is not None else -1, inputs[0].ndim)
    return inputs if all(inputs[0].shape[axis] == 1 for axis in axes) else flow.refuse(call, inputs)


def concat(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """One behind the other along an axis."""
    arguments = bound(call).arguments
    if len(tf.nest.flatten(arguments["values"])) != len(inputs):
        return flow.refuse(call, inputs, f"{call.name!r} puts a constant beside it")
    return [concatenated(flow, call, inputs, int(arguments["axis"]))]


def split(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Parts along an axis; their sizes are written anew when channels leave."""
    axis = int(bound(call).arguments["axis"])
    labels = inputs[0]
    if labels.shape[axis] == 1:
        return [labels for _ in call.writes]
    ends = np.cumsum([flow.shape(number)[axis] for number in call.writes])
    return np.split(labels, ends[:-1], axis)


def slices(call: Call) -> list[Any] | None:
    """-> what a tensor was indexed with, with each ``slice`` as such; None if there is a tensor in it."""
    spec = bound(call).arguments["slice_spec"]
    spec = list(spec) if isinstance(spec, (tuple, list)) else [spec]
    spec = [slice(one["start"], one["stop"], one["step"]) if isinstance(one, dict) else one for one in spec]
    ends = [end for one in spec for end in ((one.start, one.stop, one.step) if isinstance(one, slice) else (one,))]
    return spec if all(isinstance(end, (int, np.integer, type(None), type(Ellipsis))) for end in ends) else None


def spelled(spec: list[Any], rank: int) -> list[Any]:
    """-> the entries of an index, with slices for what an ellipsis stands for and for what is not named."""
    given = sum(one is not None and one is not Ellipsis for one in spec)
    place = spec.index(Ellipsis) if Ellipsis in spec else len(spec)
    return [*spec[:place], *[slice(None)] * (rank - given), *spec[place + 1 :]]


def getitem(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """x[...]: along the channels a piece, whose ends are written anew when channels leave."""
    spec = slices(call)
    if spec is None or not _read_first(call):
        return flow.refuse(call, inputs)
    labels, axis = inputs[0], 0
    index: list[Any] = []
    for one in spelled(spec, labels.ndim):
        if one is None:
            index.append(None)
            continue
        if labels.shape[axis] == 1:
            index.append(0 if not isinstance(one, slice) else slice(None))
        elif isinstance(one, slice) and one.step in (None, 1):
            index.append(one)
        else:
            return flow.refuse(call, inputs, f"{call.name!r} picks channels by their place")
        axis += 1
    return [labels[tuple(index)]]


def reshape(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """tf.reshape with numbers; what a shape computed by code would become is not known."""
    if not _read_first(call):
        return flow.refuse(call, inputs, f"{call.name!r} has a computed shape")
    return same_values(flow, call, inputs)


def transpose(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The axes in another order."""
    order = bound(call).arguments["perm"]
    return [inputs[0].transpose(None if order is None else list(order))]


def expand_dims(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """One axis more."""
    return [np.expand_dims(inputs[0], int(bound(call).arguments["axis"]))]


def squeeze(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Axes of size 1 fewer."""
    axis = bound(call).arguments["axis"]
    shape = flow.shape(call.reads[0])
    axes = _axes(axis, len(shape)) if axis is not None else {i for i, size in enumerate(shape) if size == 1}
    return [inputs[0].reshape([size for i, size in enumerate(inputs[0].shape) if i not in axes])]


def stack(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Tensors side by side along a new axis: they lose the same channels."""
    arguments = bound(call).arguments
    if len(tf.nest.flatten(arguments["values"])) != len(inputs):
        return flow.refuse(call, inputs)
    widest = max(inputs, key=lambda labels: labels.size)
    for labels in inputs:
        flow.labels.unite(widest, labels)
    return [np.expand_dims(flow.labels.on_one_axis(widest), int(arguments["axis"]))]


def pad(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Values around a tensor; channels that are all padding stay, for nobody makes them."""
    arguments, labels, rank = bound(call).arguments, inputs[0], inputs[0].ndim
    amounts = np.asarray(arguments["paddings"])
    if any(amounts[axis].any() and labels.shape[axis] > 1 for axis in range(rank - 1)):
        return flow.refuse(call, inputs)
    if not amounts[-1].any():
        return [labels]
    if arguments["mode"].upper() != "CONSTANT":
        return flow.refuse(call, inputs)
    before, after = (flow.labels.new(int(number)) for number in amounts[-1])
    for padding in (before, after):
        flow.labels.fix(padding, f"{call.name!r} pads the channels")
    return [row(np.concatenate([before, flow.channels(call), after]), rank)]


def depth_to_space(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The block^2 channels that become one leave together."""
    arguments = bound(call).arguments
    return [woven(flow, call, int(arguments["block_size"]))] if _last(call) else flow.refuse(call, inputs)


def space_to_depth(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Channel c becomes the channels c, C + c, 2C + c and so on."""
    if not _last(call):
        return flow.refuse(call, inputs)
    return [row(np.tile(flow.channels(call), int(bound(call).arguments["block_size"]) ** 2), 4)]


def _last(call: Call) -> bool:
    return bound(call).arguments.get("data_format") in (None, "NHWC", "NWC", "NDHWC")


def pooling(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Pooling of windows in space."""
    return in_space(flow, call, inputs) if _last(call) else flow.refuse(call, inputs)


def one_tensor(rule: Rule) -> Rule:
    """-> the rule, for calls whose only tensor is the first argument."""

    def checked(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
        return rule(flow, call, inputs) if _read_first(call) else flow.refuse(call, inputs)

    return checked


FUNCTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            "add", "add_n", "subtract", "multiply", "divide", "truediv", "realdiv", "div_no_nan", "floordiv", "maximum",
            "minimum", "pow", "squared_difference", "clip_by_value",
        ),
        arithmetic,
    ),
    **dict.fromkeys(
        (
            "abs", "ceil", "cos", "elu", "erf", "exp", "floor", "gelu", "hard_sigmoid", "identity", "leaky_relu", "log",
            "log1p", "mish", "negative", "relu", "relu6", "round", "rsqrt", "selu", "sigmoid", "sign", "silu", "sin",
            "softplus", "softsign", "sqrt", "square", "stop_gradient", "swish", "tanh", "cast", "reciprocal",
        ),
        one_tensor(elementwise),
    ),
    **dict.fromkeys(
        ("reduce_mean", "reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_std", "reduce_variance"),
        one_tensor(reduction),
    ),
    **dict.fromkeys(("softmax", "log_softmax", "l2_normalize"), one_tensor(over_axis)),
    **dict.fromkeys(
        ("avg_pool", "avg_pool1d", "avg_pool2d", "max_pool", "max_pool1d", "max_pool2d"), one_tensor(pooling)
    ),
    "concat": concat,
    "depth_to_space": one_tensor(depth_to_space),
    "expand_dims": one_tensor(expand_dims),
    "getitem": getitem,
    "pad": one_tensor(pad),
    "reshape": reshape,
    "resize": one_tensor(in_space),
    "space_to_depth": one_tensor(space_to_depth),
    "split": one_tensor(split),
    "squeeze": one_tensor(squeeze),
    "stack": stack,
    "transpose": one_tensor(transpose),
}  # fmt: skip
