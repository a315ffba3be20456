"""How files that were timed together are named, shown and written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tta_lite.measure import benchmark as bench
from tta_lite.measure import machine
from tta_lite.types import InputError


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
