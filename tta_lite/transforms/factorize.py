"""G2 (clause 6.1.2): each costly convolution becomes two smaller ones, with weights that come from its own."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.transforms import op_counts
from tta_lite.transforms.factor_fit import fitted, kernel_error
from tta_lite.transforms.factor_methods import METHODS, Pair, Plan, Site
from tta_lite.transforms.factor_ranks import choose_ranks
from tta_lite.transforms.graph import Call, Graph, trace
from tta_lite.transforms.least_squares import second_moments
from tta_lite.transforms.rewrite import Builder, Keep, rewrite
from tta_lite.types import InputError

Select = int | float | str | Sequence[str]
COSTLY = 0.05


@dataclasses.dataclass(frozen=True)
class Change:
    """What became of one layer that was selected.

    Attributes:
      name: of the layer.
      method: how it was factorised; empty if it was left as it is.
      rank: channels between the two new layers; None if the method has no rank or the layer was left.
      macs_before: of one inference.
      macs_after: of its successors.
      error: of their output, relative to the old one's: root of the sum of squared differences over that of squares. On
        the calibration images if there are any, else of the kernel. None if the layer was left.
      why: the reason for which it was left.
    """

    name: str
    method: str
    rank: int | None
    macs_before: int
    macs_after: int
    error: float | None
    why: str = ""


@dataclasses.dataclass(frozen=True)
class Factorization:
    """The new model and what was done, layer by layer; MACs are those of the whole network."""

    model: keras.Model
    changes: tuple[Change, ...]
    macs_before: int
    macs_after: int

    def table(self) -> str:
        """-> plain text, one line a layer."""
        head = ("layer", "method", "rank", "MACs before", "MACs after", "error")
        rows = [
            (
                change.name,
                change.method or f"left: {change.why}",
                "" if change.rank is None else str(change.rank),
                f"{change.macs_before:,}",
                f"{change.macs_after:,}",
                "" if change.error is None else f"{change.error:.3f}",
            )
            for change in self.changes
        ]
        total = ("network", "", "", f"{self.macs_before:,}", f"{self.macs_after:,}", "")
        widths = [max(map(len, column)) for column in zip(head, *rows, total, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, tuple("-" * width for width in widths), *rows, total)
        )


def factorize(
    model: keras.Model,
    method: str = "bottleneck",
    select: Select = COSTLY,
    *,
    rank: int | None = None,
    kept: float | None = None,
    macs: int | float | None = None,
    round_to: int = 8,
    groups: int = 2,
    images: np.ndarray | None = None,
) -> Factorization:
    """-> a new model whose costly convolutions are factorised, and a table of what that saves and loses.

    The default follows the guideline: in the channel dimension, for the costliest layers. The method is a key of
    `METHODS`; `spatial` and `stacked_3x3` are there when asked for.

    Args:
      model: functional, input size fixed; nested models are flattened. It is not changed.
      method: ``bottleneck``, ``bottleneck_group``, ``depthwise_separable``, ``spatial`` or ``stacked_3x3``.
      select: the k costliest convolutions (a whole number), all above a share of the network's MACs (a number below 1),
        or names and patterns as in ``deconv*``.
      rank: channels between the two new layers.
      kept: or: as few as keep this share of each kernel's energy, 0..1. The default is 0.9.
      macs: or: as many as a target for the whole network allows, taken away where the least energy is lost a MAC; a
        number below 1 is a share of what it costs now.
      round_to: ranks are multiples of this, which kernels like (ranks given by `rank` stay as they are).
      groups: of ``bottleneck_group``.
      images: calibration images [N, H, W, C] as the network takes them. With them the new weights are fitted to the
        outputs on real inputs (least squares), and the error is that of the output.

    Returns:
      `model`, ready for fine-tuning, and one `Change` a selected layer.

    Raises:
      InputError: an argument out of range, nothing to select, or a layer that was named cannot be factorised so.

    Example:
      >>> image = keras.Input((16, 16, 64))
      >>> net = keras.Model(image, keras.layers.Conv2DTranspose(32, 4, strides=2, padding="same", name="deconv")(image))
      >>> found = factorize(net, rank=16)
      >>> [layer.name for layer in found.model.layers[1:]], found.macs_before // found.macs_after
      (['deconv_pconv', 'deconv'], 3)
    """
    _check_arguments(method, rank, kept, macs, round_to)
    flat = rewrite(model, {}, flatten=True)
    graph = trace(flat)
    costs = {call.name: _macs(graph, call) for call in graph.calls}
    target = None if macs is None else int(macs * sum(costs.values()) if macs < 1 else macs)
    chosen, by_name = _selected(graph, costs, select)
    plans: dict[str, Plan] = {}
    reasons: dict[str, str] = {}
    for name, call in chosen.items():
        moments = None
        if images is not None and method.startswith("bottleneck"):
            moments = second_moments(_inputs_of(flat, call.layer, images))
        inputs, outputs = _fixed(graph.shapes[call.reads[0]]), _fixed(graph.shapes[call.writes[0]])
        answer = _cannot(call.layer) or METHODS[method](Site(call.layer, inputs, outputs, moments, groups))
        if isinstance(answer, Plan):
            plans[name] = answer
        elif name in by_name:
            raise InputError(f"Layer {name!r} cannot be factorised by {method!r}: {answer}")
        else:
            reasons[name] = answer
    others = sum(costs.values()) - sum(costs[name] for name in plans)
    ranks = choose_ranks(plans, costs, others, rank=rank, kept=kept, macs=target, round_to=round_to)
    changes: list[Change] = []
    edits: dict[str, Builder] = {}
    for name, call in chosen.items():
        cost, after = costs[name], plans[name].macs(ranks[name]) if name in ranks else 0
        if name in plans and after >= cost:
            reasons[name] = f"it would cost {after:,} MACs"
        elif name in plans and name not in ranks:
            reasons[name] = "the target is reached without it"
        if name in reasons:
            changes.append(Change(name, "", None, cost, cost, None, reasons[name]))
            continue
        plan = plans[name]
        pair = plan.build(ranks[name])
        if images is None:
            error = kernel_error(pair, call.layer)
        else:
            pair, error = fitted(pair, call.layer, _inputs_of(flat, call.layer, images))
        edits[name] = _builder(pair)
        changes.append(Change(name, method, None if plan.energies is None else ranks[name], cost, after, error))
    before = sum(costs.values())
    saved = sum(change.macs_before - change.macs_after for change in changes)
    return Factorization(rewrite(flat, edits), tuple(changes), before, before - saved)


def _check_arguments(method: str, rank: int | None, kept: float | None, macs: float | None, round_to: int) -> None:
    if method not in METHODS:
        raise InputError(f"Argument `method` must be one of {', '.join(METHODS)}. Received: {method!r}")
    given = [name for name, value in (("rank", rank), ("kept", kept), ("macs", macs)) if value is not None]
    if len(given) > 1:
        raise InputError(f"Only one of `rank`, `kept` and `macs` can choose the ranks. Received: {', '.join(given)}")
    if kept is not None and not 0 < kept <= 1:
        raise InputError(f"Argument `kept` must lie in 0..1. Received: {kept!r}")
    is_share = isinstance(macs, float) and 0 < macs < 1
    for name, value in (("rank", rank), ("macs", None if is_share else macs), ("round_to", round_to)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
            raise InputError(f"Argument `{name}` must be a whole number, 1 or more. Received: {value!r}")


def _cannot(layer: keras.layers.Layer) -> str:
    """-> why no method can take a layer; empty if one may."""
    if layer.data_format != "channels_last":
        return "its channels come first"
    if isinstance(layer, keras.layers.Conv2DTranspose) and (layer.output_padding or layer.dilation_rate != (1, 1)):
        return "a Deconv with output padding or dilation is not taken"
    return ""


def _fixed(shape: Sequence[int | None]) -> tuple[int, ...]:
    return (1, *(size or 0 for size in shape[1:]))


def _macs(graph: Graph, call: Call) -> int:
    shapes = [graph.shapes[number] for number in (*call.reads, call.writes[0])]
    if any(size is None for shape in shapes for size in shape[1:]):
        raise InputError(
            "Factorisation weighs MACs and needs a fixed size: build the model with its input shape, or give "
            f"rewrite() `input_shapes`. Received: {shapes[-1]} in {call.name!r}"
        )
    *inputs, output = (_fixed(shape) for shape in shapes)
    return op_counts.macs(call.layer, inputs, output) or 0


def _selected(graph: Graph, costs: dict[str, int], select: Select) -> tuple[dict[str, Call], set[str]]:
    """-> the chosen calls, the costliest first, and the names that were asked for by themselves."""
    convs = {call.name: call for call in graph.calls if isinstance(call.layer, keras.layers.Conv2D)}
    order = sorted(convs, key=lambda name: -costs[name])
    if isinstance(select, (str, list, tuple)):
        patterns = [select] if isinstance(select, str) else list(select)
        chosen: dict[str, None] = {}
        for pattern in patterns:
            found = fnmatch.filter(order, pattern)
            if not found:
                every = {call.name for call in graph.calls}
                kind = "is no Conv2D or Conv2DTranspose" if pattern in every else "matches no layer"
                raise InputError(
                    f"Argument `select` must name convolutions, such as {', '.join(order[:3])}. "
                    f"Received: {pattern!r}, which {kind}"
                )
            chosen.update(dict.fromkeys(found))
        return {name: convs[name] for name in order if name in chosen}, set(patterns) & set(order)
    if isinstance(select, (int, np.integer)) and not isinstance(select, bool) and select >= 1:
        return {name: convs[name] for name in order[:select]}, set()
    if isinstance(select, float) and 0 < select < 1:
        total = sum(costs.values())
        costly = [name for name in order if costs[name] >= select * total]
        if not costly:
            most = f"{order[0]!r}, has {costs[order[0]] / max(total, 1):.1%}" if order else "there is none"
            raise InputError(
                f"Argument `select` must leave a convolution to factorise; the costliest, {most} of the MACs. "
                f"Expected: a smaller share, how many of the costliest, or names. Received: {select!r}"
            )
        return {name: convs[name] for name in costly}, set()
    raise InputError(
        "Argument `select` must be how many of the costliest convolutions (1 or more), a share of the MACs (between 0 "
        f"and 1), or names. Received: {select!r}"
    )


def _inputs_of(model: keras.Model, layer: keras.layers.Layer, images: np.ndarray) -> np.ndarray:
    """-> what a layer is called on (at its first call) when the model sees the images."""
    try:
        return keras.Model(model.inputs, layer.get_input_at(0)).predict(images, batch_size=8, verbose=0)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Argument `images` must be what {model.name!r} takes, of shape {model.input_shape}. "
            f"Received: {getattr(images, 'shape', type(images).__name__)}"
        ) from error


def _builder(pair: Pair) -> Builder:
    def build(x: Any, keep: Keep) -> Any:
        return pair(x)

    return build
