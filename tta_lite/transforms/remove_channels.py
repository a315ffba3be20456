"""Channels really removed: a smaller network of the same layers, with the weights that are kept.

No zeros, no masks: the new network needs fewer MACs, less memory and less time on every runtime. What leaves together
is found by `channels.groups`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.groups import Analysis, analyse
from tta_lite.transforms.channels.rebuild import rebuild
from tta_lite.types import InputError


def remove_channels(
    model: keras.Model, remove: Mapping[str, Sequence[int]], *, protected: Sequence[str] = ()
) -> keras.Model:
    """-> the network without some of its channels, with the weights of those that stay; names and nesting stay too.

    The outputs are the same if what leaves was 0 where it is read: where the weights that read it are 0, or where the
    weights that make it are 0 and all between gives 0 for 0 (a sigmoid does not).

    Args:
      model: functional, or sequential and built. It is not changed.
      remove: name of a group, as `channel_groups` gives it -> the units that leave.
      protected: as given to `channel_groups`.

    Raises:
      InputError: a group that is not there or is fixed, a unit that is not there, or no unit would stay.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3, name="stem")(image))
      >>> net = keras.Model(image, keras.layers.Conv2D(2, 1, name="head")(x))
      >>> smaller = remove_channels(net, {"stem": [0, 3, 5]})
      >>> [tuple(weight.shape) for weight in smaller.get_layer("head").weights]
      [(1, 1, 5, 2), (2,)]
    """
    found = analyse(model, protected)
    return rebuild(model, found.flow, gone_labels(found, remove))


def gone_labels(found: Analysis, remove: Mapping[str, Sequence[int]]) -> np.ndarray:
    """-> [labels] bool: which leave.

    Raises:
      InputError: see `remove_channels`.
    """
    by_name = {group.name: (number, group) for number, group in enumerate(found.groups)}
    gone = np.zeros(len(found.group_of), bool)
    for name, units in remove.items():
        if name not in by_name:
            raise InputError(
                f"Argument `remove` must name groups of channels: {', '.join(by_name)}. Received: {name!r}"
            )
        number, group = by_name[name]
        chosen = np.unique(np.asarray(units, int))
        if not len(chosen):
            continue
        if group.why_fixed:
            raise InputError(
                f"The channels of group {name!r} must stay: {group.why_fixed}. Received: {len(chosen)} to leave"
            )
        if chosen[0] < 0 or chosen[-1] >= group.size:
            wrong = next(unit for unit in chosen if not 0 <= unit < group.size)
            raise InputError(f"Group {name!r} has units 0 to {group.size - 1}. Received: {wrong}")
        if len(chosen) == group.size:
            raise InputError(f"One unit of group {name!r} or more must stay. Received: all {group.size}")
        gone |= (found.group_of == number) & np.isin(found.place_of, chosen)
    return gone[found.units.of]
