"""NetAdapt on a task: the table is profiled, the iterations are timed beside the unmodified network."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tta_lite.compat import keras
from tta_lite.files import atomic_write, to_json_text
from tta_lite.guideline.case_study import say
from tta_lite.guideline.channel_step import BATCHES
from tta_lite.guideline.for_callbacks import Export
from tta_lite.measure.benchmark import benchmark_together
from tta_lite.measure.layer_latency import layer_costs
from tta_lite.search.layer_table import measured_table
from tta_lite.search.netadapt import Examples, Iteration, NetAdapt, netadapt
from tta_lite.search.short_training import loss_score, short_training
from tta_lite.tasks.stream import read_batches
from tta_lite.transforms.channels.criteria import get_criterion
from tta_lite.transforms.rewrite import rewrite
from tta_lite.types import InputError, MeasuredOn, Task


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
    export: Export,
    rules: Mapping[str, Any],
    profile_rules: Mapping[str, Any] | None = None,
    latency_share: float | None = None,
    short: Short | None = None,
    images: Any = None,
    write: Callable[[str], Any] = say,
) -> tuple[keras.Model, list[Iteration]]:
    """-> the network that keeps the budget, not fine-tuned for long, and what each iteration did.

    Args:
      model: trained. It is not changed.
      task: its training data and loss judge the proposals; the test part is not looked at.
      settings: see `NetAdapt`.
      folder: gets the table and the iterations; what is there is not done again.
      export: -> the file that is timed.
      rules: of `benchmark_together`: each network is timed in turn with the unmodified one.
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
    before, now = folder / "before.tflite", folder / "now.tflite"
    if not before.is_file():
        atomic_write(before, export(flat))
    first_ms = _first_ms(folder / "first.json", before, rules)

    def measure(network: keras.Model) -> tuple[float, str]:
        atomic_write(now, export(network))
        found = benchmark_together({"before": before, "now": now}, **rules)
        # By the ratio, which a machine that is busier than before leaves alone.
        return first_ms / found.speedups("before")["now"].median, where(found["now"].measured_on)

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


def _first_ms(path: Path, file: Path, rules: Mapping[str, Any]) -> float:
    """-> p50 of the unmodified network, measured once: all others are shares of it."""
    if not path.is_file():
        latency = benchmark_together({"before": file}, **rules)["before"].latency
        assert latency.p50 is not None
        atomic_write(path, to_json_text({"latency_ms": latency.p50}))
    return float(json.loads(path.read_text(encoding="utf-8"))["latency_ms"])


def where(place: MeasuredOn) -> str:
    """-> where a latency comes from, for people.

    >>> where(MeasuredOn("host", "LiteRT 2.3.0", "XNNPACK", 1, "AMD EPYC"))
    'host, LiteRT 2.3.0, XNNPACK, threads: 1, AMD EPYC'
    """
    return f"{place.board}, {place.runtime}, {place.delegate}, threads: {place.threads}, {place.cpu}"
