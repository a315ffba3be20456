"""Is a training stable from step k on? Two runs of a network or a ticket that part there, and the line between them.

Frankle, Dziugaite, Roy and Carbin, Linear Mode Connectivity and the Lottery Ticket Hypothesis, ICML 2020,
https://arxiv.org/abs/1912.05671, sections 3 and 4.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tta_lite.files import atomic_write, to_json_text
from tta_lite.training.connectivity import Line, lines_between
from tta_lite.training.lottery import LotterySearch, masks_file
from tta_lite.training.lottery_masks import Masks, load_masks
from tta_lite.training.masked_training import State
from tta_lite.types import InputError

# Another order of the examples than that of the dense training.
REORDERED = 2_000_003


def part(
    search: LotterySearch,
    step: int,
    measures: Mapping[str, Callable[[], float]],
    *,
    round_number: int = 0,
    points: int = 11,
    batches: Callable[[], Iterable[Any]] | None = None,
) -> dict[str, Line]:
    """-> the lines between two trainings that part at a step by the order of their examples; kept in the folder.

    Args:
      search: whose network, seed and settings these are; its tickets, if asked for, must be there.
      step: k; both have the weights and the optimizer's state of the dense training at it.
      measures: name -> a loss, or an error, of the search's network as it is.
      round_number: of the tickets with weights rewound, whose mask both wear from step k on; 0: the dense network.
      points: on the line.
      batches: see `tta_lite.training.connectivity.lines_between`.

    Raises:
      InputError: `step` is not within the training, or a file of the folder is damaged.
    """
    training, schedule = search.training, search.lottery.schedule
    if not 0 <= step < schedule.steps:
        raise InputError(f"Two runs part at a step of the training, 0 to {schedule.steps - 1}. Received: {step}")
    file = search.folder / "lines" / f"round-{round_number:02d}-step-{step:06d}.json"
    kept = _read(file) if file.is_file() else {}
    if {*measures} <= {*kept} and all(len(line.shares) == points for line in kept.values()):
        return {name: kept[name] for name in measures}
    masks: Masks | None = None
    if round_number:
        masks = load_masks(search.ticket_folder("weights", "large_final") / masks_file(round_number), training.kernels)
    training.set(State(tuple(search.draw(search.seed))))
    if step:
        training.run(search.batches(seed=search.seed, start_step=0), search.rates[:step])
    parted = training.state()
    ends = []
    for seed in (search.seed, search.seed + REORDERED):
        training.set(parted, masks)
        training.run(search.batches(seed=seed, start_step=step), search.rates[step:])
        ends.append(training.state().weights)
    lines = lines_between(training.model, ends[0], ends[1], measures, points=points, batches=batches)
    record = {name: {"shares": line.shares, "losses": line.losses} for name, line in lines.items()}
    atomic_write(file, to_json_text(record) + "\n")
    barriers = ", ".join(f"{name} {line.barrier:.3f}" for name, line in lines.items())
    search.tell(f"seed {search.seed}, step {step}, round {round_number}: error barrier {barriers}")
    return lines


def mean_loss(
    predict: Callable[[Any], np.ndarray],
    data: Iterable[tuple[tf.Tensor, tf.Tensor]],
    loss: Callable[[Any, Any], tf.Tensor],
) -> float:
    """-> the mean loss over the examples of some batches.

    Args:
      predict: inputs [B, ...] to outputs.
      data: batches of (inputs, labels).
      loss: of (labels, outputs), a mean over the batch.

    Raises:
      InputError: no batches.

    Example: a batch of one example and one of three.

      >>> mean_loss(lambda x: x, [(np.ones(1), 0), (np.zeros(3), 0)], lambda y, x: x.mean() - y)
      0.25
    """
    total = count = 0.0
    for inputs, labels in data:
        total += float(loss(labels, predict(inputs))) * len(inputs)
        count += len(inputs)
    if not count:
        raise InputError("A mean loss needs one example or more. Received: none")
    return total / count


def _read(file: Path) -> dict[str, Line]:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        return {
            name: Line(*(np.asarray(one[key], float) for key in ("shares", "losses"))) for name, one in record.items()
        }
    except (ValueError, TypeError, AttributeError, KeyError, OSError) as error:
        raise InputError(f"{file} must hold lines as a search wrote them. Received: {error}") from error
