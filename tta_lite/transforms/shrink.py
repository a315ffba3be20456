"""Fewer channels: the network without those that are worth the least, with the weights of all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms.channels.choose import choose_channels
from tta_lite.transforms.channels.criteria import Batch, Loss, check_needs, get_criterion, score_channels
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.channels.repair import repair as repaired
from tta_lite.transforms.channels.targets import Latency
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.transforms.rewrite import rewrite
from tta_lite.transforms.text_table import aligned
from tta_lite.types import InputError

HALF = 0.5


@dataclasses.dataclass(frozen=True)
class Shrunk:
    """The smaller model and what left; MACs and parameters are those of the whole network.

    Attributes:
      model: the smaller one, ready for fine-tuning.
      removed: group -> the units that left.
      sizes: group -> its units before and after, in the order in which the groups run. A unit is one channel, but for
        channels that only leave together, as those of the groups of a grouped convolution.
      fixed: group -> why it could not be touched.
      macs_before: of one inference.
      macs_after: of one inference.
      params_before: all, those too that training does not change.
      params_after: the same.
      latency_ms: what the function of the target measured; None without one.
    """

    model: keras.Model
    removed: Mapping[str, tuple[int, ...]]
    sizes: Mapping[str, tuple[int, int]]
    fixed: Mapping[str, str]
    macs_before: int
    macs_after: int
    params_before: int
    params_after: int
    latency_ms: float | None = None

    def table(self) -> str:
        """-> plain text, one line a group."""
        head = ("group", "before", "after", "left, %", "")
        rows = [
            (name, str(before), str(after), f"{100 * after / before:.0f}", self.fixed.get(name, ""))
            for name, (before, after) in self.sizes.items()
        ]
        total = [
            (name, f"{before:,}", f"{after:,}", f"{100 * after / max(before, 1):.1f}", "")
            for name, before, after in (
                ("MACs", self.macs_before, self.macs_after),
                ("parameters", self.params_before, self.params_after),
            )
        ]
        return aligned(head, [*rows, *total])


def shrink(
    model: keras.Model,
    criterion: str = "l1_norm",
    *,
    macs: float | None = None,
    params: float | None = None,
    latency: Latency | None = None,
    within: Sequence[str] | None = None,
    protected: Sequence[str] = (),
    scope: str | None = None,
    method: str = "greedy",
    round_to: int = 8,
    floor: int = 8,
    images: np.ndarray | None = None,
    batches: Sequence[Batch] | None = None,
    loss: Loss | None = None,
    repair: bool | None = None,
    seed: int = 0,
) -> Shrunk:
    """-> a smaller model: the channels that are worth the least are gone, all others have their weights.

    Args:
      model: functional, input size fixed; nested models are flattened. It is not changed.
      criterion: what a channel is worth, a key of `CRITERIA`.
      macs: the target: what is left of the MACs of the layers within, as a share if below 1, else how many. Half of
        them if no target is given;
      params: or the same of the parameters;
      latency: or a function that measures a model in ms, and the most that it may take.
      within: names and patterns of the layers that may lose channels, as in ``block_*``; None is all.
      protected: names and patterns of layers whose channels all stay.
      scope: how channels are compared over the layers, see `choose_channels`; what suits the criterion by default.
      method: ``greedy``, or ``sensitivity`` (measured on `images`, or by `loss` on `batches` if there are no images).
      round_to: layers have a multiple of this many channels after, which kernels like.
      floor: the fewest channels of a layer.
      images: calibration images [N, H, W, C] as the network takes them, without labels.
      batches: pairs (x, y), for the criteria that look at gradients;
      loss: and the loss of (y, prediction).
      repair: fit the layers that read what left to their old outputs on `images` (least squares, see `repair`). The
        default is to do so if there are images.
      seed: of what is left to chance.

    Raises:
      InputError: an argument out of range, something missing that the criterion needs, a pattern that names nothing, or
        a target that cannot be reached; it says the least that can. All this before any work.

    Example:
      >>> image = keras.Input((16, 16, 3))
      >>> x = keras.layers.Conv2D(32, 3, padding="same", activation="relu", name="body")(image)
      >>> net = keras.Model(image, keras.layers.Conv2D(5, 1, name="head")(x))
      >>> found = shrink(net, macs=0.5)
      >>> found.model.get_layer("body").filters, found.macs_after / found.macs_before
      (16, 0.5)
    """
    check_needs(criterion, images=images, batches=batches, loss=loss)
    if repair and images is None:
        raise InputError("A repair fits layers to their outputs on `images`. Received: repair=True without images")
    if macs is None and params is None and latency is None:
        macs = HALF
    flat = rewrite(model, {}, flatten=True)
    groups = channel_groups(flat, protected=protected)
    choice = choose_channels(
        flat,
        groups,
        lambda: score_channels(flat, groups, criterion, images=images, batches=batches, loss=loss, seed=seed),
        macs=macs,
        params=params,
        latency=latency,
        within=within,
        scope=scope or get_criterion(criterion).scope,
        method=method,
        round_to=round_to,
        floor=floor,
        comparable=get_criterion(criterion).comparable,
        images=images if method == "sensitivity" else None,
        loss=_mean_loss(batches, loss) if method == "sensitivity" and images is None else None,
    )
    smaller = remove_channels(flat, choice.remove)
    if images is not None and repair is not False:
        smaller = repaired(flat, smaller, choice.remove, images)
    return Shrunk(
        smaller,
        choice.remove,
        choice.sizes,
        {group.name: group.why_fixed for group in groups if group.why_fixed},
        choice.macs_before,
        choice.macs,
        choice.params_before,
        choice.params,
        choice.latency_ms,
    )


def _mean_loss(batches: Sequence[Batch] | None, loss: Loss | None) -> Callable[[keras.Model], float] | None:
    if batches is None or loss is None:
        return None

    def mean(model: keras.Model) -> float:
        return float(np.mean([float(np.mean(loss(y, model(x, training=False)))) for x, y in batches]))

    return mean
