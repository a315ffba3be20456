"""How much does the network change when one group alone is cut? A curve a group.

Li et al., *Pruning Filters for Efficient ConvNets*, ICLR 2017, section 3.2, https://arxiv.org/abs/1608.08710.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import ChannelGroup
from tta_lite.transforms.channels.units import layers_of, parts, reading_kernel, without
from tta_lite.transforms.rewrite import rewrite

SHARES = (0.25, 0.5, 0.75)
"""Of the steps that a group can take; its smallest size is measured too."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """What was measured of one group.

    Attributes:
      sizes: falling, the group's own first.
      changes: what was lost at each; 0 at the first, and never less than before.
    """

    sizes: tuple[int, ...]
    changes: tuple[float, ...]

    def at(self, size: int) -> float:
        """-> the change at a size, on the straight line between two that were measured."""
        return float(np.interp(-size, [-size for size in self.sizes], self.changes))


Curves = Mapping[str, Curve]


def sensitivity_curves(
    model: keras.Model,
    groups: Sequence[ChannelGroup],
    order: Mapping[str, np.ndarray],
    ladders: Mapping[str, Sequence[int]],
    *,
    images: np.ndarray | None = None,
    loss: Callable[[keras.Model], float] | None = None,
    shares: Sequence[float] = SHARES,
) -> dict[str, Curve]:
    """-> group -> its curve. Nothing is rebuilt: a unit that no layer reads is as good as gone.

    Args:
      model: functional.
      groups: those to be cut.
      order: group -> its units, the worst first.
      ladders: group -> the sizes that it may have, its own first.
      images: what is measured is the squared change of the outputs, relative to their variance over the images;
      loss: or this function's value minus what it is of the whole network.
      shares: of the steps of a group, after which it is measured.
    """
    # A copy: its weights are changed and put back.
    copy = rewrite(model, {}, flatten=False)
    layers = layers_of(copy)
    measure = loss if loss is not None else _output_change(copy, np.asarray(images))
    whole = float(measure(copy))
    curves = {}
    for group in groups:
        ladder = ladders[group.name]
        places = sorted({round(share * (len(ladder) - 1)) for share in (*shares, 1.0)} - {0})
        changes = [0.0]
        for place in places:
            units = order[group.name][: group.size - ladder[place]]
            kept = {part.layer: reading_kernel(layers[part.layer]).numpy() for part in parts(group, "in")}
            for part in parts(group, "in"):
                layer = layers[part.layer]
                reading_kernel(layer).assign(without(layer, np.isin(part.units, units)))
            changes.append(max(changes[-1], float(measure(copy)) - whole))
            for name, values in kept.items():
                reading_kernel(layers[name]).assign(values)
        curves[group.name] = Curve((ladder[0], *(ladder[place] for place in places)), tuple(changes))
    return curves


def _output_change(model: keras.Model, images: np.ndarray, batch: int = 32) -> Callable[[keras.Model], float]:
    """-> a function that says how far the outputs are from what they are now."""
    run = tf.function(lambda x: tf.nest.flatten(model(x, training=False)))
    batches = [tf.constant(images[start : start + batch]) for start in range(0, len(images), batch)]

    def outputs() -> list[np.ndarray]:
        found = [run(x) for x in batches]
        return [np.concatenate([np.asarray(values[k], np.float64) for values in found]) for k in range(len(found[0]))]

    wanted = outputs()

    def change(_: keras.Model) -> float:
        return float(
            np.mean([
                ((now - was) ** 2).sum() / max(((was - was.mean(axis=0)) ** 2).sum(), 1e-30)
                for now, was in zip(outputs(), wanted, strict=True)
            ])
        )  # fmt: skip

    return change
