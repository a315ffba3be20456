"""The flags of a comparison of latencies, and the rules that they give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags

from tta_lite.types import InputError

NUM_THREADS = flags.DEFINE_integer("num_threads", 1, "Of the interpreter.", 1)
NUM_RUNS = flags.DEFINE_integer("num_runs", 50, "Timed inferences a file and round, at least.", 1)
MIN_SECS = flags.DEFINE_float("min_secs", 1.0, "Timed seconds a file and round, at least.", 0)
ROUNDS = flags.DEFINE_integer("rounds", 5, "The files are timed in turn, so many times.", 1)
CONNECT = flags.DEFINE_string(
    "connect",
    None,
    "Where to time: ssh://[user@]host[:port], adb:SERIAL, or local for this machine by way of the C runner. If not "
    "given: this machine, with LiteRT's Python interpreter. emulated: the same, and counts of the emulated processor.",
)
CORES = flags.DEFINE_enum("cores", "all", ("all", "big", "little"), "Of the board at --connect.")
COOL_DOWN_SECS = flags.DEFINE_float("cool_down_secs", 2.0, "Pause before each process on the board at --connect.", 0)

LATENCY_MODEL = flags.DEFINE_string(
    "latency_model",
    None,
    "A model of latency (tta-lite predict --fit): latencies are predicted by it and nothing is timed; they are marked "
    "as predicted.",
)

REMOTE_FOLDER = flags.DEFINE_string(
    "remote_folder", None, "Where on the board the work folder is made, which is removed again; its /tmp if not given."
)

OF_A_COMPARISON = (NUM_THREADS, NUM_RUNS, MIN_SECS, ROUNDS)
OF_A_BOARD = (CONNECT, CORES, COOL_DOWN_SECS, REMOTE_FOLDER)
FLAGS = (*OF_A_COMPARISON, *OF_A_BOARD, LATENCY_MODEL)
EMULATED = "emulated"


def define_board() -> flags.FlagHolder[str | None]:
    """-> ``--board``, of a recipe that needs it for nothing but --connect."""
    return flags.DEFINE_string("board", None, "What is at --connect: a name (tta-lite boards), or a .toml profile.")


def rules(*, counted: bool = False) -> dict[str, Any]:
    """-> what `tta_lite.measure.benchmark.benchmark_together` takes.

    Args:
      counted: whether the recipe counts on an emulated board afterwards, see `count_rows`.

    Raises:
      InputError: flags of a board without a connection, or a connection to no board in particular.
    """
    return {holder.name: holder.value for holder in OF_A_COMPARISON} | board_rules(counted=counted)


def board_rules(*, counted: bool = False) -> dict[str, Any]:
    """-> those of `rules` that say which board times; none of them: this machine does."""
    board = flags.FLAGS["board"].value if "board" in flags.FLAGS else None
    if LATENCY_MODEL.value:
        from tta_lite.measure.latency_model import load_model

        if CONNECT.value:
            raise InputError("Latencies are measured (--connect) or predicted (--latency_model). Received: both")
        # A damaged file should not wait for the first comparison.
        load_model(LATENCY_MODEL.value)
        return {"latency_model": LATENCY_MODEL.value}
    if not CONNECT.value:
        for holder in OF_A_BOARD[1:]:
            if flags.FLAGS[holder.name].present:
                raise InputError(f"--{holder.name} is of the board at --connect. Received: no --connect")
        return {}
    if is_emulated():
        if not counted:
            raise InputError("An emulated board has no latencies; see tta-lite counts. Received: emulated")
        from tta_lite.measure.device.connect import emulated_board

        # Better now than after hours that it is not here.
        emulated_board(board)
        # Latencies are this machine's, and counts come beside them.
        return {}
    local = CONNECT.value == "local"
    if not board and not local:
        raise InputError(f"--board must name what is at --connect={CONNECT.value}. Received: no --board")
    pause = 0.0 if local and not flags.FLAGS[COOL_DOWN_SECS.name].present else COOL_DOWN_SECS.value
    # This machine is no board, whatever the target is.
    return {
        "connect": CONNECT.value,
        "board": "host" if local else board,
        "cores": CORES.value,
        "cool_down_secs": pause,
        "remote_folder": REMOTE_FOLDER.value or "",
    }


def is_emulated() -> bool:
    """Whether counts of an emulated board are wanted."""
    return CONNECT.value == EMULATED


def count_rows(run: str | Path, files: Mapping[str, Path]) -> None:
    """Counts what the rows of a run execute on the emulated board, if ``--connect=emulated``."""
    if not is_emulated():
        return
    from tta_lite.measure.device.connect import emulated_board
    from tta_lite.report import emulated

    emulated.count_rows(run, files, emulated_board(flags.FLAGS["board"].value))


def refuse_board_without_connection() -> None:
    """Raises an `InputError` if ``--board`` was given where it means something only with ``--connect``."""
    if flags.FLAGS["board"].present and not CONNECT.value:
        raise InputError("--board says what is at --connect. Received: no --connect")
