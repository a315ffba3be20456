"""The artifact folder of early exits or of a cascade, from a task: scored, tuned and timed through LiteRT."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tta_lite.adaptive.folder import GOLDEN_IMAGES, rewrite_policy, write_adaptive
from tta_lite.adaptive.loaded import LoadedStage
from tta_lite.adaptive.modes import IMAGE, Stage
from tta_lite.adaptive.policy import Policy
from tta_lite.adaptive.staged import tuned_modes
from tta_lite.adaptive.sureness import MAX_SOFTMAX
from tta_lite.adaptive.timing import time_in_child, with_latencies
from tta_lite.export.runner import load
from tta_lite.tasks.classification import METRIC
from tta_lite.tasks.stream import first_inputs, read_batches
from tta_lite.types import InputError, Task


def stage_scores(
    stages: Sequence[Stage], files: Mapping[str, bytes], task: Task
) -> tuple[list[np.ndarray], np.ndarray]:
    """-> what each stage says of all test examples, [N, classes] each, and their labels [N]; through LiteRT.

    Args:
      stages: in the order in which they run.
      files: name -> flatbuffer.
      task: a classification: its labels are numbers of classes.

    Raises:
      InputError: labels that are none.
    """
    interpreters = {name: load(content) for name, content in files.items()}
    loaded = {stage.name: LoadedStage(stage, interpreters[stage.file]) for stage in stages}
    found: list[list[np.ndarray]] = [[] for _ in stages]
    labels: list[np.ndarray] = []
    for images, of_them in read_batches(task.validation_data()):
        if of_them.ndim != 1 or not np.issubdtype(of_them.dtype, np.integer):
            raise InputError(
                "Thresholds are tuned for a classification, whose labels are [B] numbers of classes. "
                f"Received: {list(of_them.shape)} {of_them.dtype}"
            )
        labels.append(of_them)
        for image in images:
            made: dict[str, np.ndarray] = {}
            for place, stage in enumerate(stages):
                given = {name: image[None] if taken == IMAGE else made[taken] for name, taken in stage.inputs.items()}
                outputs = loaded[stage.name].run(given)
                made |= {f"{stage.name}/{name}": values for name, values in outputs.items()}
                found[place].append(outputs[stage.scores][0])
    return [np.stack(one) for one in found], np.concatenate(labels)


def write_staged(
    folder: str | Path,
    kind: str,
    stages: Sequence[Stage],
    files: Mapping[str, bytes],
    task: Task,
    *,
    name: str,
    signal: str = MAX_SOFTMAX,
    logits: bool = False,
    tuning: Task | None = None,
    tune_share: float = 0.25,
    seed: int = 0,
    runs: int = 200,
    num_threads: int = 1,
) -> Policy:
    """Writes the artifact folder of stages; -> its policy, with latencies.

    Thresholds are tuned on examples that the networks did not learn from, for of those they are surer than of any
    others; and for the latencies of the stages, as they are measured here.

    Args:
      folder: the artifact folder.
      kind: ``early_exit`` or ``cascade``.
      stages, files: of `early_exit_file` or `cascade_stages`.
      task: a classification.
      tuning: a task whose test examples tune the thresholds, such as `tta_lite.tasks.held_out.held_out` gives for the
        training; None: a part of the test examples of `task` does, and the others score.
      name: of the policy.
      signal: of `tta_lite.adaptive.sureness.SIGNALS`.
      logits: whether scores are not yet probabilities.
      tune_share: of the test examples, above 0 and below 1, if there is no `tuning`.
      seed: of which those are.
      runs: timed ones of each stage, in a process of their own.
      num_threads: of the interpreter.

    Raises:
      InputError: no such share, or labels that are no classes.
    """
    if not 0 < tune_share < 1:
        raise InputError(f"Argument `tune_share` must be a share between 0 and 1. Received: {tune_share}")
    test = stage_scores(stages, files, task)
    if tuning is not None:
        tune = stage_scores(stages, files, tuning)
    else:
        scores, labels = test
        order = np.random.default_rng(seed).permutation(len(labels))
        parts = np.split(order, [round(tune_share * len(order))])
        if not all(map(len, parts)):
            raise InputError(f"More test examples are needed to tune and to score. Received: {len(labels)}")
        tune, test = (([one[part] for one in scores], labels[part]) for part in parts)

    modes = tuned_modes(stages, tune, test, signal=signal, logits=logits)
    policy = Policy(name, kind, METRIC, tuple(stages), modes, signal=signal, logits=logits)
    write_adaptive(folder, policy, files, list(first_inputs(task.validation_data(), GOLDEN_IMAGES)))
    samples, source = time_in_child(folder, runs=runs, num_threads=num_threads)
    timed = with_latencies(policy, samples, source)
    # Again, for what MACs promise is not what a stage takes.
    again = tuned_modes(timed.stages, tune, test, signal=signal, logits=logits)
    policy = dataclasses.replace(timed, modes=again)
    rewrite_policy(folder, policy)
    return policy
