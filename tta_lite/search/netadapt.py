"""NetAdapt: a given network loses channels, a little of its latency at a time, until it keeps a limit.

Yang et al., *NetAdapt: Platform-Aware Neural Network Adaptation for Mobile Applications*, ECCV 2018, algorithm 1,
https://arxiv.org/abs/1804.03230. In each iteration every group of channels makes a proposal: it alone shrinks, as far
as the iteration's latency asks by the measured table of layers. The proposals are fine-tuned for a short time, and the
best one becomes the network. The long fine-tuning comes after the last iteration and is not done here.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.compat import keras, load_model
from tta_lite.files import atomic_path, atomic_write, to_json_text
from tta_lite.search.layer_table import LayerTable
from tta_lite.transforms.channels.costs import Costs
from tta_lite.transforms.channels.criteria import Batch, Loss, check_needs, score_channels
from tta_lite.transforms.channels.groups import channel_groups
from tta_lite.transforms.channels.repair import repair
from tta_lite.transforms.channels.targets import inside, sizes
from tta_lite.transforms.remove_channels import remove_channels
from tta_lite.types import InputError

RECORD, MODEL = "iteration.json", "model.keras"
# How often less may be asked of an iteration before it gives up: down to an eighth.
HALVINGS = 4


@dataclasses.dataclass(frozen=True)
class NetAdapt:
    """How a network is shrunk.

    Attributes:
      budget_ms: the most that it may take.
      step: the share of its first latency that the first iteration frees, above 0 and below 1;
      decay: and by how much each later one frees less, above 0 and up to 1 (the authors take 0.96 to 0.98).
      criterion: which channels of a group leave, a key of `CRITERIA`; the authors take the l2 norm.
      tuned: how many proposals of an iteration are fine-tuned, those with the best score before it; None: all, as in
        the paper.
      within: names and patterns of the layers that may lose channels; None is all.
      protected: names and patterns of layers whose channels all stay.
      round_to: a group's size is a multiple of this.
      floor: the fewest channels of a group.
      seed: of what is left to chance.
    """

    budget_ms: float
    step: float = 0.05
    decay: float = 0.96
    criterion: str = "l2_norm"
    tuned: int | None = None
    within: Sequence[str] | None = None
    protected: Sequence[str] = ()
    round_to: int = 8
    floor: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.budget_ms > 0:
            raise InputError(f"Argument `budget_ms` must be above 0. Received: {self.budget_ms}")
        if not 0 < self.step < 1 or not 0 < self.decay <= 1:
            raise InputError(
                "Argument `step` must be between 0 and 1, `decay` above 0 and up to 1. "
                f"Received: {self.step}, {self.decay}"
            )
        if self.tuned is not None and self.tuned < 1:
            raise InputError(f"Argument `tuned` must be 1 or more, or None for all. Received: {self.tuned}")
        for name in ("round_to", "floor"):
            if getattr(self, name) < 1:
                raise InputError(f"Argument `{name}` must be 1 or more. Received: {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a criterion or a repair looks at.

    Attributes:
      images: calibration images [N, H, W, C] without labels; with them, layers behind are repaired.
      batches: pairs (x, y), for criteria that look at gradients;
      loss: and the loss of (y, prediction).
    """

    images: np.ndarray | None = None
    batches: Sequence[Batch] | None = None
    loss: Loss | None = None


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A group that alone shrinks.

    Attributes:
      group: its name.
      size: of the group after.
      predicted_ms: what the network would take by the table.
      score: the higher, the better, before the short fine-tuning;
      tuned_score: and after it; None: it was not fine-tuned.
    """

    group: str
    size: int
    predicted_ms: float
    score: float
    tuned_score: float | None = None


@dataclasses.dataclass(frozen=True)
class Iteration:
    """What one iteration did.

    Attributes:
      number: from 1; 0 is the network before.
      chosen: the proposal that was taken; None for number 0.
      size_before: of its group.
      latency_ms: of the network now, as it was measured;
      source: where and by what.
      macs: of one inference.
      params: of the network.
      proposals: all of them.
    """

    number: int
    latency_ms: float
    source: str
    macs: int
    params: int
    chosen: Proposal | None = None
    size_before: int = 0
    proposals: tuple[Proposal, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """-> a dictionary of plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Iteration:
        """The inverse of `to_json`."""
        chosen = None if record["chosen"] is None else Proposal(**record["chosen"])
        proposals = tuple(Proposal(**one) for one in record["proposals"])
        return cls(**{**record, "chosen": chosen, "proposals": proposals})


def netadapt(
    model: keras.Model,
    settings: NetAdapt,
    table: LayerTable,
    *,
    measure: Callable[[keras.Model], tuple[float, str]],
    tune: Callable[[keras.Model, int], keras.Model],
    score: Callable[[keras.Model], float],
    folder: str | Path,
    examples: Examples | None = None,
    write: Callable[[str], Any] = print,
) -> tuple[keras.Model, list[Iteration]]:
    """Shrinks a network until it keeps the budget; a call with the same `folder` goes on after a kill.

    Args:
      model: trained, functional, without nested models, its input size fixed. It is not changed.
      settings: see `NetAdapt`.
      table: of this network, see `measured_table`. It says how far a group must shrink; what a network takes, and when
        the budget is kept, is measured.
      measure: -> milliseconds of a network, and where they come from.
      tune: (network, number of the iteration) -> the network after a short training.
      score: -> how good a network is, the higher, the better. Not of the test part, or the network is fitted to it.
      folder: gets a folder an iteration; what is finished there is not done again.
      examples: for criteria that need them, and for the repair.
      write: where a line an iteration goes.

    Returns:
      the smaller network, to be fine-tuned for long; and all iterations, number 0 first.

    Raises:
      InputError: the criterion lacks what it needs, or the budget cannot be reached: it says the least that was.
    """
    folder, examples = Path(folder), examples or Examples()
    check_needs(settings.criterion, **vars(examples))
    iterations, found = _read(folder, model)
    if not iterations:
        iterations.append(_measured(0, model, measure))
        _keep(folder, iterations[0], None)
    freed = settings.step * iterations[0].latency_ms
    write(f"0: {iterations[0].latency_ms:.3g} ms, {iterations[0].macs:,} MACs ({iterations[0].source})")
    while iterations[-1].latency_ms > settings.budget_ms:
        number = len(iterations)
        now = iterations[-1].latency_ms
        delta = min(freed * settings.decay ** (number - 1), now - settings.budget_ms)
        proposed: list[_Smaller] = []
        # Near the end no group alone may free so much: then less is asked, as decay would come to it.
        for _ in range(HALVINGS):
            # A share: by how much the table is wrong about this network, it is taken to be wrong about its neighbours.
            wanted = now - delta
            proposed = _proposals(found, settings, table, wanted / now, examples)
            if proposed:
                break
            delta /= 2
        if not proposed:
            raise InputError(
                f"No group of channels can shrink further: {now:.3g} ms is the least that was reached in "
                f"{number - 1} iterations. Expected: {settings.budget_ms:g} ms"
            )
        scored = [(one, score(one.model)) for one in proposed]
        ranked = sorted(scored, key=lambda pair: -pair[1])
        best: tuple[float, keras.Model, _Smaller] | None = None
        proposals = []
        for place, (one, before) in enumerate(ranked):
            after = None
            if settings.tuned is None or place < settings.tuned:
                tuned = tune(one.model, number)
                after = score(tuned)
                if not math.isnan(after) and (best is None or after > best[0]):
                    best = after, tuned, one
            proposals.append(Proposal(one.group, one.size, one.predicted_ms, before, after))
        if best is None:
            raise InputError(f"A score must be a number. Received: NaN for all proposals of iteration {number}")
        _, found, taken = best
        chosen = next(one for one in proposals if one.group == taken.group)
        measured = _measured(number, found, measure)
        iteration = dataclasses.replace(
            measured, chosen=chosen, size_before=taken.size_before, proposals=tuple(proposals)
        )
        _keep(folder, iteration, found)
        iterations.append(iteration)
        write(
            f"{number}: {taken.group} {taken.size_before} to {taken.size}, {iteration.latency_ms:.3g} ms "
            f"(asked {wanted:.3g}), {iteration.macs:,} MACs, score {chosen.tuned_score:.4g}"
        )
    return found, iterations


@dataclasses.dataclass(frozen=True, eq=False)
class _Smaller:
    group: str
    size_before: int
    size: int
    predicted_ms: float
    model: keras.Model


def _proposals(
    model: keras.Model, settings: NetAdapt, table: LayerTable, share: float, examples: Examples
) -> list[_Smaller]:
    """-> of each group the network in which it alone shrinks to that share of the latency, if it can."""
    groups = channel_groups(model, protected=settings.protected)
    costs = Costs(model, groups, settings.within)
    whole = table.network_ms(costs, costs.full())
    reached = {}
    for group in inside(groups, costs):
        for size in sizes(group, settings.round_to, settings.floor)[1:]:
            mask = np.zeros(group.size, bool)
            mask[:size] = True
            predicted = table.network_ms(costs, {**costs.full(), group.name: mask})
            if predicted <= share * whole:
                reached[group.name] = size, predicted
                break
    if not reached:
        return []
    scores = score_channels(model, groups, settings.criterion, **vars(examples), seed=settings.seed)
    found = []
    for group in groups:
        if group.name not in reached or group.name not in scores:
            continue
        size, predicted = reached[group.name]
        least = np.argsort(scores[group.name], kind="stable")[: group.size - size]
        gone = {group.name: sorted(int(unit) for unit in least)}
        smaller = remove_channels(model, gone)
        if examples.images is not None:
            smaller = repair(model, smaller, gone, examples.images)
        found.append(_Smaller(group.name, group.size, size, predicted, smaller))
    return found


def _measured(number: int, model: keras.Model, measure: Callable[[keras.Model], tuple[float, str]]) -> Iteration:
    latency_ms, source = measure(model)
    costs = Costs(model, channel_groups(model))
    total = costs.total(costs.full())
    return Iteration(number, float(latency_ms), source, total.macs, total.params)


def _place(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}"


def _keep(folder: Path, iteration: Iteration, model: keras.Model | None) -> None:
    place = _place(folder, iteration.number)
    place.mkdir(parents=True, exist_ok=True)
    if model is not None:
        with atomic_path(place / MODEL) as temporary:
            model.save(temporary)
    # Last: an iteration with a record is finished.
    atomic_write(place / RECORD, to_json_text(iteration.to_json(), indent=1))
    if iteration.number > 1:
        (_place(folder, iteration.number - 1) / MODEL).unlink(missing_ok=True)


def _read(folder: Path, model: keras.Model) -> tuple[list[Iteration], keras.Model]:
    iterations: list[Iteration] = []
    while (file := _place(folder, len(iterations)) / RECORD).is_file():
        iterations.append(Iteration.from_json(json.loads(file.read_text(encoding="utf-8"))))
    if (torn := _place(folder, len(iterations))).is_dir():
        shutil.rmtree(torn)
    last = len(iterations) - 1
    return iterations, load_model(_place(folder, last) / MODEL) if last > 0 else model
