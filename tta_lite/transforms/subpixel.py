"""A Deconv without a Deconv: small convolutions on the input's grid, and DEPTH_TO_SPACE. The outputs are the same.

A Deconv of stride s writes each output pixel from the input pixels around it; which taps of the kernel it uses depends
only on its place modulo s. Outputs of one place (p, q) are hence an ordinary convolution of the input, with every s-th
tap of the kernel, and the s^2 results are woven together by DEPTH_TO_SPACE. Shi et al., *Is the deconvolution layer the
same as a convolutional layer?*, 2016, https://arxiv.org/abs/1609.07009.

What follows and works on each pixel alone (bias, batch norm, activation, 1 x 1 convolution) may be done before the
weaving, which then moves fewer channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.models.layers import DepthToSpace
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.rewrite import Builder, Keep, copy_layer, rewrite
from tta_lite.types import InputError

L = keras.layers

# They look at one pixel at a time, whatever their settings.
POINTWISE = (
    L.BatchNormalization, L.ReLU, L.LeakyReLU, L.ELU, L.ThresholdedReLU, L.Dropout, L.GaussianNoise, L.Rescaling,
)  # fmt: skip
POINTWISE_ACTIVATIONS = (
    "elu", "exponential", "gelu", "hard_sigmoid", "linear", "mish", "relu", "relu6", "selu", "sigmoid", "softplus",
    "softsign", "swish", "silu", "tanh",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Phase:
    """The convolution that gives the outputs at one place modulo the stride, along one axis.

    Attributes:
      taps: of the Deconv's kernel, in the order in which the convolution uses them: the earlier input pixel first.
      before: zeros that the input needs before its first pixel; pixels to leave out if negative.
      after: the same behind its last pixel.
    """

    taps: tuple[int, ...]
    before: int
    after: int


def phases(size: int, kernel: int, stride: int, padding: str) -> tuple[list[Phase], int]:
    """How a Deconv along one axis falls into convolutions: out[i] = sum over h of x[h] w[i + cut - stride h].

    Args:
      size: of the input.
      kernel: taps.
      stride: outputs an input.
      padding: ``same`` or ``valid``, as Keras means them.

    Returns:
      one phase for each place modulo the stride, and how many outputs too many they make together at the end.

    >>> found, extra = phases(8, 4, 2, "same")
    >>> [(phase.taps, phase.before, phase.after) for phase in found], extra
    ([((3, 1), 1, 0), ((2, 0), 0, 1)], 0)
    """
    if padding == "same":
        cut, outputs = max(kernel - stride, 0) // 2, size * stride
    else:
        cut, outputs = 0, (size - 1) * stride + max(kernel, stride)
    each = math.ceil(outputs / stride)
    found = []
    for place in range(stride):
        # Output stride * m + place takes tap stride * k + place + cut from input m - k.
        least, most = math.ceil(-(place + cut) / stride), (kernel - 1 - place - cut) // stride
        if most < least:
            # A stride larger than the kernel: nothing reaches this place. One tap of zeros stands for it.
            found.append(Phase((), 0, each - size))
            continue
        taps = tuple(stride * k + place + cut for k in range(most, least - 1, -1))
        found.append(Phase(taps, most, each - size - least))
    return found, each * stride - outputs


@dataclasses.dataclass(frozen=True)
class Moved:
    """One Deconv that was rewritten.

    Attributes:
      name: of the Deconv.
      behind: the layers that are now done before DEPTH_TO_SPACE.
      channels: that DEPTH_TO_SPACE moves an output pixel; without moving it, those of the Deconv.
    """

    name: str
    behind: tuple[str, ...]
    channels: int


@dataclasses.dataclass(frozen=True)
class Subpixel:
    """The new model, and one entry a Deconv that it no longer has."""

    model: keras.Model
    moved: tuple[Moved, ...]


def subpixel(model: keras.Model, select: Sequence[str] | None = None, *, move: bool = True) -> Subpixel:
    """-> the network with its Deconvs as convolutions and DEPTH_TO_SPACE; in inference its outputs are the same.

    In training, batch norm that was moved sees the s^2 parts one after the other: train first, or ``move=False``.

    Args:
      model: functional, input size fixed; nested models are flattened. It is not changed.
      select: names of Deconvs; all with a stride above 1 if None.
      move: put DEPTH_TO_SPACE behind the pointwise layers that follow, there where it has the fewest channels.

    Raises:
      InputError: a name that is no such Deconv, or one whose settings are not handled (dilation, output padding,
        channels first, different strides along the two axes).

    Example:
      >>> image = keras.Input((8, 8, 4))
      >>> x = L.ReLU(name="act")(L.Conv2DTranspose(6, 4, strides=2, padding="same", name="up")(image))
      >>> net = keras.Model(image, L.Conv2D(2, 1, name="head")(x))
      >>> found = subpixel(net)
      >>> found.moved[0].behind, found.moved[0].channels
      (('act', 'head'), 2)
      >>> pixels = np.random.default_rng(0).normal(size=(1, 8, 8, 4))
      >>> np.allclose(found.model(pixels), net(pixels), atol=1e-5)
      True
    """
    flat = rewrite(model, {}, flatten=True)
    graph = trace(flat)
    calls = chosen_deconvs(graph, select)
    edits: dict[str, Builder] = {}
    moved = []
    for call in calls:
        chain = pointwise_chain(graph, call) if move else []
        channels = [graph.shapes[one.writes[0]][-1] or 0 for one in (call, *chain)]
        # The last of the places with the fewest channels: what is done before the weaving needs no more memory.
        place = len(channels) - 1 - int(np.argmin(channels[::-1]))
        behind = chain[:place]
        edits[call.name] = _builder(call, graph, [one.layer for one in behind])
        edits.update((one.name, _pass_on) for one in behind)
        moved.append(Moved(call.name, tuple(one.name for one in behind), channels[place]))
    return Subpixel(rewrite(flat, edits), tuple(moved))


def _pass_on(x: Any, keep: Keep) -> Any:
    return x


def chosen_deconvs(graph: Graph, select: Sequence[str] | None) -> list[Call]:
    """-> the calls of the Deconvs that `subpixel` is to rewrite.

    Raises:
      InputError: a name that is no Deconv, or one whose settings are not handled.
    """
    deconvs = {call.name: call for call in graph.calls if isinstance(call.layer, L.Conv2DTranspose)}
    if select is None:
        names = [name for name, call in deconvs.items() if max(call.layer.strides) > 1]
    else:
        names = [select] if isinstance(select, str) else list(select)
    for name in names:
        if name not in deconvs:
            raise InputError(
                f"Argument `select` must name Deconvs: {', '.join(deconvs) or 'there is none'}. Received: {name!r}"
            )
        layer, shape = deconvs[name].layer, graph.shapes[deconvs[name].reads[0]]
        for fault, is_there in (
            ("channels that come first", layer.data_format != "channels_last"),
            ("dilation", layer.dilation_rate != (1, 1)),
            ("output padding", layer.output_padding is not None),
            (f"strides {layer.strides}", layer.strides[0] != layer.strides[1] or layer.strides[0] < 2),
            ("several calls", sum(call.layer is layer for call in graph.calls) > 1),
            (f"an open size {shape}", None in shape[1:]),
        ):
            if is_there:
                raise InputError(
                    "A Deconv becomes convolutions if it has one stride of 2 or more both ways, a fixed size, and "
                    f"nothing unusual. Received: {name!r} with {fault}"
                )
    return [deconvs[name] for name in names]


def pointwise_chain(graph: Graph, call: Call) -> list[Call]:
    """-> the layers that follow one by one and look at each pixel alone."""
    chain: list[Call] = []
    while True:
        following = graph.only_reader(call.writes[0])
        if following is None or not is_pointwise(following.layer) or len(following.reads) != 1:
            return chain
        if sum(one.layer is following.layer for one in graph.calls) > 1:
            return chain
        chain.append(following)
        call = following


def is_pointwise(layer: keras.layers.Layer) -> bool:
    """-> whether a layer gives each pixel from that pixel's channels alone, the same everywhere."""
    kind = type(layer)
    if kind in (L.Activation, L.Conv2D) and not _is_pointwise_function(layer.activation):
        return False
    if kind is L.Conv2D:
        return layer.kernel_size == layer.strides == (1, 1) and layer.data_format == "channels_last"
    if kind is L.PReLU:
        return layer.shared_axes is not None and {1, 2} <= set(layer.shared_axes)
    if kind is L.BatchNormalization:
        return list(layer.axis) in ([3], [-1])
    return kind is L.Activation or kind in POINTWISE


def _is_pointwise_function(function: Any) -> bool:
    return getattr(function, "__name__", "") in POINTWISE_ACTIVATIONS


def _builder(call: Call, graph: Graph, behind: Sequence[keras.layers.Layer]) -> Builder:
    layer = call.layer
    _, height, width, _ = graph.shapes[call.reads[0]]
    assert height is not None and width is not None
    rows, extra_rows = phases(height, layer.kernel_size[0], layer.strides[0], layer.padding)
    columns, extra_columns = phases(width, layer.kernel_size[1], layer.strides[1], layer.padding)
    kernel = layer.kernel.numpy().transpose(0, 1, 3, 2)
    config = layer.get_config()
    options = {
        name: config[name]
        for name in (
            "filters", "activation", "use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer",
            "bias_regularizer", "dtype", "trainable",
        )
    }  # fmt: skip

    def build(x: Any, keep: Keep) -> Any:
        copies = [copy_layer(one) for one in behind]
        parts: list[Any] = []
        for p, row in enumerate(rows):
            for q, column in enumerate(columns):
                name = f"{layer.name}_{p}{q}"
                y = _shifted(x, row, column, name)
                conv = L.Conv2D(kernel_size=(len(row.taps) or 1, len(column.taps) or 1), name=name, **options)
                y = conv(y)
                part = kernel[np.ix_(row.taps, column.taps)] if row.taps and column.taps else None
                weights = conv.get_weights()
                weights[0] = np.zeros_like(weights[0]) if part is None else part
                conv.set_weights([weights[0], *([layer.bias.numpy()] if layer.use_bias else [])])
                for place, copy in enumerate(copies):
                    y = copy(y)
                    if not parts and copy.weights:
                        copy.set_weights(behind[place].get_weights())
                        copy.trainable = behind[place].trainable
                parts.append(y)
        y = L.Concatenate(name=f"{layer.name}_phases")(parts)
        y = DepthToSpace(layer.strides[0], name=f"{layer.name}_shuffle")(y)
        if extra_rows or extra_columns:
            y = L.Cropping2D(((0, extra_rows), (0, extra_columns)), name=f"{layer.name}_crop")(y)
        return y

    return build


def _shifted(x: Any, row: Phase, column: Phase, name: str) -> Any:
    """Adds the zeros that two phases need, and leaves out what they do not see."""
    edges = [(row.before, row.after), (column.before, column.after)]
    pads = tuple(tuple(max(0, edge) for edge in pair) for pair in edges)
    crops = tuple(tuple(max(0, -edge) for edge in pair) for pair in edges)
    if any(edge for pair in pads for edge in pair):
        x = L.ZeroPadding2D(pads, name=f"{name}_pad")(x)
    if any(edge for pair in crops for edge in pair):
        x = L.Cropping2D(crops, name=f"{name}_crop")(x)
    return x
