"""Count what .tflite files execute on an emulated Arm core: instructions, bytes, cache misses. No times.

    tta-lite counts --graph=model.tflite
    tta-lite counts --graph=fp32.tflite --graph=int8.tflite --cpu=cortex-a72,cortex-a76 --ops --out=counts.json

Runs LiteRT for arm64 under QEMU with plugins that count (`tta-lite setup-emulator` says what it needs), and compares
the outputs with this machine's. The count of a network is the same each time. It is no latency: cores do several
instructions a clock, or wait a hundred clocks for a line of memory. Misses are those of a model of the core's two
caches without a prefetcher.

Cost: a minute for a MobileNetV2 in float32 at 256 x 256, twice that with --ops.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from absl import flags
from rich.console import Console
from rich.table import Table

from recipes import _app
from tta_lite.files import atomic_write
from tta_lite.measure.device.counters import count_model
from tta_lite.measure.device.emulated_cores import CORES, emulated_core
from tta_lite.measure.device.emulator import Emulated
from tta_lite.measure.device.executed import GROUPS, Counts, Tally
from tta_lite.types import InputError

_GRAPH = flags.DEFINE_multi_string("graph", None, "The .tflite file; may be given several times.", required=True)
_CPU = flags.DEFINE_list("cpu", ["cortex-a72"], f"Some of {', '.join(CORES)}.")
_KERNELS = flags.DEFINE_enum("kernels", "xnnpack", ("xnnpack", "builtin", "reference"), "Whose the ops are.")
_OPS = flags.DEFINE_boolean("ops", False, "Also count each op.")
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 3600.0, "Seconds that one file may take on one core.", 1)
_OUT = flags.DEFINE_string("out", None, "A JSON file for all counts; on the screen only if not given.")

WIDTH = 160
COLUMNS = ("total", *GROUPS, "rest", "kB loaded", "kB stored", "L1D misses", "L2 misses")


def cells(tally: Tally) -> list[str]:
    """-> what `COLUMNS` name: thousands of instructions, kilobytes, thousands of misses."""
    counts = (tally.total, *tally.grouped().values(), tally.bytes_loaded, tally.bytes_stored)
    return [f"{count / 1e3:,.1f}" for count in (*counts, tally.l1_misses, tally.l2_misses)]


def outputs_line(counts: Counts) -> str:
    """-> how the outputs compare with this machine's."""
    wrong = [golden for golden in counts.outputs if golden.different]
    if not wrong:
        return "outputs as on this machine, bit by bit"
    if any(golden.largest is None for golden in wrong):
        return "outputs DIFFER from this machine's: some are no numbers"
    parts = ", ".join(f"{golden.largest:.2g} (values up to {golden.scale:.2g})" for golden in wrong)
    if all(golden.agrees for golden in wrong):
        return f"outputs as on this machine but for rounding: largest difference {parts}"
    left = "" if counts.fully_delegated else "; kernels other than XNNPACK's round otherwise on other machines"
    return f"outputs DIFFER from this machine's: largest difference {parts}{left}"


def table_of(rows: Sequence[tuple[str, Tally]], first: str) -> Table:
    """-> a table with a line for each tally."""
    table = Table(box=None, pad_edge=False)
    table.add_column(first, overflow="fold", min_width=40)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, tally in rows:
        table.add_row(name, *cells(tally))
    return table


def main(argv: Sequence[str]) -> None:
    """Counts each file on each core, prints, writes."""
    del argv
    for cpu in _CPU.value:
        emulated_core(cpu)
    for graph in _GRAPH.value:
        if not Path(graph).is_file():
            raise InputError(f"Flag --graph must name a .tflite file. Received: {graph}")
    if _OUT.value and not Path(_OUT.value).resolve().parent.is_dir():
        raise InputError(f"Flag --out must name a file in a folder that exists. Received: {_OUT.value}")
    # Narrower, the figures would be cut.
    console = Console(width=max(Console().width, WIDTH))
    records = []
    for cpu in _CPU.value:
        found: list[tuple[str, Counts]] = []
        with Emulated(cpu) as board:
            for graph in _GRAPH.value:
                with console.status(f"{graph} on {board.title}"):
                    counts = count_model(
                        board, graph, kernels=_KERNELS.value, by_op=_OPS.value, timeout_s=_TIMEOUT_S.value
                    )
                found.append((graph, counts))
                records.append({"graph": graph, **counts.to_json()})
        say(console, f"{board.title}, {found[0][1].runtime}, one inference; in thousands, and kB of 1,000 bytes")
        console.print(table_of([(graph, counts.inference) for graph, counts in found], "graph"))
        for graph, counts in found:
            say(console, f"{graph}: {outputs_line(counts)}")
        for graph, counts in found if _OPS.value else ():
            say(console, f"Ops of {graph}")
            if not counts.ops:
                say(console, "Its kernels read the clock themselves, so that its ops cannot be told apart.")
            console.print(table_of([(f"{op.place} {op.name}", op.tally) for op in counts.ops], "op"))
    if _OUT.value:
        atomic_write(_OUT.value, json.dumps({"counts": records}, indent=1) + "\n")
        print(f"Written: {_OUT.value}")


def say(console: Console, line: str) -> None:
    """Print one line as it is: not coloured, not broken."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    _app.run(main)
