"""What each Keras layer does to the channels of its input: a table, layer class -> rule.

A rule takes the labels of what a layer reads and gives those of what it writes. It says which channels leave together,
and which stay. A layer that is not in the table keeps all its channels, those that it reads and those that it writes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.layers import ChannelShuffle, ChannelSplit, DepthToSpace, HardSwish
from tta_lite.transforms.channels.flow import Flow, Rule
from tta_lite.transforms.channels.labels import Array, expanded, full_rank
from tta_lite.transforms.channels.weights import is_depthwise
from tta_lite.transforms.graph import Call
from tta_lite.transforms.subpixel import POINTWISE_ACTIVATIONS
from tta_lite.types import InputError

L = keras.layers


def _last(flow: Flow, call: Call) -> None:
    """Channels that come first are for other devices than ours; half-right groups would be worse than none."""
    if getattr(call.layer, "data_format", None) == "channels_first":
        raise InputError(
            "Channels can be removed from networks whose channels come last. Received: layer "
            f"{call.name!r} with data_format='channels_first'"
        )


def _row(labels: Array, rank: int) -> Array:
    return labels.reshape((1,) * (rank - 1) + (-1,))


def _made(flow: Flow, call: Call) -> Array:
    """-> the labels of a layer that makes its channels, the same at each of its calls."""
    shape = flow.shape(call.writes[0])
    labels = flow.known(call, "out")
    if labels is None:
        labels = flow.side(call, "out", flow.labels.new(shape[-1] or 1))
    if not is_pointwise(getattr(call.layer, "activation", None)):
        flow.labels.fix(labels, f"the activation of {call.name!r} needs all its channels")
    return _row(labels, len(shape))


def convolution(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Makes new channels. Of several groups, the same place in each leaves together, so that they stay equal."""
    _last(flow, call)
    if is_depthwise(call.layer):
        return each_in_turn(flow, call, inputs)
    channels = flow.channels(call, inputs[0])
    groups = getattr(call.layer, "groups", 1)
    rows = channels.reshape(groups, -1)
    flow.labels.unite(rows[:1], rows)
    flow.side(call, "in", rows[0])
    made = _made(flow, call)
    rows = made.reshape(groups, -1)
    flow.labels.unite(rows[:1], rows)
    return [made]


def each_in_turn(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """A depthwise convolution: its outputs are those of one input channel after the other."""
    _last(flow, call)
    channels = flow.channels(call, inputs[0])
    shape = flow.shape(call.writes[0])
    labels = np.repeat(channels, (shape[-1] or 0) // len(channels))
    flow.side(call, "each", labels if is_depthwise(call.layer) else channels)
    if not is_pointwise(call.layer.activation):
        flow.labels.fix(labels, f"the activation of {call.name!r} needs all its channels")
    return [_row(labels, len(shape))]


def one_weight_a_channel(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Batch norm over the last axis."""
    axis = getattr(call.layer, "axis", [-1])
    rank = len(flow.shape(call.reads[0]))
    if list(axis) not in ([-1], [rank - 1]):
        return flow.refuse(call, inputs, f"{call.name!r} normalises another axis than the last")
    return [_row(flow.side(call, "each", flow.channels(call, inputs[0])), rank)]


def prelu(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Slopes for each channel, unless its axis shares them."""
    rank = len(flow.shape(call.reads[0]))
    if rank - 1 in (call.layer.shared_axes or ()):
        return inputs
    return [_row(flow.side(call, "each", flow.channels(call, inputs[0])), rank)]


def elementwise(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Each value from that value alone."""
    return [inputs[0] for _ in call.writes]


def activation(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The layer Activation, with a function that it knows by name."""
    return inputs if is_pointwise(call.layer.activation) else flow.refuse(call, inputs)


def in_space(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Each channel from that channel alone: pooling, padding, cropping, upsampling."""
    _last(flow, call)
    return [_row(flow.channels(call, inputs[0]), len(flow.shape(call.writes[0])))]


def merge(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Sums and products of layers. Keras puts missing axes behind the batch."""
    shapes = [flow.shape(number) for number in call.reads]
    rank = max(map(len, shapes))
    shapes = [(shape[:1] + (1,) * (rank - len(shape)) + shape[1:]) for shape in shapes]
    return [flow.broadcast(call, [full_rank(labels, rank, 1) for labels in inputs], shapes)]


def concatenate(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """One behind the other along an axis."""
    return [concatenated(flow, call, inputs, call.layer.axis)]


def concatenated(flow: Flow, call: Call, inputs: list[Array], axis: int) -> Array:
    """-> labels one behind the other along an axis; along others, what is at one place leaves together."""
    axis %= inputs[0].ndim
    lengths = [flow.shape(number)[axis] for number in call.reads]
    if all(labels.shape[axis] == 1 for labels in inputs) and (None in lengths or any(x.size > 1 for x in inputs)):
        for labels in inputs[1:]:
            flow.labels.unite(inputs[0], labels)
        return max(inputs, key=lambda labels: labels.size)
    rows = [
        expanded(_row_at(flow.channels(call, labels, axis), labels.ndim, axis), axis, length or 1)
        for labels, length in zip(inputs, lengths, strict=True)
    ]
    return np.concatenate(rows, axis)


def _row_at(labels: Array, rank: int, axis: int) -> Array:
    return labels.reshape((1,) * axis + (-1,) + (1,) * (rank - axis - 1))


def reshape(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Flatten, Reshape, RepeatVector: the same values in the same order."""
    _last(flow, call)
    labels = flow.labels.reshaped(inputs[0], flow.shape(call.reads[0]), flow.shape(call.writes[0]))
    return flow.refuse(call, inputs, f"{call.name!r} has an open size") if labels is None else [labels]


def repeat_vector(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """[B, C] -> [B, n, C]."""
    return [np.expand_dims(inputs[0], 1)]


def permute(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The axes in another order."""
    return [inputs[0].transpose(0, *call.layer.dims)]


def softmax(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """Sums over some axes."""
    axes = [call.layer.axis] if isinstance(call.layer.axis, int) else list(call.layer.axis)
    return inputs if all(inputs[0].shape[axis] == 1 for axis in axes) else flow.refuse(call, inputs)


def shuffle(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The same place in each group leaves together."""
    rows = flow.channels(call, inputs[0]).reshape(call.layer.groups, -1)
    flow.labels.unite(rows[:1], rows)
    return [_row(rows.T.ravel(), 4)]


def split(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The same place in each part leaves together: the layer knows only how many equal parts it makes."""
    rows = flow.channels(call, inputs[0]).reshape(call.layer.parts, -1)
    flow.labels.unite(rows[:1], rows)
    return [_row(row, len(flow.shape(call.reads[0]))) for row in rows]


def depth_to_space(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """The block^2 channels that become one leave together."""
    return [woven(flow, call, inputs[0], call.layer.block)]


def woven(flow: Flow, call: Call, labels: Array, block: int) -> Array:
    """-> the labels behind DEPTH_TO_SPACE."""
    rows = flow.channels(call, labels).reshape(block * block, -1)
    flow.labels.unite(rows[:1], rows)
    return _row(rows[0], 4)


def refuse(flow: Flow, call: Call, inputs: list[Array]) -> list[Array]:
    """A layer of which nothing is known."""
    return flow.refuse(call, inputs)


def is_pointwise(function: object) -> bool:
    """-> whether an activation gives each value from that value alone, as far as is known."""
    name = getattr(function, "__name__", "")
    return function is None or name in POINTWISE_ACTIVATIONS or type(function) in ACTIVATION_LAYERS


ACTIVATION_LAYERS = (L.ReLU, L.LeakyReLU, L.ELU, L.ThresholdedReLU, HardSwish)
ELEMENTWISE = (
    *ACTIVATION_LAYERS, L.ActivityRegularization, L.AlphaDropout, L.Dropout, L.GaussianDropout, L.GaussianNoise,
    L.SpatialDropout1D, L.SpatialDropout2D, L.SpatialDropout3D,
)  # fmt: skip
IN_SPACE = (
    L.AveragePooling1D, L.AveragePooling2D, L.AveragePooling3D, L.Cropping1D, L.Cropping2D, L.Cropping3D,
    L.GlobalAveragePooling1D, L.GlobalAveragePooling2D, L.GlobalAveragePooling3D, L.GlobalMaxPooling1D,
    L.GlobalMaxPooling2D, L.GlobalMaxPooling3D, L.MaxPooling1D, L.MaxPooling2D, L.MaxPooling3D, L.Resizing,
    L.UpSampling1D, L.UpSampling2D, L.UpSampling3D, L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D,
)  # fmt: skip

RULES: Mapping[type[keras.layers.Layer], Rule] = {
    **dict.fromkeys(
        (
            L.Conv1D, L.Conv2D, L.Conv3D, L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose, L.SeparableConv1D,
            L.SeparableConv2D, L.Dense,
        ),
        convolution,
    ),
    **dict.fromkeys((L.DepthwiseConv1D, L.DepthwiseConv2D), each_in_turn),
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **dict.fromkeys(IN_SPACE, in_space),
    **dict.fromkeys((L.Add, L.Average, L.Maximum, L.Minimum, L.Multiply, L.Subtract), merge),
    **dict.fromkeys((L.Flatten, L.Reshape), reshape),
    L.Activation: activation,
    L.BatchNormalization: one_weight_a_channel,
    L.Concatenate: concatenate,
    L.Permute: permute,
    L.PReLU: prelu,
    L.RepeatVector: repeat_vector,
    L.Softmax: softmax,
    ChannelShuffle: shuffle,
    ChannelSplit: split,
    DepthToSpace: depth_to_space,
}  # fmt: skip


def rule_of(layer: keras.layers.Layer) -> Rule:
    """-> what a layer does to labels."""
    return RULES.get(type(layer), refuse)
