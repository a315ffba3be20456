"""What the parts of a group say of a layer's weights, unit by unit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup, Part
from tta_lite.transforms.channels.weights import Place, places
from tta_lite.transforms.graph import trace


def layers_of(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """-> layer by its path, as in `graph.Call.name`."""
    return {call.name: call.layer for call in trace(model).calls}


def free(groups: Sequence[ChannelGroup]) -> list[ChannelGroup]:
    """-> the groups that may be touched."""
    return [group for group in groups if not group.why_fixed]


def parts(group: ChannelGroup, side: str) -> Iterator[Part]:
    """Yields the parts on one side: ``out`` makes the channels, ``in`` reads them, ``each`` has a weight for each."""
    return (part for part in group.parts if part.side == side)


def summed(values: np.ndarray, part: Part, size: int) -> np.ndarray:
    """[channels, ...] -> [size, ...]: the sum over the channels of each unit."""
    own = part.units >= 0
    total = np.zeros((size, *values.shape[1:]))
    np.add.at(total, part.units[own], values[own])
    return total


def averaged(values: np.ndarray, part: Part, size: int) -> np.ndarray:
    """[channels] -> [size]: the mean over the channels of each unit."""
    return summed(values, part, size) / np.maximum(summed(np.ones(len(values)), part, size), 1)


def width(group: ChannelGroup) -> int:
    """-> how many channels of a layer leave with one unit: 1, but for grouped convolutions, shuffles and the like."""
    counts = [np.bincount(part.units[part.units >= 0], minlength=group.size) for part in parts(group, "out")]
    return max(1, min((int(count.min()) for count in counts), default=1))


def _place(layer: keras.layers.Layer, side: str) -> Place:
    """-> where a side's channels lie in the kernel: of a separable convolution, in the one that mixes them."""
    return places(layer)[side][-1 if side == "in" else 0]


def rows(layer: keras.layers.Layer, side: str, values: np.ndarray | None = None) -> np.ndarray:
    """A layer's kernel, or `values` in its shape -> [channels of that side, the rest] float64."""
    place = _place(layer, side)
    values = getattr(layer, place.weight).numpy() if values is None else np.asarray(values)
    moved = np.moveaxis(values, place.axis, 0).astype(np.float64)
    return moved.reshape(len(moved) // place.times, -1)


def reading_kernel(layer: keras.layers.Layer) -> keras.Variable:
    """-> the weight with which a layer reads its channels."""
    return getattr(layer, _place(layer, "in").weight)


def without(layer: keras.layers.Layer, channels: np.ndarray) -> np.ndarray:
    """-> a layer's `reading_kernel` with zeros for the channels that are marked, [channels] bool."""
    place = _place(layer, "in")
    values = np.moveaxis(reading_kernel(layer).numpy().copy(), place.axis, 0)
    values[np.repeat(channels, place.times)] = 0
    return np.moveaxis(values, 0, place.axis)
