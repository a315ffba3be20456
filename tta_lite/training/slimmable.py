"""`Slimmable`: one set of weights that is a network at several widths, for anybody's `compile` and `fit`.

Yu et al., *Slimmable Neural Networks*, ICLR 2019, https://arxiv.org/abs/1812.08928 (a batch norm of its own for each
width); Yu and Huang, *Universally Slimmable Networks and Improved Training Techniques*, ICCV 2019,
https://arxiv.org/abs/1903.05134 (sandwich rule, in-place distillation, batch norm's statistics afterwards).
"""

from __future__ import annotations

from collections.abc import Sequence

from tta_lite.compat import keras
from tta_lite.training.many_in_one import ManyInOne, Part, part
from tta_lite.training.shared_slices import narrowed
from tta_lite.transforms.channels.groups import ChannelGroup, channel_groups
from tta_lite.transforms.channels.targets import size_at
from tta_lite.transforms.channels.units import free
from tta_lite.types import InputError

SWITCHABLE, UNIVERSAL = "switchable", "universal"


class Slimmable(ManyInOne):
    """Trains a network so that its first channels alone are a network too.

    A narrow network has the first units of each group of channels that can shrink (`channel_groups`). It is compiled
    and fitted as the wide one would be: `evaluate`, `predict`, `layers` and `save` are the wide one's, and the logs
    have the wide one's loss and metrics beside the mean loss of each width in training (``loss_0.5``).
    `network(width)` gives a network of one width, to be exported.

    Args:
      model: functional, one input and one output, without nested models; it becomes the wide network and learns.
      widths: shares of the channels above 0 and below 1; 1 is always there.
      how: ``switchable``: all widths in each step, and each has batch norms of its own. ``universal``: in each step
        the widest, the narrowest and `sampled` of the others by chance (the sandwich rule); batch norms share their
        factors, and their statistics come afterwards, by `recalibrate`.
      distil: narrow widths learn the answers of the widest in the same step instead of the labels (in-place
        distillation). None: so if ``universal``, as in the papers.
      sampled: see `how`.
      round_to: a group's size is a multiple of this.
      floor: the fewest channels of a group.
      protected: names and patterns of layers whose channels all stay.
      seed: of the widths that are drawn.

    Raises:
      InputError: a width out of range or twice, nothing that can shrink, or no such `how`.

    Example:
      >>> import numpy as np
      >>> image = keras.Input((8, 8, 1))
      >>> x = keras.layers.Conv2D(16, 3, name="body")(image)
      >>> x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
      >>> net = keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))
      >>> both = Slimmable(net, (0.5,))
      >>> both.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
      >>> sorted(both.fit(np.ones([4, 8, 8, 1]), np.zeros(4), verbose=0).history)
      ['loss', 'loss_0.5']
      >>> both.network(0.5).get_layer("body").filters
      8
    """

    def __init__(
        self,
        model: keras.Model,
        widths: Sequence[float],
        *,
        how: str = SWITCHABLE,
        distil: bool | None = None,
        sampled: int = 2,
        round_to: int = 8,
        floor: int = 8,
        protected: Sequence[str] = (),
        seed: int = 0,
        name: str = "slimmable",
    ) -> None:
        if how not in (SWITCHABLE, UNIVERSAL):
            raise InputError(f"Argument `how` must be {SWITCHABLE} or {UNIVERSAL}. Received: {how!r}")
        widths = tuple(sorted(widths, reverse=True))
        if not widths or len(set(widths)) < len(widths) or not all(0 < width < 1 for width in widths):
            raise InputError(f"Argument `widths` must be different shares between 0 and 1. Received: {widths}")
        groups = channel_groups(model, protected=protected)
        super().__init__(
            model,
            [_within(model, groups, width, how, round_to, floor) for width in widths],
            key=1.0,
            distil=how == UNIVERSAL if distil is None else distil,
            sampled=sampled if how == UNIVERSAL else None,
            seed=seed,
            name=name,
        )

    @property
    def widths(self) -> tuple[float, ...]:
        """All widths, the widest first."""
        return self.keys


def _within(
    model: keras.Model, groups: Sequence[ChannelGroup], width: float, how: str, round_to: int, floor: int
) -> Part:
    gone = {}
    for group in free(groups):
        size = size_at(group, width, round_to, floor)
        if size < group.size:
            gone[group.name] = range(size, group.size)
    if not gone:
        raise InputError(f"No layer can shrink to the width {width:g}: use a smaller `round_to` or `floor`")
    small, slices = narrowed(model, gone)
    return part(width, small, model, slices, own_factors=how == SWITCHABLE)
