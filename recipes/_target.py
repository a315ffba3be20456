"""The flags that name a board which must take the files, and what is read from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tta_lite.boards.profile import BoardProfile, Runtime

BOARD = flags.DEFINE_string("board", None, "The target, e.g. rk3399, must take the file.")
RUNTIME = flags.DEFINE_string("runtime", None, "Of the board; its usual one if not given.")

FLAGS = [BOARD, RUNTIME]


def board() -> BoardProfile | None:
    """-> its profile; None if none is named.

    Raises:
      InputError: no such board.
    """
    from tta_lite.boards.profile import get_board

    return get_board(BOARD.value) if BOARD.value else None


def runtime() -> Runtime | None:
    """-> that of the board; None if no board is named.

    Raises:
      InputError: no such board, or it has no such runtime.
    """
    found = board()
    return found.runtime(RUNTIME.value) if found else None
