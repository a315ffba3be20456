"""The flags of a comparison of latencies, and the rules that they give."""

from __future__ import annotations

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
    "given: this machine, with LiteRT's Python interpreter.",
)
CORES = flags.DEFINE_enum("cores", "all", ("all", "big", "little"), "Of the board at --connect.")
COOL_DOWN_SECS = flags.DEFINE_float("cool_down_secs", 2.0, "Pause before each process on the board at --connect.", 0)

OF_A_COMPARISON = (NUM_THREADS, NUM_RUNS, MIN_SECS, ROUNDS)
OF_A_BOARD = (CONNECT, CORES, COOL_DOWN_SECS)
FLAGS = (*OF_A_COMPARISON, *OF_A_BOARD)
EMULATED = "emulated"


def define_board() -> flags.FlagHolder[str | None]:
    """-> ``--board``, of a recipe that needs it for nothing but --connect."""
    return flags.DEFINE_string("board", None, "What is at --connect: a name (tta-lite boards), or a .toml profile.")


def rules() -> dict[str, Any]:
    """-> what `tta_lite.measure.benchmark.benchmark_together` takes.

    Raises:
      InputError: flags of a board without a connection, or a connection to no board in particular.
    """
    return {holder.name: holder.value for holder in OF_A_COMPARISON} | board_rules()


def board_rules() -> dict[str, Any]:
    """-> those of `rules` that say which board times; none of them: this machine does."""
    board = flags.FLAGS["board"].value if "board" in flags.FLAGS else None
    if not CONNECT.value:
        for holder in (CORES, COOL_DOWN_SECS):
            if flags.FLAGS[holder.name].present:
                raise InputError(f"--{holder.name} is of the board at --connect. Received: no --connect")
        return {}
    if CONNECT.value == EMULATED:
        raise InputError("An emulated board gives no latencies; tta-lite counts gives what it does. Received: emulated")
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
    }


def refuse_board_without_connection() -> None:
    """Raises an `InputError` if ``--board`` was given where it means something only with ``--connect``."""
    if flags.FLAGS["board"].present and not CONNECT.value:
        raise InputError("--board says what is at --connect. Received: no --connect")
