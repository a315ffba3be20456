"""Time .tflite files on this machine or on a board, each in a process of its own.

    tta-lite benchmark --graph model.tflite
    tta-lite benchmark --graph old.tflite --graph new.tflite --out benchmark.json
    tta-lite benchmark --graph old.tflite --graph new.tflite --board=rk3399 --connect=ssh://user@host --cores=big
    tta-lite benchmark --graph old.tflite --graph new.tflite --board=rk3399 --connect=emulated

Prints initialisation, latency and memory, and where it was measured. Several files are run in turn, so that the drift
of a shared machine hits all alike, and their speedups over the first are given with the range over the rounds.

Cost: one file takes its initialisation, then 50 runs or 1 s, whichever is longer; about 2 s for a MobileNetV2 at
256 x 256. Expect wandering of a few percent on a quiet machine and of a third on a shared one. Without --connect the
figures are this machine's and say nothing about a board; with it the C runner is put there, and taken away again
afterwards (docs/boards.md). With --connect=emulated they are this machine's too, and beside them stands what the files
execute on the emulated board. The flags are named as those of TFLite's benchmark_model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from absl import flags
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from recipes import _app, _comparison, _timing
from tta_lite.measure import benchmark as bench
from tta_lite.types import InputError

_GRAPH = flags.DEFINE_multi_string("graph", None, "the .tflite file; may be given several times", required=True)
_WARMUP_RUNS = flags.DEFINE_integer("warmup_runs", 5, "at least this many runs are thrown away", lower_bound=0)
_USE_XNNPACK = flags.DEFINE_boolean("use_xnnpack", True, "false: TFLite's builtin kernels")
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 600.0, "seconds that one process may take", lower_bound=1)
_OUT = flags.DEFINE_string("out", None, "a JSON file to write; on the screen only if not given")
_BOARD = _timing.define_board()
flags.adopt_module_key_flags(_timing)


def count(files: Mapping[str, str]) -> dict[str, object]:
    """Counts what the files execute on the emulated board, prints it -> what ``--out`` holds of it."""
    from recipes import _counts
    from tta_lite.measure.device.connect import emulated_board
    from tta_lite.measure.device.counters import count_model

    with emulated_board(_BOARD.value) as board:
        found = {name: count_model(board, path, by_op=False) for name, path in files.items()}
        console = _counts.console()
        _comparison.say(console, f"{board.title}, one inference; thousands, and kilobytes; no times")
        console.print(_counts.table_of([(name, counts.inference) for name, counts in found.items()], "graph"))
    return {"counts": [{"graph": name, **counts.to_json()} for name, counts in found.items()]}


def main(argv: Sequence[str]) -> None:
    """Measure, print, write."""
    del argv
    files = _comparison.short_names(_GRAPH.value)
    if _OUT.value:
        _comparison.check_out(_OUT.value)
    _timing.refuse_board_without_connection()
    rules = _timing.rules(counted=True)
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
    _comparison.show(comparison, Console())
    counted = count(files) if _timing.is_emulated() else {}
    if _OUT.value:
        _comparison.write_json(_OUT.value, {**_comparison.record(comparison, files), **counted})
        print(f"Written: {_OUT.value}")


if __name__ == "__main__":
    _app.run(main)
