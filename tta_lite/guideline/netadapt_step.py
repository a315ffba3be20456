"""NetAdapt on a task: the table is profiled, the iterations are timed beside the unmodified network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tta_lite.compat import keras
from tta_lite.files import atomic_write, to_json_text
from tta_lite.guideline.case_study import say
from tta_lite.guideline.channel_step import BATCHES
from tta_lite.guideline.for_callbacks import exporter
from tta_lite.measure.layer_latency import layer_costs
from tta_lite.search.latency import LatencyOf, measured_here, measured_on_board
from tta_lite.search.layer_table import measured_table
from tta_lite.search.netadapt import Examples, Iteration, NetAdapt, netadapt
from tta_lite.search.short_training import loss_score, short_training
from tta_lite.tasks.stream import read_batches
from tta_lite.transforms.channels.criteria import get_criterion
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import FP32, ExportSpec, InputError, Task


@dataclasses.dataclass(frozen=True)
class Short:
    """What the proposals of an iteration are judged by.

    Attributes:
      steps: of training, for each proposal that is fine-tuned.
      learning_rate: constant.
      batches: of training data whose loss is the score.
    """

    steps: int = 50
    learning_rate: float = 3e-4
    batches: int = 8


def adapted(
    model: keras.Model,
    task: Task,
    settings: NetAdapt,
    folder: str | Path,
    *,
    rules: Mapping[str, Any],
    spec: ExportSpec = FP32,
    calibration: Sequence[np.ndarray] = (),
    profile_rules: Mapping[str, Any] | None = None,
    latency_share: float | None = None,
    short: Short | None = None,
    images: np.ndarray | None = None,
    write: Callable[[str], Any] = say,
) -> tuple[keras.Model, list[Iteration]]:
    """-> the network that keeps the budget, not fine-tuned for long, and what each iteration did.

    Args:
      model: trained. It is not changed.
      task: its training data and loss judge the proposals; the test part is not looked at.
      settings: see `NetAdapt`.
      folder: gets the table and the iterations; what is there is not done again.
      rules: of `benchmark_together`: each network is timed in turn with the unmodified one.
      spec: how the files are made that are timed.
      calibration: images, for presets that need some.
      profile_rules: of `layer_costs`, where the table is measured; this machine if not given.
      latency_share: the budget as a share of what the network takes, above 0 and below 1, instead of
        ``settings.budget_ms``.
      short: see `Short`.
      images: [N, H, W, C] for criteria that need them and for the repair; None: no repair.
      write: where a line an iteration goes.

    Raises:
      InputError: see `netadapt`, or a share out of range.
    """
    if latency_share is not None and not 0 < latency_share < 1:
        raise InputError(f"Argument `latency_share` must be above 0 and below 1. Received: {latency_share}")
    folder, short = Path(folder), short or Short()
    folder.mkdir(parents=True, exist_ok=True)
    flat = rewrite(model, {}, flatten=True)
    export = exporter(spec, calibration)
    # Before anything is timed: what cannot be trained should be told at once.
    tune = short_training(task, short.steps, learning_rate=short.learning_rate, seed=settings.seed)
    score = loss_score(task, short.batches, seed=settings.seed + 1)
    table = measured_table(
        flat,
        export,
        lambda files: layer_costs(files, **(profile_rules or {})),
        folder / "table",
        within=settings.within,
        protected=settings.protected,
        round_to=settings.round_to,
        floor=settings.floor,
    )
    first_ms = _first_ms(folder / "first.json", lambda: timed(spec, calibration, rules)(flat)[0])
    # By the ratio to the unmodified network, which a machine that is busier than before leaves alone.
    measure = timed(spec, calibration, rules, reference=export(flat), reference_ms=first_ms)

    needs = get_criterion(settings.criterion).needs
    examples = Examples(images)
    if needs == "batches":
        read = read_batches(task.train_data(seed=settings.seed).take(BATCHES))
        examples = Examples(images, [(x, y) for x, y, *_ in read], task.loss())
    if latency_share is not None:
        settings = dataclasses.replace(settings, budget_ms=latency_share * first_ms)
    return netadapt(
        flat,
        settings,
        table,
        measure=measure,
        tune=tune,
        score=score,
        folder=folder / "iterations",
        examples=examples,
        write=write,
    )


def _first_ms(path: Path, measured: Callable[[], float]) -> float:
    """-> p50 of the unmodified network, measured once: all others are shares of it."""
    if not path.is_file():
        atomic_write(path, to_json_text({"latency_ms": measured()}))
    return float(json.loads(path.read_text(encoding="utf-8"))["latency_ms"])


def timed(spec: ExportSpec, calibration: Sequence[np.ndarray], rules: Mapping[str, Any], **reference: Any) -> LatencyOf:
    """-> what times a network by the rules of a recipe, here or on the board at ``connect``.

    Args:
      spec, calibration, reference: see `tta_lite.search.latency.measured_here`.
      rules: of `benchmark_together`.
    """
    if "connect" not in rules:
        return measured_here(spec, calibration, **reference, **rules)
    rest = {name: value for name, value in rules.items() if name not in ("connect", "board")}
    return measured_on_board(rules["connect"], rules["board"], spec, calibration, **reference, **rest)
