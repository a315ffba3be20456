"""A network begins with what a trained one has under the same names, so that a search needs no long trainings.

First channels of each kernel, first blocks of each stage: Cai et al., *Once-for-All*, ICLR 2020, section 3.2,
https://arxiv.org/abs/1908.09791, and Yu et al., *Slimmable Neural Networks*, ICLR 2019, https://arxiv.org/abs/1812.08928,
take weights of smaller networks from a larger one so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.graph import trace

L = keras.layers


@dataclasses.dataclass(frozen=True)
class Inherited:
    """What a network took from another, by the names of its layers that have weights.

    Attributes:
      whole: all arrays, unchanged.
      part: cropped or padded ones.
      fresh: nothing: there is no such layer, or one of another kind.
      share: of the network's numbers, those that were taken, 0..1.
    """

    whole: tuple[str, ...]
    part: tuple[str, ...]
    fresh: tuple[str, ...]
    share: float


def inherit(model: keras.Model, donor: keras.Model, renamed: Mapping[str, str] | None = None) -> Inherited:
    """Puts weights of `donor` into the layers of `model` that have the same name and class -> what was taken.

    Channels: the first ones. Where the new layer has more, those beyond stay as they are. Kernels: their centre; a
    larger one gets zeros around, and does the same at first. A kernel of another parity has no centre in common and
    stays as it is, as do a Dense layer with another number of inputs and a grouped convolution of another shape:
    which of their inputs are the first ones is not known here. A layer after a channel shuffle gets the first
    channels of its own order. Batch norm keeps the moving averages of a wider network: let some steps pass, or
    recalibrate, before the network is scored.

    Args:
      model: functional; its weights are changed in place.
      donor: functional; it is not changed.
      renamed: name of a layer of `model` -> the donor's layer that it takes from instead, which need not be there.

    Raises:
      InputError: one of the two is no graph of layers.

    Example:
      >>> image = keras.Input((8, 8, 3))
      >>> wide, narrow = (keras.Model(image, L.Conv2D(count, 3, name="conv")(image)) for count in (8, 4))
      >>> inherit(narrow, wide).part
      ('conv',)
      >>> bool((narrow.get_weights()[0] == wide.get_weights()[0][..., :4]).all())
      True
    """
    given = {call.name: call.layer for call in trace(donor).calls}
    whole: list[str] = []
    part: list[str] = []
    fresh: list[str] = []
    taken = total = 0
    seen: set[int] = set()
    for call in trace(model).calls:
        layer, source = call.layer, given.get((renamed or {}).get(call.name, call.name))
        if not layer.weights or id(layer) in seen:
            continue
        seen.add(id(layer))
        old = layer.get_weights()
        new = source.get_weights() if source is not None and type(source) is type(layer) else []
        total += sum(array.size for array in old)
        if not _fit(layer, old, new):
            fresh.append(call.name)
            continue
        layer.set_weights([_into(array, value) for array, value in zip(old, new, strict=True)])
        taken += sum(_overlap(array, value) for array, value in zip(old, new, strict=True))
        same = all(array.shape == value.shape for array, value in zip(old, new, strict=True))
        (whole if same else part).append(call.name)
    return Inherited(tuple(whole), tuple(part), tuple(fresh), taken / max(1, total))


def _fit(layer: keras.layers.Layer, old: Sequence[np.ndarray], new: Sequence[np.ndarray]) -> bool:
    if [array.ndim for array in old] != [array.ndim for array in new]:
        return False
    if all(array.shape == value.shape for array, value in zip(old, new, strict=True)):
        return True
    if getattr(layer, "groups", 1) > 1 or (isinstance(layer, L.Dense) and len(old[0]) != len(new[0])):
        return False
    return all(
        _spatial(array) == 0 or all((a - b) % 2 == 0 for a, b in zip(array.shape[:2], value.shape[:2], strict=True))
        for array, value in zip(old, new, strict=True)
    )


def _spatial(array: np.ndarray) -> int:
    """-> how many axes, the first ones, are those of a kernel's height and width."""
    return 2 if array.ndim == 4 else 0


def _into(array: np.ndarray, value: np.ndarray) -> np.ndarray:
    """-> `array` with as much of `value` in it as there is room for."""
    kept, count = array.copy(), _spatial(array)
    channels = tuple(slice(min(a, b)) for a, b in zip(array.shape[count:], value.shape[count:], strict=True))
    middle = [_centres(a, b) for a, b in zip(array.shape[:count], value.shape[:count], strict=True)]
    everywhere = (slice(None),) * count
    # Around a smaller kernel are zeros.
    kept[everywhere + channels] = 0
    kept[tuple(to for to, _ in middle) + channels] = value[tuple(of for _, of in middle) + channels]
    return kept


def _centres(size: int, given: int) -> tuple[slice, slice]:
    """-> where in the new axis, and what of the given one.

    >>> _centres(5, 3), _centres(3, 7)
    ((slice(1, 4, None), slice(0, 3, None)), (slice(0, 3, None), slice(2, 5, None)))
    """
    least = min(size, given)
    to, of = (size - least) // 2, (given - least) // 2
    return slice(to, to + least), slice(of, of + least)


def _overlap(array: np.ndarray, value: np.ndarray) -> int:
    return int(np.prod([min(a, b) for a, b in zip(array.shape, value.shape, strict=True)]))
