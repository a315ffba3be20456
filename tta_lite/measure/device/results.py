"""What a kit's ``run.sh`` measured on a board, as one record for a run folder. Imports no TensorFlow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tta_lite.measure.device.benchmark import OnBoard, pool
from tta_lite.measure.device.runner import Golden, Run, profiled_ops
from tta_lite.types import InputError

FORMAT = 1
KIT_KEYS = ("board", "board_title", "name", "row", "model_sha256", "own_libc")


@dataclasses.dataclass(frozen=True)
class Group:
    """What was measured on one group of cores.

    Attributes:
      cores: ``big``, ``little`` or ``all``.
      figures: over all rounds.
      ops: that the runtime ran, see `profiled_ops`.
      golden: of every round.
    """

    cores: str
    figures: OnBoard
    ops: tuple[Mapping[str, Any], ...]
    golden: tuple[Golden, ...]

    @property
    def agrees(self) -> bool | None:
        """Whether every output was the expected one; None: none was checked."""
        return all(one.agrees for one in self.golden) if self.golden else None


@dataclasses.dataclass(frozen=True)
class Results:
    """Of one kit on one board.

    Attributes:
      kit: what ``kit.json`` says: ``board``, ``board_title``, ``name``, ``row``, ``model_sha256``, ``runtime``.
      emulated: whether the runner ran under an emulator: its times say nothing.
      groups: in the order of the script.
    """

    kit: Mapping[str, Any]
    emulated: bool
    groups: tuple[Group, ...]


def read_results(path: str | Path) -> Results:
    """-> what ``results.json`` holds.

    Raises:
      InputError: it is none, or is not whole.
    """
    file = Path(path)
    expected = "the results.json that a kit's run.sh wrote"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} must be {expected}: {error.strerror}. Received: {file}") from error
    except ValueError as error:
        raise InputError(f"{file} must be {expected}; copied whole? Received: {error}") from error
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"format {record['format']}")
        kit = {name: record["kit"][name] for name in KIT_KEYS}
        texts = [*(kit[name] for name in KIT_KEYS if name != "own_libc"), *(one["cores"] for one in record["runs"])]
        if strange := [one for one in texts if not isinstance(one, str)]:
            raise TypeError(f"{strange[0]!r} in the place of a text: model_sha256, cores or another")
        emulated = bool(record["emulated"])
        turns = [(one["cores"], Run.from_json(json.dumps(one["result"]), str(file))) for one in record["runs"]]
        if not turns:
            raise ValueError("no runs")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{file} must be {expected}. Received: {type(error).__name__}: {error}") from error
    groups = []
    for cores in dict.fromkeys(name for name, _ in turns):
        runs = [run for name, run in turns if name == cores]
        figures = pool(runs, kit["board_title"], kit["own_libc"], cores)
        golden = tuple(one for run in runs for one in run.golden)
        groups.append(Group(cores, figures, tuple(profiled_ops(runs)), golden))
    return Results(kit, emulated, tuple(groups))
