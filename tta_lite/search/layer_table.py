"""What each layer of a network takes with fewer channels: measured at a few widths, read off in between.

The look-up table of NetAdapt (Yang et al., ECCV 2018, section 3.3, https://arxiv.org/abs/1804.03230): the latency of a
network is the sum over its layers, and a layer's is known for each number of channels. There every number is measured;
here the whole network is profiled at a few widths, all files in turn, and between two of them a layer's time is a
straight line in its MACs. Files are as they will run: batch norm and activation are part of the convolution.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.files import atomic_write, to_json_text
from tta_lite.measure.layer_latency import LayerCosts
from tta_lite.transforms.channels.costs import Costs
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.transforms.channels.targets import inside, size_at
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

WIDTHS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25)

Points = tuple[tuple[int, float], ...]
"""(MACs, milliseconds), rising."""


@dataclasses.dataclass(frozen=True)
class LayerTable:
    """Milliseconds of each layer by its MACs.

    Attributes:
      layers: Keras layer -> what was measured of it, the fewest MACs first.
      others: of all ops together that have no MACs, by the MACs of the whole network.
      where: the processor that ran it.
      threads: of the runtime.
    """

    layers: Mapping[str, Points]
    others: Points
    where: str
    threads: int

    def __post_init__(self) -> None:
        for name, points in {**self.layers, "the others": self.others}.items():
            macs = [point[0] for point in points]
            if not points or macs != sorted(set(macs)) or not all(0 <= ms < math.inf for _, ms in points):
                raise InputError(
                    f"A layer table holds milliseconds of 0 or more by MACs that rise. Received: {points} for {name!r}"
                )

    def layer_ms(self, layer: str, macs: int) -> float:
        """-> what a layer takes with so many MACs; 0 for one that is part of another's op.

        Below the fewest that were measured the last slope goes on, and a layer never gains time by losing channels.
        """
        return _at(self.layers[layer], macs) if layer in self.layers else 0.0

    def network_ms(self, costs: Costs, kept: Mapping[str, np.ndarray]) -> float:
        """-> the sum over all layers of a network with the units that `kept` marks in each group."""
        macs = {name: layer.cost(kept).macs for name, layer in costs.layers.items()}
        return sum(self.layer_ms(name, own) for name, own in macs.items()) + _at(self.others, sum(macs.values()))

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LayerTable:
        """The inverse of `to_json`."""
        layers = {name: _points(points) for name, points in record["layers"].items()}
        return cls(layers, _points(record["others"]), record["where"], record["threads"])


def measured_table(
    model: keras.Model,
    export: Callable[[keras.Model], bytes],
    profile: Callable[[Mapping[str, Path]], Mapping[str, LayerCosts]],
    folder: str | Path,
    *,
    widths: Sequence[float] = WIDTHS,
    within: Sequence[str] | None = None,
    protected: Sequence[str] = (),
    round_to: int = 8,
    floor: int = 8,
) -> LayerTable:
    """-> the table of a network: all groups that may shrink are cut to each width, and the files are profiled.

    Args:
      model: functional, its input size fixed, without nested models. It is not changed.
      export: -> the ``.tflite`` file.
      profile: as `tta_lite.measure.layer_latency.layer_costs`, on this machine or a board.
      folder: gets the files and ``layer_table.json``; a table that is there is read.
      widths: shares of the channels, 1 among them.
      within: names and patterns of the layers that may lose channels; None is all.
      protected: names and patterns of layers whose channels all stay.
      round_to: a group's size is a multiple of this.
      floor: the fewest channels of a group.

    Raises:
      InputError: no width of 1, one out of range, or a file that cannot be profiled.
    """
    folder = Path(folder)
    path = folder / "layer_table.json"
    if path.is_file():
        return LayerTable.from_json(json.loads(path.read_text(encoding="utf-8")))
    if 1 not in widths or not all(0 < width <= 1 for width in widths):
        raise InputError(f"Argument `widths` must be shares above 0 and up to 1, with 1. Received: {tuple(widths)}")
    groups = channel_groups(model, protected=protected)
    costs = Costs(model, groups, within)
    usable = inside(groups, costs)
    kept = {f"width_{width:g}": at_width(costs, usable, width, round_to, floor) for width in widths}
    files = {}
    for name, masks in kept.items():
        gone = {group: np.flatnonzero(~mask).tolist() for group, mask in masks.items() if not mask.all()}
        files[name] = folder / f"{name}.tflite"
        if not files[name].is_file():
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(files[name], export(remove_channels(model, gone) if gone else model))
    found = profile(files)
    macs = {name: {layer: one.cost(masks).macs for layer, one in costs.layers.items()} for name, masks in kept.items()}
    table = table_of({name: (macs[name], found[name]) for name in files})
    atomic_write(path, to_json_text(table.to_json(), indent=1))
    return table


def at_width(
    costs: Costs, groups: Sequence[ChannelGroup], width: float, round_to: int, floor: int
) -> dict[str, np.ndarray]:
    """-> group -> which units are there when each has the largest of its sizes up to that share, or its least."""
    kept = costs.full()
    for group in groups:
        kept[group.name][size_at(group, width, round_to, floor) :] = False
    return kept


def table_of(profiled: Mapping[str, tuple[Mapping[str, int], LayerCosts]]) -> LayerTable:
    """-> the table from (layer -> its MACs, where the time went) of each width."""
    layers: dict[str, dict[int, float]] = {}
    others: dict[int, float] = {}
    for macs, found in profiled.values():
        spent: dict[str, float] = {}
        rest = 0.0
        for layer in found.layers:
            if macs.get(layer.layer):
                spent[layer.layer] = spent.get(layer.layer, 0.0) + layer.latency_ms
            else:
                rest += layer.latency_ms
        for name, ms in spent.items():
            layers.setdefault(name, {})[macs[name]] = ms
        others[sum(macs.values())] = rest
    first = next(iter(profiled.values()))[1]
    return LayerTable(
        {name: _rising(points) for name, points in layers.items()}, _rising(others), first.where, first.threads
    )


def _rising(points: Mapping[int, float]) -> Points:
    """-> by MACs; a width whose time lies below that of fewer MACs, by the noise of the clock, is raised to it."""
    ordered = sorted(points.items())
    return tuple(zip((macs for macs, _ in ordered), itertools.accumulate((ms for _, ms in ordered), max), strict=True))


def _points(points: Sequence[Sequence[float]]) -> Points:
    return tuple((int(macs), float(ms)) for macs, ms in points)


def _at(points: Points, macs: int) -> float:
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    if macs >= xs[0] or len(xs) == 1:
        return float(np.interp(macs, xs, ys)) if macs <= xs[-1] else ys[-1] * macs / max(xs[-1], 1)
    slope = (ys[1] - ys[0]) / (xs[1] - xs[0])
    return max(ys[0] - slope * (xs[0] - macs), 0.0)
