"""Are the modes as good as networks of their cost that were trained alone? Scored alike, and timed in turn."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tta_lite.adaptive.folder import rewrite_policy
from tta_lite.adaptive.many_in_one import scored_mode, stage_of, task_at
from tta_lite.adaptive.policy import POLICY, Policy, read_policy, write_policy
from tta_lite.adaptive.timing import time_in_child, with_latencies
from tta_lite.types import InputError, Task

# Before the name of each such network.
ALONE = "alone "


def alone_policy(files: Mapping[str, bytes], task: Task) -> Policy:
    """-> a mode for each file, scored as the modes of an adaptive network are: no flip test, pictures of its own size.

    Args:
      files: name -> flatbuffer: networks that were trained alone.
      task: of the largest pictures.

    Raises:
      InputError: no file, or one that is none, takes no picture or gives no answer of the task.
    """
    if not files:
        raise InputError("Argument `files` must hold networks. Received: none")
    stages, modes, metric = [], [], ""
    for name, tflite in files.items():
        try:
            stage = stage_of(ALONE + name, tflite)
            assert stage.image_shape is not None
            mode, metric = scored_mode(stage, tflite, task_at(task, stage.image_shape[:2]))
        except InputError as error:
            raise InputError(f"The network alone {name!r}: {error}") from error
        stages.append(stage)
        modes.append(mode)
    return Policy("alone", "resolution", metric, tuple(stages), tuple(modes))


def check_pictures(alone: Policy, largest: tuple[int, int, int]) -> None:
    """Raises an `InputError` for a network alone that takes larger pictures than the largest mode, or other channels.

    Args:
      alone: of `alone_policy`.
      largest: height, width and channels of what the largest mode takes.
    """
    height, width, channels = largest
    for stage in alone.stages:
        high, wide, deep = stage.image_shape or (0, 0, 0)
        if deep != channels or high > height or wide > width:
            raise InputError(
                f"A network alone must take pictures of at most {height} x {width} with {channels} channels, as the "
                f"modes do. Received: {high} x {wide} with {deep}, {stage.name!r}"
            )


def timed_in_turn(
    folder: str | Path, alone: Policy, files: Mapping[str, bytes], *, runs: int = 200, num_threads: int = 1
) -> tuple[Policy, Policy]:
    """-> the policy of an artifact folder and that of networks alone, with latencies that were measured in turn.

    The folder's policy gets these latencies too, so that what it says can be compared.

    Args:
      folder: the artifact folder.
      alone: of `alone_policy`.
      files: what that was given.
      runs: timed ones of each stage, in a process of their own.
      num_threads: of the interpreter.

    Raises:
      InputError: as of `check_pictures`.
    """
    policy = read_policy(folder)
    check_pictures(alone, policy.image_shape)
    untimed = _untimed(policy)
    both = dataclasses.replace(untimed, stages=untimed.stages + alone.stages, modes=untimed.modes + alone.modes)
    content = {stage.file: (Path(folder) / stage.file).read_bytes() for stage in policy.stages}
    content |= {stage.file: files[stage.name.removeprefix(ALONE)] for stage in alone.stages}
    with tempfile.TemporaryDirectory() as place:
        for name, tflite in content.items():
            (Path(place) / name).write_bytes(tflite)
        write_policy(Path(place) / POLICY, both)
        samples, source = time_in_child(place, runs=runs, num_threads=num_threads)
    timed, others = (with_latencies(one, samples, source) for one in (untimed, alone))
    rewrite_policy(folder, timed)
    return timed, others


def _untimed(policy: Policy) -> Policy:
    stages = tuple(dataclasses.replace(stage, latency_ms=None, spread_ms=()) for stage in policy.stages)
    return dataclasses.replace(policy, stages=stages, latency_source="")
