"""Time .tflite files on this machine or on a board, each in a process of its own.

    tta-lite benchmark --graph model.tflite
    tta-lite benchmark --graph old.tflite --graph new.tflite --out benchmark.json
    tta-lite benchmark --graph old.tflite --graph new.tflite --board=rk3399 --connect=ssh://user@host --cores=big

Prints initialisation, latency and memory, and where it was measured. Several files are run in turn, so that the drift
of a shared machine hits all alike, and their speedups over the first are given with the range over the rounds.

Cost: one file takes its initialisation, then 50 runs or 1 s, whichever is longer; about 2 s for a MobileNetV2 at
256 x 256. Expect wandering of a few percent on a quiet machine and of a third on a shared one. Without --connect the
figures are this machine's and say nothing about a board; with it the C runner is put there, and taken away again
afterwards (docs/boards.md). The flags are named as those of TFLite's benchmark_model.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import flags
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from recipes import _app, _timing
from tta_lite.measure import benchmark as bench
from tta_lite.measure import machine
from tta_lite.types import InputError

_GRAPH = flags.DEFINE_multi_string("graph", None, "the .tflite file; may be given several times", required=True)
_WARMUP_RUNS = flags.DEFINE_integer("warmup_runs", 5, "at least this many runs are thrown away", lower_bound=0)
_USE_XNNPACK = flags.DEFINE_boolean("use_xnnpack", True, "false: TFLite's builtin kernels")
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 600.0, "seconds that one process may take", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "a JSON file to write; on the screen only if not given")
_BOARD = _timing.define_board()
flags.adopt_module_key_flags(_timing)


def short_names(graphs: Sequence[str]) -> dict[str, str]:
    """Files -> {a name to show: file}: the file name alone where that tells them apart.

    >>> short_names(["a/old.tflite", "b/new.tflite"])
    {'old.tflite': 'a/old.tflite', 'new.tflite': 'b/new.tflite'}
    """
    if len(set(graphs)) != len(graphs):
        raise InputError(f"Each --graph must be another file. Received: {', '.join(graphs)}")
    names = [os.path.basename(graph) for graph in graphs]
    return dict(zip(names if len(set(names)) == len(names) else graphs, graphs, strict=True))


def record(comparison: bench.Comparison, files: Mapping[str, str]) -> dict[str, object]:
    """-> what ``--out`` holds: plain JSON values."""
    first = next(iter(comparison))
    speedups = comparison.speedups(first)
    rows = []
    for name, result in comparison.items():
        row = {"graph": name, "size_bytes": Path(files[name]).stat().st_size, **result.to_json()}
        if name != first:
            ratio = speedups[name]
            row["speedup"] = {"over": first, "median": ratio.median, "min": ratio.min, "max": ratio.max}
        rows.append(row)
    return {"benchmarks": rows, "machine": machine.describe_machine()}


def show(comparison: bench.Comparison, console: Console) -> None:
    """Print the table, the speedups and the machine."""
    first = next(iter(comparison))
    table = Table(box=None, pad_edge=False)
    table.add_column("graph", overflow="fold", min_width=12)
    for column in ("init s", "p50 ms", "p90 ms", "min ms", "max ms", "runs", "memory MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, result in comparison.items():
        time = result.latency
        memory = "-" if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 1e6:.1f}"
        values = (result.init_s, time.p50, time.p90, time.min, time.max)
        figures = ["-" if value is None else f"{value:.3f}" for value in values]
        table.add_row(name, *figures, str(time.runs), memory)
    console.print(table)
    for name, ratio in comparison.speedups(first).items():
        if name != first:
            say(console, f"{name}: {ratio.median:.2f} times as fast as {first} ({ratio.min:.2f} to {ratio.max:.2f})")
    for place in dict.fromkeys(result.measured_on for result in comparison.values()):
        say(console, f"Measured on {place.board}; {place.runtime}, {place.delegate}, threads: {place.threads}")
    for name, result in comparison.items():
        if result.conditions is not None:
            say(console, f"{name}: {result.conditions}")


def say(console: Console, line: str) -> None:
    """Print one line as it is: not coloured, not broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def check_out(path: str) -> Path:
    """-> the path, if its folder is there: better said before the measuring than after it."""
    target = Path(path)
    if not target.parent.is_dir() or target.is_dir():
        raise InputError(f"Flag --out must name a file in a folder that exists. Received: {path}")
    return target


def write_json(path: str, content: object) -> None:
    """Write beside the target and rename, so that a killed run leaves no half file."""
    target = check_out(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file, indent=2)
            file.write("\n")
        os.replace(temporary, target)
    except OSError as error:
        raise InputError(
            f"Flag --out must name a file that can be written: {error.strerror}. Received: {path}"
        ) from None


def main(argv: Sequence[str]) -> None:
    """Measure, print, write."""
    del argv
    files = short_names(_GRAPH.value)
    if _OUT.value:
        check_out(_OUT.value)
    _timing.refuse_board_without_connection()
    rules = _timing.rules()
    if "latency_model" in rules:
        raise InputError("This recipe measures; tta-lite predict predicts. Received: --latency_model")
    rounds = rules["rounds"] = rules["rounds"] if len(files) > 1 else 1
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    errors = Console(stderr=True)
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("benchmark", total=rounds * len(files))
        comparison = bench.benchmark_together(
            files,
            **rules,
            warmup_runs=_WARMUP_RUNS.value,
            use_xnnpack=_USE_XNNPACK.value,
            timeout_s=_TIMEOUT_S.value,
            progress=lambda done, total, name: progress.update(task, completed=done),
        )
    show(comparison, Console())
    if _OUT.value:
        write_json(_OUT.value, record(comparison, files))
        print(f"Written: {_OUT.value}")


if __name__ == "__main__":
    _app.run(main)
