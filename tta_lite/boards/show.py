"""Profiles in the terminal: a table of all, or one with its sources and what pays on it."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tta_lite.boards import checks
from tta_lite.boards.features import INTEGER_PRODUCTS
from tta_lite.boards.profile import boards, get_board
from tta_lite.boards.records import BoardProfile, Cores
from tta_lite.boards.runtime import Runtime

LEVELS = {"l1i": "L1 instructions", "l1d": "L1 data", "l2": "L2", "l3": "L3"}
YES = {True: "yes", False: "no", None: "not known"}


def print_boards(console: Console | None = None) -> None:
    """Prints one line a board that comes with the package."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("board", "cores", "memory", "FP16", "int8 product", "runtimes"):
        table.add_column(column, overflow="fold")
    for name in boards():
        board = get_board(name)
        table.add_row(
            name,
            "\n".join(_short(cores) for cores in board.cores),
            _memory(board.memory_mib),
            YES[board.computes("fp16") or board.computes("mve_fp") or board.computes("avx512_fp16")],
            ", ".join(dict.fromkeys(_products(board))) or "no",
            "\n".join(runtime.title for runtime in board.runtimes),
        )
    (console or Console()).print(table)
    (console or Console()).print("tta-lite boards NAME prints one with its sources; a file of one's own works by path.")


def print_board(name: str, *, ops: bool = False, console: Console | None = None) -> None:
    """Prints a whole profile.

    Args:
      name: of a profile, or the path of a ``.toml`` file.
      ops: whether to list the ops of each runtime.
      console: where to.

    Raises:
      InputError: no such profile, or one that is not complete or cannot be true.
    """
    board, out = get_board(name), console or Console()
    out.print(Text(board.title, style="bold"), Text(f"({board.name})"))
    if board.note:
        _line(out, board.note)
    _head(out, "memory")
    offered = ", ".join(_memory(size) for size in board.memory_offered_mib if size != board.memory_mib)
    _line(out, _memory(board.memory_mib) + (f"; also sold with {offered}" if offered else ""))
    _source(out, board.memory_source)
    for cores in board.cores:
        _head(out, f"{cores.count} x {cores.name}")
        for line in _cores(cores):
            _line(out, line)
        _source(out, cores.source)
    if board.gpu:
        _head(out, f"GPU: {board.gpu.name}")
        _line(out, f"half precision: {YES[board.gpu.fp16]}")
        _source(out, board.gpu.source)
    for place, system in enumerate(board.systems):
        _head(out, f"system: {system.title}" + (", assumed" if not place and len(board.systems) > 1 else ""))
        _source(out, system.source)
    for runtime in board.runtimes:
        _head(out, f"runtime: {runtime.title}")
        _runtime(out, board, runtime, ops)


def print_op(name: str, op: str, *, console: Console | None = None) -> None:
    """Prints which runtime of a board takes an op, type by type.

    Args:
      name: of a profile, or the path of a ``.toml`` file.
      op: as TFLite's schema names it.
      console: where to.

    Raises:
      InputError: no such profile or op.
    """
    board, out = get_board(name), console or Console()
    dtypes = ("float32", "float16", "int8", "int16")
    found = [(runtime, [checks.can_run(runtime, op, dtype) for dtype in dtypes]) for runtime in board.runtimes]
    for runtime, answers in found:
        _head(out, f"{op}, {runtime.title} on {board.title}")
        for why in dict.fromkeys(map(str, answers)):
            _line(out, why)
        if op in runtime.op_versions:
            _line(out, f"up to version {runtime.op_versions[op]}")
        if op in runtime.max_inputs:
            _line(out, f"with {runtime.max_inputs[op]} inputs at most")
        for source in dict.fromkeys(answer.source for answer in answers):
            _source(out, source)


def _runtime(out: Console, board: BoardProfile, runtime: Runtime, ops: bool) -> None:
    _line(out, f"runs files of {', '.join(runtime.presets)}")
    count = len(runtime.known_ops())
    if runtime.ask:
        _line(out, f"ops: it is installed here and is asked itself for each file; it knows {count}")
    else:
        _line(out, f"ops: {count}")
    for op, most in sorted(runtime.max_inputs.items()):
        _line(out, f"{op} with {most} inputs at most")
    _source(out, runtime.source)
    questions = (
        ("does FP16 pay", checks.fp16_pays(board, runtime.name)),
        ("does int8 pay", checks.int8_pays(board, runtime.name)),
        ("does sparsity pay", checks.sparsity_pays(board, runtime.name)),
        ("does its library load", checks.runtime_loads(board, runtime.name)),
    )
    cores, systems = [one.source for one in board.cores], [one.source for one in board.systems]
    shown = {runtime.source, *cores, *systems}
    for question, answer in questions:
        _line(out, f"{question}? {answer}")
        _source(out, answer.source, shown)
        shown.add(answer.source)
    if ops:
        out.print(_ops(runtime))
        _source(out, runtime.asked)


def _ops(runtime: Runtime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in ("op", "takes", "by slower kernels", "refused", "up to version"):
        table.add_column(column, overflow="fold")
    for op in sorted(runtime.op_names()):
        cells = [", ".join(one.get(op, ())) for one in (runtime.dtypes, runtime.slow_dtypes, runtime.refused_dtypes)]
        if runtime.known_ops() and op not in runtime.known_ops():
            cells[2] = "all: it has none"
        table.add_row(op, *cells, str(runtime.op_versions.get(op, "")))
    return table


def _cores(cores: Cores) -> Iterable[str]:
    place = "" if cores.cluster == "all" else f"the {cores.cluster} cluster; "
    numbers = f"CPU {', '.join(map(str, cores.cpus))}" if cores.cpus else "CPU numbers not known"
    yield f"{place}{numbers}; {_mhz(cores)}"
    yield f"{cores.isa or 'instruction set not known'}: {', '.join(cores.features) or 'no feature that matters here'}"
    shared = {level: cores.shared_by.get(level, 1) for level in cores.caches_kib}
    caches = [
        f"{LEVELS[level]} {cores.caches_kib[level]} KiB" + (f" for {shared[level]} cores" if shared[level] > 1 else "")
        for level in LEVELS
        if level in cores.caches_kib
    ]
    yield f"caches: {', '.join(caches) or 'not known'}"
    yield f"emulated by qemu 7.2 as {cores.qemu_cpu}" if cores.qemu_cpu else "not emulated by qemu 7.2"


def _products(board: BoardProfile) -> Iterable[str]:
    for cores in board.cores:
        yield from (feature for feature in INTEGER_PRODUCTS if feature in cores.features)


def _mhz(cores: Cores) -> str:
    return f"{cores.max_mhz} MHz" if cores.max_mhz else "clock not known"


def _short(cores: Cores) -> str:
    return f"{cores.count} {cores.name}" + (f", {cores.max_mhz} MHz" if cores.max_mhz else "")


def _memory(mib: int) -> str:
    return f"{mib / 1024:.3g} GiB" if mib >= 1024 else f"{mib} MiB"


def _head(out: Console, text: str) -> None:
    out.print(Text(f"\n{text}", style="bold"))


def _line(out: Console, text: str) -> None:
    out.print(Padding(Text(" ".join(text.split())), (0, 0, 0, 2)))


def _source(out: Console, text: str, above: Iterable[str] = ()) -> None:
    for one in above:
        text = text.replace(one, "")
    if text := " ".join(text.split()).strip("; "):
        out.print(Padding(Text(f"source: {text}", style="dim"), (0, 0, 0, 4)))
