"""The boards that are known, and what one of them can do: cores, caches, memory, runtimes, ops, with their sources.

  tta-lite boards                  # one line a board
  tta-lite boards rk3399           # one board: all of its profile, and what pays on it
  tta-lite boards my_board.toml    # the same for a profile of one's own
  tta-lite boards rk3399 --ops     # with every op of every runtime, by type
  tta-lite boards rk3399 --op=TRANSPOSE_CONV    # one op: each runtime, each type

Prints and writes nothing. Cost: less than a second; it needs no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from recipes import _app
from tta_lite.types import InputError

_OPS = flags.DEFINE_bool("ops", False, "Print which ops each runtime takes, by type.")
_OP = flags.DEFINE_string("op", None, "Print of one op alone which runtime takes it, by type; as CONV_2D.")


def main(argv: Sequence[str]) -> None:
    """Prints the table, or one board."""
    from tta_lite.boards.show import print_board, print_boards, print_op

    if len(argv) < 2:
        if _OPS.value or _OP.value:
            raise InputError(
                "With --ops or --op one board must be named, as in tta-lite boards rk3399 --ops. Received: none"
            )
        print_boards()
    elif _OP.value:
        print_op(argv[1], _OP.value)
    else:
        print_board(argv[1], ops=_OPS.value)


if __name__ == "__main__":
    _app.run(main, words=1)
