"""Examples that are set aside: networks are chosen on these, and neither on what they learnt nor on the test part.

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
    train: Any = getattr(task, "train", None)
    if not dataclasses.is_dataclass(task) or isinstance(task, type) or not hasattr(train, "subset"):
        raise InputError(
            "Examples are held out of data sets that are known here; a task of your own has a test part of its own. "
            f"Received: {type(task).__name__}"
        )
    there, batch = len(train), getattr(task, "batch_size", 1)
    if not 0 < count <= there - batch:
        raise InputError(
            f"Examples that are held out must be 1 to {max(there - batch, 0)}: of {there} a batch of {batch} or more "
            f"must be left to learn from. Received: {count}"
        )
    order = np.random.default_rng(SEED).permutation(there)
    apart, rest = np.sort(order[:count]), np.sort(order[count:])
    changes: dict[str, Any] = {"train": train.subset(rest), "test": train.subset(apart)}
    found: Any = dataclasses.replace(task, **changes)
    return cast(Task, found)
