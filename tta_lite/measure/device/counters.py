"""Counts what a network executes on an emulated processor: instructions by kind, bytes, misses, by op.

The runner marks where an inference begins and ends by system calls that do nothing, and LiteRT's profiler reads the
clock around each op by another: the plugins of ``native/`` see both and split there. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tta_lite.measure.device.emulated_cores import Caches
from tta_lite.measure.device.emulator import Emulated
from tta_lite.measure.device.executed import Counts, OpTally, Tally
from tta_lite.measure.device.library import version
from tta_lite.measure.device.local import Local
from tta_lite.measure.device.plugins import plugin_words
from tta_lite.measure.device.runner import GOLDEN_DIFFERS, MODEL, RESULTS, Run, install, run_file
from tta_lite.measure.device.transport import DeviceError

# An inference of a 256 x 256 network takes ten seconds under emulation, and four of them are made.
TIMEOUT_S = 3600.0
# The type of an event of a builtin op; those of XNNPACK are 8.
BUILTIN = 2
# LiteRT's profiler reads the clock at both ends of three steps: before the ops of handing over the buffers, around all
# ops, and after them of handing the buffers back.
READS_BEFORE, READS_AFTER = 3, 3

Row = Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What the plugins saw of a program.

    Attributes:
      total: of the whole program.
      inferences: that it marked, each as rows: from its beginning to the first reading of the clock, and so on.
    """

    total: Row
    inferences: tuple[tuple[Row, ...], ...]


def count_program(
    board: Emulated, command: Sequence[str], *, timeout_s: float, codes: Sequence[int] = (0,)
) -> Recorded:
    """Runs a program on an emulated board with both plugins.

    Args:
      board: entered.
      command: the program and its words.
      timeout_s: seconds after which it is ended.
      codes: exit codes of a program that did what it should.

    Raises:
      DeviceError: it failed, ran too long, or ran in more than one thread.
    """
    outs = {name: Path(board.folder, f"{name}.json") for name in ("count", "cache")}
    for out in outs.values():
        out.unlink(missing_ok=True)
    plugins = [
        plugin_words("count", outs["count"]),
        plugin_words("cache", outs["cache"], **_arguments(board.caches)),
    ]
    finished = board.run_with_plugins(command, plugins, timeout_s=timeout_s)
    if finished.code not in codes:
        lines = finished.stderr.strip().splitlines() or ["no message"]
        raise DeviceError(f"{board.title}: {command[0]} ended with code {finished.code}. Received: {lines[-1]}")
    tables = {name: _read(board, out) for name, out in outs.items()}
    return _joined(tables["count"], tables["cache"])


def count_model(
    board: Emulated,
    model: str | Path,
    *,
    kernels: str = "xnnpack",
    by_op: bool = True,
    timeout_s: float = TIMEOUT_S,
) -> Counts:
    """Counts one inference of a ``.tflite`` file, on one thread and with inputs drawn at random.

    The first inference is not counted: it fills what is made once. The count is the same each time; what a network
    with data-dependent work executes hangs on its inputs. This machine runs the file too, to compare the outputs.

    Args:
      board: entered.
      model: the file.
      kernels: ``xnnpack`` or ``builtin``.
      by_op: also counts each op, which takes twice as long.
      timeout_s: seconds for all.

    Raises:
      DeviceError: the file or the emulator failed.
    """
    installed = install(board)
    board.put(Path(model), MODEL)
    # Relative names: those of another folder would move the stack, and with it the misses.
    command = [word.replace(board.folder, ".") for word in installed.words]
    command += [f"--model={MODEL}", f"--out={RESULTS}", f"--kernels={kernels}", "--marks", "--warmup_runs=0"]
    command += ["--warmup_min_secs=0", "--runs=1", "--min_secs=0", f"--profile_runs={int(by_op)}"]
    with tempfile.TemporaryDirectory(prefix="tta_lite_outputs_") as folder:
        expected = outputs_here(Path(model), Path(folder), kernels=kernels, timeout_s=timeout_s)
        for file in expected:
            board.put(file, file.name)
    command += [f"--expect={file.name}" for file in expected]
    recorded = count_program(board, command, timeout_s=timeout_s, codes=(0, GOLDEN_DIFFERS))
    run = Run.from_json(Path(board.folder, RESULTS).read_text(encoding="utf-8"), RESULTS)
    if len(recorded.inferences) != 2 + by_op:
        raise DeviceError(
            f"{board.title}: the runner must mark {2 + by_op} inferences. Received: {len(recorded.inferences)}"
        )
    return Counts(
        board.cpu,
        board.qemu.title,
        f"LiteRT {version()}",
        kernels,
        run.fully_delegated,
        board.caches,
        Tally.from_columns(summed(recorded.inferences[1])),
        split_by_op(recorded.inferences[2], run.profile[0]) if by_op else (),
        run.golden,
    )


def outputs_here(model: Path, folder: Path, *, kernels: str, timeout_s: float) -> list[Path]:
    """-> files with this machine's outputs of the inputs that the runner draws, one an output.

    Args:
      model: the file.
      folder: that the outputs are written to.
      kernels: as in `count_model`.
      timeout_s: seconds.

    Raises:
      DeviceError: it does not run here.
    """
    with Local() as here:
        flags = ["--warmup_runs=0", "--warmup_min_secs=0", "--runs=1", "--min_secs=0", f"--kernels={kernels}"]
        run_file(here, install(here), str(model.resolve()), flags=[*flags, f"--dump={folder}"], timeout_s=timeout_s)
    return sorted(folder.iterdir(), key=lambda path: int(re.sub(r"\D", "", path.name)))


def split_by_op(rows: Sequence[Row], events: Sequence[Mapping[str, Any]]) -> tuple[OpTally, ...]:
    """Rows between the readings of the clock, and the events of LiteRT's profiler -> what each op executed.

    XNNPACK reads the clock once before the first op of a part of the network and once after each op; LiteRT reads it
    before and after each op of its own.

    Args:
      rows: of one inference.
      events: of the same, in the order of running: ``type``, ``node`` and ``name``.

    Returns:
      An entry for each event; none at all where kernels read the clock themselves, so that rows cannot be told apart.
    """
    starts: list[int] = []
    place, previous = READS_BEFORE, None
    for event in events:
        if event["type"] == BUILTIN:
            starts.append(place + 1)
            place += 2
        else:
            first = previous is None or previous["type"] == BUILTIN or event["node"] <= previous["node"]
            place += 1 if first else 0
            starts.append(place)
            place += 1
        previous = event
    if place + READS_AFTER + 1 != len(rows):
        return ()
    return tuple(
        OpTally(
            number, event["name"], "builtin" if event["type"] == BUILTIN else "xnnpack", Tally.from_columns(rows[at])
        )
        for number, (at, event) in enumerate(zip(starts, events, strict=True))
    )


def summed(rows: Sequence[Row]) -> Row:
    """Rows -> their sum.

    >>> summed([{"load": 1}, {"load": 2}])
    {'load': 3}
    """
    return {name: sum(row[name] for row in rows) for name in rows[0]}


def _arguments(caches: Caches) -> dict[str, int]:
    return {
        "l1": caches.l1_bytes,
        "l1_ways": caches.l1_ways,
        "l2": caches.l2_bytes,
        "l2_ways": caches.l2_ways,
        "line": caches.line_bytes,
    }


def _read(board: Emulated, path: Path) -> Mapping[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise DeviceError(f"{board.title}: the plugin must write {path.name} at the end. Received: {error}") from error
    if table["threads"] != 1 or table["torn"]:
        raise DeviceError(
            f"{board.title}: only a program of one thread that ends each inference it begins is counted exactly. "
            f"Received: {table['threads']} threads{', an inference without its end' if table['torn'] else ''}"
        )
    return table


def _joined(count: Mapping[str, Any], cache: Mapping[str, Any]) -> Recorded:
    # Bytes of the first are decoded and those of the second seen; they differ by what the notes of the plugins say.
    misses = ("l1_misses", "l2_misses")

    def row(counted: Sequence[int], cached: Sequence[int]) -> Row:
        seen = dict(zip(cache["columns"], cached, strict=True))
        return {**dict(zip(count["columns"], counted, strict=True)), **{name: seen[name] for name in misses}}

    inferences = tuple(
        tuple(row(*pair) for pair in zip(*both, strict=True))
        for both in zip(count["inferences"], cache["inferences"], strict=True)
    )
    return Recorded(row(count["total"], cache["total"]), inferences)
