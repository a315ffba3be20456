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

from recipes import _app, _counts
from tta_lite.files import atomic_write
from tta_lite.measure.device.counters import count_model
from tta_lite.measure.device.emulated_cores import CORES, emulated_core
from tta_lite.measure.device.emulator import Emulated
from tta_lite.measure.device.executed import Counts
from tta_lite.types import InputError

_GRAPH = flags.DEFINE_multi_string("graph", None, "The .tflite file; may be given several times.", required=True)
_CPU = flags.DEFINE_list("cpu", ["cortex-a72"], f"Some of {', '.join(CORES)}.")
_KERNELS = flags.DEFINE_enum("kernels", "xnnpack", ("xnnpack", "builtin"), "Whose the ops are.")
_OPS = flags.DEFINE_boolean("ops", False, "Also count each op.")
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 3600.0, "Seconds that one file may take on one core.", 1)
_OUT = flags.DEFINE_string("out", None, "A JSON file for all counts; on the screen only if not given.")


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
    console = _counts.console()
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
        _counts.say(console, f"{board.title}, {found[0][1].runtime}, one inference; thousands, and kB of 1,000 bytes")
        console.print(_counts.table_of([(graph, counts.inference) for graph, counts in found], "graph"))
        for graph, counts in found:
            _counts.say(console, f"{graph}: {_counts.outputs_line(counts)}")
        for graph, counts in found if _OPS.value else ():
            _counts.say(console, f"Ops of {graph}")
            if not counts.ops:
                _counts.say(console, "Its kernels read the clock themselves, so that its ops cannot be told apart.")
            console.print(_counts.table_of([(f"{op.place} {op.name}", op.tally) for op in counts.ops], "op"))
    if _OUT.value:
        atomic_write(_OUT.value, json.dumps({"counts": records}, indent=1) + "\n")
        print(f"Written: {_OUT.value}")


if __name__ == "__main__":
    _app.run(main)
