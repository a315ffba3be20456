"""Parts of a task's training examples: those that networks are chosen on, and fewer to learn from for a first look.

A network that is the best of many on the test part is in part the luckiest there, and its score says too much.
"""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np

from tta_lite.types import InputError, Task

# The same people for every seed of a training: networks that are compared are scored on the same ones.
SEED = 0


def held_out(task: Any, count: int) -> Task:
    """-> the task that learns from all but `count` of its training examples, and is scored on these, not on the test.

    Which ones is drawn once and for all from the number of examples: the same for every network and seed.

    Args:
      task: a dataclass with ``train`` and ``test`` that have ``subset(places)``, as those of data sets that are known
        here.
      count: above 0, fewer than there are; a batch or more must be left.

    Raises:
      InputError: another task, or too many.

    Example:
      >>> from tta_lite.tasks.find import Edges, find_task
      >>> digits = find_task("digits", Edges((8, 8, 1), (10,)), pixels="-1..1")
      >>> apart = held_out(digits, 200)
      >>> len(digits.train), len(apart.train), len(apart.test)
      (1200, 1000, 200)
    """
    train = _training_part(task)
    there, batch = len(train), task.batch_size
    if not 0 < count <= there - batch:
        raise InputError(
            f"Examples that are held out must be 1 to {max(there - batch, 0)}: of {there} a batch of {batch} or more "
            f"must be left to learn from. Received: {count}"
        )
    apart, rest = _split(there, count)
    return cast(Task, dataclasses.replace(task, train=train.subset(rest), test=train.subset(apart)))


def learning_from(task: Any, count: int) -> Task:
    """-> the task with `count` of its training examples, drawn once and for all: an epoch is shorter.

    Args:
      task: as in `held_out`.
      count: a batch or more; all examples if there are no more than that.

    Raises:
      InputError: another task, or fewer than a batch.
    """
    train = _training_part(task)
    if count < task.batch_size:
        raise InputError(f"Examples to learn from must be a batch, {task.batch_size}, or more. Received: {count}")
    if count >= len(train):
        return cast(Task, task)
    return cast(Task, dataclasses.replace(task, train=train.subset(_split(len(train), count)[0])))


def can_be_parted(task: Any) -> bool:
    """-> whether the task's data set is one of which parts can be taken."""
    return dataclasses.is_dataclass(task) and hasattr(getattr(task, "train", None), "subset")


def _training_part(task: Any) -> Any:
    if not can_be_parted(task):
        raise InputError(
            "Parts are taken of data sets that are known here; a task of your own has its own parts. "
            f"Received: {type(task).__name__}"
        )
    return task.train


def _split(there: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """-> `count` places of 0 .. `there` - 1, and the others; each rising."""
    order = np.random.default_rng(SEED).permutation(there)
    return np.sort(order[:count]), np.sort(order[count:])
